"""`config.toml`: the data and the configuration of a training."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssd_common.config import PRESETS, ModelConfig, PredictConfig, Preset, TrainConfig
from ssd_common.config.tables import from_dict, to_dict
from ssd_common.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class Settings:
    """What `config.toml` holds: the data and the configuration of a training."""

    data: str
    limit: int | None
    preset: Preset
    val_data: str | None = None
    """Data set of the validation pictures; None for the val split of `data`."""
    backend: str | None = None
    """Framework to train in."""

    def __post_init__(self) -> None:
        for spec in filter(None, (self.data, self.val_data)):
            try:
                spec.encode()
            except UnicodeEncodeError:
                raise InputError(f"data set {spec!a}: the path is not UTF-8, as config.toml is; rename it") from None


def read_settings(path: Path) -> Settings:
    """Return the settings in a `config.toml`.

    A table that is missing is that of its `preset`, or the book's; of a table that is there, a missing value is the
    book's, a missing optional value None.

    Raises:
        InputError: the file is missing, is not TOML, or has a setting that does not exist.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such configuration file") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: not a readable TOML file ({error})") from None
    known = ("backend", "data", "val_data", "limit", "preset", "model", "train", "predict")
    for name in content:
        if name not in known:
            raise InputError(f"{path}: unknown setting '{name}'; the settings are {', '.join(known)}")
    data, val_data, limit = content.get("data", "synthetic"), content.get("val_data"), content.get("limit")
    whole = limit is None or (isinstance(limit, int) and not isinstance(limit, bool))
    if not isinstance(data, str) or not isinstance(val_data, str | None) or not whole:
        found = f"{data!r}, {val_data!r} and {limit!r}"
        raise InputError(f"{path}: data and val_data must be texts and limit a whole number, got {found}")
    backend = content.get("backend")
    if not isinstance(backend, str | None):
        raise InputError(f"{path}: backend must be a text, got {backend!r}")
    name = content.get("preset", "custom")
    tables = {"model": ModelConfig, "train": TrainConfig, "predict": PredictConfig}
    if not isinstance(name, str) or (name not in PRESETS and name != "custom" and not tables.keys() <= content.keys()):
        raise InputError(f"{path}: unknown preset {name!r}; the presets are {', '.join(PRESETS)}")
    base, parts = PRESETS.get(name, PRESETS["book"]), {}
    for part, cls in tables.items():
        # A table that is there has the optional values it names and no others: a None is not written.
        parts[part] = from_dict(cls, content[part], f"{path}: {part}") if part in content else getattr(base, part)
    return Settings(data, limit, Preset(name, **parts), val_data, backend)


def settings_table(settings: Settings) -> dict[str, Any]:
    """Return settings as `read_settings` finds them in a TOML file."""
    preset = settings.preset
    content: dict[str, Any] = {"backend": settings.backend} if settings.backend is not None else {}
    content |= {"data": settings.data, "preset": preset.name}
    if settings.val_data is not None:
        content["val_data"] = settings.val_data
    if settings.limit is not None:
        content["limit"] = settings.limit
    return content | {part: to_dict(getattr(preset, part)) for part in ("model", "train", "predict")}
