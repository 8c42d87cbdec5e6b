"""Freed memory stays in the process when it is asked to, and goes back when it is not; so with Python's garbage."""

import gc
import subprocess
import sys

import pytest

from ssd_common.backends import load_backend
from ssd_common.machine import objects_to_stay

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a setting of glibc")

SIZE = 64 * 1024 * 1024
PR_SET_THP_DISABLE = 41  # of <linux/prctl.h>: pages of 4 kB, never huge ones, of which this array would need 33
FAULTS = f"""
import ctypes
import resource
import numpy as np

assert ctypes.CDLL(None).prctl({PR_SET_THP_DISABLE}, 1, 0, 0, 0) == 0

def work():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones({SIZE}, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def faults():
    work()  # the first time the pages are new in any case
    return work()
"""


def printed(code):
    """Run code after `FAULTS` in a new process, and return the numbers that it prints."""
    command = [sys.executable, "-W", "ignore", "-c", FAULTS + code]
    return [int(number) for number in subprocess.check_output(command, text=True).split()]


@linux
def test_an_array_as_large_as_one_that_was_freed_touches_no_new_page():
    given_back, kept = printed(
        """
from ssd_common.machine import keep_freed_memory

for keep in (False, True):
    assert keep_freed_memory(keep)
    print(faults())
"""
    )
    assert given_back > 200
    assert kept < 20


@linux
def test_a_process_that_keeps_freed_memory_can_do_some_work_without():
    apart, kept = printed(
        """
from concurrent.futures import ThreadPoolExecutor
from ssd_common.machine import keep_freed_memory

keep_freed_memory()
faults()
keep_freed_memory(False)
with ThreadPoolExecutor(1) as executor:  # in the main thread it would be given what is kept
    print(executor.submit(faults).result())
keep_freed_memory()
print(faults())
"""
    )
    assert apart > 200
    assert kept < 20


@linux
def test_the_benchmark_s_peer_keeps_nothing_in_its_thread_and_ours_does():
    (*peer, ours) = printed(
        """
from benchmarks.instrument import Case, measure
from ssd_common.machine import keep_freed_memory

keep_freed_memory()
measure(Case("toy", "torch", faults, lambda: print(faults()), peer_thread=int), pairs=1)
print(faults())
"""
    )
    assert min(peer) > 200
    assert ours < 20


@linux
def test_loading_a_backend_keeps_freed_memory_and_importing_it_changes_nothing(backend):
    given_back, kept = printed(
        f"""
import ssd_{backend.name}
from ssd_common.backends import load_backend

print(faults())
load_backend({backend.name!r})
print(faults())
"""
    )
    assert given_back > 200
    assert kept < 20


def test_where_the_c_library_has_no_such_setting_nothing_happens(monkeypatch):
    from ssd_common import machine

    monkeypatch.setattr(machine.sys, "platform", "darwin")
    assert machine.keep_freed_memory() is False


def test_garbage_is_collected_however_often_a_backend_is_loaded(backend):
    frozen = gc.get_freeze_count()
    kept = [[] for _ in range(1000)]
    assert load_backend(backend.name) is backend
    assert gc.get_freeze_count() < frozen + len(kept)


@pytest.mark.parametrize("enabled", [True, False])
def test_the_garbage_collector_rests_for_a_block_and_is_then_what_it_was(enabled):
    was = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        frozen = gc.get_freeze_count()
        with objects_to_stay():
            assert not gc.isenabled()
            kept = [[] for _ in range(1000)]
        assert gc.get_freeze_count() >= frozen + len(kept)
        assert gc.isenabled() == enabled
    finally:
        (gc.enable if was else gc.disable)()
