"""What the verbs of the command line share: the types of their flags, checks, the console."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import arg
from tyro.constructors import PrimitiveConstructorSpec

from ssd_common.errors import InputError

if TYPE_CHECKING:
    from ssd_common.data.dataset import Dataset

# Everything else is imported by the verb that needs it: `tinyssd --help` must not wait for numpy, or for a framework.

PROGRAM = "tinyssd"


def _value(metavar: str, kind: Callable[[str], Any], what: str) -> PrimitiveConstructorSpec[Any]:
    """Return how a value is read: tyro's own messages speak of literals, of bases, and of None.

    And the text "None", which may be a file's name, would be no value.
    """

    def read(values: list[str]) -> Any:
        try:
            return kind(values[0])
        except ValueError:
            raise ValueError(f"{values[0]!r} is not {what}") from None

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=metavar,
        instance_from_str=read,
        is_instance=lambda value: value is None or isinstance(value, (int, float, Path)),
        str_from_instance=lambda value: [str(value)],
    )


# Flags as the help shows them; values are checked where they are used, with the same message as in Python.
BackendName = Annotated[str, arg(metavar="torch|mxnet")]
OptionalBackend = Annotated[str | None, arg(metavar="torch|mxnet", help_behavior_hint="")]
OptionalPreset = Annotated[str | None, arg(metavar="book|straight-dope|improved", help_behavior_hint="")]
OptionalAugmentation = Annotated[str | None, arg(metavar="none|flip|jitter|ssd|straight-dope", help_behavior_hint="")]
DataSpec = Annotated[str, arg(metavar="SPEC")]
OptionalSpec = Annotated[str | None, arg(metavar="SPEC", help_behavior_hint="")]
Device = Annotated[str, arg(metavar="auto|cpu|gpu|gpu:1")]
OptionalPath = Annotated[Path | None, _value("PATH", Path, "a path"), arg(help_behavior_hint="")]
Int = Annotated[int, _value("INT", int, "a whole number")]
Float = Annotated[float, _value("FLOAT", float, "a number")]
Seconds = Annotated[float, _value("SECONDS", float, "a number")]
Minutes = Annotated[float, _value("MINUTES", float, "a number")]
OptionalInt = Annotated[int | None, _value("INT", int, "a whole number"), arg(help_behavior_hint="")]
OptionalFloat = Annotated[float | None, _value("FLOAT", float, "a number"), arg(help_behavior_hint="")]


def splits(data: str, data_dir: Path | None, limit: int | None, val_data: str | None = None) -> tuple[Dataset, Dataset]:
    """Return the training images, at most `limit`, and the validation images.

    Args:
        data: the dataset; its train split, unless it names another one.
        data_dir: as in `load_dataset`.
        limit: use only the first so many training images.
        val_data: the dataset of the validation images, its val split unless it names another one; by default `data`,
            which then must have both splits.

    Raises:
        InputError: as `load_dataset`, or there are no validation images, or ones of other classes.
    """
    from ssd_common.data import DataSource

    source = DataSource(data, data_dir)
    if val_data is None and source.spec.split:
        raise InputError(
            f"--data {data}: training uses both splits; name the dataset alone, or another one with --val-data"
        )
    if val_data is None and "val" not in source.splits:
        names = ", ".join(source.splits)
        what = f"its splits are {names}, and none is val" if names else "it is not divided into splits"
        raise InputError(f"--data {data}: {what}: name the validation images with --val-data SPEC")
    training = source.load("train", limit)
    validation = (DataSource(val_data, data_dir) if val_data else source).load("val")
    if training.class_names != validation.class_names:
        raise InputError(
            f"{training.name} has the classes {', '.join(training.class_names)}; "
            f"{validation.name} has {', '.join(validation.class_names)}; classes.txt or data.yaml can name them alike"
        )
    return training, validation
