"""Several processes: the training of one process, and an end without a hang when something breaks.

What the processes do is in tests/team.py. All that goes well is done in one run of two processes.
"""

import itertools
import multiprocessing
import os
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
import team  # noqa: E402
from torch import nn  # noqa: E402

from course_utils import parallel, processes, runtime, shards, training  # noqa: E402
from course_utils.checkpoints import best_weights  # noqa: E402
from course_utils.training import fit  # noqa: E402

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available(), reason="a PyTorch for one process"
)
SCRIPT = str(Path(__file__).with_name("team.py"))
WELL = "equal_curves gradients ddp noise_and_print early_stopping errors unused sparse checkpoints"
WELL += " shard_files small_recipe started_by_others"


def run(folder, *cases, options=("--max-restarts=0",), seconds=900):
    """Start the cases with torchrun on two processes; how it ended, and the results of each."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node=2", *options, SCRIPT, str(folder), *cases]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TEAM_STORE": str(folder / "store")}
    ended = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=seconds
    )
    return ended, results(folder)


def results(folder):
    files = [folder / f"rank{rank}.pt" for rank in (0, 1)]
    return [torch.load(file, weights_only=False) if file.exists() else {} for file in files]


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The results of each rank, by the names of the cases."""
    ended, found = run(tmp_path_factory.mktemp("team"), *WELL.split())
    assert ended.returncode == 0, ended.stderr[-3000:]
    return found


def same(case, both):
    """What both ranks say alike."""
    return both[0][case], both[1][case]


# One process and two ------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("kind", "tolerance"),
    [
        ("single", 1e-5),
        ("double", 1e-12),
        ("uneven", 1e-12),
        ("few", 1e-12),
        ("schedule", 1e-12),
        ("streamed", 1e-5),
    ],
)
def test_two_processes_have_the_losses_of_one_with_batches_twice_as_large(both, kind, tolerance):
    """Without noise they differ by the order of sums alone.

    A sum of m numbers is off by about √m roundings, relatively √128 · 6e-8 = 7e-7 in single
    precision and 1.3e-15 in double. A step of Adam passes a relative error of the gradient on to
    the weights times the rate, 0.01, and 36 steps add up: 36 · 0.01 · 7e-7 is below 1e-6 of what a
    weight is, and the loss moves by about as much as the weights. What is wrong by a weighting, as
    a last batch of one row that counts as a half, shows at 1e-3. (One process adds
    the losses that it reports in single precision.)
    """
    options = {"uneven": {"n": 105}, "few": {"n": 3}, "streamed": {"max_bytes": 24_000}}
    if kind == "schedule":
        options["schedule"] = {
            "schedule": lambda optimizer, steps: torch.optim.lr_scheduler.LinearLR(
                optimizer, 1.0, 0.1, steps
            )
        }
    dtype = torch.float32 if tolerance > 1e-9 else torch.float64
    one = team.curves(dtype, **options.get(kind, {}))
    two = both[0]["equal_curves"][kind]
    np.testing.assert_allclose(two["train"], one["train"], rtol=max(tolerance, 1e-7))
    np.testing.assert_allclose(two["val"], one["val"], rtol=tolerance)
    torch.testing.assert_close(two["weights"], one["weights"], rtol=tolerance, atol=10 * tolerance)
    other = both[1]["equal_curves"][kind]
    assert other["train"] == two["train"] and other["val"] == two["val"]
    assert torch.equal(other["weights"], two["weights"])


def test_with_the_noise_passed_in_gradients_are_those_of_one_process(both):
    """One batch of 1, 2, 7 and 8 rows for two ranks: one of them has none, or one row fewer."""
    for n, ours in both[0]["gradients"].items():
        whole = whole_gradient(n)
        assert whole.abs().max() > 0.1
        torch.testing.assert_close(ours, whole, rtol=1e-6, atol=1e-6)


def whole_gradient(n):
    torch.manual_seed(1)
    net = team.VAE(6, 5, 2, likelihood=team.Gaussian(0.5))
    noise = np.random.default_rng(4).normal(size=(n, 2)).astype(np.float32)
    rows = torch.from_numpy(np.concatenate([team.X[:n], noise], axis=1))
    team.with_given_noise(net, rows).backward()
    found = [torch.zeros_like(p) if p.grad is None else p.grad for p in net.parameters()]
    return torch.cat([each.ravel() for each in found])


