"""The race of `make bench` is fair: one model, one loss, and what the page says of it holds."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

import bench  # noqa: E402
from course_utils import data, runtime  # noqa: E402
from course_utils.training import evaluate  # noqa: E402
from course_utils.vae import VAE, negative_elbo  # noqa: E402

PAGE = Path(__file__).parents[1] / "book" / "speed.md"


@pytest.fixture(scope="module")
def images():
    return data.stroke_digits(512, seed=0).images


@pytest.fixture(scope="module")
def rows(images):
    with runtime.threads(1):
        return [*bench.race(images, images, 2), bench.numpy_row(images, images, 2)]


def test_every_way_to_train_comes_to_about_the_same_loss(rows):
    losses = [row.loss for row in rows if row.loss is not None]
    assert len(rows) - len(losses) == 2, "the products alone train nothing"
    assert max(losses) < 0.6 * 784 * np.log(2), "all have learned something"
    assert max(losses[:-1]) < 1.03 * min(losses[:-1])
    # the NumPy one starts from other weights, which 8 steps do not forget
    assert abs(losses[-1] - losses[0]) < 0.2 * losses[0]


def test_the_tutorials_loss_is_ours():
    torch.manual_seed(1)
    model, x = VAE(), torch.rand(7, 784)
    torch.manual_seed(2)
    expected = bench.tutorial_loss(model, x)
    torch.manual_seed(2)
    torch.testing.assert_close(negative_elbo(model, x), expected)


def test_the_tutorials_images_are_the_tensors_to_a_grey_step(images):
    dataset = bench.TutorialImages(images)
    assert len(dataset) == len(images) and dataset[3][0].shape == (1, 28, 28)
    shown = torch.stack([dataset[i][0] for i in range(20)]).flatten(1)
    torch.testing.assert_close(shown, torch.from_numpy(images[:20]), atol=0.501 / 255, rtol=0)


def test_the_products_alone_are_those_of_a_step():
    model, x = VAE(), torch.rand(bench.BATCH, 784)
    with FlopCounterMode(display=False) as step:
        negative_elbo(model, x).backward()
    with FlopCounterMode(display=False) as alone:
        assert bench.products(bench.BATCH, torch.float32) > 0
    assert alone.get_total_flops() == step.get_total_flops()
    with FlopCounterMode(display=False) as two:
        bench.products(bench.BATCH + 1, torch.bfloat16)
    assert two.get_total_flops() == 2 * step.get_total_flops()


def test_the_parts_of_a_step_are_all_of_it(images):
    with runtime.threads(1):
        steps = bench.profiled(np.tile(images, (3, 1)))
    assert len(steps) == 12
    for step in steps:
        spent = bench.divided(step)
        assert list(spent) == list(bench.PARTS) and all(value > 0 for value in spent.values())
        assert sum(spent.values()) == pytest.approx(step.cpu_time_total / 1000)
    usual = bench.parts(steps)
    assert list(usual) == list(bench.PARTS)
    assert usual["matrix products"] > usual["the optimiser"] > usual["drawing the batch"]


def seen(key, milliseconds, *called):
    """An event as the profiler gives it, with its own time and what it called."""
    own = 1000 * milliseconds
    return SimpleNamespace(key=key, self_cpu_time_total=own, cpu_children=list(called))


def step_of(*, drawing=0.125):
    update = seen("Optimizer.step#Adam.step", 0.25, seen("aten::_fused_adam_", 0.5))
    backward = seen("AddmmBackward0", 0.25, seen("aten::mm", 2.0), seen("aten::sum", 0.75))
    draw = seen("aten::index_select", drawing, seen("aten::empty", 0.0625))
    return seen(bench.STEP, 0.5, draw, seen("aten::linear", 0.25, seen("aten::addmm", 4.0)),
                backward, update)  # fmt: skip


def test_an_operation_that_waited_for_the_core_distorts_no_part():
    of_each = [6.0, 0.5, 0.125, 0.0625, 1.0, 1.0]
    usual = dict(zip(bench.PARTS, of_each, strict=True))
    assert bench.divided(step_of()) == usual
    steps = [step_of(drawing=20.0) if i % 3 == 0 else step_of() for i in range(12)]
    assert bench.divided(steps[0])["drawing the batch"] == 20.0
    assert bench.parts(steps) == usual


def test_the_program_in_jax_has_our_loss_and_learns():
    bench_jax = pytest.importorskip("bench_jax", reason="JAX is not installed")
    model, x = VAE(), torch.rand(200, 784)
    training = bench_jax.JaxTraining(model, x.numpy(), batch_size=128, rate=1e-3)
    first = evaluate(model, negative_elbo, x)
    with torch.no_grad():  # a decoder that does not look at the code has a loss without noise
        model.decoder.hidden[0].weight.zero_()
    blind = {name: value.numpy() for name, value in model.state_dict().items()}
    theirs = bench_jax.negative_elbo(blind, x.numpy(), bench_jax.jax.random.key(0))
    assert float(theirs) == pytest.approx(negative_elbo(model, x).item(), rel=1e-5)
    assert training() > 0 and training.state[0].count == 2, "200 images are two steps"
    assert evaluate(model, negative_elbo, x) < first - 1


def test_every_image_is_drawn_once_an_epoch():
    x = torch.arange(300.0)[:, None]
    batches = list(bench.shuffled(x))
    assert [len(b) for b in batches] == [128, 128, 44]
    assert sorted(torch.cat(batches)[:, 0].tolist()) == x[:, 0].tolist()


def test_training_in_any_precision_leaves_the_precision_as_it_was(images):
    before = torch.get_float32_matmul_precision()
    bench.race(images[:128], images[:128], 1)
    assert torch.get_float32_matmul_precision() == before
    assert evaluate(VAE(), negative_elbo, images[:8]) > 0


def test_images_in_files_are_trained_on_as_those_in_memory(images):
    with runtime.threads(1):
        memory, files = bench.from_files(np.tile(images, (8, 1)), 3)
    assert memory.loss < 0.6 * 784 * np.log(2) and abs(files.loss / memory.loss - 1) < 0.05
    assert files.seconds > 0 and memory.seconds > 0


def test_growth_reports_seconds_and_megabytes(capsys):
    bench.grow(256)
    seconds, megabytes = map(float, capsys.readouterr().out.split())
    assert seconds > 0 and 50 < megabytes < 10_000


def test_an_evaluation_reports_seconds_and_megabytes(capsys, monkeypatch):
    for name, (_, evaluation) in bench.JUDGES.items():
        monkeypatch.setitem(bench.JUDGES, name, (8, evaluation))
        bench.judge(name)
        seconds, megabytes = map(float, capsys.readouterr().out.split()[-2:])
        assert seconds > 0 and megabytes >= 0


def test_units_that_died_leave_denormal_means_and_none_are_there_at_the_start(images):
    with runtime.threads(1):
        few, none = bench.dead_units(images[:16], 1)
        dead, share = bench.dead_units(images[:16], 1_000)  # one batch, so one step, an epoch
    assert few < dead < 400 and none == 0.0
    # half of all weights are the encoder's; those of pixels that are never lit have no gradient
    assert 0.5 * dead / 800 < share < 1.1 * dead / 800


def table(first_cell):
    """Read the rows of the page's table whose heading begins with ``first_cell``."""
    lines = PAGE.read_text(encoding="utf-8").split(f"| {first_cell} |")[1].split("\n\n")[0]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines.splitlines()[2:]]


def test_the_page_shows_the_rows_that_the_race_has():
    names = [name for name, _ in bench.ladder(np.zeros((1, 784), dtype=np.float32))]
    assert [row[0] for row in table("training")] == [*names, "chapter 12, NumPy alone"]


def test_the_pages_numbers_hold_what_the_course_promises():
    rows = {name: list(map(float, numbers)) for name, *numbers in table("training")}
    seconds, ratio, loss = rows["course_utils.training.fit"]
    slow, _, slow_loss = rows["the tutorial's loop"]
    assert ratio >= 3.5 and abs(slow / seconds - ratio) < 0.1 * ratio
    assert abs(loss / slow_loss - 1) < 0.005


def test_time_and_memory_grow_no_faster_than_the_number_of_images():
    small, middle, large = (list(map(float, row)) for row in table("images"))
    assert 4 < large[1] / middle[1] < 8, "six times the images"
    per_image = (large[2] - middle[2]) * 1e6 / (large[0] - middle[0])
    assert 0.7 * 4 * 784 < per_image < 1.5 * 4 * 784, "bytes: the pixels are there once"
    assert small[1] < middle[1] < large[1]


def test_the_page_names_the_command():
    assert re.search(r"`make bench`", PAGE.read_text(encoding="utf-8"))
