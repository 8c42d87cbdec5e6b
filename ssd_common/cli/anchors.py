"""The verb `data anchors`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ssd_common.cli.flags import OptionalInt, OptionalPath, OptionalPreset
from ssd_common.output.console import new_console, print_lines
from ssd_common.output.folders import check_file


def anchors(
    data: Annotated[Positional[str], arg(metavar="SPEC")],
    data_dir: OptionalPath = None,
    preset: OptionalPreset = None,
    image_size: OptionalInt = None,
    limit: OptionalInt = None,
    out: Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")] = None,
) -> int:
    """Fit the anchors of a model to the boxes of a dataset, and compare them with the preset's anchors.

    Args:
        data: Dataset; the command uses its training images.
        data_dir: Folder of the datasets that are files (default: the environment variable TINYSSD_DATA).
        preset: Configuration to compare with and to change: book (the default), straight-dope or improved.
        image_size: Height and width of the network's input, a multiple of 64 (default: the preset's).
        limit: Use only the first INT images.
        out: Configuration file to write, for train --config.
    """
    import dataclasses

    import numpy as np
    import tomli_w

    from ssd_common.config import NUM_BLOCKS, RunConfig, get_preset
    from ssd_common.config.run import to_table
    from ssd_common.data import DataSource
    from ssd_common.data.anchor_fit import IOU, best_overlaps, block_of, box_shapes, fit_anchors
    from ssd_common.output.atomic import write_atomically
    from ssd_common.output.console import progress_bar
    from ssd_common.runs.start import change_config

    check_file("--out", out)
    chosen = change_config(get_preset(preset or "book"), {"image_size": image_size})
    source = DataSource(data, data_dir)
    pictures = source.load("train", limit)
    labels = [pictures[i].labels for i in progress_bar(new_console(), "images")(range(len(pictures)))]
    shapes = box_shapes(labels)
    fitted = dataclasses.replace(
        chosen.model, class_names=pictures.class_names, anchors=fit_anchors(shapes, chosen.model)
    )
    boxes = np.bincount(block_of(shapes, fitted), minlength=NUM_BLOCKS)

    lines = [f"{pictures.name}: {len(shapes)} boxes in {len(pictures)} images, each at the block that suits its size"]
    for i, units in enumerate(fitted.feature_map_sizes):
        lines.append(f"block {i}: {units:>2} x {units:<2}  {boxes[i]:>6} boxes")
        for name, model in ((preset or "book", chosen.model), ("fitted", fitted)):
            sizes, ratios = (
                " ".join(f"{value:g}" for value in v[i]) for v in (model.anchors.sizes, model.anchors.ratios)
            )
            lines.append(f"  {name:<14}sizes {sizes}, ratios {ratios}")
    lines.append("the best anchor of a box")
    for name, model in ((preset or "book", chosen.model), ("fitted", fitted)):
        overlaps = best_overlaps(labels, model)
        lines.append(
            f"  {name:<14}mean IoU {overlaps.mean():.3f}, recall at IoU {IOU} {np.mean(overlaps >= IOU):.3f}, "
            f"with {model.num_anchors} anchors"
        )
    if out is None:
        lines.append("--out FILE writes a configuration with the fitted anchors, for train --config FILE")
    else:
        whole = source.spec.split in (None, "train") and "val" in source.splits
        config = dataclasses.replace(chosen, model=fitted)
        run_config = RunConfig(config, preset or "book", data=source.spec.whole if whole else data)
        write_atomically(out, tomli_w.dumps(to_table(run_config)).encode())
        lines.append(f"wrote {out}; to use it: tinyssd train --config {out}{'' if whole else ' --val-data SPEC'}")
    print_lines(lines)
    return 0
