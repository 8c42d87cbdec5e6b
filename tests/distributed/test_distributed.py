"""Several processes train as one does, on loopback, with each framework's own engine."""

import numpy as np
import pytest

from ssd_common.backends import load_backend
from ssd_common.runs.launch import free_port, job, run_job
from tests.distributed import worker

TOLERANCE = 1e-9


@pytest.fixture(scope="module")
def alone():
    """What one process leaves, by backend, computed when it is first asked for."""
    known = {}

    def left(backend):
        if backend.name not in known:
            known[backend.name] = worker.train(backend)
        return known[backend.name]

    return left


@pytest.mark.parametrize("workers", [2, 4])
def test_several_processes_leave_what_one_does(backend, workers, alone, tmp_path):
    processes = job(backend.name, workers, 2, free_port())
    code = "import runpy; runpy.run_module('tests.distributed.worker', run_name='__main__', alter_sys=True)"
    assert run_job(processes, code, [backend.name, str(tmp_path / "left")], 120) == 0
    expected = alone(backend)
    for rank in range(workers):
        with np.load(tmp_path / f"left.{rank}.npz") as found:
            assert found.keys() == expected.keys()
            for name, value in expected.items():
                np.testing.assert_allclose(found[name], value, rtol=0, atol=TOLERANCE, err_msg=f"{rank} {name}")
            largest = max(float(np.abs(found[name] - value).max()) for name, value in expected.items())
            print(f"{backend.name}, process {rank} of {workers}: largest difference {largest:.1e}")
