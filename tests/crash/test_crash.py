"""A training run that is killed, or told to stop, goes on as if it had not been: in each framework.

`TINYSSD_CRASH` is the number of kills of each framework; `TINYSSD_CRASH_SEED` chooses other moments.
"""

import os
import subprocess
import sys

import pytest

KILLS = os.environ.get("TINYSSD_CRASH", "20")
SEED = os.environ.get("TINYSSD_CRASH_SEED", "0")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.backend(n)) for n in ("torch", "mxnet")])
def test_no_kill_makes_a_file_unreadable_loses_more_than_an_interval_or_changes_the_result(name):
    command = [sys.executable, "-m", "tests.crash", name, "--kills", KILLS, "--seed", SEED]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}  # a fork has one thread
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    print(result.stdout)
    assert result.returncode == 0, result.stdout + result.stderr[-2000:]
