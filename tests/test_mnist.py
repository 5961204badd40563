"""MNIST: fetched once, never read half-written, mended where damaged, with clear words offline.

Most tests use a small data set in MNIST's format and a server on this machine for a mirror.
"""

import gzip
import hashlib
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from course_utils import data, mirrors, mnist, runtime

rng = np.random.default_rng(0)
VALUES = {
    "train-images-idx3-ubyte": rng.integers(0, 256, (30, 28, 28), dtype=np.uint8),
    "train-labels-idx1-ubyte": rng.integers(0, 10, 30, dtype=np.uint8),
    "t10k-images-idx3-ubyte": rng.integers(0, 256, (20, 28, 28), dtype=np.uint8),
    "t10k-labels-idx1-ubyte": rng.integers(0, 10, 20, dtype=np.uint8),
}
FIRST = next(iter(VALUES))
needs_torchvision = pytest.mark.skipif(not find_spec("torchvision"), reason="no torchvision here")


def idx(values):
    """Write MNIST's own format: 00 08 for bytes, the number of axes, their sizes, the bytes."""
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes()


def md5(content):
    return hashlib.md5(content).hexdigest()


PLAIN = {name: idx(values) for name, values in VALUES.items()}
ZIPPED = {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in PLAIN.items()}
SMALL = mnist._Source(
    "MNIST",
    "MNIST",
    {name: mnist._File(values.shape, md5(PLAIN[name])) for name, values in VALUES.items()},
)


class Mirrors(ThreadingHTTPServer):
    """One server for many mirrors: the first part of a path says how the mirror behaves."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.asked = []  # paths, in order
        self.let_go = threading.Event()  # what a stalled answer waits for
        self.together = threading.Barrier(2)  # two clients start side by side

    def mirror(self, kind, scheme="http"):
        return f"{scheme}://127.0.0.1:{self.server_port}/{kind}/"

    def handle_error(self, request, client_address):
        pass  # clients break off on purpose


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        kind, name = self.path[1:].split("/")
        self.server.asked.append(self.path)
        if kind == "silent":
            self.server.let_go.wait(20)
            return
        if kind == "absent":
            self.send_error(404)
            return
        content = ZIPPED[name]
        if kind == "together" and name.startswith(FIRST):
            self.server.together.wait(20)
        if kind == "corrupt":
            content = content[:-20] + bytes([content[-20] ^ 1]) + content[-19:]
        if kind == "portal":
            content = b"<html>Please log in to the hotel's network</html>"
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        if kind == "encoding":
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        if kind == "short" or (kind == "stalled" and name.startswith("t10k-images")):
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            if kind == "stalled":
                self.server.let_go.wait(20)
            return
        if kind == "drip":
            for byte in content[:300]:  # 15 seconds, where nobody gives it up
                self.wfile.write(bytes([byte]))
                self.wfile.flush()
                if self.server.let_go.wait(0.05):
                    break
            return
        if kind == "slow":
            for start in range(0, len(content), 2_000):
                self.wfile.write(content[start : start + 2_000])
                self.wfile.flush()
                time.sleep(0.1)
            return
        self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with Mirrors() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.let_go.set()
        server.shutdown()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The small data set in place of MNIST, COURSE_DATA on an empty folder, no way out."""
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setitem(mnist._SOURCES, "MNIST", SMALL)
    use(monkeypatch)
    return tmp_path / "data" / "MNIST" / "raw"


def use(monkeypatch, *mirrors):
    checksums = {name: md5(content) for name, content in ZIPPED.items()}
    monkeypatch.setattr(
        mnist, "_catalogue", lambda source: (list(mirrors or [closed()]), checksums)
    )


def closed():
    """Return an address where nobody listens."""
    with Mirrors() as server:
        return server.mirror("good")


