"""Freed memory stays in the process when it is asked to, and goes back when it is not."""

import subprocess
import sys

import pytest

SIZE = 64 * 1024 * 1024
PR_SET_THP_DISABLE = 41  # of <linux/prctl.h>: pages of 4 kB, never huge ones, of which this array would need 33
FAULTS = f"""
import ctypes
import resource
import numpy as np
from ssd_common.machine import keep_freed_memory

assert ctypes.CDLL(None).prctl({PR_SET_THP_DISABLE}, 1, 0, 0, 0) == 0

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones({SIZE}, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

counts = []
for keep in (False, True):
    assert keep_freed_memory(keep)
    faults()  # the first time the pages are new in any case
    counts.append(faults())
print(*counts)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a setting of glibc")
def test_an_array_as_large_as_one_that_was_freed_touches_no_new_page():
    run = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    given_back, kept = map(int, run.stdout.split())
    assert given_back > 200
    assert kept < 20


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a setting of glibc")
def test_a_process_that_keeps_freed_memory_can_do_some_work_without():
    code = FAULTS.replace("for keep in (False, True):\n    assert keep_freed_memory(keep)", "for work in (0, 1):")
    code = code.replace("    counts.append(faults())", "    counts.append(faults() if work else apart(faults))")
    code = code.replace(
        "import keep_freed_memory",
        "import keep_freed_memory\nfrom benchmarks.instrument import own_settings_of_the_c_library",
    ).replace(
        "counts = []",
        """
from concurrent.futures import ThreadPoolExecutor

def apart(work):  # in the main thread it would be given what is kept
    with own_settings_of_the_c_library(), ThreadPoolExecutor(1) as executor:
        return executor.submit(lambda: (work(), work())[1]).result()

keep_freed_memory()
counts = []
""",
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    apart, kept = map(int, run.stdout.split())
    assert apart > 200
    assert kept < 20


def test_loading_a_backend_keeps_freed_memory(backend):
    if not sys.platform.startswith("linux"):
        pytest.skip("a setting of glibc")
    code = FAULTS.replace("    assert keep_freed_memory(keep)\n", "").replace(
        "counts = []", f"from ssd_common.backends import load_backend\nload_backend({backend.name!r})\ncounts = []"
    )
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert max(map(int, run.stdout.split())) < 20


def test_where_the_c_library_has_no_such_setting_nothing_happens(monkeypatch):

    from ssd_common import machine

    monkeypatch.setattr(machine.sys, "platform", "darwin")
    assert machine.keep_freed_memory() is False


def test_importing_a_backend_changes_nothing_for_the_process(backend):
    if not sys.platform.startswith("linux"):
        pytest.skip("a setting of glibc")
    code = FAULTS.replace("    assert keep_freed_memory(keep)\n", "").replace(
        "import resource", f"import ssd_{backend.name}, resource"
    )
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert min(map(int, run.stdout.split())) > 200
