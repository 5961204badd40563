"""How fast the course trains, against the loop of the usual tutorial.

python tools/bench.py [EPOCHS]    both, alternating, on the same model, batch size and data

The rows of the first table add one change after another to the tutorial's loop. All train the VAE
784-400-20 of chapter 13 with batches of 128, on MNIST where it is there, else on stroke digits.
The second table holds what they can be measured by: products that are rounded, the matrix products
of an epoch with nothing around them, and the same training in JAX, where it is installed.
"""

from __future__ import annotations

import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.autograd.profiler_util import FunctionEvent
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils.data import DataLoader, Dataset

from course_utils import data, runtime
from course_utils.diagnosis import diagnose
from course_utils.evaluation import elbo, importance_weighted_bound
from course_utils.numpy_nn import (
    adam_step,
    batches,
    flatten_layers,
    init_layers,
    unflatten_layers,
)
from course_utils.numpy_vae import vae_gradients, vae_terms
from course_utils.training import clear_denormals, evaluate, fit
from course_utils.vae import VAE, negative_elbo

BATCH, RATE = 128, 1e-3
JAX = "JAX, one scan an epoch"
SIZES = (1_000, 10_000, 60_000)


class Row(NamedTuple):
    """One line of a table: seconds an epoch (a median), and the held-out loss at the end."""

    name: str
    seconds: float
    loss: float | None  # None where nothing is trained


# Makes a new model, or None, and a function that trains it for one epoch and returns the seconds.
Way = Callable[[], "tuple[nn.Module | None, Callable[[], float]]"]


# ---- the loop of the usual tutorial, and its changes, one after another ------------------------


class TutorialImages(Dataset):
    """Images as torchvision's MNIST gives them: one a call, through PIL and ToTensor, with a label.

    torchvision's own class needs its files; this one also serves stroke digits. The labels are all
    zero: nobody looks at them.
    """

    def __init__(self, x: np.ndarray) -> None:
        self.to_tensor = runtime.torchvision().transforms.ToTensor()
        self.images = torch.from_numpy(np.round(255 * x).astype(np.uint8)).reshape(-1, 28, 28)
        self.labels = torch.zeros(len(x), dtype=torch.int64)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        image = Image.fromarray(self.images[i].numpy(), mode="L")
        return self.to_tensor(image), int(self.labels[i])


