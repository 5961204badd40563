"""The strong run of chapter 19: a VAE trained on tighter and tighter bounds, and what came of it.

``python -m course_utils.recipe_iwae`` trains it, evaluates it on all test images of MNIST and
stores the numbers beside this package; chapter 19 reads them with ``stored``. After each epoch the
state is kept in the data folder: a run that was stopped goes on where it was. Needs MNIST and an
hour or two. ``--try`` does all of it in small, in some minutes, and stores nothing.
"""

import argparse
import json
import math
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from course_utils import annealed, data, evaluation, iwae, recipe, runtime, training, vae
from course_utils.checkpoints import write_whole
from course_utils.console import say
from course_utils.folders import data_folder

SEED = 19
SIZES = (784, 512, 512, 50)
BATCH = 128
WARM_UP = 0.5  # share of the first stage in which the weight of the KL rises to 1
SAMPLES = 5000  # of the bound, as in the published table
ON_THE_WAY = 100  # of the bound after each stage, on a tenth of the test images
CHAINS, STEPS, N_ANNEALED = 16, 500, 100  # the test images that chains are walked for


class Stage(NamedTuple):
    """A number of draws in the bound, for so many epochs, while the step size falls."""

    samples: int
    epochs: int
    first_rate: float
    last_rate: float


STAGES = (Stage(1, 90, 2e-3, 1e-3), Stage(5, 50, 1e-3, 3e-4), Stage(50, 16, 3e-4, 1e-5))


def drawn_bound(model: nn.Module, x: Tensor, generator: torch.Generator, *, samples: int) -> Tensor:
    """Compute −L_K for pixels drawn anew at each step, with the doubly reparameterised gradient."""
    pixels = torch.rand(x.shape, generator=generator, device=x.device) < x
    return iwae.negative_dreg(model, pixels.float(), generator, samples=samples)


def stage_loss(stage: Stage, steps: int) -> training.Loss:
    """Make the loss of a stage of so many steps: with one draw the ELBO, whose KL warms up."""
    if stage.samples == 1:
        return recipe.FreshAndWarmedUp(max(1, round(WARM_UP * steps)))
    return partial(drawn_bound, samples=stage.samples)


def falling(
    optimizer: torch.optim.Optimizer, steps: int, *, first: float, last: float
) -> torch.optim.lr_scheduler.LRScheduler:
    """Let the step size fall from ``first`` to ``last`` over these steps, by equal factors."""
    return torch.optim.lr_scheduler.ExponentialLR(optimizer, (last / first) ** (1 / steps))


