"""The verbs below `data`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional, arg

from ssd_common.cli.flags import Int, OptionalPath
from ssd_common.errors import InputError
from ssd_common.output.console import new_console, print_lines
from ssd_common.output.folders import check_file

Spec = Annotated[Positional[str], arg(metavar="SPEC")]
AllowOutside = tyro.conf.FlagCreatePairsOff[bool]


def list_data() -> int:
    """List the datasets and formats."""
    from ssd_common.data.specs import DATASETS

    print_lines(f"{name:<24}{text}" for name, text in DATASETS.items())
    return 0


def check(
    spec: Spec, data_dir: OptionalPath = None, json: OptionalPath = None, allow_outside: AllowOutside = False
) -> int:
    """List every error in a dataset, and exit with 1 if there are errors. The dataset is not changed.

    Args:
        spec: Dataset; see tinyssd data list. The command checks all splits, or the split that you name: voc:DIR:train.
        data_dir: Folder of the datasets that are files (default: the environment variable TINYSSD_DATA).
        json: File to write the report to.
        allow_outside: Also read images outside the dataset's folder.
    """
    from ssd_common.data.check import check_data
    from ssd_common.output import write_json
    from ssd_common.output.console import progress_bar

    check_file("--json", json)
    result = check_data(spec, data_dir, progress_bar(new_console(), "checking"), allow_outside)
    print_lines([*result.lines(), *result.summary()])
    if json is not None:
        write_json(json, result.as_dict())
        print_lines([f"wrote {json}"])
    return 1 if result.problems else 0


def show(
    spec: Spec,
    data_dir: OptionalPath = None,
    out: Annotated[Path, arg(metavar="FILE.png")] = Path("data.png"),
    count: Int = 12,
    allow_outside: AllowOutside = False,
) -> int:
    """Draw images of a dataset with their boxes, and plot the number and the sizes of its objects.

    Args:
        spec: Dataset; see tinyssd data list. The command draws the split train, or the one that you name: voc:DIR:test.
        data_dir: Folder of the datasets that are files (default: the environment variable TINYSSD_DATA).
        out: Image file to write.
        count: Number of images to draw.
        allow_outside: Also read images outside the dataset's folder.
    """
    from ssd_common.data import DataSource
    from ssd_common.data.annotated import require_usable
    from ssd_common.figures.data_sheet import save_data_sheet
    from ssd_common.output.console import progress_bar

    check_file("--out", out)
    if count < 1:
        raise InputError(f"--count must be at least 1, got {count}")
    source = DataSource(spec, data_dir, allow_outside)
    data = source.read(source.spec.split or "train")
    require_usable(data)
    save_data_sheet(out, data, count, progress_bar(new_console(), "reading"))
    print_lines(
        [f"wrote {out}: {min(count, len(data.annotations))} of {len(data.annotations):,} images of {data.name}"]
    )
    return 0


def convert(source: Spec, target: Spec, data_dir: OptionalPath = None, allow_outside: AllowOutside = False) -> int:
    """Write a dataset in another format. The image files are copied unchanged.

    Args:
        source: Dataset; see tinyssd data list. The command converts all splits, or the split you name: voc:DIR:train.
        target: Dataset to write: voc:DIR, yolo:DIR, coco:IMAGES,FILE.json or rec:FILE.rec. If you name a split, as in
            yolo:DIR:val, the command adds this split to an existing dataset.
        data_dir: Folder of the datasets that are files (default: the environment variable TINYSSD_DATA).
        allow_outside: Also copy images from outside the dataset's folder.
    """
    from ssd_common.data.convert import convert_data
    from ssd_common.data.dataset import counted
    from ssd_common.output.console import progress_bar

    done = convert_data(source, target, data_dir, progress_bar(new_console(), "converting"), allow_outside)
    check = f"tinyssd data check {shlex.quote(source)} tells which"
    if done.bad:
        print_lines([f"left out {counted(done.bad, 'bad object')}: {check}"])
    if done.doubts:
        print_lines([f"taken as they stand {counted(done.doubts, 'doubtful annotation')}: {check}"])
    if done.other_size:
        where = counted(done.other_size, "annotation")
        print_lines([f"the size in {where} is not that of the image, so boxes may lie elsewhere: {check}"])
    if done.outside:
        print_lines([f"copied {counted(done.outside, 'image')} from outside of the dataset's folder"])
    lost = sorted(done.lost)
    if done.ignored:
        lost.append(f"{counted(done.ignored, 'difficult or crowd object')}, which the format cannot mark")
    if lost:
        print_lines([f"not kept: {', '.join(lost)}"])
    print_lines([f"wrote {target}: {counted(done.pictures, 'image')}, {counted(done.objects, 'object')}"])
    return 0
