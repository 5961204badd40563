"""A folder of .npy files: each row once an epoch, in bounded memory, errors named."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from course_utils import shards  # noqa: E402
from course_utils.autoencoders import Autoencoder, squared_error_loss  # noqa: E402
from course_utils.shards import ShardedRows, rows_of_folder  # noqa: E402
from course_utils.training import evaluate, fit  # noqa: E402
from course_utils.vae import VAE, negative_elbo  # noqa: E402

N, D = 3_000, 6
X = np.random.default_rng(4).random((N, D)).astype(np.float32)
X[:, 0] = np.arange(N) / N  # says where a row stands
ROW = 4 * D
BOUND = 700 * ROW  # of 3000 rows; with batches of 32, pools of 212 rows in blocks of 3


def folder(tmp_path, x=X, cuts=(1_000, 1_001, 2_500), dtype=None):
    for i, rows in enumerate(np.split(x, cuts)):
        np.save(tmp_path / f"part-{i}.npy", rows.astype(dtype or x.dtype))
    return tmp_path


def vae():
    torch.manual_seed(3)
    return VAE(D, 5, 2)


def opened(path, model=None, bound=BOUND, at_least=32):
    return rows_of_folder("x", path, model or vae(), max_bytes=bound, at_least=at_least)


def trained(x, x_val=None, **options):
    model = vae()
    options = {"epochs": 2, "batch_size": 32, "seed": 5, "progress": False} | options
    history = fit(model, negative_elbo, x, x_val, **options)
    return torch.cat([p.detach().ravel() for p in model.parameters()]), history.train, history.val


def assert_same(one, two):
    assert torch.equal(one[0], two[0]) and one[1:] == two[1:]


def an_epoch(rows, batch_size=32, seed=0):
    counts, batches = rows.drawn(batch_size, torch.Generator().manual_seed(seed))
    drawn = list(batches)
    assert [len(each) for each in drawn] == counts
    return drawn


def places(batch):
    return (batch[:, 0] * N).round().long()


# The same rows ------------------------------------------------------------------------------------
@pytest.mark.parametrize("bound", [None, N * ROW])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2"])
def test_what_fits_in_memory_trains_as_the_array_does_bit_for_bit(bound, dtype, tmp_path):
    path = folder(tmp_path, dtype=dtype)
    array = X.astype(dtype).astype(np.float32)
    assert_same(
        trained(path, str(path), max_bytes=bound, patience=2), trained(array, array, patience=2)
    )


@pytest.mark.parametrize("batch_size", [1, 32, 200, 233])
def test_each_row_comes_once_an_epoch_in_a_new_order(batch_size, tmp_path):
    rows = opened(folder(tmp_path), at_least=batch_size, bound=BOUND)
    assert isinstance(rows, ShardedRows) and len(rows) == N
    first, second = (torch.cat(an_epoch(rows, batch_size, seed)) for seed in (0, 1))
    for epoch in (first, second):
        assert torch.equal(epoch[places(epoch).argsort()], torch.from_numpy(X))
    assert not torch.equal(first, second)
    assert torch.equal(first, torch.cat(an_epoch(rows, batch_size, 0))), "the seed says which"


def test_a_batch_holds_rows_of_many_blocks_and_of_several_files(tmp_path):
    rows = opened(folder(tmp_path))
    assert rows.at_once == (700 - 2 * 32) // 3 and rows.source.block == rows.at_once // 64
    blocks, files = [], []
    for batch in an_epoch(rows)[:-1]:
        numbers = places(batch).numpy()
        blocks.append(len(set(numbers // rows.source.block)))
        files.append(len(set(np.digitize(numbers, [1_000, 1_001, 2_500]))))
    assert np.mean(blocks) > 24 and np.mean(files) > 2.5
    starts = np.concatenate([places(each)[:1].numpy() for each in an_epoch(rows)])
    assert abs(np.corrcoef(starts, np.arange(len(starts)))[0, 1]) < 0.3, "no way through the files"


def test_the_first_rows_of_epochs_are_spread_over_all(tmp_path):
    rows = opened(folder(tmp_path))
    firsts = np.array([places(an_epoch(rows, 32, seed)[0])[0] for seed in range(40)]) / N
    assert abs(firsts.mean() - 0.5) < 4 * (1 / 12 / 40) ** 0.5 and firsts.std() > 0.2


def test_streamed_files_train_the_same_twice_and_learn(tmp_path):
    path = folder(tmp_path)
    options = {"max_bytes": BOUND, "rate": 1e-2, "epochs": 3}
    one = trained(path, path, **options)
    assert_same(one, trained(str(path), path, **options))
    assert one[2][-1] < trained(path, path, max_bytes=BOUND, epochs=1, rate=1e-9)[2][0] - 0.05
    whole = trained(X, X, rate=1e-2, epochs=3)
    assert one[2][-1] == pytest.approx(whole[2][-1], rel=0.01)


def test_held_out_files_have_the_loss_of_the_array(tmp_path):
    torch.manual_seed(0)
    model, path = Autoencoder((D, 2)), folder(tmp_path)
    loss = evaluate(model, squared_error_loss, path, max_bytes=BOUND)
    assert loss == pytest.approx(evaluate(model, squared_error_loss, X), rel=1e-6)
    rows = opened(path)
    assert torch.equal(torch.cat(list(rows.split(1_000))), torch.from_numpy(X))
    assert max(map(len, rows.split(1_000))) == rows.at_once
    numbers = [2_999, 0, 1_000, 1_001, 0]
    assert torch.equal(rows.fetch(numbers), torch.from_numpy(X[numbers]))


def test_other_files_are_left_alone_and_the_order_is_that_of_the_names(tmp_path):
    folder(tmp_path)
    (tmp_path / "readme.txt").write_text("rows of pixels")
    (tmp_path / "labels").mkdir()
    assert torch.equal(rows_of_folder("x", tmp_path, vae()), torch.from_numpy(X))


def test_blocks_go_to_ranks_so_that_they_differ_by_one_block(tmp_path):
    rows = opened(folder(tmp_path))
    for ranks in (1, 2, 3, 8):
        hands = rows.deal(torch.Generator().manual_seed(1), ranks)
        held = [torch.cat([pool.numbers() for pool in hand]) for hand in hands]
        assert torch.equal(torch.cat(held).sort().values, torch.arange(N))
        sizes = list(map(len, held))
        assert max(sizes) - min(sizes) <= rows.source.block
        assert all(len(pool) <= rows.at_once for hand in hands for pool in hand)


# Memory and the thread ----------------------------------------------------------------------------
def test_the_next_blocks_are_read_by_a_thread_while_these_are_in_use(tmp_path, monkeypatch):
    reading, readers, read = threading.Semaphore(0), [], shards._Source.read
    in_use, overlapped = threading.Event(), []

    def noted(source, numbers, rows):
        readers.append(threading.get_ident())
        if len(readers) == 2:
            overlapped.append(in_use.wait(20))
        reading.release()
        return read(source, numbers, rows)

    rows = opened(folder(tmp_path))
    monkeypatch.setattr(shards._Source, "read", noted)
    pools = len(rows.deal(torch.Generator().manual_seed(0))[0])
    _, batches = rows.drawn(32, torch.Generator().manual_seed(0))
    next(batches)
    in_use.set()  # the second pool is not read before, and nobody asks for more
    assert reading.acquire(timeout=60) and reading.acquire(timeout=60) and overlapped == [True]
    assert not reading.acquire(timeout=0.3), "and no third one"
    list(batches)
    assert len(readers) == pools > 10 and set(readers) == {readers[0]} != {threading.get_ident()}


def test_numbers_of_rows_are_there_for_the_pools_in_use_alone(tmp_path, monkeypatch):
    """Eight bytes each are as much as two floats: of all rows they would pass any bound."""
    np.save(tmp_path / "narrow.npy", np.zeros((400_000, 1), np.float32))
    rows = rows_of_folder("x", tmp_path, vae(), max_bytes=30_000)
    made, arange = [], torch.arange
    monkeypatch.setattr(torch, "arange", lambda *a, **k: made.append(arange(*a, **k)) or made[-1])
    hands = rows.deal(torch.Generator().manual_seed(0), 2)
    assert sum(map(len, made)) < 10_000 and sum(len(p) for hand in hands for p in hand) == 400_000
    assert not torch.equal(*(pool.numbers() - pool.blocks[0][0] for pool in hands[0][:2]))


def test_no_thread_is_left_behind(tmp_path):
    before = threading.active_count()
    rows = opened(folder(tmp_path))
    an_epoch(rows)
    _, batches = rows.drawn(32, torch.Generator().manual_seed(0))
    next(batches)
    assert threading.active_count() > before
    batches.close()
    assert threading.active_count() == before


PROCESS = """
import sys
import numpy as np
sys.path.insert(0, {tools!r})
from bench import peak_megabytes
from course_utils.autoencoders import Autoencoder, squared_error_loss
from course_utils.training import fit

