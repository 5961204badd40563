"""The strong VAE of chapter 14: how it is trained, and what came of it.

``python -m course_utils.recipe`` trains it twice, for a short and for a long time, evaluates both
on all test images and stores the numbers beside this package. Chapter 14 reads them with
``stored``. Needs MNIST, two cores, and about half an hour where they multiply in bfloat16. Under
torchrun several processes share the batches, and one of them stores the numbers.
"""

import argparse
import json
import os
import subprocess
import sys
from functools import partial
from importlib.resources import files
from pathlib import Path
from subprocess import PIPE
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from course_utils import data, evaluation, iwae, processes, runtime, training, vae
from course_utils.console import say

SEED = 14
SAMPLES = 5000


class Recipe(NamedTuple):
    """What is trained, and for how long; ``warm_up`` and ``elbo`` are shares of the steps.

    The weight of the KL has risen to 1 after ``warm_up``, and after ``elbo`` the loss is the bound
    of so many ``draws`` in place of the ELBO.
    """

    epochs: int
    draws: int
    sizes: tuple[int, ...] = (784, 512, 512, 50)
    batch_size: int = 256
    rate: float = 6e-3
    warm_up: float = 0.4
    elbo: float = 0.75


RECIPES = {"short": Recipe(epochs=49, draws=3), "long": Recipe(epochs=128, draws=5)}


class FreshAndWarmedUp:
    """The loss: images drawn anew at each step, and a KL whose weight rises from 0 to 1.

    A pixel of grey value x_j is 1 with probability x_j. So no image of zeros and ones is seen
    twice, and none can be learned by heart. The weight of the KL is 1 from step ``steps`` on: until
    then units of the code are cheap, and more of them are in use when the price has risen.

    ``loss(model, x, generator)`` takes grey images (n, d) and gives a mean over them, in nats. It
    counts its calls, which a checkpoint of ``fit`` keeps.
    """

    def __init__(self, steps: int) -> None:
        self.steps, self.calls = steps, 0

    def __call__(self, model: nn.Module, x: Tensor, generator: torch.Generator) -> Tensor:
        """Compute the loss of the next step."""
        pixels = torch.rand(x.shape, generator=generator, device=x.device) < x
        beta = min(1.0, self.calls / self.steps)
        self.calls += 1
        return vae.negative_elbo(model, pixels.float(), generator, beta=beta)

    def state_dict(self) -> dict[str, int]:
        """Return what the next call depends on."""
        return {"steps": self.steps, "calls": self.calls}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on where another loss stopped.

        Raises:
            ValueError: its weight rose in another number of steps.
        """
        if state["steps"] != self.steps:
            raise ValueError(f"steps must be {self.steps}, got {state['steps']} in the state")
        self.calls = state["calls"]


class TightenedLater(FreshAndWarmedUp):
    """The same loss, and from its call ``first`` on −L_K (14.8) of K = ``draws`` codes an image.

    Its gradient is the doubly reparameterised one of ``iwae.negative_dreg``.
    """

    def __init__(self, steps: int, first: int, draws: int) -> None:
        super().__init__(steps)
        self.first, self.draws = first, draws

    def __call__(self, model: nn.Module, x: Tensor, generator: torch.Generator) -> Tensor:
        """Compute the loss of the next step."""
        if self.calls < self.first:
            return super().__call__(model, x, generator)
        self.calls += 1
        pixels = torch.rand(x.shape, generator=generator, device=x.device) < x
        return iwae.negative_dreg(model, pixels.float(), generator, samples=self.draws)

    def state_dict(self) -> dict[str, int]:
        """Return what the next call depends on."""
        return super().state_dict() | {"first": self.first, "draws": self.draws}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on where another loss stopped.

        Raises:
            ValueError: it was tightened at another call, or by another number of draws.
        """
        for name in ("first", "draws"):
            if state[name] != getattr(self, name):
                raise ValueError(f"{name} must be {getattr(self, name)}, got {state[name]}")
        super().load_state_dict(state)


def one_cycle(
    optimizer: torch.optim.Optimizer, steps: int, *, rate: float
) -> torch.optim.lr_scheduler.LRScheduler:
    """Let the step size rise to ``rate`` for a tenth of the steps, then fall to almost nothing.

    Adam's first moment, an average over past gradients, goes the other way: its β1 falls from 0.95
    to 0.85 and rises to 0.95 again. PyTorch's ``OneCycleLR`` does both.

    Source:
        After Smith and Topin (2019), https://arxiv.org/abs/1708.07120.
    """
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)


