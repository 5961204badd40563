"""Seeds, device, threads, torchvision."""

import subprocess
import sys

import numpy as np
import pytest

from course_utils import runtime


def test_equal_seeds_give_equal_numbers_and_other_seeds_others():
    one, two, other = (runtime.seed(s).random(4) for s in (5, 5, 6))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)


def test_the_seed_reaches_pytorch_where_it_is_imported():
    torch = pytest.importorskip("torch")
    runtime.seed(5)
    first = torch.rand(3)
    runtime.seed(5)
    assert torch.equal(first, torch.rand(3))


@pytest.mark.parametrize("bad", [-1, 1.5, "1", None, True])
def test_a_bad_seed_is_named(bad):
    with pytest.raises(ValueError, match="value must be"):
        runtime.seed(bad)


def test_numpy_modules_load_no_pytorch():
    modules = "data, exercises, manifold, numpy_nn, plots, runtime, shapes, verify"
    code = (
        f"import sys; from course_utils import {modules}; data.digits(); runtime.seed(1);"
        "exercises.check('01.1', sum); exercises.check('02.1', sum);"
        "print([m for m in sys.modules if m.split('.')[0] in ('torch', 'torchvision')])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.splitlines()[-1] == "[]"


def test_the_device_is_one_that_works_and_a_missing_one_is_named():
    torch = pytest.importorskip("torch")
    assert torch.ones(2, device=runtime.device()).sum().item() == 2
    assert runtime.device("cpu").type == "cpu"
    for bad in ("cuda:99", "toaster"):
        with pytest.raises(ValueError, match="name must be a device of this machine"):
            runtime.device(bad)


def test_deterministic_algorithms_are_asked_for_inside_the_block_only():
    torch = pytest.importorskip("torch")
    with pytest.raises(KeyError), runtime.deterministic():
        assert torch.are_deterministic_algorithms_enabled()
        raise KeyError
    assert not torch.are_deterministic_algorithms_enabled()


def test_threads_are_limited_inside_the_block_and_restored_after_it():
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    with pytest.raises(KeyError), runtime.threads(1):
        assert torch.get_num_threads() == 1
        raise KeyError
    assert torch.get_num_threads() == before
    with pytest.raises(ValueError, match="n must be at least 1"), runtime.threads(0):
        pass


def test_reduced_precision_is_for_machines_that_have_it(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for capabilities, expected in (
        ({"avx512_f": True}, "highest"),
        ({"amx_bf16": True}, "medium"),
        ({"avx512_bf16": True}, "bfloat16"),
    ):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda c=capabilities: c, raising=False)
        assert runtime.fast_precision() == expected
    monkeypatch.delattr(torch.cpu, "get_capabilities")  # an older PyTorch
    assert runtime.fast_precision() == "highest"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert runtime.fast_precision() == "medium"


def test_torchvision_imports_beside_this_pytorch():
    pytest.importorskip("torch")
    code = (
        "from course_utils import runtime; tv = runtime.torchvision();"
        "assert runtime.torchvision() is tv; print(tv.datasets.MNIST.__name__)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "MNIST"