def test_gradients_are_those_of_pytorchs_own_engine(both):
    for rank in both:
        torch.testing.assert_close(rank["ddp"], rank["gradients"][8], rtol=1e-6, atol=1e-6)


def test_ranks_share_weights_and_order_and_have_noise_of_their_own(both):
    first, second = same("noise_and_print", both)
    assert torch.equal(first["weights"], second["weights"]) and first["train"] == second["train"]
    # 1025 rows: eight batches of 64 and 64, and one row for one of the two
    assert [n for _, _, n in first["seen"]] == [64] * 8 + [1] + [64] * 8 + [1]
    assert len(second["seen"]) == 18
    # of the loss's generator and of PyTorch's global one, on each rank
    drawn = [{each[which] for each in rank["seen"]} for which in (0, 1) for rank in (first, second)]
    assert len(set.union(*drawn)) == 4 * 18
    assert first["seconds"] > 0 and second["seconds"] > 0
    assert first["after"] == second["after"], "the global generator goes on alike after fit"


def test_one_process_speaks(both):
    first, second = same("noise_and_print", both)
    assert "2 epochs: training loss" in first["printed"] and second["printed"] == ""


def test_early_stopping_stops_all_in_the_same_epoch(both):
    first, second = same("early_stopping", both)
    assert first["history"] == second["history"] and first["history"]["restored"]
    assert len(first["history"]["val"]) == first["history"]["best_epoch"] + 10 < 3000
    assert first["best"] == second["best"] == pytest.approx(min(first["history"]["val"]), rel=1e-6)


def test_what_no_loss_reaches_stays_and_running_means_agree(both):
    first, second = same("unused", both)
    assert torch.equal(first["spare"], torch.ones(3))
    for name, value in first["state"].items():
        assert torch.equal(value, second["state"][name]), name
    mean = first["state"]["1.running_mean"]
    assert 0.1 < mean.abs().max() < 10 and first["state"]["1.num_batches_tracked"] == 22


def test_a_group_that_is_there_is_used_and_left_as_it_is(both):
    for rank in both:
        case = rank["started_by_others"]
        assert case["kept"] and case["store"] is None
        assert case["train"] == rank["equal_curves"]["single"]["train"]


# Errors -------------------------------------------------------------------------------------------
STOPPED = "RuntimeError: rank 1 of 2 stopped all: "
SAID = {
    "raises": "KeyError: 'no such pixel'",
    "raises at once": "KeyError: 'no such pixel'",
    "held-out loss": "KeyError: 'no such pixel'",
    "bad row": "ValueError: x_train must be finite, got nan or infinite entries",
    "other rows": "ValueError: all ranks must be given the same, got x_train 1025 rows",
    "fewer rows": "ValueError: all ranks must be given the same, got x_train 1025 rows",
    "other seed": "ValueError: all ranks must be given the same, got seed 0 on rank 0, 1 on rank 1",
    "other model": "ValueError: all ranks must be given the same, got weights encoder.0.weight",
    "other epochs": "ValueError: all ranks must be given the same, got epochs 3 on rank 0, 4 on",
    "other layers": "ValueError: all ranks must be given the same, got layers Sequential(",
    "other loss": "ValueError: all ranks must be given the same, got loss weighted.<locals>",
    "schedule": "KeyError: 'schedule'",
    "step": "KeyError: 'no such step'",
    "last step": "KeyError: 'no such step'",
    "state": "KeyError: 'no such state'",
}


@pytest.mark.parametrize("case", SAID)
def test_an_error_on_one_rank_ends_all_and_names_the_rank(both, case):
    first, second = (rank["errors"][case] for rank in both)
    assert second.startswith(SAID[case]) and first == STOPPED + second


def test_a_loss_that_is_not_finite_names_rank_epoch_and_batch_on_all(both):
    first, second = (rank["errors"]["nan"] for rank in both)
    wanted = "FloatingPointError: the loss is nan on rank 1 in epoch 3, batch 2 of 9: look for a"
    assert first == second and first.startswith(wanted)


def test_weights_that_something_else_moves_on_one_rank_are_an_error_on_all(both):
    for rank, other in ((0, 1), (1, 0)):
        said = both[rank]["errors"]["moved"]
        assert re.match(rf"RuntimeError: weights must be the same .* on rank {other} than", said)


