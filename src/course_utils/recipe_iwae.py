"""The strong run of chapter 19: a VAE trained on tighter and tighter bounds, and what came of it.

``python -m course_utils.recipe_iwae`` trains it, evaluates it on all test images of MNIST and
stores the numbers beside this package; chapter 19 reads them with ``stored``. After each epoch the
state is kept in the data folder: a run that was stopped goes on where it was. Needs MNIST, two
cores, and about an hour. ``--try`` does all of it in small, in some minutes, and stores nothing.
"""

import argparse
import hashlib
import json
import math
from collections.abc import Callable
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from course_utils import annealed, data, evaluation, iwae, recipe, runtime, training, vae
from course_utils.console import say
from course_utils.folders import data_folder

SEED = 19
SIZES = (784, 512, 512, 50)
BATCH = 128
WARM_UP = 25  # epochs, of the KL's weight
SAMPLES = 5000  # of the bound, as in the published table
CHAINS, STEPS, N_ANNEALED = 16, 500, 100  # the test images that chains are walked for


class Stage(NamedTuple):
    """A number of draws in the bound, for so many epochs, while the step size falls."""

    samples: int
    epochs: int
    first_rate: float
    last_rate: float


STAGES = (Stage(1, 90, 2e-3, 1e-3), Stage(5, 50, 1e-3, 3e-4), Stage(50, 16, 3e-4, 1e-5))


def loss_of(samples: int, beta: float) -> training.Loss:
    """Make the loss of one epoch: pixels drawn anew, and the bound of this many codes.

    One code: the negative ELBO, its KL in closed form and weighted by ``beta``. More: −L_K with the
    doubly reparameterised gradient, which knows no weight.
    """

    def loss(model: nn.Module, x: Tensor, generator: torch.Generator) -> Tensor:
        pixels = (torch.rand(x.shape, generator=generator, device=x.device) < x).float()
        if samples == 1:
            return vae.negative_elbo(model, pixels, generator, beta=beta)
        return iwae.negative_dreg(model, pixels, generator, samples=samples)

    return loss


def falling(
    optimizer: torch.optim.Optimizer, steps: int, *, first: float, last: float
) -> torch.optim.lr_scheduler.LRScheduler:
    """Let the step size fall from ``first`` to ``last`` over these steps, by equal factors."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] = first
    factor = (last / first) ** (1 / steps)
    return torch.optim.lr_scheduler.ExponentialLR(optimizer, factor)


def train(
    stages: tuple[Stage, ...],
    x: Tensor,
    *,
    sizes: tuple[int, ...] = SIZES,
    state: Path | None = None,
    progress: bool = True,
) -> tuple[vae.VAE, list[dict[str, Any]]]:
    """Train a VAE on grey images (n, 784), stage after stage; the seed is ``SEED``.

    Args:
        stages: what to train on, in this order.
        x: the images.
        sizes: of the network.
        state: a file to which the state goes after each epoch, and from which a run goes on.
        progress: say a line after each epoch.

    Returns:
        The model, and of each stage its draws, epochs, seconds and last training loss.
    """
    runtime.seed(SEED)
    model = vae.VAE(*sizes, activation=nn.SiLU)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    plan = repr((stages, sizes, len(x), SEED, BATCH))
    done: list[dict[str, Any]] = []  # one entry an epoch
    if state is not None and state.exists():
        kept = torch.load(state, weights_only=True)
        if kept["plan"] == plan:
            model.load_state_dict(kept["model"])
            optimizer.load_state_dict(kept["optimizer"])
            done = kept["done"]
    epochs = [(stage, i) for stage in stages for i in range(stage.epochs)]
    for number, (stage, i) in list(enumerate(epochs))[len(done) :]:
        share = (stage.last_rate / stage.first_rate) ** (1 / stage.epochs)
        first = stage.first_rate * share**i
        history = training.fit(
            model,
            loss_of(stage.samples, min(1.0, number / WARM_UP)),
            x,
            epochs=1,
            batch_size=BATCH,
            seed=1000 * SEED + number,
            optimizer=optimizer,
            schedule=partial(falling, first=first, last=first * share),
            precision="fast",
            progress=False,
        )
        done.append(
            {"samples": stage.samples, "seconds": history.seconds, "loss": history.train[0]}
        )
        if progress:
            say(f"epoch {number + 1} of {len(epochs)}: {json.dumps(done[-1])}", flush=True)
        if state is not None:
            parts = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
            in_one_step(state, partial(torch.save, {"plan": plan, "done": done, **parts}))
    return model, [_summary(stage, done) for stage in stages]


def _summary(stage: Stage, done: list[dict[str, Any]]) -> dict[str, Any]:
    own = [epoch for epoch in done if epoch["samples"] == stage.samples]
    seconds = round(sum(epoch["seconds"] for epoch in own))
    loss = round(own[-1]["loss"], 3)
    return {"samples": stage.samples, "epochs": len(own), "seconds": seconds, "train_loss": loss}


def in_one_step(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file so that it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    write(part)
    part.replace(path)


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


def code_hash() -> str:
    """A hash of the code that the stored numbers follow from; comments and docstrings aside."""
    parts: tuple[Callable | type, ...] = (
        *(Stage, loss_of, falling, train, _summary, yardstick),
        *(iwae.negative_dreg, annealed.annealed_weights, annealed._Path),
    )
    text = "\n".join(map(recipe._bare_source, parts))
    settings = (SEED, SIZES, BATCH, WARM_UP, SAMPLES, CHAINS, STEPS, N_ANNEALED, STAGES)
    return hashlib.sha256((recipe.code_hash() + text + repr(settings)).encode()).hexdigest()


def stored() -> dict[str, Any]:
    """Return the stored numbers: ``seed``, ``code``, ``stages``, and what was measured."""
    return json.loads(_file().read_text(encoding="utf-8"))


def _file() -> Path:
    return Path(str(files("course_utils") / "stored" / "iwae_mnist.json"))


def main(*, small: bool = False) -> None:
    """Train, measure and store; ``small``: a tenth of the images, few epochs, nothing stored."""
    mnist = data.mnist()
    x, x_test = torch.from_numpy(mnist.x_train), torch.from_numpy(data.binarise(mnist.x_test, SEED))
    stages: tuple[Stage, ...] = STAGES
    samples, steps, state = SAMPLES, STEPS, data_folder() / "recipe_iwae.pt"
    if small:
        stages = tuple(stage._replace(epochs=n) for stage, n in zip(STAGES, (6, 3, 1), strict=True))
        x, x_test, samples, steps = x[::10], x_test[::50], 500, 50
        state = state.with_name("recipe_iwae_small.pt")
    model, by_stage = train(stages, x, state=state)
    result = {
        "seed": SEED,
        "code": code_hash(),
        "small": small,
        "threads": torch.get_num_threads(),
        "hidden": list(SIZES[1:-1]),
        "latent_dim": SIZES[-1],
        "stages": by_stage,
        "seconds": sum(stage["seconds"] for stage in by_stage),
        **recipe.measure(model, x_test, samples=samples),
        "yardstick": yardstick(
            model, x_test[:: len(x_test) // N_ANNEALED], samples=samples, steps=steps
        ),
    }
    text = json.dumps(result, indent=1) + "\n"
    say(text, flush=True)
    if not small:
        in_one_step(_file(), lambda path: path.write_text(text, encoding="utf-8"))
        say("stored; `make outputs NB=19` shows it in the chapter")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train the strong VAE of chapter 19.")
    parser.add_argument("--try", dest="small", action="store_true", help="in small, nothing stored")
    main(small=parser.parse_args().small)