def train(x, **options):
    model = Autoencoder((8_000, 2))
    fit(model, squared_error_loss, x, x, epochs=1, batch_size=32, progress=False, **options)

train(np.ones((64, 8_000), dtype=np.float32))
for bound in (16_000_000, None):
    before = peak_megabytes()
    train({path!r}, max_bytes=bound)
    print(peak_megabytes() - before)
"""

# What is freed goes back to the system at once: else glibc keeps what two threads have used, which
# varies by 40 MB with their luck.
GIVES_BACK = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": "65536",
    "MALLOC_TRIM_THRESHOLD_": "65536",
}


def test_files_of_ten_times_the_bound_take_at_most_twice_the_bound(tmp_path):
    """Rows of at most 16 MB, and what model and loss make of them; without a bound, 160 MB."""
    for i in range(5):
        np.save(tmp_path / f"{i}.npy", np.full((1_000, 8_000), i / 5, dtype=np.float32))
    tools = str(Path(__file__).resolve().parents[1] / "tools")
    command = [sys.executable, "-c", PROCESS.format(tools=tools, path=str(tmp_path))]
    peaks = []
    for _ in range(3):  # what the allocator adds varies from run to run; it only adds
        said = subprocess.run(
            command, capture_output=True, text=True, check=True, env=os.environ | GIVES_BACK
        ).stdout.split()
        streamed, resident = map(float, said[-2:])
        assert resident > 120
        peaks.append(streamed)
        if streamed < 2 * 16:
            break
    assert min(peaks) < 2 * 16, peaks


# What cannot be used ------------------------------------------------------------------------------
def saved(array):
    return lambda path: np.save(path, array, allow_pickle=True)


def shortened(path):
    np.save(path, X)
    path.write_bytes(path.read_bytes()[:-100])


BROKEN = {
    "bytes": (saved((255 * X).astype(np.uint8)), "must hold floats, got uint8; for bytes: x / 255"),
    "whole numbers": (saved(np.ones((3, D), dtype=np.int64)), "must hold floats, got int64"),
    "complex": (saved(X.astype(np.complex64)), "must hold floats, got complex64"),
    "objects": (saved(np.array([[None] * D])), "must be a file of np.save, got one that is not"),
    "text": (lambda path: path.write_text("a cat"), "must be a file of np.save, got one that is"),
    "empty": (lambda path: path.write_bytes(b""), "must be a file of np.save, got one that is not"),
    "shortened": (shortened, "must be a file of np.save, got one that is not"),
    "another width": (
        saved(X[:, :4]),
        r"must have rows of shape \(6,\), as 'part-0.npy' has, got \(4,\)",
    ),
    "one axis": (saved(X[:, 0]), r"must have shape \(n, …\) .* got \(3000,\)"),
    "no rows": (saved(X[:0]), r"must have shape \(n, …\) with n at least 1 .* got \(0, 6\)"),
    "columns": (saved(np.asfortranarray(X)), "must have its rows one after another, got them col"),
}


@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("bound", [BOUND, None])
def test_a_file_that_cannot_be_used_is_named_before_anything_is_trained(kind, bound, tmp_path):
    make, message = BROKEN[kind]
    folder(tmp_path)
    make(tmp_path / "part-7.npy")
    called = []
    with pytest.raises(
        (TypeError, ValueError), match=rf"^x_train\['part-7.npy'\] {message}"
    ) as got:
        fit(vae(), lambda *_: called.append(1), tmp_path, max_bytes=bound, progress=False)
    assert not called and len(str(got.value)) < 300


@pytest.mark.parametrize("bound", [BOUND, None])
@pytest.mark.parametrize("name", ["x_train", "x_val"])
@pytest.mark.parametrize(
    ("bad", "message"), [(np.nan, "be finite"), (1.5, r"lie in \[0, 1\] for this model")]
)
def test_a_row_that_cannot_be_used_is_named_with_its_file(bound, name, bad, message, tmp_path):
    x = X.copy()
    x[1_003, 4] = bad
    data = {"x_train": X, "x_val": X[:9]} | {name: folder(tmp_path, x)}
    with pytest.raises(ValueError, match=rf"^{name}\['part-2.npy'\]\[2\] must {message}"):
        fit(vae(), negative_elbo, **data, epochs=1, max_bytes=bound, progress=False, batch_size=32)


def test_a_file_that_is_cut_while_one_trains_is_named(tmp_path):
    path = folder(tmp_path)
    rows = opened(path)
    with open(path / "part-2.npy", "r+b") as file:
        file.truncate(1_000)
    with pytest.raises(ValueError, match=r"^x\['part-2.npy'\] must stay as it was .* got one that"):
        an_epoch(rows)


def test_a_file_that_is_replaced_or_taken_away_while_one_trains_is_named(tmp_path):
    path = folder(tmp_path)
    rows, size = opened(path), (path / "part-2.npy").stat().st_size
    np.save(path / "new.npy", np.zeros((1_499, D), dtype=np.float32))
    assert (path / "new.npy").stat().st_size == size, "and its values are as good as others"
    os.replace(path / "new.npy", path / "part-2.npy")
    must = r"^x\['part-2.npy'\] must stay as it was when the training began, got "
    with pytest.raises(ValueError, match=must + "one that has been written since"):
        an_epoch(rows)
    (path / "part-2.npy").unlink()
    with pytest.raises(ValueError, match=must + "No such file"):
        an_epoch(rows)


@pytest.mark.filterwarnings("error")
def test_a_number_too_large_for_the_model_is_named_without_a_warning(tmp_path):
    x = X.astype(np.float64)
    x[1_003, 4] = 1e300
    with pytest.raises(ValueError, match=r"^x\['part-2.npy'\]\[2\] must be finite"):
        an_epoch(opened(folder(tmp_path, x)))


def test_a_path_that_is_no_folder_of_files_is_named(tmp_path):
    (tmp_path / "cat.jpg").write_bytes(b"")
    for path, why in ((tmp_path, "no .npy file in it"), (tmp_path / "none", "no such folder")):
        for given in (path, str(path)):
            with pytest.raises(ValueError, match=f"^x_train must be an array, or a folder.* {why}"):
                trained(given)
    np.save(tmp_path / "cat.npy", X)
    with pytest.raises(ValueError, match="got '.*cat.npy': a file; give its folder, or np.load"):
        trained(tmp_path / "cat.npy")


@pytest.mark.parametrize("bad", [0, -1, 2.5, "1 GB", True])
def test_a_bad_bound_is_named(bad, tmp_path):
    with pytest.raises((TypeError, ValueError), match="^max_bytes must be .*, got"):
        trained(folder(tmp_path), max_bytes=bad)


def test_a_bound_must_hold_two_batches_and_three_rows(tmp_path):
    path, least = folder(tmp_path), (2 * 32 + 3) * ROW
    with pytest.raises(
        ValueError, match=f"max_bytes must hold 67 rows of x_train .* {least} bytes"
    ):
        trained(path, max_bytes=least - 1)
    rows = opened(path, bound=least)
    assert rows.at_once == 1 and len(torch.cat(an_epoch(rows))) == N
