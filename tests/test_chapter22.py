"""Chapter 22: the ring, the clocks, processes that are started; other right answers pass."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from course_utils.cluster import finish, ring, ring_all_reduce, step_seconds
from course_utils.exercises import check

torch = pytest.importorskip("torch")
torchrun = pytest.importorskip("course_utils.torchrun")

ROOT = Path(__file__).parents[1]
HELLO = """
import json, os
import torch.distributed as dist
dist.init_process_group("gloo")
said = [None] * dist.get_world_size()
dist.all_gather_object(said, [os.environ["RANK"], os.environ["OMP_NUM_THREADS"]])
dist.destroy_process_group()
if os.environ["RANK"] == "0":
    print("words before the report")
    print(json.dumps(said))
"""


def rng():
    return np.random.default_rng(22)


# the ring ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("n", [1, 4, 7, 40])
def test_a_ring_ends_with_the_sum_and_sends_what_the_formula_says(p, n):
    arrays = rng().normal(size=(p, n))
    before = arrays.copy()
    sums, sent = ring_all_reduce(arrays)
    np.testing.assert_allclose(sums, np.broadcast_to(arrays.sum(axis=0), (p, n)), atol=1e-12)
    np.testing.assert_array_equal(arrays, before)
    piece = -(-n // p)
    assert sent.tolist() == [2 * (p - 1) * piece * 8] * p


def test_a_ring_keeps_the_type_of_its_numbers():
    sums, sent = ring_all_reduce(rng().normal(size=(4, 8)).astype(np.float32))
    assert sums.dtype == np.float32 and sent.tolist() == [2 * 3 * 2 * 4] * 4


def test_every_piece_has_one_length():
    process, lengths, piece = ring(np.arange(10.0), 1, 4), [], None
    for _ in range(6):
        piece = process.send(piece)
        lengths.append(len(piece))
    assert lengths == [3] * 6


def test_a_process_with_more_to_send_is_not_finished():
    process = ring(np.ones(4), 0, 3)
    with pytest.raises(ValueError, match="process must have one piece left"):
        finish(process, None)


# the clocks --------------------------------------------------------------------------------------


def by_messages(compute, n_bytes, latency, bandwidth):
    """The same by a queue of events: each process sends as soon as it may, one after the other."""
    p = len(compute)
    sending = n_bytes / p / np.asarray(bandwidth)
    done = [[float(c)] for c in compute]
    for k in range(2 * (p - 1)):
        for r in range(p):
            left = (r - 1) % p
            free = done[r][k] + sending[r]
            there = done[left][k] + sending[left] + latency[left]
            done[r].append(max(free, there))
    return [times[-1] for times in done]


@pytest.mark.parametrize("p", [1, 2, 5, 9])
def test_the_clocks_are_those_of_single_messages(p):
    draw = rng()
    compute, latency, bandwidth = draw.random(p), 0.1 * draw.random(p), 1 + draw.random(p)
    found = step_seconds(compute, 3.0, latency, bandwidth)
    np.testing.assert_allclose(found, by_messages(compute, 3.0, latency, bandwidth), rtol=1e-12)


def test_a_ring_is_as_fast_as_its_slowest_line():
    bandwidth = np.full(8, 1e9)
    quick = step_seconds(np.zeros(8), 8e6, np.zeros(8), bandwidth).max()
    bandwidth[3] = 1e8
    assert step_seconds(np.zeros(8), 8e6, np.zeros(8), bandwidth).max() == pytest.approx(10 * quick)


def test_latencies_add_up_along_the_ring():
    """A message that goes round passes each line as often as the others: 2 (p − 1) in all."""
    latency = np.where(np.arange(16) % 8 == 7, 9.6e-6, 3.4e-6)
    found = step_seconds(np.zeros(16), 0.0, latency, np.ones(16)).max()
    assert found == pytest.approx(26 * 3.4e-6 + 4 * 9.6e-6)


def test_nothing_to_send_and_one_process_take_the_time_of_computing():
    assert step_seconds(np.array([2.0]), 1e9, np.array([1.0]), np.array([1.0])).tolist() == [2.0]


# processes ---------------------------------------------------------------------------------------


def test_a_script_reports_from_its_processes():
    assert torchrun.report("none", HELLO, processes=2) == [["0", "1"], ["1", "1"]]


def test_a_process_that_breaks_as_python_ends_has_done_its_work():
    script = """
