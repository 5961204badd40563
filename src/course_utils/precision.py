"""How exactly a model's matrix products are computed while it trains, and only then."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from course_utils import runtime
from course_utils.arguments import named_errors

PRECISIONS = ("highest", "high", "medium", "bfloat16", "fast")
# The modules that compute products.
LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d)


@contextmanager
def products(model: nn.Module, precision: str) -> Iterator[str]:
    """Inside the block, compute the products of ``model`` in ``precision``; as before after it.

    Gives the precision that is used: "fast" stands for ``runtime.fast_precision()``.

    - "highest", "high", "medium": those of ``torch.set_float32_matmul_precision``, for all products
      of the process, one in a loss among them. (PyTorch has a switch of its own for convolutions
      on GPUs, which is not touched.)
    - "bfloat16": each linear and convolution layer of the model computes in bfloat16, by
      ``torch.autocast``: its factors and its result are rounded, and the result becomes float32
      again. The weights, the optimiser, and all that a loss computes itself stay float32.

    Raises:
        TypeError: ``model`` is no module.
        ValueError: ``precision`` is none of ``PRECISIONS``.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a module, got {model!r}")
    if precision not in PRECISIONS:
        known = ", ".join(map(repr, PRECISIONS))
        raise ValueError(f"precision must be one of {known}, got {precision!r}")
    chosen = runtime.fast_precision() if precision == "fast" else precision
    with ExitStack() as stack:
        if chosen == "bfloat16":
            for layer in (part for part in model.modules() if isinstance(part, LAYERS)):
                stack.enter_context(_in_bfloat16(layer))
        else:
            stack.enter_context(_matmul_precision(chosen))
        yield chosen


@contextmanager
def _matmul_precision(precision: str) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def _in_bfloat16(layer: nn.Module) -> Iterator[None]:
    """Inside the block, one layer computes in bfloat16, and returns float32."""
    forward: Callable[[Tensor], Tensor] = layer.forward

    def rounded(x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16):
            return forward(x).float()

    had_its_own = "forward" in vars(layer)
    layer.forward = rounded
    try:
        yield
    finally:
        if had_its_own:
            layer.forward = forward
        else:
            del layer.forward


named_errors(globals())