def train(
    stages: tuple[Stage, ...],
    x: Tensor,
    *,
    sizes: tuple[int, ...] = SIZES,
    look: Tensor | None = None,
    folder: Path | None = None,
    precision: str = "fast",
    progress: bool = True,
) -> tuple[vae.VAE, list[dict[str, Any]]]:
    """Train a VAE on grey images (n, 784), stage after stage; the seed is ``SEED``.

    Args:
        stages: what to train on, in this order.
        x: the images.
        sizes: of the network.
        look: images of zeros and ones whose L_100 is measured after each stage; no stage reads it.
        folder: where each stage keeps its checkpoint, from which a run goes on.
        precision: as in ``training.fit``.
        progress: show bars, and say a line after each stage.

    Returns:
        The model, and of each stage its draws, epochs, seconds, precision, last loss and L_100.
    """
    runtime.seed(SEED)
    model = vae.VAE(*sizes, activation=nn.SiLU)
    told = []
    for number, stage in enumerate(stages):
        steps = stage.epochs * -(-len(x) // BATCH)
        history = training.fit(
            model,
            stage_loss(stage, steps),
            x,
            epochs=stage.epochs,
            batch_size=BATCH,
            rate=stage.first_rate,
            seed=10 * SEED + number,
            schedule=partial(falling, first=stage.first_rate, last=stage.last_rate),
            precision=precision,
            checkpoint=None if folder is None else folder / f"recipe_iwae_{number}.pt",
            progress=progress,
        )
        told.append(
            {
                "samples": stage.samples,
                "epochs": len(history.train),
                "seconds": round(history.seconds),
                "precision": history.precision,
                "train_loss": round(history.train[-1], 3),
            }
        )
        if look is not None:
            told[-1]["bound"] = recipe.measure(model, look, samples=ON_THE_WAY)["bound"]
        if progress:
            say(str(told[-1]), flush=True)
    return model, told


def yardstick(
    model: vae.VAE, x: Tensor, *, samples: int = SAMPLES, chains: int = CHAINS, steps: int = STEPS
) -> dict[str, Any]:
    """Measure ln p(x) of a few test images both ways: by chains from q, and by plain draws."""
    mu, logvar = evaluation.posteriors(model, x)
    log_w, accepted = annealed.annealed_weights(
        model, x, mu, logvar, chains=chains, steps=steps, seed=SEED
    )
    by_chains = torch.logsumexp(log_w, dim=1) - math.log(chains)
    bound = evaluation.importance_weighted_bound(model, x, samples=samples, seed=SEED)
    effective = 1 / torch.softmax(log_w, dim=1).square().sum(dim=1)
    difference = by_chains.cpu() - bound
    return {
        "n": len(x),
        "samples": samples,
        "chains": chains,
        "steps": steps,
        "annealed": round(by_chains.mean().item(), 3),
        "bound": round(bound.mean().item(), 3),
        "difference_error": round(difference.std().item() / len(x) ** 0.5, 3),
        "effective": round(effective.mean().item(), 2),
        "accepted": round(accepted, 3),
    }


def fingerprint() -> dict[str, Any]:
    """Train and measure for some seconds on 300 made-up images, and return what came of it.

    The stored numbers belong to this code as long as this comes out as it is stored beside them; it
    goes the way of a run. With float32 products and one thread machines differ in the last digits.
    """
    x = torch.rand(300, 784, generator=torch.Generator().manual_seed(SEED)) ** 3
    stages = tuple(stage._replace(epochs=1) for stage in STAGES)
    with runtime.threads(1):
        model, told = train(stages, x, precision="highest", progress=False)
        seen = (x[:20] > 0.5).float()
        measured = recipe.measure(model, seen, samples=20)
        annealed_too = yardstick(model, seen, samples=20, chains=2, steps=5)
    losses = {f"loss of L_{stage['samples']}": stage["train_loss"] for stage in told}
    return losses | measured | {f"yardstick {name}": v for name, v in annealed_too.items()}


def stored() -> dict[str, Any]:
    """Return the stored numbers: ``seed``, ``plan``, ``fingerprint``, ``stages``, what came out."""
    return json.loads(_file().read_text(encoding="utf-8"))


def _file() -> Path:
    return Path(str(files("course_utils") / "stored" / "iwae_mnist.json"))


def main(*, small: bool = False) -> None:
    """Train, measure and store; ``small``: a tenth of the images, few epochs, nothing stored."""
    x, x_test = recipe.images(data.mnist(), SEED)
    stages: tuple[Stage, ...] = STAGES
    samples, steps, folder = SAMPLES, STEPS, data_folder()
    if small:
        stages = tuple(stage._replace(epochs=n) for stage, n in zip(STAGES, (6, 3, 1), strict=True))
        x, x_test, samples, steps, folder = x[::10], x_test[::50], 500, 50, folder / "small"
        folder.mkdir(exist_ok=True)
    model, told = train(stages, x, look=x_test[::10], folder=folder)
    few = x_test[:: len(x_test) // N_ANNEALED]
    result = {
        "seed": SEED,
        "plan": [list(stage) for stage in stages],
        "small": small,
        "fingerprint": fingerprint(),
        "threads": torch.get_num_threads(),
        "hidden": list(SIZES[1:-1]),
        "latent_dim": SIZES[-1],
        "stages": told,
        "seconds": sum(stage["seconds"] for stage in told),
        **recipe.measure(model, x_test, samples=samples),
        "yardstick": yardstick(model, few, samples=samples, steps=steps),
    }
    text = json.dumps(result, indent=1) + "\n"
    say(text, flush=True)
    if not small:
        _file().parent.mkdir(exist_ok=True)
        write_whole(_file(), text.encode())
        say("stored; `make outputs NB=19` shows it in the chapter")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train the strong VAE of chapter 19.")
    parser.add_argument("--try", dest="small", action="store_true", help="in small, nothing stored")
    main(small=parser.parse_args().small)
