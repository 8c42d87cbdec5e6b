"""The run folder: what a training leaves behind, the same for both backends."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import tomli_w
from rich.console import Console

from ssd_common.backends import BACKENDS
from ssd_common.checkpoints.checkpoint import Checkpoint, encode_checkpoint
from ssd_common.config import RunConfig
from ssd_common.config.run import to_table
from ssd_common.data.dataset import counted
from ssd_common.errors import InputError
from ssd_common.output.atomic import naming, write_atomically
from ssd_common.output.console import print_lines
from ssd_common.output.folders import check_output_folder
from ssd_common.output.lock import locked

Row = dict[str, Any]

COLUMNS = (
    "epoch",
    "loss",
    "cls_loss",
    "bbox_loss",
    "class_error",
    "bbox_mae",
    "val_class_error",
    "val_bbox_mae",
    "val_ap50",
    "val_ap",
    "examples_per_second",
    "data_seconds",
)
"""Columns of `results.csv`."""


CONFIG, LAST, BEST = "config.toml", "weights/last.safetensors", "weights/best.safetensors"
IMAGES = ("results.png", "val_detections.png")
"""What is drawn when all epochs are trained."""


class RunFolder:
    """A folder `runs/<name>` with a log, a table of epochs and weights; every file is there whole or not at all.

    It has one writer: while it is open it is locked, see `ssd_common.output.lock`. Use it in a `with` statement.
    """

    def __init__(self, path: Path, console: Console, rows: Sequence[Row] = ()) -> None:
        """Make the folder and lock it; `rows` are those of the epochs before, if the run goes on.

        Raises:
            InputError: another process is writing to it, or its log is no file.
        """
        self.path, self.console, self.rows = path, console, list(rows)
        self.saved = ""  # how much training `last.safetensors` has, "" for none
        path.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            self._check = stack.enter_context(locked(path))
            for stale in (*path.glob(".*.tmp"), *path.glob("weights/.*.tmp")):  # of a writer that was killed
                stale.unlink()
            log = path / "log.txt"
            if log.exists() and not log.is_file():  # a pipe would be waited for
                raise InputError(f"{log}: a folder, a pipe or a device, not a file: take it away")
            self._log = stack.enter_context(log.open("a", encoding="utf-8", errors="backslashreplace"))
            self._open = stack.pop_all()

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the log, and let others write."""
        self._open.close()

    def log(self, line: str) -> None:
        """Print a line and keep it in `log.txt`."""
        print_lines([line], self.console)
        with naming(self.path / "log.txt"):
            self._log.write(line + "\n")
            self._log.flush()

    def write_config(self, run_config: RunConfig) -> None:
        """Write `config.toml`."""
        self.write(CONFIG, tomli_w.dumps(to_table(run_config)).encode())

    def record(self, row: Row) -> None:
        """Add the row of an epoch to `results.csv`."""
        self.rows.append(row)
        self.write_rows()

    def write_rows(self) -> None:
        """Write `results.csv`."""
        self.write("results.csv", format_rows(self.rows).encode())

    def save(self, checkpoint: Checkpoint, best: bool) -> None:
        """Write `weights/last.safetensors`, and `weights/best.safetensors` if these are the best so far."""
        encoded = encode_checkpoint(checkpoint, str(self.path / LAST))
        # The best first: a run stopped in between goes on before this epoch, and finds it the best once more.
        if best:
            self.write(BEST, encoded)
        self.write(LAST, encoded)
        self.saved = counted(checkpoint.step, "step")

    def write(self, name: str, payload: bytes) -> Path:
        """Write a file of the folder, see `write_atomically`, and return its path.

        Raises:
            InputError: the folder is not there any more, or another process may write to it.
        """
        self._check()
        write_atomically(self.path / name, payload)
        return self.path / name


def new_folder(out: Path | None, name: str) -> Path:
    """Return the folder of a new run: `out`, or `runs/<name>` with a number behind it if that exists, which is made.

    Raises:
        InputError: `out` is a file, or holds a run already.
    """
    number = 1
    while out is None:
        path = Path("runs") / (name if number == 1 else f"{name}-{number}")
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError:  # made by another process, maybe just now
            number += 1
    check_output_folder(out)
    if (out / CONFIG).exists():
        raise InputError(f"--out {out}: there is a run in this folder; name another, or continue it with --resume")
    if any((out / name).exists() for name in ("report.json", *(f"{name}/{CONFIG}" for name in BACKENDS))):
        raise InputError(f"--out {out}: there is a comparison in this folder; name another")
    return out


def format_rows(rows: Sequence[Row]) -> str:
    """Return rows of epochs as CSV with `COLUMNS`; a value that is missing is empty."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: "" if row.get(name) is None else row[name] for name in COLUMNS} for row in rows)
    return buffer.getvalue()


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a `results.csv`.

    Raises:
        InputError: the file is missing, or a row has a value that is not a number.
    """
    if not path.is_file():
        problem = "not a file" if path.exists() else "no such file"
        raise InputError(f"{path}: {problem}; is its folder a run?")
    rows = []
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:  # a spreadsheet writes a mark first
        reader = csv.DictReader(file)
        try:
            for text in reader:
                for name in COLUMNS:
                    if text.get(name) is None:
                        raise ValueError(f"it has no {name}; the columns are {','.join(COLUMNS)}")
                row: Row = {name: None if text[name] == "" else float(text[name]) for name in COLUMNS}
                if row["loss"] is None or math.isinf(row["loss"]):  # others are compared with it
                    raise ValueError(f"the loss is {text['loss'] or 'empty'}")
                rows.append(row | {"epoch": int(text["epoch"])})
        except (ValueError, csv.Error) as error:
            problem = f"not a row of results ({str(error)[:200]}); put the file back as it was"
            raise InputError(f"{path}, line {reader.line_num}: {problem}") from None
    return rows


def format_row(row: Row, epochs: int) -> str:
    """Return the line that is printed at the end of an epoch."""
    return (
        f"epoch {row['epoch']:>{len(str(epochs))}}/{epochs}  loss {row['loss']:.4f}"
        f"  class error {row['class_error']:.2e}  bbox MAE {row['bbox_mae']:.2e}"
        f"  |  val: class error {row['val_class_error']:.2e}  bbox MAE {row['val_bbox_mae']:.2e}"
        f"  AP50 {row['val_ap50']:.3f}  AP {row['val_ap']:.3f}"
        f"  |  {row['examples_per_second']:.1f} examples/s + {row['data_seconds']:.1f} s data"
    )


def trivial_baselines(row: Row) -> dict[str, float]:
    """Return what all background and zero offsets score, by name of each quantity whose baseline the row has."""
    names = {
        "class_error": "baseline_class_error",
        "bbox_mae": "baseline_bbox_mae",
        "val_class_error": "val_baseline_class_error",
        "val_bbox_mae": "val_baseline_bbox_mae",
    }
    return {quantity: row[name] for quantity, name in names.items() if name in row}


def format_baselines(row: Row) -> str:
    """Return the line that says what predicting nothing would score."""
    scores = trivial_baselines(row)
    return (
        f"trivial baselines: all background and zero offsets score class error {scores['class_error']:.2e}, "
        f"bbox MAE {scores['bbox_mae']:.2e} in training, "
        f"{scores['val_class_error']:.2e}, {scores['val_bbox_mae']:.2e} in validation"
    )
