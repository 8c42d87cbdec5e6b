"""Configurations as plain tables of values, as TOML and JSON hold them, and back."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from ssd_common.errors import InputError

T = TypeVar("T")


def to_dict(config: Any) -> dict[str, Any]:
    """Return a configuration as plain dicts, lists and numbers."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: plain(item) for name, item in value.items()}
        return [plain(item) for item in value] if isinstance(value, tuple) else value

    table: dict[str, Any] = plain(dataclasses.asdict(config))
    return table


def from_dict(base: T, table: Any, source: str) -> T:
    """Return a configuration with the values of a table.

    Args:
        base: the configuration that has the values which the table does not name.
        table: values by name, as `to_dict` returns them.
        source: the file that the table comes from, for messages.

    Raises:
        InputError: a name that the configuration does not have, or a value that does not fit.
    """
    kind = type(base)
    if not isinstance(table, Mapping):
        raise InputError(f"{source}: {kind.__name__} must be a table of values, got {table!r:.80}")
    hints = typing.get_type_hints(kind)
    values = {}
    for name, value in table.items():
        if name not in hints:
            raise InputError(f"{source}: unknown setting {name!r:.80}; {kind.__name__} has {', '.join(hints)}")
        values[name] = _convert(value, hints[name], getattr(base, name), f"{source}: {name}")
    try:
        return dataclasses.replace(base, **values)  # type: ignore[type-var]
    except InputError as error:
        raise InputError(f"{source}: {error}") from None


def differences(config: Any, base: Any) -> dict[str, Any]:
    """Return the values in which one configuration differs from another, by dotted name: `{"train.lr": 0.5}`."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value, usual = getattr(config, field.name), getattr(base, field.name)
        if dataclasses.is_dataclass(value):
            found |= {f"{field.name}.{name}": item for name, item in differences(value, usual).items()}
        elif value != usual:
            found[field.name] = value
    return found


def _convert(value: Any, hint: Any, base: Any, where: str) -> Any:
    """Return a plain TOML or JSON value as the type that a dataclass field asks for."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value not in arguments:
            raise InputError(f"{where} must be one of {', '.join(arguments)}, got {value!r:.80}")
        return value
    if dataclasses.is_dataclass(hint):
        return from_dict(base, value, where)
    if origin is tuple:
        if not isinstance(value, (list, tuple)) or (arguments[-1] is not ... and len(value) != len(arguments)):
            length = "" if arguments[-1] is ... else f" of {len(arguments)}"
            raise InputError(f"{where} must be a list{length}, got {value!r:.80}")
        return tuple(_convert(item, arguments[0], None, f"{where}[{i}]") for i, item in enumerate(value))
    if hint is float and type(value) is int and abs(value) < 2**1000:  # a larger one is no float
        return float(value)
    if type(value) is not hint:
        raise InputError(f"{where} must be of type {hint.__name__}, got {value!r:.80}")
    return value
