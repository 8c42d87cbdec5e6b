"""The computer and this process: versions, processor, and the memory that a training step frees and asks for again."""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # of <malloc.h>


def keep_freed_memory(keep: bool = True) -> bool:
    """Tell the C library to keep what is freed instead of giving it back to the system, for the whole process.

    A training step allocates gigabytes in large pieces. By itself glibc gets each of them from the system and gives it
    back, and the system clears it page by page, which takes a third of the step's time. `load_backend` calls this, and
    with it the command line. Who imports `ssd_torch` or `ssd_mxnet` directly calls it once before training.

    The price is memory: pieces of many sizes leave gaps. Where that is too much, call it with False after
    `load_backend`. (With PyTorch, huge pages, `THP_MEM_ALLOC_ENABLE=1` in the environment, take less memory and nearly
    as little time.)

    Args:
        keep: False goes back to what glibc does by itself once it has seen large pieces. What a thread has kept until
            then stays with that thread.

    Returns:
        Whether the C library has the setting: glibc has, others (macOS, musl, Windows) have not.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    mebibyte = 1024 * 1024
    settings = (
        ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1))
        if keep
        else ((_M_MMAP_MAX, 65536), (_M_MMAP_THRESHOLD, 32 * mebibyte), (_M_TRIM_THRESHOLD, 64 * mebibyte))
    )
    return all(mallopt(option, value) for option, value in settings)


@contextmanager
def objects_to_stay() -> Iterator[None]:
    """Let Python look for no garbage within the block, nor later among what was made until its end: it is to stay."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        atexit.register(gc.unfreeze)  # what holds threads, such as a key-value store, is taken down as ever
        if enabled:
            gc.enable()


def versions() -> dict[str, str]:
    """Return the version of Python and of each package that matters; "missing" where one is not installed."""
    found = {"python": platform.python_version()}
    for package in ("tinyssd", "torch", "torchvision", "mxnet", "numpy", "matplotlib", "d2l", "onnx", "onnxruntime"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "missing"
    return found


def machine() -> dict[str, Any]:
    """Return what the numbers were measured on: system, processor, its cores for this process, its instructions."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    processor = _of_processor("model name") or platform.processor() or platform.machine()
    return {
        "system": platform.platform(),
        "processor": processor,
        "cores": cores,
        "instructions": _instructions(),
    }


def threads() -> int:
    """Return how many threads the frameworks compute with: OMP_NUM_THREADS, or one for each core of this process."""
    told = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(told) if told.isdecimal() and int(told) else cores


def _of_processor(name: str) -> str:
    """Return what Linux says of the first processor, "" where it says nothing."""
    try:
        with open("/proc/cpuinfo") as file:
            return next((line.split(":", 1)[1].strip() for line in file if line.startswith(name)), "")
    except OSError:
        return ""


def _instructions() -> str:
    """Return the wide instructions of the processor, and what oneDNN is held to by an environment variable."""
    flags = _of_processor("flags").split()
    wide = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags]
    limit = os.environ.get("DNNL_MAX_CPU_ISA")
    return (", ".join(wide) or "unknown") + (f"; oneDNN: {limit} at most" if limit else "")


NATIVE = "native"
ISAS = (NATIVE, "avx2")
"""The instructions that oneDNN may be held to: all that the processor has, or AVX2 at most."""


def limit_instructions(isa: str) -> None:
    """Let oneDNN, which computes the convolutions of both frameworks, use no more instructions than those named.

    To be called before a framework computes: oneDNN asks once. With "native" whatever the environment variable
    `DNNL_MAX_CPU_ISA` says holds.

    Args:
        isa: one of `ISAS`.
    """
    if isa != NATIVE:
        os.environ["DNNL_MAX_CPU_ISA"] = isa.upper()