def tutorial_loss(model: VAE, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Cross-entropy of probabilities plus KL, summed over the batch, as tutorials write it."""
    recon_x, mu, logvar = model(x)
    bce = F.binary_cross_entropy(recon_x, x, reduction="sum")
    return (bce - 0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())) / len(x)


def fresh(*, fused: bool) -> tuple[VAE, torch.optim.Adam]:
    """Make the network that all train, the same weights each time, and its optimiser."""
    torch.manual_seed(0)
    model = VAE()
    return model, torch.optim.Adam(model.parameters(), lr=RATE, fused=fused or None)


def epoch_of(
    batches: Iterable[Tensor],
    model: VAE,
    loss: Callable[..., Tensor],
    optimizer: torch.optim.Optimizer,
    *,
    read_each_step: bool,
    denormals: bool,
) -> float:
    """Train one epoch on ``batches``; the seconds.

    ``read_each_step`` waits for the loss of every batch; ``denormals`` lets them be.
    """
    start = time.perf_counter()
    model.train()
    total: float | Tensor = 0.0
    for i, x in enumerate(batches):
        x = x.view(len(x), -1)
        optimizer.zero_grad()
        value = loss(model, x)
        value.backward()
        optimizer.step()
        total = total + (value.item() if read_each_step else value.detach())
        if not denormals and i % 100 == 0:
            clear_denormals(optimizer)
    float(total)
    return time.perf_counter() - start


def with_fit(x: Tensor, precision: str) -> tuple[nn.Module, Callable[[], float]]:
    """Train with the course's loop, in this precision."""
    model, optimizer = fresh(fused=True)
    options: dict[str, Any] = {"optimizer": optimizer, "device": "cpu", "precision": precision}
    seeds = iter(range(1_000))

    def one_epoch() -> float:
        # without the look over all data before a training, which comes once, not every epoch
        options["seed"] = next(seeds)
        return fit(model, negative_elbo, x, epochs=1, progress=False, **options).seconds

    return model, one_epoch


def shuffled(x: Tensor) -> Iterator[Tensor]:
    """Draw the batches of one epoch by index from images that lie in one tensor."""
    return (x.index_select(0, rows) for rows in torch.randperm(len(x)).split(BATCH))


def ladder(x: np.ndarray) -> list[tuple[str, Way]]:
    """Name each way to train; each makes a model and a function that trains it for one epoch."""
    loader = DataLoader(TutorialImages(x), batch_size=BATCH, shuffle=True)
    resident = torch.from_numpy(x)

    def way(
        batches: Callable[[], Iterable[Tensor]],
        *,
        loss: Callable[..., Tensor] = tutorial_loss,
        fused: bool = False,
        read_each_step: bool = True,
        denormals: bool = True,
    ) -> tuple[nn.Module, Callable[[], float]]:
        model, optimizer = fresh(fused=fused)
        options = {"read_each_step": read_each_step, "denormals": denormals}
        return model, lambda: epoch_of(batches(), model, loss, optimizer, **options)

    ours = partial(way, lambda: shuffled(resident))
    from_logits = partial(ours, loss=negative_elbo)
    fused = partial(from_logits, fused=True)
    one_reading = partial(fused, read_each_step=False)
    return [
        ("the tutorial's loop", lambda: way(lambda: (x for x, _ in loader))),
        ("images in one tensor", ours),
        ("and the loss from logits", from_logits),
        ("and a fused optimiser", fused),
        ("and one reading an epoch", one_reading),
        ("and no denormal numbers", partial(one_reading, denormals=False)),
        ("course_utils.training.fit", partial(with_fit, resident, "highest")),
    ]


# ---- what to measure them by -------------------------------------------------------------------


def products(n: int, dtype: torch.dtype) -> float:
    """Compute the matrix products of an epoch on n images, with nothing around them; the seconds.

    Of each layer (rows, a) @ (a, b) forwards, and backwards those for the weights and, but for the
    first layer, for its input.
    """
    shapes = [(784, 400), (400, 20), (400, 20), (20, 400), (400, 784)]
    layers = []
    for a, b in shapes:
        sizes = ((BATCH, a), (a, b), (BATCH, b))
        layers.append([torch.rand(size).to(dtype) for size in sizes])
    start = time.perf_counter()
    for _ in range(-(-n // BATCH)):
        for i, (x, w, gradient) in enumerate(layers):
            x @ w
            x.T @ gradient
            if i:
                gradient @ w.T
    return time.perf_counter() - start


def limits(x: np.ndarray) -> list[tuple[str, Way]]:
    """Name what the ways to train are measured by: rivals, and products with nothing else."""

    def alone(dtype: torch.dtype) -> tuple[None, Callable[[], float]]:
        return None, partial(products, len(x), dtype)

    found: list[tuple[str, Way]] = [
        ('fit with precision="fast"', partial(with_fit, torch.from_numpy(x), "fast")),
        ("the float32 products alone", partial(alone, torch.float32)),
        ("the bfloat16 products alone", partial(alone, torch.bfloat16)),
    ]
    if all(map(find_spec, ("jax", "optax"))):
        from bench_jax import JaxTraining

        def with_jax() -> tuple[nn.Module, Callable[[], float]]:
            model, _ = fresh(fused=True)
            return model, JaxTraining(model, x, batch_size=BATCH, rate=RATE)

        found.append((JAX, with_jax))
    return found


def race(x: np.ndarray, x_test: np.ndarray, epochs: int) -> list[Row]:
    """Train in every way, in turns: epoch 1 of each, then epoch 2 of each, and so on."""
    runs = {name: make() for name, make in [*ladder(x), *limits(x)]}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(epochs):
        for name, (_, one_epoch) in runs.items():
            seconds[name].append(one_epoch())
    return [
        Row(name, median(seconds[name]), model and evaluate(model, negative_elbo, x_test))
        for name, (model, _) in runs.items()
    ]


def numpy_row(x: np.ndarray, x_test: np.ndarray, epochs: int) -> Row:
    """Train the VAE of chapter 12, gradients by hand, at the same size."""
    rng = np.random.default_rng(0)
    layers = init_layers((784, 400, 40), rng) + init_layers((20, 400, 784), rng)
    params = [each.astype(np.float32) for each in flatten_layers(layers)]
    state, seconds = None, []
    for _ in range(epochs):
        start = time.perf_counter()
        for rows in batches(len(x), BATCH, rng):
            layers = unflatten_layers(params)
            eps = rng.standard_normal((len(rows), 20), dtype=np.float32)
            _, for_enc, for_dec = vae_gradients(x[rows], layers[:2], layers[2:], eps)
            params, state = adam_step(
                params, flatten_layers([*for_enc, *for_dec]), state, rate=RATE
            )
        seconds.append(time.perf_counter() - start)
    layers = unflatten_layers(params)
    eps = rng.standard_normal((len(x_test), 20), dtype=np.float32)
    terms = vae_terms(x_test, layers[:2], layers[2:], eps)
    return Row("chapter 12, NumPy alone", median(seconds), float(sum(map(np.mean, terms))))


# ---- where the rest of the time goes -----------------------------------------------------------

PARTS = {
    "matrix products": {"mm", "addmm"},
    "the optimiser": {"_fused_adam_"},
    "drawing the batch": {"index_select"},
    "making and clearing arrays": {
        "empty",
        "empty_like",
        "empty_strided",
        "zeros",
        "zero_",
        "fill_",
    },
    "elementwise passes and sums": set(),  # of codes, likelihood, KL and gradients: all other ones
    "Python, autograd and the loop": set(),  # what the operations leave
}
STEP = "a step"  # what one is called in the profile


def profiled(x: np.ndarray) -> list[FunctionEvent]:
    """Train for an epoch with the loop of the lower rows; the steps as PyTorch's profiler saw them.

    Each holds what it called, and the profiler's own work, without which it takes less. What comes
    once an epoch is in none: the order of the images is drawn before the first.
    """
    model, optimizer = fresh(fused=True)
    resident = torch.from_numpy(x)
    options = {"read_each_step": False, "denormals": False}
    epoch_of(shuffled(resident[: 20 * BATCH]), model, negative_elbo, optimizer, **options)
    steps = in_steps(shuffled(resident), -(-len(x) // BATCH))
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        epoch_of(steps, model, negative_elbo, optimizer, **options)
    return [event for event in seen.events() or () if event.key == STEP]


def in_steps(batches: Iterator[Tensor], n: int) -> Iterator[Tensor]:
    """Hand on n batches; a step lasts from asking for one until the next is asked for."""
    for _ in range(n):
        with record_function(STEP):
            yield next(batches)


def divided(step: FunctionEvent) -> dict[str, float]:
    """Divide a step into its parts, in milliseconds: their sum is the time that it took."""
    spent = dict.fromkeys(PARTS, 0.0)
    *_, elementwise, rest = PARTS
    events = [step]
    while events:
        event = events.pop()
        events += event.cpu_children
        part, name = rest, event.key.removeprefix("aten::")
        if name != event.key:
            part = next((p for p, names in PARTS.items() if name in names), elementwise)
        spent[part] += event.self_cpu_time_total / 1000  # without what it calls: one clock
    return spent


def parts(steps: list[FunctionEvent]) -> dict[str, float]:
    """The milliseconds a step of each part: the median over the steps.

    Where another process takes the core for a moment, that time counts for whatever ran just then.
    A mean would show it, and blame a part that takes a tenth of a millisecond.
    """
    each = [divided(step) for step in steps]
    return {part: median(spent[part] for spent in each) for part in PARTS}


# ---- where denormal numbers come from ---------------------------------------------------------


def dead_units(x: np.ndarray, epochs: int) -> tuple[int, float]:
    """Train without clearing; count the units that died, and the denormal means that Adam keeps.

    Returns:
        The hidden units of the encoder that are off for every image, and the share of all of Adam's
        running means of gradients that are not 0 and smaller than float32's smallest normal number.
    """
    resident = torch.from_numpy(x)
    model, optimizer = fresh(fused=True)
    options = {"read_each_step": False, "denormals": True}
    for _ in range(epochs):
        epoch_of(shuffled(resident), model, negative_elbo, optimizer, **options)
    with torch.no_grad():
        on = [(model.encoder.hidden(part) > 0).any(dim=0) for part in resident.split(10_000)]
    means = torch.cat([each["exp_avg"].ravel() for each in optimizer.state.values()]).abs()
    denormal = (means > 0) & (means < torch.finfo(means.dtype).tiny)
    return int((~torch.stack(on).any(dim=0)).sum()), float(denormal.float().mean())


# ---- images in files ---------------------------------------------------------------------------


def from_files(x: np.ndarray, epochs: int) -> list[Row]:
    """Train in turns on images in memory and in ten files, of which a tenth may be in memory."""
    resident, bound = torch.from_numpy(x), x.nbytes // 10
    with TemporaryDirectory() as folder:
        for i, rows in enumerate(np.array_split(x, 10)):
            np.save(f"{folder}/{i}.npy", rows)
        places = {"in one tensor": (resident, None), "in ten files": (folder, bound)}
        runs = {name: fresh(fused=True) for name in places}
        seconds: dict[str, list[float]] = {name: [] for name in places}
        for epoch in range(epochs):
            for name, (images, most) in places.items():
                model, optimizer = runs[name]
                options: dict[str, Any] = {"optimizer": optimizer, "max_bytes": most, "seed": epoch}
                options |= {"epochs": 1, "device": "cpu", "progress": False, "precision": "fast"}
                seconds[name].append(fit(model, negative_elbo, images, **options).seconds)
    return [
        Row(name, median(seconds[name]), evaluate(model, negative_elbo, resident))
        for name, (model, _) in runs.items()
    ]


# ---- growth with the number of images ----------------------------------------------------------


def grow(n: int) -> None:
    """Print the seconds an epoch and the peak memory in MB of a training on n random images."""
    x = torch.rand(n, 784, generator=torch.Generator().manual_seed(0))
    epochs = max(2, 20_000 // n)  # 8 steps alone would measure the start
    options: dict[str, Any] = {"device": "cpu", "precision": "fast", "progress": False}
    history = fit(VAE(), negative_elbo, x, epochs=epochs, **options)
    print(f"{history.seconds / epochs} {peak_megabytes()}")


def peak_megabytes() -> float:
    """Return the most memory that this process has had."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux counts in ru_maxrss what the parent had when it started this one
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        if found:
            return int(found[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024**2 if sys.platform == "darwin" else 1024)


def growth() -> list[tuple[int, float, float]]:
    """Measure each size in a process of its own: images, seconds an epoch, peak MB."""
    rows = []
    for n in SIZES:
        command = [sys.executable, __file__, "--grow", str(n)]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        rows.append((n, float(said[-2]), float(said[-1])))
    return rows


# ---- what an evaluation takes ------------------------------------------------------------------

# By name: images, and what is done with them.
JUDGES: dict[str, tuple[int, Callable[[nn.Module, Tensor], object]]] = {
    "elbo, 10 draws an image": (10_000, partial(elbo, samples=10)),
    "importance_weighted_bound, 500 draws": (
        1_000,
        partial(importance_weighted_bound, samples=500),
    ),
    "diagnose": (4_096, partial(diagnose, loss=negative_elbo)),
}


def judge(name: str) -> None:
    """Print the seconds of an evaluation on random images, and the MB beside model and images."""
    n, evaluation = JUDGES[name]
    model, x = VAE(), torch.rand(n, 784, generator=torch.Generator().manual_seed(0))
    evaluation(model, x[:64])  # what is loaded at the first call does not count
    before, start = peak_megabytes(), time.perf_counter()
    evaluation(model, x)
    print(f"{time.perf_counter() - start} {peak_megabytes() - before}")


def judged() -> list[tuple[str, int, float, float]]:
    """Measure each evaluation in a process of its own: name, images, seconds, MB."""
    rows = []
    for name, (n, _) in JUDGES.items():
        command = [sys.executable, __file__, "--judge", name]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        rows.append((name, n, float(said[-2]), float(said[-1])))
    return rows


def table(title: str, rows: list[Row], slowest: Row) -> str:
    """The rows as a table of Markdown; how many times as fast each is as the slowest."""
    lines = [f"| {title} | seconds an epoch | times as fast | held-out loss, nats |"]
    lines.append("| --- | ---: | ---: | ---: |")
    for row in rows:
        loss = "" if row.loss is None else f"{row.loss:.2f}"
        ratio = slowest.seconds / row.seconds
        lines.append(f"| {row.name} | {row.seconds:.2f} | {ratio:.1f} | {loss} |")
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Run what the arguments ask for; the exit status."""
    if arguments[:1] == ["--grow"]:
        grow(int(arguments[1]))
        return 0
    if arguments[:1] == ["--judge"]:
        judge(arguments[1])
        return 0
    epochs = int(arguments[0]) if arguments else 5
    images = data.mnist(fallback=True)
    print(f"{images.name}, {len(images.x_train)} images, {epochs} epochs,", end=" ")
    print(
        f"{torch.get_num_threads()} threads, products in {runtime.fast_precision()!r} precision\n"
    )
    rows = race(images.x_train, images.x_test, epochs)
    rows.append(numpy_row(images.x_train, images.x_test, epochs))
    names = [name for name, _ in limits(images.x_train[:1])]
    print(table("training", [row for row in rows if row.name not in names], rows[0]), "\n")
    print(table("to measure it by", [row for row in rows if row.name in names], rows[0]))
    print("\n| part of a step | milliseconds, median over steps |\n| --- | ---: |")
    for part, milliseconds in parts(profiled(images.x_train)).items():
        print(f"| {part} | {milliseconds:.2f} |")
    files = from_files(images.x_train, epochs)
    print("\n" + table("images", files, files[-1]))
    dead, share = dead_units(images.x_train, 2)
    print(f"\nAfter two epochs {dead} of 400 hidden units are off for all images,", end=" ")
    print(f"and {share:.1%} of Adam's means of gradients are denormal.")
    print("\n| images | seconds an epoch | peak memory, MB |\n| ---: | ---: | ---: |")
    for n, seconds, megabytes in growth():
        print(f"| {n} | {seconds:.3f} | {megabytes:.0f} |")
    print("\n| evaluation | images | seconds | memory beside them, MB |")
    print("| --- | ---: | ---: | ---: |")
    for name, n, seconds, megabytes in judged():
        print(f"| {name} | {n} | {seconds:.1f} | {megabytes:.0f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
