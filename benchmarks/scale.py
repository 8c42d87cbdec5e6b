"""Time training steps in one and in several processes of this machine, and count the bytes that they send.

    python -m benchmarks.scale                         # measure both engines, and print what is to be expected on paper
    python -m benchmarks.scale --step-ms 40 --gbit 25  # only the paper, for a step and a network of your own

Every process trains the same number of images a step: an ideal engine takes as long with N processes as with one. The
bytes are those that Linux counts on loopback, of all processes together.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from ssd_common.backends import BACKENDS, load_backend
from ssd_common.config import ModelConfig, TrainConfig
from ssd_common.data.sampling import batches
from ssd_common.data.synthetic.scenes import SyntheticDataset
from ssd_common.group import ALONE
from ssd_common.runs.launch import free_port, job, run_job
from ssd_common.weights import count_parameters, initial_weights

MODEL, WARM_UP, SUMS = ModelConfig(), 2, 50
BYTES = 4 * count_parameters(MODEL)
"""Of the gradients of one step, in float32."""


def sent_in_theory(backend: str, workers: int) -> float:
    """Return the bytes that all processes together send in a step: ring all-reduce, or a parameter server."""
    return 2 * BYTES * (workers - 1 if backend == "torch" else workers)


def on_paper(step: float, bandwidth: float, workers: int) -> tuple[float, float]:
    """Return the efficiency of ring all-reduce and of as many servers as workers, without overlap.

    Args:
        step: seconds that one process computes.
        bandwidth: bytes a second of each process, in each direction.
        workers: how many processes.
    """
    ring = 2 * (workers - 1) / workers * BYTES / bandwidth
    served = 2 * BYTES / bandwidth if workers > 1 else 0.0
    return step / (step + ring), step / (step + served)


def loopback_bytes() -> int:
    """Return how many bytes were sent on loopback since the machine started."""
    lines = Path("/proc/net/dev").read_text().splitlines()
    return int(next(line for line in lines if line.strip().startswith("lo:")).split(":")[1].split()[8])


def worker(backend_name: str, batch: int, steps: int, out: str) -> None:
    """Be one process: train some steps, and as the first write seconds and bytes of a step."""
    backend = load_backend(backend_name)
    group = backend.distributed.join()
    config = TrainConfig(batch_size=batch * group.size)
    net = backend.weights.make_net(MODEL, initial_weights(MODEL, config))
    trainer = backend.train.make_trainer(net, config)
    images, labels = next(batches(SyntheticDataset(num_images=batch), [range(batch)], MODEL))
    X, Y = backend.data.to_device(images), backend.data.to_device(labels)
    group.shard([np.arange(config.batch_size)] * (steps + WARM_UP))
    for step in range(steps + WARM_UP):
        if step == WARM_UP:
            start = time.perf_counter()
        metrics = backend.train.train_step(net, trainer, X, Y, group=group if group.size > 1 else ALONE)
        float(metrics["cls_loss"])
    took, sent = time.perf_counter() - start, loopback_bytes()
    for _ in range(SUMS):  # only these count bytes: in so short a time, other programs send little
        group.sum_array(np.zeros(BYTES // 4, np.float32))
    moved = loopback_bytes() - sent
    if group.rank == 0:
        Path(out).write_text(json.dumps({"seconds": took / steps, "bytes": moved / SUMS}))
    backend.distributed.leave(group)


def main() -> None:
    """Measure both engines with one process and with more, and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=8, help="images of each process a step")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--step-ms", type=float, default=0.0, help="measure nothing; expect with this step time")
    parser.add_argument("--gbit", type=float, default=10.0, help="of the network of each process")
    arguments = parser.parse_args()
    if not arguments.step_ms:
        print(
            "| engine | processes | ms a step | efficiency | MB sent a step | MB in theory |\n|---|---|---|---|---|---|"
        )
        for backend in BACKENDS:
            single = 0.0
            for workers in arguments.workers:
                with tempfile.TemporaryDirectory() as folder:
                    out = str(Path(folder) / "measured.json")
                    code = "import sys; from benchmarks.scale import worker; "
                    code += f"worker({backend!r}, {arguments.batch}, {arguments.steps}, {out!r})"
                    processes = job(backend, workers, 1, free_port())
                    one_thread = {name: own | {"OMP_NUM_THREADS": "1"} for name, own in processes.items()}
                    if run_job(one_thread, code, [], 1800):
                        raise SystemExit(2)
                    measured = json.loads(Path(out).read_text())
                single = single or measured["seconds"]
                print(
                    f"| {backend} | {workers} | {1000 * measured['seconds']:.0f} | {single / measured['seconds']:.0%} "
                    f"| {measured['bytes'] / 1e6 if workers > 1 else 0:.1f} "
                    f"| {sent_in_theory(backend, workers) / 1e6 if workers > 1 else 0:.1f} |",
                    flush=True,
                )
        return
    print("| processes | all-reduce | as many servers as workers |\n|---|---|---|")
    for workers in (1, 8, 64):
        ring, served = on_paper(arguments.step_ms / 1e3, arguments.gbit * 1e9 / 8, workers)
        print(f"| {workers} | {ring:.0%} | {served:.0%} |")


if __name__ == "__main__":
    main()
