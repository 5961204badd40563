"""Weights from one VAE into another."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from course_utils.arguments import named_errors


def load_weights(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy a state dict into a model, also one of another likelihood or device.

    The widths of a likelihood (names that begin with ``likelihood.``) are no weights: where only
    one side has one, the model keeps its own or the one that came is left out.

    Args:
        model: any VAE of the course; unchanged where an error is raised.
        state: what ``other.state_dict()`` gave, perhaps stored with ``torch.save``.

    Raises:
        ValueError: a weight is missing, unknown or of another shape; names every one.
    """
    own = model.state_dict()
    problems = [f"{name} is missing" for name in own if name not in state and _is_weight(name)]
    problems += [f"{name} is unknown" for name in state if name not in own and _is_weight(name)]
    for name in own.keys() & state.keys():
        came, expected = tuple(state[name].shape), tuple(own[name].shape)
        if came != expected:
            problems.append(f"{name} must have shape {expected}, got {came}")
    if problems:
        raise ValueError(
            f"state does not fit this {type(model).__name__}: " + "; ".join(sorted(problems))
        )
    with torch.no_grad():
        for name, value in own.items():
            if name in state:
                value.copy_(state[name])


def _is_weight(name: str) -> bool:
    return not name.startswith("likelihood.")


named_errors(globals())
