"""Seeds, device, threads."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from course_utils.arguments import named_errors
from course_utils.shapes import expect_whole

if TYPE_CHECKING:
    import torch


def seed(value: int) -> np.random.Generator:
    """Return a NumPy generator for ``value``; seed PyTorch too where it is already imported.

    Args:
        value: a whole number, at least 0.

    Raises:
        ValueError: ``value`` is not such a number.
    """
    expect_whole("value", value, 0)
    if "torch" in sys.modules:  # a NumPy chapter must not load it just to seed it
        sys.modules["torch"].manual_seed(int(value))
    return np.random.default_rng(value)


def device(name: str | None = None) -> "torch.device":
    """Return the device to train on: ``name`` if given, else a GPU if there is one, else the CPU.

    Raises:
        ValueError: ``name`` is a GPU that this machine does not have, or no device at all.
    """
    import torch

    if name is None:
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"name must be a device of this machine, got {name!r}: {reason}"
        ) from error
    return torch.device(name)


def fast_precision() -> str:
    """Return which precision of ``precision.products`` is the quickest on this machine.

    Products whose factors are rounded, to 8 significant bits (bfloat16) or on GPUs to 11 (TF32),
    are quick where the hardware has them:

    - "medium" on GPUs, and on CPUs with AMX, whose units PyTorch uses for float32 arrays too;
    - "bfloat16" on CPUs with AVX512-BF16 alone, which PyTorch uses for bfloat16 arrays only;
    - "highest" elsewhere, where rounding gains nothing, or loses.
    """
    import torch

    if torch.cuda.is_available():
        return "medium"
    ask = getattr(torch.cpu, "get_capabilities", dict)  # older versions of PyTorch cannot tell
    capabilities: dict[str, bool] = ask()
    if capabilities.get("amx_bf16"):
        return "medium"
    return "bfloat16" if capabilities.get("avx512_bf16") else "highest"


@contextmanager
def deterministic() -> Iterator[None]:
    """Inside the block, PyTorch uses only algorithms that give the same result at each run.

    On a CPU, the same seed and number of threads do that already. On a GPU some sums are quicker
    in any order; this forbids them, at a cost. Open the block before the first product on the GPU.
    An operation that has no such algorithm raises a RuntimeError that names it.
    """
    import torch

    before = torch.are_deterministic_algorithms_enabled()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # CUDA's products ask for it
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Let NumPy, and PyTorch where it is imported, compute with ``n`` threads inside the block.

    Raises:
        ValueError: ``n`` is less than 1.
    """
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    expect_whole("n", n, 1)
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else None
    with threadpool_limits(limits=n):
        if torch:
            torch.set_num_threads(n)
        try:
            yield
        finally:
            if torch:
                torch.set_num_threads(before)


def torchvision() -> ModuleType:
    """Import torchvision, also where its wheel and PyTorch's were built for different hardware.

    torchvision's wheel for CUDA registers a rule for its operator ``nms`` at import. Beside a
    PyTorch for CPU its compiled library does not load, the operator is unknown, and the import
    fails. The course uses torchvision's data sets only, no operator: declaring the two signatures
    is enough. Where torchvision imports by itself, nothing is declared.
    """
    import torch

    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        for name in [m for m in sys.modules if m.split(".")[0] == "torchvision"]:
            del sys.modules[name]  # what the failed import left behind
        library = torch.library.Library("torchvision", "FRAGMENT")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _KEEP.append(library)  # a library that is collected takes its operators with it
        import torchvision
    return torchvision


_KEEP: list = []


named_errors(globals())