import atexit, os
class Late:
    def __del__(self):
        os.abort()
late = Late()
atexit.register(print, 2)
print(1)
"""
    assert torchrun.report("none", script, processes=1) == 2


def test_the_last_words_are_those_of_one_rank_and_never_none():
    assert torchrun._last_words(["[rank1]: a", "[rank10]: b", "[rank1]: c"]) == [
        "[rank1]: a",
        "[rank1]: c",
    ]
    assert torchrun._last_words(["torch/distributed/elastic: killed"]) != []


def test_nothing_is_left_in_the_folder_for_temporary_files(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(torchrun.tempfile, "tempdir", None)
    assert torchrun.report("none", "print(1)", processes=1) == 1
    assert list(tmp_path.iterdir()) == []


def test_an_error_in_the_script_is_the_error_and_no_reason_for_stored_numbers():
    with pytest.raises(torchrun.ScriptError, match=r"ZeroDivisionError: division by zero$"):
        torchrun.report("ring", "1 / 0", processes=2)


def test_a_report_that_is_no_json_is_told():
    with pytest.raises(torchrun.ScriptError, match="the last line must be JSON, got 'words"):
        torchrun.report("ring", "print('words')", processes=1)


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("raise SystemExit('no data here')", "no data here"),
        ("class Lost(Exception): ...\nraise Lost('rank 1 is gone')", "rank 1 is gone"),
        (
            "try:\n    {}['w']\nexcept KeyError as error:\n    raise ValueError('no w') from error",
            "no w",
        ),
    ],
)
def test_the_last_words_of_a_script_are_those_that_explain(script, says):
    with pytest.raises(torchrun.ScriptError, match=f"{says}$"):
        torchrun.report("ring", script, processes=1)


@pytest.mark.parametrize(
    ("name", "value"),
    [("bandwidth", 0.0), ("bandwidth", np.nan), ("latency", -1.0), ("compute", np.inf)],
)
def test_a_step_of_impossible_numbers_is_refused(name, value):
    given = {"compute": np.ones(2), "latency": np.ones(2), "bandwidth": np.ones(2)}
    given[name] = np.array([1.0, value])
    with pytest.raises(ValueError, match=name):
        step_seconds(given["compute"], 1.0, given["latency"], given["bandwidth"])
    with pytest.raises(ValueError, match="n_bytes"):
        step_seconds(np.ones(2), -1.0, np.ones(2), np.ones(2))


def test_a_script_without_end_is_ended_and_leaves_no_process(tmp_path, monkeypatch):
    script = (
        f"import os, time\nopen({str(tmp_path)!r} + '/' + str(os.getpid()), 'w')\ntime.sleep(600)"
    )
    ended = torchrun._ended

    def once_both_have_begun(started, seconds):
        """Their limit counts from here: however busy the machine is, there is something to end."""
        last = time.monotonic() + 120
        while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < last:
            time.sleep(0.05)
        return ended(started, seconds)

    monkeypatch.setattr(torchrun, "_ended", once_both_have_begun)
    start = time.monotonic()
    with pytest.raises(torchrun.ScriptError, match="not done after 0.5 s: does one wait"):
        torchrun.report("ring", script, processes=2, seconds=0.5)
    assert time.monotonic() - start < 150
    pids = [int(path.name) for path in tmp_path.iterdir()]
    assert len(pids) == 2 and not any(alive(pid) for pid in pids)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ("dist", "this PyTorch has no torch.distributed with gloo"),
        ("executable", "no Python that could be started is known"),
        ("socket", "no connection within this machine: refused"),
    ],
)
def test_where_no_process_can_be_started_one_line_says_why(monkeypatch, capsys, broken, says):
    def refuse(*args):
        raise OSError("refused")

    if broken == "dist":
        monkeypatch.setattr(torchrun.dist, "is_available", lambda: False)
    if broken == "executable":
        monkeypatch.setattr(sys, "executable", None)
    if broken == "socket":
        monkeypatch.setattr(torchrun.socket, "create_server", refuse)
    assert torchrun.report("fit", "1 / 0") == torchrun.stored()["fit"]
    out = capsys.readouterr().out
    assert out == f"2 processes could not run here ({says}): stored numbers stand in.\n"


def test_a_python_that_cannot_be_started_is_told(monkeypatch, capsys):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert torchrun.report("fit", "1 / 0") == torchrun.stored()["fit"]
    assert "No such file" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"processes": 0}, "processes must"),
        ({"seconds": 0}, "seconds must"),
        ({"since": "new"}, "since must be a version such as \"2.8\", got 'new'"),
    ],
)
def test_options_out_of_their_range_are_named(options, says):
    with pytest.raises(ValueError, match=says):
        torchrun.report("fit", "", **options)


def test_where_pytorch_is_too_old_for_a_script_one_line_says_so(monkeypatch, capsys):
    monkeypatch.setattr(torchrun.torch, "__version__", "2.7.1+cpu")
    assert torchrun.report("fit", "1 / 0", since="2.8") == torchrun.stored()["fit"]
    assert "(PyTorch 2.7.1+cpu is older than 2.8): stored numbers" in capsys.readouterr().out
    monkeypatch.setattr(torchrun, "_run", lambda path, *rest: (f"[{path.read_text()[0]}]", ""))
    assert torchrun.report("fit", "1 / 0", since="2.7.1") == [1], "new enough: the script is run"


def test_an_unknown_report_is_named(monkeypatch):
    monkeypatch.setattr(torchrun.dist, "is_available", lambda: False)
    with pytest.raises(
        ValueError, match="name must be one of costs, fit, ring, sharded, got 'other'"
    ):
        torchrun.report("other", "")


def code_of_chapter():
    path = next((ROOT / "notebooks").glob("22_*.ipynb"))
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    kept = [c for c in cells if c["cell_type"] == "code"]
    return {c["id"]: "".join(c["source"]) for c in kept}


def test_the_chapter_reads_the_stored_reports_under_their_names():
    """Each stored report has the form of a fresh one, and the claims hold on it."""
    cells = code_of_chapter()
    names = re.findall(r'torchrun\.report\("(\w+)", ', "\n".join(cells.values()))
    assert sorted(names) == sorted(torchrun.stored())


def test_the_first_half_of_the_chapter_holds_without_processes(tmp_path):
    """Without torch.distributed the stored numbers stand in, and no claim fails on them."""
    cells = code_of_chapter()
    upto = list(cells)[1 : list(cells).index("predict-claims") + 1]  # without the first cell
    lines = ["import torch.distributed as d", "d.is_available = lambda: False"]
    code = "\n".join([*lines, *(cells[name] for name in upto)])
    (tmp_path / "chapter.py").write_text(code, encoding="utf-8")
    variables = {**os.environ, "MPLBACKEND": "agg", "PYTHONIOENCODING": "utf-8"}
    variables["PYTHONPATH"] = str(ROOT / "src")
    done = subprocess.run(
        [sys.executable, tmp_path / "chapter.py"],
        env=variables,
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("stored numbers stand in") == 3
    assert "✓ dense: nor ten times too short" in done.stdout


def test_the_package_is_found_by_processes_of_a_folder_that_is_not_installed(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    found = torchrun._environment()["PYTHONPATH"].split(os.pathsep)
    assert found == [str(ROOT / "src"), "/somewhere"]


def test_the_claims_on_a_sharded_model_hold_on_the_stored_report():
    cells = code_of_chapter()
    lines = ["import torch", "from course_utils import torchrun"]
    lines += ["from course_utils.verify import verify"]
    lines += ["from course_utils.autoencoders import Autoencoder, squared_error_loss"]
    lines += ['sharded = torchrun.stored()["sharded"]', cells["sharded-one"]]
    lines.append(cells["sharded-claims"])
    exec("\n".join(lines), {})  # a claim that fails raises an error


def test_fit_refuses_a_sharded_model():
    script = """
