"""What a training run was made of: the configuration, and the data and the framework it ran on.

`config.toml` of a run folder and the metadata of a weights file hold the same table.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ssd_common.config.hyperparameters import BOOK, PRESETS, Config, get_preset
from ssd_common.config.tables import differences, from_dict, to_dict
from ssd_common.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


SETTINGS = ("backend", "threads", "data", "val_data", "limit", "based_on")
PARTS = ("model", "train", "predict")


@dataclass(frozen=True)
class RunConfig:
    """A configuration and what it was used on. An empty text means that it is not known, or not asked for."""

    config: Config = field(default_factory=Config)
    based_on: str = ""
    """The preset that the configuration was made from."""
    backend: str = ""
    """The framework: "torch" or "mxnet"."""
    data: str = ""
    """Dataset of the training images, as given on the command line."""
    val_data: str = ""
    """Dataset of the validation images; empty for the val split of `data`."""
    limit: int = 0
    """Only the first so many training images; 0 for all."""
    threads: int = 0
    """Threads that computed, see `ssd_common.machine.threads`: with another number the sums round differently."""

    def __post_init__(self) -> None:
        for spec in (self.data, self.val_data):
            try:
                spec.encode()
            except UnicodeEncodeError:
                raise InputError(f"dataset {spec!a}: the path is not UTF-8, as config.toml is; rename it") from None

    def changes(self) -> dict[str, Any]:
        """Return every value that is not that of the preset, by its name: {"train.lr": 0.5}."""
        preset = self.based_on in PRESETS
        return differences(self.config, get_preset(self.based_on, self.backend)) if preset else {}

    def describe(self) -> str:
        """Return what the configuration is based on, and every value that differs: "book, with train.lr = 0.5"."""
        changed = self.changes()
        changed.pop("model.class_names", None)
        values = ", ".join(f"{name} = {value}" for name, value in changed.items())
        return (self.based_on or "a configuration of its own") + (f", with {values}" if values else "")


def to_table(run: RunConfig) -> dict[str, Any]:
    """Return a run's configuration as the table that `config.toml` holds."""
    return {name: getattr(run, name) for name in SETTINGS} | to_dict(run.config)


def from_table(table: Mapping[str, Any], source: str) -> RunConfig:
    """Return the run's configuration in a table.

    A value that the table does not have is that of the preset it is based on, or the book's. Tables of version 0.1.0
    are read, too: they have `preset` in place of `based_on`, what their tables lack is the book's, and a `predict`
    without `top_k` lets all boxes compete.

    Raises:
        InputError: the table names a setting that does not exist, or a value that does not fit.
    """
    own = {name: value for name, value in table.items() if name not in PARTS}
    parts = {name: value for name, value in table.items() if name in PARTS}
    old = "preset" in own
    if old:
        name = own.pop("preset")
        own["based_on"] = "" if name == "custom" else name  # a configuration that was made from no preset
    for name in own:
        if name not in SETTINGS:
            known = ", ".join((*SETTINGS, *PARTS))
            raise InputError(f"{source}: unknown setting {name!r:.80}; the settings are {known}")
    run = from_dict(RunConfig(), own, source)
    if run.based_on not in ("", *PRESETS) and len(parts) < len(PARTS):
        raise InputError(f"{source}: unknown preset {run.based_on!r:.80}; the presets are {', '.join(PRESETS)}")
    base = PRESETS.get(run.based_on, BOOK)
    if old:
        base = dataclasses.replace(base, **{name: getattr(BOOK, name) for name in parts})
        if "predict" in parts:
            base = dataclasses.replace(base, predict=dataclasses.replace(base.predict, top_k=0))
    return dataclasses.replace(run, config=from_dict(base, parts, source))


def read_run_config(path: Path) -> RunConfig:
    """Return the run's configuration in a `config.toml`, see `from_table`.

    Raises:
        InputError: the file is missing, is not TOML, or has a setting that does not exist.
    """
    if not path.exists():
        raise InputError(f"{path}: no such configuration file")
    if not path.is_file():  # a named pipe would be waited for
        raise InputError(f"{path}: not a readable TOML file (a folder, a pipe or a device)")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # no UTF-8, no TOML, a number of 5,000 digits
        raise InputError(f"{path}: not a readable TOML file ({error})") from None
    return from_table(content, str(path))