def test_one_row_for_a_rank_is_refused_to_batch_normalisation(both):
    for rank in both:
        assert "must leave no batch of one row" in rank["errors"]["one row each"]
        assert rank["errors"]["two rows each"] == "no error"


def test_what_is_alike_on_the_ranks_is_not_refused(both):
    for rank in both:
        assert rank["errors"]["same loss"] == rank["errors"]["bfloat16"] == "no error"


def test_sparse_gradients_are_averaged_and_frozen_weights_stay(both):
    first, second = same("sparse", both)
    for kind in ("sparse", "dense"):
        assert first[kind]["said"] == second[kind]["said"] == "no error"
        assert torch.equal(first[kind]["weights"], second[kind]["weights"])
        assert torch.equal(first[kind]["weights"][:6], torch.ones(6))
    torch.testing.assert_close(first["sparse"]["weights"], first["dense"]["weights"])


def test_of_frozen_weights_nobody_asks_a_gpu_whether_they_have_a_gradient(monkeypatch):
    frozen, moved = nn.Parameter(torch.ones(2), requires_grad=False), nn.Parameter(torch.ones(3))
    group = processes.Group(0, 2)
    monkeypatch.setattr(processes.Group, "add", lambda group, values: None)
    average = parallel.Average(group, torch.optim.SGD([frozen, moved], lr=1.0))
    asked, real = [], torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda each: asked.append(1) or real(each))
    moved.grad = torch.full((3,), 4.0)
    assert not average(0.5, failed=False, look=False)
    assert not asked and frozen.grad is None and moved.grad.tolist() == [2.0] * 3
    moved.grad = None
    average(0.5, failed=False, look=False)
    assert len(asked) == 2 and moved.grad is None, "another rank may have one"
    assert average(0.5, failed=True, look=True), "the last number says that a rank has failed"


def test_the_rank_that_writes_tells_the_others_that_it_cannot(both):
    first, second = (rank["errors"]["checkpoint"] for rank in both)
    assert first.startswith(
        "ValueError: checkpoint must be the path of a file, got one in a folder"
    )
    assert second == "RuntimeError: rank 0 of 2 stopped all: " + first
    assert both[0]["errors"]["none"] == both[1]["errors"]["none"] == "no error", (
        "all go on after it"
    )


# Checkpoints, files, the recipe -------------------------------------------------------------------
def test_two_processes_go_on_from_a_checkpoint_bit_for_bit(both):
    for rank in both:
        case = rank["checkpoints"]
        assert len(case["stopped"]["train"]) == 2 and len(case["on"]["train"]) == 5
        assert torch.equal(case["on"]["weights"], case["whole"]["weights"])
        assert case["on"]["train"] == case["whole"]["train"]
        assert case["on"]["val"] == case["whole"]["val"]
        assert not case["gathered"], "the file goes from the first to the others, not all to all"


def test_a_checkpoint_of_one_rank_alone_is_refused(both):
    first, second = (rank["checkpoints"]["of one"] for rank in both)
    assert second.endswith("the same, got checkpoint given on rank 0, none on rank 1")
    assert first == STOPPED + second


def test_files_of_rows_are_dealt_to_the_ranks(both):
    first, second = same("shard_files", both)
    assert first["train"] == second["train"] and first["val"] == second["val"]
    steps = 9  # 1025 rows, 128 at once
    for epoch in (slice(0, steps), slice(steps, 2 * steps)):
        rows = torch.cat([*first["rows"][epoch], *second["rows"][epoch]]).numpy()
        assert np.array_equal(rows[np.lexsort(rows.T)], team.X[np.lexsort(team.X.T)])
    assert abs(len(torch.cat(first["rows"])) - 1025) <= 4, "each has half of the rows, to a block"
    assert max(first["most"], second["most"]) <= 400 // 3, "rows held out; fewer to train on"
    assert re.search("got x_train .* at once on rank 0, .* at once on rank 1", second["refused"])
    assert first["refused"] == STOPPED + second["refused"]