import json, os
import torch, torch.distributed as dist
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from course_utils.autoencoders import Autoencoder, squared_error_loss
from course_utils.training import fit
dist.init_process_group("gloo")
model = Autoencoder((16, 8, 4))
fully_shard(model, mesh=dist.init_device_mesh("cpu", (1,)))
try:
    fit(model, squared_error_loss, torch.rand(64, 16), epochs=1, progress=False)
    said = "nothing"
except TypeError as error:
    said = str(error)
older = FullyShardedDataParallel(Autoencoder((16, 8, 4)), device_id=torch.device("cpu"))
try:
    fit(older, squared_error_loss, torch.rand(64, 16), epochs=1, progress=False)
except TypeError as error:
    said += "; " + str(error)
print(json.dumps(said))
dist.destroy_process_group()
"""
    fsdp = pytest.importorskip("torch.distributed.fsdp", reason="no fully_shard")
    if not hasattr(fsdp, "fully_shard"):
        pytest.skip("this PyTorch has no fully_shard")
    said = torchrun.report("none", script, processes=1)
    assert said.startswith("model must have whole weights, got encoder.0.weight in parts")
    assert "; model must have whole weights, got FullyShardedDataParallel: train" in said


def test_fit_sends_one_number_a_weight_and_a_few_flags():
    """What (22.2) calls S, counted where `fit` hands it over."""
    script = """