def train(
    recipe: Recipe, x: Tensor, *, precision: str = "fast", progress: bool = True
) -> tuple[vae.VAE, training.History]:
    """Train a VAE on grey images (n, 784) as the recipe says; the seed is ``SEED``.

    Raises:
        ValueError: several processes train, and cannot share a batch evenly.
    """
    group = processes.join()
    ranks = group.size if group else 1
    if recipe.batch_size % ranks:
        raise ValueError(f"batch_size must be for {ranks} processes, got {recipe.batch_size}")
    runtime.seed(SEED)
    model = vae.VAE(*recipe.sizes, activation=nn.SiLU)
    steps = recipe.epochs * -(-len(x) // recipe.batch_size)
    warm, first = round(recipe.warm_up * steps), round(recipe.elbo * steps)
    history = training.fit(
        model,
        TightenedLater(warm, first, recipe.draws),
        x,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size // ranks,
        rate=recipe.rate,
        seed=SEED,
        schedule=partial(one_cycle, rate=recipe.rate),
        precision=precision,
        progress=progress,
    )
    return model, history


def measure(model: vae.VAE, x: Tensor, *, samples: int = SAMPLES) -> dict[str, Any]:
    """Evaluate on test images of zeros and ones (n, 784); every number in nats a mean over them."""
    terms = evaluation.elbo(model, x, samples=10, seed=SEED)
    bound = evaluation.importance_weighted_bound(model, x, samples=samples, seed=SEED)
    return {
        "n_test": len(x),
        "samples": samples,
        "bound": round(bound.mean().item(), 3),
        "standard_error": round(bound.std().item() / len(x) ** 0.5, 3),
        "elbo": round(terms.value, 3),
        "rate": round(terms.rate, 3),
        "distortion": round(terms.distortion, 3),
        "active_units": int(evaluation.active_units(model, x).sum()),
    }


def images(mnist: Any, seed: int = SEED) -> tuple[Tensor, Tensor]:
    """Return what is trained on, in grey, and what is measured, drawn as zeros and ones: (n, 784).

    Args:
        mnist: has ``x_train`` and ``x_test``, as ``data.mnist()``.
        seed: of the drawing.
    """
    return torch.from_numpy(mnist.x_train), torch.from_numpy(data.binarise(mnist.x_test, seed))


def made_up(n: int) -> Tensor:
    """Return n grey images (n, 784) that a code of three numbers explains in part."""
    generator = torch.Generator().manual_seed(SEED)
    z, w = torch.randn(n, 3, generator=generator), torch.randn(3, 784, generator=generator)
    return torch.sigmoid(2 * z @ w + torch.randn(n, 784, generator=generator) - 2)


def fingerprint() -> dict[str, Any]:
    """Train each plan for two seconds on 600 made-up images, and return what came of it.

    The stored numbers belong to this code as long as this comes out as it is stored beside them: it
    goes the way of a run, through the model, its loss, ``fit`` and the evaluation, with float32
    products and one thread, so that machines differ in the last digits only. The plans are those of
    the runs but for passes and batches: two passes of ten batches of 60.
    """
    x = made_up(600)
    found: dict[str, Any] = {}
    for name, recipe in RECIPES.items():
        with runtime.threads(1):
            plan = recipe._replace(epochs=2, batch_size=60)
            model, history = train(plan, x, precision="highest", progress=False)
            measured = measure(model, (x[:50] > 0.5).float(), samples=20)
        losses = {f"loss of epoch {i}": round(loss, 3) for i, loss in enumerate(history.train, 1)}
        found |= {f"{name}, {what}": value for what, value in (losses | measured).items()}
    return found


def _fingerprint_alone() -> dict[str, Any]:
    """Return the fingerprint from a process of its own: several share no batches for it."""
    command = [sys.executable, "-m", "course_utils.recipe", "--fingerprint"]
    alone = {name: value for name, value in os.environ.items() if name != "WORLD_SIZE"}
    return json.loads(subprocess.run(command, env=alone, stdout=PIPE, check=True).stdout)


def stored() -> dict[str, Any]:
    """Return the stored numbers: ``seed``, ``fingerprint``, and of each recipe its ``plan``, how
    it went, and what ``measure`` gave.
    """
    return json.loads(_file().read_text(encoding="utf-8"))


def _file() -> Path:
    return Path(str(files("course_utils") / "stored" / "recipe_mnist.json"))


def main(names: list[str]) -> None:
    """Train the recipes of these names, and store what came of them in one step.

    Of several processes each measures, so that none waits for another; the first one speaks.
    """
    group = processes.join()
    first = group is None or group.rank == 0
    with processes.together(group):
        if first:
            data.mnist()  # fetched once
    x, x_test = images(data.mnist())
    result: dict[str, Any] = {"seed": SEED, "fingerprint": _fingerprint_alone() if first else None}
    for name in names:
        recipe = RECIPES[name]
        if first:
            say(f"{name}: {recipe}", flush=True)
        model, history = train(recipe, x)
        result[name] = {
            "plan": list(recipe),
            "epochs": recipe.epochs,
            "seconds": round(history.seconds),
            "threads": torch.get_num_threads(),
            "precision": history.precision,
            "hidden": list(recipe.sizes[1:-1]),
            "latent_dim": recipe.sizes[-1],
            "parameters": sum(p.numel() for p in model.parameters()),
            "train_loss": round(history.train[-1], 3),
            **measure(model, x_test),
        }
        if first:
            say(json.dumps(result[name]), flush=True)
    if first and names == list(RECIPES):
        part = _file().with_suffix(".part")
        part.parent.mkdir(exist_ok=True)
        part.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        part.replace(_file())
        say("stored; `make outputs NB=14` shows it in the chapter")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train the strong VAE of chapter 14.")
    parser.add_argument("names", nargs="*", help="short, long; without a name both, and stored")
    parser.add_argument("--fingerprint", action="store_true", help="print what belongs to the code")
    arguments = parser.parse_args()
    if arguments.fingerprint:
        say(json.dumps(fingerprint()))
    else:
        main(arguments.names or list(RECIPES))
