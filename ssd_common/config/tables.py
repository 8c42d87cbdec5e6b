"""Configurations as plain tables of values, as TOML and JSON hold them, and back."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, Literal

from ssd_common.errors import InputError


def to_dict(config: Any) -> dict[str, Any]:
    """Return a configuration as plain dicts, lists and numbers, without the values that are None (TOML has no null)."""
    plain = dataclasses.asdict(config)

    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: strip(v) for k, v in value.items() if v is not None}
        if isinstance(value, (list, tuple)):
            return [strip(v) for v in value]
        return value

    return strip(plain)


def from_dict(cls: type[Any], plain: dict[str, Any], source: str = "configuration") -> Any:
    """Return the dataclass `cls` that `to_dict` turned into `plain`.

    Args:
        cls: one of the dataclasses above.
        plain: its values by name. A missing optional value (`X | None`) is None, any other missing one the default.
        source: the file the values come from, for messages.

    Raises:
        InputError: a name that `cls` does not have, or a value of another type.
    """
    if not isinstance(plain, dict):
        raise InputError(f"{source}: {cls.__name__} must be a table of values, got {plain!r}")
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(plain) - set(hints))
    if unknown:
        raise InputError(f"{source}: unknown setting '{unknown[0]}'; {cls.__name__} has {', '.join(hints)}")
    values = {}
    for name, hint in hints.items():
        if name in plain:
            values[name] = _convert(plain[name], hint, f"{source}: {name}")
        elif isinstance(hint, types.UnionType) and types.NoneType in typing.get_args(hint):
            values[name] = None
    try:
        return cls(**values)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None


def _convert(value: Any, hint: Any, where: str) -> Any:
    """Return a plain TOML or JSON value as the type that a dataclass field asks for."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if isinstance(hint, types.UnionType):  # X | None
        return None if value is None else _convert(value, arguments[0], where)
    if origin is Literal:
        if value not in arguments:
            raise InputError(f"{where} must be one of {', '.join(arguments)}, got {value!r}")
        return value
    if dataclasses.is_dataclass(hint):
        return from_dict(typing.cast(Any, hint), value, where)
    if origin is tuple:
        if not isinstance(value, (list, tuple)) or (arguments[-1] is not ... and len(value) != len(arguments)):
            length = "" if arguments[-1] is ... else f" of {len(arguments)}"
            raise InputError(f"{where} must be a list{length}, got {value!r}")
        return tuple(_convert(v, arguments[0], f"{where}[{i}]") for i, v in enumerate(value))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise InputError(f"{where} must be of type {hint.__name__}, got {value!r}")
    return value