import json, os
import torch, torch.distributed as dist
from course_utils.autoencoders import Autoencoder, squared_error_loss
from course_utils.training import fit
torch.manual_seed(0)
inner, sizes = dist.all_reduce, []
def counted(tensor, *args, **kwargs):
    sizes.append(tensor.numel() * tensor.element_size())
    return inner(tensor, *args, **kwargs)
dist.all_reduce = counted
model = Autoencoder((16, 8, 4))
fit(model, squared_error_loss, torch.rand(64, 16), epochs=1, batch_size=16, progress=False)
weights = list(model.parameters())
if os.environ["RANK"] == "0":
    print(json.dumps([sizes, sum(w.numel() for w in weights), len(weights)]))
"""
    sizes, n, tensors = torchrun.report("none", script, processes=2)
    assert sizes.count(4 * (n + tensors + 1)) == 2  # steps of 32 rows


# other right answers -----------------------------------------------------------------------------


def passes(capsys, number, answer):
    check(number, answer)
    return capsys.readouterr().out.startswith("✓")


def test_an_average_by_numpys_own_weights_passes(capsys):
    def average(gradients, rows):
        return np.average(np.nan_to_num(gradients), axis=0, weights=rows)

    assert passes(capsys, "22.1", average)


def test_a_search_by_doubling_for_the_best_number_passes(capsys):
    def best(compute, n_bytes, latency, bandwidth):
        def step(p):
            return (compute - 2 * n_bytes / bandwidth) / p + 2 * latency * p

        low, high = 1, 2
        while step(high) < step(high - 1):
            high *= 2
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if step(middle + 1) < step(middle) else (low, middle)
        return low

    assert passes(capsys, "22.2", best)


def test_a_running_sum_by_the_size_of_its_last_digit_passes(capsys):
    def running(x, bits):
        total = 0.0
        for value in x:
            total += value
            step = 2.0 ** (np.floor(np.log2(total)) - bits + 1)
            total = round(total / step) * step
        return total

    assert passes(capsys, "22.3", running)


def test_a_line_by_least_squares_passes(capsys):
    def scale(squared, rows):
        design = np.stack([np.ones(len(rows)), 1 / rows], axis=1)
        signal, noise = np.linalg.lstsq(design, squared, rcond=None)[0]
        return noise / signal

    assert passes(capsys, "22.4", scale)


def test_bytes_by_kinds_pass(capsys):
    def held(layers, p, shard):
        n, kinds = sum(layers), 4
        divided = {"nothing": 0, "means": 2, "all": 4}[shard]
        total = 4 * n * (kinds - divided) + 4 * n * divided / p
        return total + (8 * max(layers) if shard == "all" else 0)

    assert passes(capsys, "22.5", held)


def test_half_precision_of_pytorch_agrees_with_the_running_sum():
    """PyTorch's bfloat16 has 8 significant bits: the same sums."""
    from course_utils.exercises.chapter22 import running_sum

    x = rng().random(200)
    exact = torch.tensor(x).bfloat16()
    total = torch.zeros((), dtype=torch.bfloat16)
    for value in exact:
        total += value
    assert running_sum(exact.double().numpy(), 8) == total.item()