def put(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def listing(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def assert_whole(folder):
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == PLAIN


def assert_right(images):
    for part, short in (("train", "train"), ("test", "t10k")):
        x, y = getattr(images, f"x_{part}"), getattr(images, f"y_{part}")
        values, labels = VALUES[f"{short}-images-idx3-ubyte"], VALUES[f"{short}-labels-idx1-ubyte"]
        np.testing.assert_array_equal(x, (values.reshape(-1, 784) / 255).astype(np.float32))
        np.testing.assert_array_equal(y, labels)
        assert x.dtype == np.float32 and y.dtype == np.int64
    assert (images.height, images.width, images.name) == (28, 28, "MNIST")


# What is on the disk


def test_files_on_the_disk_are_read_as_they_are_and_nothing_is_written(folder, monkeypatch, capsys):
    put(folder, PLAIN)
    monkeypatch.setattr(mnist, "_catalogue", lambda source: pytest.fail("asked for mirrors"))
    before = {path: path.stat().st_mtime_ns for path in (folder, *folder.iterdir())}
    assert data.available("MNIST")
    assert_right(data.mnist())
    assert {path: path.stat().st_mtime_ns for path in (folder, *folder.iterdir())} == before
    assert capsys.readouterr() == ("", "")


def test_the_zipped_files_alone_will_do(folder):
    put(folder, ZIPPED)
    assert data.available("MNIST")
    assert_right(data.mnist())
    assert listing(folder) == sorted(ZIPPED)


DOTTED = {name.replace("-idx", ".idx"): content for name, content in PLAIN.items()}
PLACES = {
    "dots in the names": (DOTTED, "MNIST/raw"),
    "dots, zipped": ({f"{n}.gz": gzip.compress(c) for n, c in DOTTED.items()}, "MNIST/raw"),
    "any names": ({f"part {i}": c for i, c in enumerate(PLAIN.values())}, "MNIST/raw"),
    "the root itself": (PLAIN, ""),
    "zipped in the root": (ZIPPED, ""),
    "without raw": (PLAIN, "MNIST"),
    "raw without MNIST": (PLAIN, "raw"),
    "a folder deeper": (PLAIN, "somewhere/MNIST/raw"),
    "in a folder of any name": (DOTTED, "archive"),
}


@pytest.mark.parametrize("place", PLACES)
def test_files_of_other_names_and_places_are_found_by_their_md5(place, folder):
    files, below = PLACES[place]
    put(folder.parent.parent / below, files)
    assert data.available("MNIST") and mnist.faults("MNIST") == {}
    assert_right(data.mnist())


def test_a_folder_of_each_file_s_name_is_looked_into(folder):
    for name, content in PLAIN.items():
        put(folder / name, {name: content})
        put(folder / name.replace("-idx", ".idx"), {name: content})
    assert_right(data.mnist())


def test_a_file_of_the_right_size_and_another_md5_is_not_taken(folder):
    put(folder, {n: c[:-1] + bytes([c[-1] ^ 1]) for n, c in DOTTED.items()})
    assert not data.available("MNIST")
    with pytest.raises(data.DataUnavailable, match="none of its files is there"):
        data.mnist()


def test_a_file_found_near_by_mends_a_damaged_one(folder, capsys):
    put(folder, PLAIN | {FIRST: PLAIN[FIRST][:-1] + b"x"})
    put(folder.parent, {FIRST: PLAIN[FIRST]})
    assert_right(data.mnist())
    assert "another MD5. Mended." in capsys.readouterr().out
    assert_whole(folder)


def test_arrays_are_new_at_each_call(folder):
    put(folder, PLAIN)
    data.mnist().x_train[:] = 7.0
    assert_right(data.mnist())


@needs_torchvision
def test_torchvision_reads_the_same_images_from_the_same_folder(folder):
    put(folder, PLAIN)
    theirs = runtime.torchvision().datasets.MNIST(folder.parents[1], train=True)
    ours = data.mnist()
    np.testing.assert_array_equal((theirs.data.float() / 255).reshape(-1, 784), ours.x_train)
    np.testing.assert_array_equal(theirs.targets, ours.y_train)


def test_reading_loads_neither_torch_nor_torchvision(folder):
    put(folder, PLAIN)
    out = child(
        folder, ["http://127.0.0.1:9/"], "print({'torch', 'torchvision'} & set(sys.modules))"
    )
    assert out.communicate(timeout=60)[0].splitlines() == ["set()"]


def test_course_data_names_the_folder_else_it_is_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    assert data.data_folder() == tmp_path
    monkeypatch.setenv("COURSE_DATA", "~/here")
    assert data.data_folder() == Path.home() / "here"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COURSE_DATA", "here")
    assert data.data_folder() == Path.cwd() / "here"
    for unset in ("", None):
        monkeypatch.delenv("COURSE_DATA")
        if unset is not None:
            monkeypatch.setenv("COURSE_DATA", unset)
        for platform, variable, below in (
            ("linux", "XDG_CACHE_HOME", ".cache"),
            ("darwin", None, "Library/Caches"),
            ("win32", "LOCALAPPDATA", "AppData/Local"),
        ):
            monkeypatch.setattr(sys, "platform", platform)
            for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
                monkeypatch.delenv(name, raising=False)
            assert data.data_folder() == Path.home() / below / "course_utils"
            if variable:
                monkeypatch.setenv(variable, str(tmp_path))
                assert data.data_folder() == tmp_path / "course_utils"
        monkeypatch.setenv("COURSE_DATA", "")


# Fetching


def test_what_is_missing_is_fetched_once_and_kept(folder, server, monkeypatch):
    use(monkeypatch, server.mirror("good"))
    put(folder, {FIRST: PLAIN[FIRST]})
    assert not data.available("MNIST")
    assert_right(data.mnist())
    assert_whole(folder)
    assert len({path.stat().st_mode for path in folder.iterdir()}) == 1  # others may read it too
    assert sorted(server.asked) == sorted(f"/good/{n}.gz" for n in PLAIN if n != FIRST)
    assert data.available("MNIST")
    assert_right(data.mnist())
    assert len(server.asked) == 3


def test_a_bar_on_stdout_is_all_that_shows_and_it_vanishes(folder, server, monkeypatch, capsys):
    use(monkeypatch, server.mirror("good"))
    data.mnist()
    out, err = capsys.readouterr()
    assert all(f"MNIST {name}:" in out for name in ZIPPED) and err == ""
    assert "\n" not in out and out.split("\r")[-2].strip() == "" == out.split("\r")[-1]


def test_the_bar_can_be_left_out(folder, server, monkeypatch, capsys):
    use(monkeypatch, server.mirror("good"))
    data.mnist(progress=False)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("bad", ["corrupt", "short", "absent", "portal"])
def test_the_next_mirror_is_asked_where_one_fails_and_from_then_on_first(
    bad, folder, server, monkeypatch, capsys
):
    use(monkeypatch, server.mirror(bad), server.mirror("good"))
    assert_right(data.mnist(progress=False))
    assert_whole(folder)
    assert [path.split("/")[1] for path in server.asked] == [bad] + 4 * ["good"]
    assert capsys.readouterr() == ("", "")


def test_a_mirror_whose_certificate_fails_is_asked_without_tls(folder, server, monkeypatch):
    real = urllib.request.urlopen

    def urlopen(request, **options):
        if request.full_url.startswith("https:"):
            raise urllib.error.URLError(ssl.SSLCertVerificationError("no certificates"))
        return real(request, **options)

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    use(monkeypatch, server.mirror("good", scheme="https"))
    assert_right(data.mnist())
    assert_whole(folder)


def test_a_mirror_that_insists_on_tls_is_asked_twice_and_given_up(folder, monkeypatch):
    asked = []

    def urlopen(request, **options):
        asked.append(request.type)
        raise urllib.error.URLError(ssl.SSLCertVerificationError(1, "no certificates"))

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    use(monkeypatch, "https://127.0.0.1/")
    with pytest.raises(data.DataUnavailable, match=r"no network \(127.0.0.1: no certificates\)"):
        data.mnist()
    assert asked == ["https", "http"]


def test_a_mirror_that_takes_gz_for_an_encoding_gives_the_file_too(folder, server, monkeypatch):
    use(monkeypatch, server.mirror("encoding"))
    assert_right(data.mnist())
    assert_whole(folder)


# Damage


@pytest.mark.parametrize(
    "damaged, says",
    [
        (PLAIN[FIRST][:1000], "has 1 000 bytes in place of 23 536"),
        (b"", "has 0 bytes in place of 23 536"),
        (PLAIN[FIRST] + b"x", "has 23 537 bytes in place of 23 536"),
        (PLAIN[FIRST][:-1] + bytes([PLAIN[FIRST][-1] ^ 1]), f"is damaged: {FIRST} has another MD5"),
    ],
)
def test_a_damaged_file_is_named_in_one_line_and_fetched_anew(
    damaged, says, folder, server, monkeypatch, capsys
):
    use(monkeypatch, server.mirror("good"))
    put(folder, {**PLAIN, FIRST: damaged})
    assert not data.available("MNIST")
    assert_right(data.mnist(progress=False))
    assert_whole(folder)
    assert server.asked == [f"/good/{FIRST}.gz"]
    assert capsys.readouterr() == (f"MNIST: {FIRST} {says}. Mended.\n", "")


def test_a_damaged_zipped_file_is_fetched_anew(folder, server, monkeypatch, capsys):
    use(monkeypatch, server.mirror("good"))
    put(folder, {**ZIPPED, f"{FIRST}.gz": ZIPPED[f"{FIRST}.gz"][:-10]})
    assert_right(data.mnist(progress=False))
    assert (folder / FIRST).read_bytes() == PLAIN[FIRST]
    assert (
        capsys.readouterr().out
        == f"MNIST: {FIRST} is damaged: its .gz cannot be unpacked. Mended.\n"
    )


def test_a_damaged_file_is_mended_from_its_zipped_twin_without_a_network(folder, capsys):
    put(folder, {**PLAIN, **ZIPPED, FIRST: b"half"})
    assert data.available("MNIST")
    assert_right(data.mnist())
    assert (folder / FIRST).read_bytes() == PLAIN[FIRST]
    assert capsys.readouterr().out == f"MNIST: {FIRST} has 4 bytes in place of 23 536. Mended.\n"


def test_the_zipped_twin_is_read_where_the_folder_cannot_be_written(folder, monkeypatch, capsys):
    put(folder, {**PLAIN, **ZIPPED, FIRST: b"half"})
    refuse_writing(monkeypatch)
    assert_right(data.mnist())
    assert (folder / FIRST).read_bytes() == b"half"
    assert capsys.readouterr().out == ""


def test_the_files_of_another_data_set_are_not_taken_for_this_one(folder, monkeypatch, tmp_path):
    other = {name: idx(255 - values) for name, values in VALUES.items() if "images" in name}
    put(folder, {**PLAIN, **other})
    with pytest.raises(data.DataUnavailable, match=f"{FIRST} is damaged: {FIRST} has another MD5"):
        data.mnist()


def refuse_writing(monkeypatch):
    def refuse(*args, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(mnist, "_writable", lambda folder: True)  # some systems cannot tell
    monkeypatch.setattr(mnist, "_store", refuse)


# Interruption


def child(folder, mirrors, then=""):
    """Start another Python that loads the small data set, and then does something."""
    program = f"""
import json, sys
from course_utils import mnist
given = json.load(sys.stdin)
files = {{name: mnist._File(tuple(shape), md5) for name, (shape, md5) in given["files"].items()}}
mnist._SOURCES["MNIST"] = mnist._Source("MNIST", "MNIST", files)
mnist._catalogue = lambda source: (given["mirrors"], given["checksums"])
images = mnist.mnist(progress=False)
{then}
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "COURSE_DATA": str(folder.parents[1]), "no_proxy": "127.0.0.1"},
    )
    given = {
        "files": {name: [file.shape, file.md5] for name, file in SMALL.files.items()},
        "mirrors": mirrors,
        "checksums": {name: md5(content) for name, content in ZIPPED.items()},
    }
    process.stdin.write(json.dumps(given))
    process.stdin.close()
    process.stdin = None
    return process


def wait_until(true, seconds=60):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_a_process_killed_in_a_download_leaves_whole_files_only(folder, server, monkeypatch):
    process = child(folder, [server.mirror("stalled")])
    wait_until(lambda: any("t10k-images" in path for path in server.asked))
    process.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode != 0
    arrived = [name for name in PLAIN if name.startswith("train")]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        name: PLAIN[name] for name in arrived
    }
    server.asked.clear()
    use(monkeypatch, server.mirror("good"))
    assert_right(data.mnist())
    assert_whole(folder)
    assert len(server.asked) == 2  # what had arrived is not fetched again


@pytest.mark.parametrize("where", ["write_bytes", "replace"])
def test_an_interruption_while_a_file_is_written_leaves_nothing(where, folder, server, monkeypatch):
    def interrupt(self, content, *args):
        if where == "write_bytes":
            with open(self, "wb") as file:
                file.write(content[: len(content) // 2])
        else:
            assert Path(self).parents[1] == folder  # another disk could not move in one step
        raise KeyboardInterrupt

    use(monkeypatch, server.mirror("good"))
    with monkeypatch.context() as patch:
        patch.setattr(Path if where == "write_bytes" else os, where, interrupt)
        with pytest.raises(KeyboardInterrupt):
            data.mnist()
    assert listing(folder) == []
    assert_right(data.mnist())
    assert_whole(folder)


def test_two_processes_can_fetch_at_once(folder, server):
    processes = [
        child(folder, [server.mirror("together")], "print(float(images.x_train.sum()))")
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert outputs[0] == outputs[1] != ""
    assert sum(FIRST in path for path in server.asked) == 2  # they did overlap
    assert_whole(folder)


def test_a_file_that_another_process_has_just_put_there_will_do(folder, server, monkeypatch):
    real = mnist._store

    def store(path, content):  # as on Windows, where a file that is open cannot be replaced
        real(path, content)
        raise PermissionError(13, "Access is denied")

    use(monkeypatch, server.mirror("good"))
    monkeypatch.setattr(mnist, "_store", store)
    assert_right(data.mnist())


# Where it cannot be had


def test_offline_the_error_says_what_failed_and_what_to_do(folder, monkeypatch):
    start = time.monotonic()
    with pytest.raises(data.DataUnavailable) as raised:
        data.mnist()
    assert time.monotonic() - start < 5
    what, why, advice = str(raised.value).splitlines()
    assert what == f"MNIST cannot be read from {folder}: none of its files is there."
    assert why.startswith("It cannot be downloaded: no network (127.0.0.1:")
    assert "try again online" in advice and "COURSE_DATA" in advice and "MNIST/raw" in advice
    assert all(name in advice for name in PLAIN)
    assert isinstance(raised.value, RuntimeError) and raised.value.reason == "no network"
    assert not folder.parents[1].exists()  # a wrong COURSE_DATA leaves no empty folders


def test_a_damaged_file_is_named_where_it_cannot_be_mended(folder):
    put(folder, {**PLAIN, FIRST: b"half"})
    with pytest.raises(data.DataUnavailable) as raised:
        data.mnist()
    assert f"{folder}: {FIRST} has 4 bytes in place of 23 536.\n" in str(raised.value)
    assert raised.value.reason == f"{FIRST} has 4 bytes in place of 23 536; no network"
    assert (folder / FIRST).read_bytes() == b"half"


@pytest.mark.parametrize(
    "kind, says",
    [
        ("absent", "HTTP Error 404"),
        ("corrupt", r"what came, .* bytes, is not the file"),
        ("short", r"the connection ended after .* bytes"),
    ],
)
def test_mirrors_that_answer_wrongly_are_not_called_no_network(
    kind, says, folder, server, monkeypatch
):
    use(monkeypatch, server.mirror(kind))
    with pytest.raises(data.DataUnavailable, match=says) as raised:
        data.mnist()
    assert raised.value.reason == f"no mirror gave {FIRST}.gz whole"
    assert listing(folder) == []


@pytest.mark.parametrize("kind", ["silent", "stalled"])
def test_a_mirror_that_falls_silent_is_not_waited_for(kind, folder, server, monkeypatch):
    monkeypatch.setattr(mirrors, "_PATIENCE", 0.3)
    use(monkeypatch, server.mirror(kind))
    start = time.monotonic()
    with pytest.raises(data.DataUnavailable, match="no network .*(no answer|timed out)"):
        data.mnist()
    assert time.monotonic() - start < 10


def test_a_mirror_that_drips_is_given_up_and_the_next_one_asked(folder, server, monkeypatch):
    monkeypatch.setattr(mirrors, "_PATIENCE", 0.3)
    use(monkeypatch, server.mirror("drip"), server.mirror("good"))
    start = time.monotonic()
    assert_right(data.mnist())
    assert time.monotonic() - start < 10 and server.asked[0].startswith("/drip")
    use(monkeypatch, server.mirror("drip"))
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(data.DataUnavailable, match="slower than 20 000 bytes a second"):
        data.mnist()


def test_a_mirror_that_is_slow_but_fast_enough_is_not_given_up(folder, server, monkeypatch):
    monkeypatch.setattr(mirrors, "_PATIENCE", 0.6)
    monkeypatch.setattr(mirrors, "_SLOWEST", 100)
    use(monkeypatch, server.mirror("slow"))  # 20 000 bytes a second
    start = time.monotonic()
    assert_right(data.mnist())
    assert time.monotonic() - start > 1  # longer than its patience


def test_a_look_up_of_a_name_that_takes_minutes_is_not_waited_for(folder, monkeypatch):
    over = threading.Event()
    monkeypatch.setattr(mirrors, "_PATIENCE", 0.3)
    monkeypatch.setattr(urllib.request, "urlopen", lambda *args, **options: over.wait(60))
    start = time.monotonic()
    with pytest.raises(data.DataUnavailable, match="no answer within 0.3 s"):
        data.mnist()
    assert time.monotonic() - start < 10
    over.set()


def test_a_folder_that_cannot_be_written_is_named_before_anything_is_fetched(
    folder, server, monkeypatch
):
    use(monkeypatch, server.mirror("good"))
    folder.parents[1].parent.mkdir(exist_ok=True)
    folder.parents[1].write_text("a file in place of the folder")
    with pytest.raises(data.DataUnavailable, match="the folder cannot be written") as raised:
        data.mnist()
    assert "COURSE_DATA name a folder that can be written" in str(raised.value)
    assert server.asked == []


def test_a_read_only_folder_without_the_files_is_named(folder, server, monkeypatch):
    use(monkeypatch, server.mirror("good"))
    folder.mkdir(parents=True)
    folder.chmod(0o555)
    if os.access(folder, os.W_OK):  # an administrator, or Windows
        monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(data.DataUnavailable, match="the folder cannot be written"):
        data.mnist()
    assert server.asked == [] and listing(folder) == []


def test_a_disk_that_refuses_the_file_is_named(folder, server, monkeypatch):
    use(monkeypatch, server.mirror("good"))
    refuse_writing(monkeypatch)
    with pytest.raises(data.DataUnavailable, match="cannot be written .*Permission denied"):
        data.mnist()


def test_without_torchvision_the_error_says_so(folder, monkeypatch):
    def absent():
        raise ImportError("No module named 'torchvision'")

    monkeypatch.undo()
    monkeypatch.setenv("COURSE_DATA", str(folder))
    monkeypatch.setattr(runtime, "torchvision", absent)
    with pytest.raises(data.DataUnavailable, match="pip install torchvision"):
        data.mnist()


def test_checksums_of_torchvision_that_do_not_fit_ours_are_reported(folder, server, monkeypatch):
    use(monkeypatch, server.mirror("good"))
    file = mnist._File(SMALL.files[FIRST].shape, md5(b"another"))
    other = mnist._Source("MNIST", "MNIST", {**SMALL.files, FIRST: file})
    monkeypatch.setitem(mnist._SOURCES, "MNIST", other)
    with pytest.raises(data.DataUnavailable, match="update course_utils and torchvision"):
        data.mnist()
    assert listing(folder) == []


# Stroke digits in its place


def test_the_fallback_says_so_in_one_line_and_has_the_same_shapes(folder, capsys):
    images = data.mnist(fallback=True)
    assert capsys.readouterr() == (
        "MNIST cannot be had here (no network): stroke digits stand in, same shapes.\n",
        "",
    )
    assert images.name == "stroke digits" and (images.height, images.width) == (28, 28)
    for x, y, n in ((images.x_train, images.y_train, 30), (images.x_test, images.y_test, 20)):
        assert x.shape == (n, 784) and x.dtype == np.float32 and y.dtype == np.int64
        assert x.min() >= 0 and 0.9 < x.max() <= 1
        np.testing.assert_array_equal(np.bincount(y, minlength=10), n // 10)
    assert not set(map(bytes, images.x_train)) & set(map(bytes, images.x_test))


def test_the_fallback_names_the_damage_too_and_stays_one_line(folder, server, monkeypatch, capsys):
    use(monkeypatch, server.mirror("corrupt"))
    put(folder, {**PLAIN, FIRST: b"half"})
    data.mnist(fallback=True, progress=False)
    assert capsys.readouterr().out == (
        f"MNIST cannot be had here ({FIRST} has 4 bytes in place of 23 536; "
        f"no mirror gave {FIRST}.gz whole): stroke digits stand in, same shapes.\n"
    )


def test_the_fallback_is_not_used_where_the_data_are_here(folder, capsys):
    put(folder, PLAIN)
    assert_right(data.mnist(fallback=True))
    assert capsys.readouterr().out == ""


def test_the_stroke_digits_are_the_same_each_time_and_show_their_labels(monkeypatch):
    monkeypatch.setattr(mnist, "_DRAWN_AT_ONCE", 40)  # several parts
    images, again = mnist._stand_in(100, 100), mnist._stand_in(100, 100)
    np.testing.assert_array_equal(images.x_train, again.x_train)
    np.testing.assert_array_equal(images.y_test, again.y_test)
    assert len({bytes(x) for x in (*images.x_train, *images.x_test)}) == 200
    teachers = [data.stroke_digits(20, seed=3, labels=k).images for k in range(10)]
    for x, label in zip(images.x_train, images.y_train, strict=True):
        distance = [np.linalg.norm(t - x, axis=1).min() for t in teachers]
        assert np.argsort(distance).tolist().index(label) <= 2


def test_the_real_sizes_are_those_of_mnist():
    for source in mnist._SOURCES.values():
        assert [file.shape for file in source.files.values()] == [
            (60_000, 28, 28),
            (60_000,),
            (10_000, 28, 28),
            (10_000,),
        ]
        assert [file.size for file in source.files.values()] == [
            47_040_016,
            60_008,
            7_840_016,
            10_008,
        ]


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="name must be one of MNIST, Fashion-MNIST, got 'mnist'"):
        data.available("mnist")


# The real data


@needs_torchvision
@pytest.mark.parametrize("name, loader", [("MNIST", "MNIST"), ("Fashion-MNIST", "FashionMNIST")])
def test_torchvision_knows_mirrors_and_checksums_of_just_these_files(name, loader):
    source = mnist._SOURCES[name]
    mirrors, checksums = mnist._catalogue(source)
    assert source.loader == loader and mirrors and all(url.endswith("/") for url in mirrors)
    assert sorted(checksums) == sorted(f"{name}.gz" for name in source.files)
    assert all(len(digest) == 32 for digest in checksums.values())


def test_fashion_mnist_lies_in_its_own_folder(folder, monkeypatch):
    other = {name: c[:-1] + bytes([c[-1] ^ 1]) for name, c in PLAIN.items()}
    files = {name: mnist._File(VALUES[name].shape, md5(c)) for name, c in other.items()}
    put(folder.parents[1] / "FashionMNIST" / "raw", other)
    monkeypatch.setitem(
        mnist._SOURCES, "Fashion-MNIST", mnist._Source("Fashion-MNIST", "FashionMNIST", files)
    )
    assert data.available("Fashion-MNIST") and not data.available("MNIST")
    assert data.fashion_mnist().name == "Fashion-MNIST"


@pytest.mark.skipif(not data.available("MNIST"), reason="needs MNIST in COURSE_DATA or the cache")
def test_mnist_is_mnist():
    images = data.mnist()
    assert images.x_train.shape == (60_000, 784) and images.x_test.shape == (10_000, 784)
    assert images.x_train.min() == 0 and images.x_train.max() == 1
    assert images.y_train[:5].tolist() == [5, 0, 4, 1, 9]
    assert images.y_test[:5].tolist() == [7, 2, 1, 0, 4]
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    np.testing.assert_array_equal(np.bincount(images.y_train), counts)
    assert images.x_train.mean() == pytest.approx(0.1307, abs=5e-5)  # the figure in every recipe
    assert images.x_train.std() == pytest.approx(0.3081, abs=5e-5)


def test_without_a_home_there_is_no_mnist_and_stroke_digits_stand_in(monkeypatch, capsys):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(mnist, "data_folder", homeless)
    assert not mnist.available("MNIST")
    with pytest.raises(mnist.DataUnavailable, match="Could not .* COURSE_DATA name a folder"):
        data.mnist()
    monkeypatch.setattr(mnist, "_stand_in", lambda n_train, n_test: "stroke digits")
    assert data.mnist(fallback=True) == "stroke digits"
    said = "MNIST cannot be had here (no home folder): stroke digits stand in, same shapes.\n"
    assert capsys.readouterr().out == said