@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize("n", [129, 1_000, 2_050])
def test_no_batch_of_files_has_fewer_rows_than_foreseen(n, ranks, tmp_path):
    """Nor many more, as a training that could be done is not to be refused."""
    np.save(tmp_path / "rows.npy", np.zeros((n, 6), dtype=np.float32))
    net = team.model()
    for batch_size, bound in itertools.product((1, 2, 7, 40), (100, 128)):
        x = shards.rows_of_folder("x", tmp_path, net, max_bytes=bound * 24, at_least=batch_size)
        counts = [
            parallel.draw(
                processes.Group(rank, ranks), torch.Generator(), x, batch_size, torch.device("cpu")
            ).counts
            for rank in range(ranks)
        ]
        foreseen = parallel.fewest_rows(x, batch_size, ranks)
        assert foreseen <= min(map(min, counts)) <= foreseen + 1 + x.source.block


def test_batch_normalisation_has_two_rows_wherever_it_is_not_refused(tmp_path):
    net = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6))
    rows = np.zeros((2_050, 6), dtype=np.float32)
    with pytest.raises(ValueError, match="for 2050 rows and 2 processes: take 65"):
        training._check_last_batch(net, torch.from_numpy(rows), 64, 2)
    training._check_last_batch(net, torch.from_numpy(rows), 65, 2)
    np.save(tmp_path / "rows.npy", rows)
    dealt = shards.rows_of_folder("x", tmp_path, net, max_bytes=400 * 24, at_least=64)
    training._check_last_batch(net, dealt, 64, 2)  # dealt files end in no smaller batch
    with pytest.raises(ValueError, match="got 2 for 3 rows and 2 processes: no other serves: take"):
        training._check_last_batch(net, torch.from_numpy(rows[:3]), 2, 2)
    with pytest.raises(ValueError, match="got 2 for 7 rows: take 4"):
        training._check_last_batch(net, torch.from_numpy(rows[:7]), 2, 1)  # 3 leave one, too


def test_the_recipe_runs_on_two_processes_and_one_writes(both):
    first, second = same("small_recipe", both)
    assert "stored" in first["printed"] and second["printed"] == ""
    for each in (first, second):
        assert each["refused"] == "ValueError: batch_size must be for 2 processes, got 33"


# Faults -------------------------------------------------------------------------------------------
def test_a_killed_rank_is_named_by_torchrun_and_a_restart_goes_on_to_the_same_weights(
    tmp_path, both
):
    ended, found = run(tmp_path, "killed", options=("--max-restarts=1",))
    whole = both[0]["checkpoints"]["whole"]
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert re.search(r"exitcode: -9\) local_rank: 1", ended.stderr)
    for rank in found:
        assert rank["killed"]["seen"] == 9, "three epochs of three batches were left to do"
        assert torch.equal(rank["killed"]["weights"], whole["weights"])
        assert rank["killed"]["train"] == whole["train"]
    with pytest.raises(ValueError, match="got killed.pt with processes 2 in it, 1 here"):
        team.killed(tmp_path)
    assert set(best_weights(tmp_path / "killed.pt")) == set(team.model().state_dict())


@contextmanager
def by_hand_environment():
    """What torchrun says of two processes, with a place for their notes."""
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    yield {
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }


def child(rank, environment, folder, case):
    """One of two processes, split off from this one: a new one would take seconds to begin."""
    os.environ.update(environment | {"RANK": str(rank)})
    team.RANK, team.SIZE = rank, 2
    team.main(folder, case)


def by_hand(folder, case):
    """Two processes that nobody watches over; the first one's result once it has ended."""
    context = multiprocessing.get_context("fork")
    with by_hand_environment() as environment:
        both = [
            context.Process(target=child, args=(rank, environment, folder, case)) for rank in (0, 1)
        ]
        for process in both:
            process.start()
        try:
            both[0].join(600)
            return results(folder)[0][case]
        finally:
            for process in both:
                process.kill()
                process.join()


@pytest.mark.skipif(sys.platform != "linux", reason="a process split off from this one")
@pytest.mark.parametrize(
    ("name", "why", "most"),
    [("gone", "closed|reset", 60), ("asleep", "Timed out waiting 5000ms", 90)],
)
def test_a_rank_that_is_gone_or_asleep_is_named_in_time(tmp_path, name, why, most):
    """Asleep: five seconds for the sum, and one for the answer that does not come."""
    folder = tmp_path / name
    folder.mkdir()
    case = by_hand(folder, "lost")
    assert re.match(
        r"ProcessLost: rank 1 of 2 did not answer rank 0, which cannot go", case["said"]
    )
    assert re.search(why, case["said"]) and case["took"] < most
    assert case["best"], "the weights of the best epoch are in the model"


