"""Everything that is wrong in a dataset."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from ssd_common.data import DataSource
from ssd_common.data.dataset import counted
from ssd_common.data.formats.annotations import AnnotatedSet, Annotation, Problem
from ssd_common.data.formats.class_names import numbered_classes
from ssd_common.data.formats.objects import check_objects
from ssd_common.data.transforms import read_image
from ssd_common.errors import InputError

DARK = 16
"""An image with objects and no brighter pixel shows nothing; 12 bits in an image of 16 give 15 at most."""
FEW_ALIKE = 10
"""So many problems of one kind are told one by one, whatever their reason."""
FEW_CLASSES = 100
"""So many classes without names, or fewer than there are objects, are no reason to doubt the highest class id."""


@dataclass
class Check:
    """What a dataset has, and what is wrong with it."""

    data: str
    pictures: int = 0
    objects: dict[str, int] = field(default_factory=dict)
    """How many good objects there are of each class."""
    ignored: int = 0
    """How many of them are difficult or crowds."""
    problems: list[Problem] = field(default_factory=list)
    alike: list[tuple[int, int]] = field(default_factory=list)
    """Where in `problems` those begin and end that have one kind, in a split without a good object."""

    def lines(self) -> list[str]:
        """Return a line for each problem; those that are `alike` share one."""
        ends = dict(self.alike)
        lines, i = [], 0
        while i < len(self.problems):
            end = ends.get(i, i + 1)
            more = f" (and {end - i - 1:,} more like it)" if end > i + 1 else ""
            lines.append(f"{self.problems[i]}{more}")
            i = end
        return lines

    def summary(self) -> list[str]:
        """Return the lines that sum it up."""
        total = sum(self.objects.values())
        classes = ", ".join(f"{name} {count:,}" for name, count in self.objects.items())
        ignored = f"; {self.ignored:,} difficult or crowds" if self.ignored else ""
        reasons = Counter(problem.kind for problem in self.problems)
        wrong = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
        return [
            f"{self.data}: {counted(self.pictures, 'image')}, {counted(total, 'good object')} ({classes}){ignored}",
            f"{counted(len(self.problems), 'problem')}{': ' if wrong else ''}{wrong}",
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return it as dicts, lists and numbers."""
        report = {**asdict(self), "problems": [problem._asdict() for problem in self.problems]}
        del report["alike"]
        return report


def check_data(
    spec: str,
    data_dir: Path | None = None,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
    allow_outside: bool = False,
) -> Check:
    """Read every file and every image of a dataset and return what is wrong with it; nothing is changed.

    Args:
        spec: the dataset; all its splits, unless it names one.
        data_dir: as in `load_dataset`.
        progress: called with the indices of a split's images, returns them; it may show a bar.
        allow_outside: as in `DataSource`.

    Raises:
        InputError: there is no such dataset.
    """
    data = DataSource(spec, data_dir, allow_outside)
    check = Check(spec)
    seen: dict[Path, str] = {}
    doubts: dict[Problem, None] = {}  # those of the dataset as a whole are told with each split
    for split in data.separate_splits():
        try:
            source = data.read(split)
        except InputError as error:
            if data.format.divided or not data.format.outputs(data.spec.path)[-1].is_file():
                raise
            check.problems.append(Problem(spec, "", "", f"unreadable annotation, {error}"))
            continue
        check.objects = {name: check.objects.get(name, 0) for name in source.class_names}
        first, good = len(check.problems), sum(check.objects.values())
        check.problems += [*source.problems, *source.strays, *(doubt for doubt in source.doubts if doubt not in doubts)]
        doubts |= dict.fromkeys(source.doubts)
        check.pictures += len(source.annotations)
        for index in progress(range(len(source.annotations))):
            try:
                annotation = source.annotations[index]
            except InputError as error:
                check.problems.append(Problem(spec, "", "", f"unreadable record, {error}"))
                continue
            image = annotation.image
            if isinstance(image, Path) and (other := seen.setdefault(image, source.name)) != source.name:
                reason = f"in two splits, in {other} as well"
                check.problems.append(Problem(annotation.image_label, "", source.name, reason))
            _check_picture(check, source, annotation)
        if sum(check.objects.values()) == good:
            _find_alike(check, first)
    _check_classes(check)
    if not check.pictures and not check.problems:
        check.problems.append(Problem(spec, "", "", "no image, there is none in the dataset"))
    elif check.pictures and not any(check.objects.values()):
        check.problems.append(Problem(spec, "", "", "no good object, there is none in any image"))
    return check


def _find_alike(check: Check, first: int) -> None:
    """Note which problems of a split without a good object, from the `first` on, have a reason that they share."""
    for _, group in groupby(range(first, len(check.problems)), lambda i: check.problems[i].kind):
        places = list(group)
        if len(places) > FEW_ALIKE:
            check.alike.append((places[0], places[-1] + 1))


def _check_classes(check: Check) -> None:
    """Add what is doubtful about the classes of a dataset."""
    alike: dict[str, list[str]] = {}
    for class_name in check.objects:
        alike.setdefault(class_name.casefold(), []).append(class_name)
    reason = "class names alike, are they one class? they differ in upper and lower case only"
    check.problems += [Problem(check.data, "", ", ".join(names), reason) for names in alike.values() if len(names) > 1]
    names, total = tuple(check.objects), sum(check.objects.values())
    if len(names) > max(total, FEW_CLASSES) and names == numbered_classes(len(names)):
        reason = f"doubtful class, it makes {len(names):,} classes of {counted(total, 'good object')}"
        check.problems.append(Problem(check.data, "", names[-1], reason))


def _check_picture(check: Check, source: AnnotatedSet, annotation: Annotation) -> None:
    check.problems += annotation.problems
    try:
        image = read_image(annotation.image, annotation.image_label)
    except InputError as error:
        reason = str(error).removeprefix(f"{annotation.image_label}: ")
        check.problems.append(Problem(annotation.image_label, "", "", f"unreadable image, {reason}"))
        return
    height, width = image.shape[:2]
    if annotation.header_size not in (None, (width, height)):
        value = "{} x {}".format(*annotation.header_size)
        check.problems.append(
            Problem(annotation.file, annotation.image_name, value, f"wrong image size, it is {width} x {height}")
        )
    good, _, problems = check_objects(annotation, height, width)
    check.problems += problems
    if good.any() and (brightest := image.max(initial=0)) < DARK:
        reason = "nearly black, are these 10 or 12 bits in an image of 16?"
        check.problems.append(Problem(annotation.image_label, "", f"brightest pixel {brightest} of 255", reason))
    for class_id in annotation.class_ids[good]:
        check.objects[source.class_names[class_id]] += 1
    check.ignored += int((good & annotation.ignored).sum())
