"""No file ends in a traceback, takes more than 2 s or 500 MB, or is read as another one where a checksum tells.

`TINYSSD_FUZZ` is the number of files, over all parsers; `TINYSSD_FUZZ_SEED` makes others of them.
"""

import os
import subprocess
import sys

import numpy as np
import pytest

from .mutations import damage
from .parsers import PARSERS

FILES = int(os.environ.get("TINYSSD_FUZZ", "3000"))
SEED = int(os.environ.get("TINYSSD_FUZZ_SEED", "0"))
SHARE = FILES / sum(parser.weight for parser in PARSERS.values())
WITH_TORCH = ("state_dict", "ONNX", "ONNX, sealed again")
ROWS = [pytest.param(n, marks=pytest.mark.backend("torch") if n in WITH_TORCH else ()) for n in PARSERS]


@pytest.mark.parametrize("name", ROWS)
def test_a_damaged_file_is_read_or_refused_in_one_line_and_within_bounds(name):
    count = int(np.ceil(SHARE * PARSERS[name].weight))
    command = [sys.executable, "-m", "tests.fuzz", name, "--files", str(count), "--seed", str(SEED)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr[-2000:]  # below 0: the process crashed


def test_the_same_seed_damages_in_the_same_way_and_another_in_another(tmp_path):
    good = bytes(range(256))
    made = [[damage(good, np.random.default_rng([seed, n]), "bytes") for n in range(20)] for seed in (0, 0, 1)]
    assert made[0] == made[1] != made[2]
    assert sum(content != good for content in made[0]) >= 18