def test_a_rank_that_never_comes_is_named_in_time(monkeypatch):
    with by_hand_environment() as environment:
        for name, value in (environment | {"RANK": "0"}).items():
            monkeypatch.setenv(name, value)
        start = time.monotonic()
        with pytest.raises(processes.ProcessLost, match="rank 1 of 2 did not come within 1 s"):
            fit(team.model(), team.squared_error_loss, team.X, timeout=1.0)
    assert 1 <= time.monotonic() - start < 60 and not torch.distributed.is_initialized()


def test_notes_that_nobody_gives_out_are_not_waited_for(monkeypatch):
    """A process that keeps the notes and is asleep answers no question, with no time limit."""

    class Asleep:
        def set(self, key, value):
            time.sleep(20)

        def check(self, keys):
            return True

    monkeypatch.setattr(processes, "ANSWER_WITHIN", -4.5)  # half a second in all
    start = time.monotonic()
    lost = processes.Group(1, 2, store=Asleep())._lost(RuntimeError("Connection reset"))
    assert time.monotonic() - start < 10
    assert str(lost) == "a rank did not answer rank 1, which cannot go on: Connection reset"


# One process --------------------------------------------------------------------------------------
def test_one_process_starts_nothing(monkeypatch):
    for size in (None, "1"):
        monkeypatch.delenv("WORLD_SIZE", raising=False)
        if size:
            monkeypatch.setenv("WORLD_SIZE", size)
        team.curves()
        assert processes.join() is None and not torch.distributed.is_initialized()


def test_an_environment_that_is_not_whole_is_named(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ValueError, match="WORLD_SIZE=2 and no MASTER_ADDR and no MASTER_PORT"):
        team.fit(team.model(), team.squared_error_loss, team.X)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("WORLD_SIZE", "two", "WORLD_SIZE=two and no number of processes"),
        ("WORLD_SIZE", "0", "WORLD_SIZE=0 and no number of processes"),
        ("RANK", "x", "WORLD_SIZE=2 and RANK=x"),
        ("RANK", "7", "WORLD_SIZE=2 and RANK=7"),
        ("MASTER_PORT", "http", "WORLD_SIZE=2 and MASTER_PORT=http"),
    ],
)
def test_a_number_in_the_environment_that_is_none_is_named(name, value, said, monkeypatch):
    whole = {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    for each, its in (whole | {name: value}).items():
        monkeypatch.setenv(each, its)
    with pytest.raises(ValueError, match=f"the environment must be one that .* got {said}$"):
        processes.join(2.0)


@pytest.mark.parametrize("bad", [0, -1.0, float("nan"), float("inf")])
def test_a_bad_timeout_is_named(bad):
    with pytest.raises(ValueError, match="timeout must be above 0 and finite"):
        fit(team.model(), team.squared_error_loss, team.X, timeout=bad)


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 64])
def test_a_batch_is_cut_in_parts_that_differ_by_one_row_at_most(parts):
    for n in range(130):
        bounds = [parallel.cut(n, i, parts) for i in range(parts)]
        assert bounds[0][0] == 0 and bounds[-1][1] == n
        assert all(a[1] == b[0] for a, b in zip(bounds[:-1], bounds[1:], strict=True))
        sizes = [stop - start for start, stop in bounds]
        assert max(sizes) - min(sizes) <= 1


def test_each_pair_of_seed_and_rank_has_noise_of_its_own():
    three = itertools.product(range(50), range(50), range(2))
    assert len({parallel.noise_seed(*numbers) for numbers in three}) == 5000


def test_without_a_gpu_the_device_of_a_rank_is_the_cpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    group = processes.Group(1, 2)
    assert group.device() == group.device("cpu") == runtime.device("cpu")
    with pytest.raises(ValueError, match="device of this machine"):
        group.device("toaster")


def test_with_gpus_each_rank_of_a_machine_has_its_own(monkeypatch):
    chosen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert processes.Group(7, 8).device() == torch.device("cuda", 3) and chosen == [3]
    monkeypatch.delenv("LOCAL_RANK")
    assert processes.Group(1, 2).device("cuda") == torch.device("cuda", 1)
