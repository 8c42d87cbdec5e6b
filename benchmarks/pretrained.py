"""Put the last weights of a training run into the package, as the detector that comes with it.

    tinyssd train --data synthetic --preset improved --epochs 36 --out build/pretrained
    python -m benchmarks.pretrained build/pretrained

`make pretrained` does both; `make pretrained BACKEND=mxnet` trains in MXNet.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
from pathlib import Path

import tomli_w

from ssd_common.checkpoints import load_checkpoint, save_checkpoint
from ssd_common.checkpoints.pretrained import FILE
from ssd_common.config import read_run_config
from ssd_common.config.run import to_table
from ssd_common.output import write_atomically


def main() -> None:
    """Write the weights without the optimiser's velocities, their configuration, and their sha256."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    folder = parser.parse_args().run
    checkpoint = load_checkpoint(folder / "weights" / "last.safetensors")
    checkpoint = dataclasses.replace(checkpoint, velocity={}, run=read_run_config(folder / "config.toml"))
    save_checkpoint(FILE, checkpoint)
    write_atomically(FILE.with_name("config.toml"), tomli_w.dumps(to_table(checkpoint.run)).encode())
    digest = hashlib.sha256(FILE.read_bytes()).hexdigest()
    write_atomically(FILE.with_name(f"{FILE.name}.sha256"), f"{digest}  {FILE.name}\n".encode())
    print(f"wrote {FILE}: {checkpoint.run.describe()}, {checkpoint.epoch} epochs; sha256 {digest}")


if __name__ == "__main__":
    main()
