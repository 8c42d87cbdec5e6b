"""The defects of the book's code: one row each, from which both the page and the tests are made.

`python -m tests.book_defects` prints docs/book_defects.md. tests/test_book_defects.py computes every answer.
"""

from __future__ import annotations

import textwrap

import numpy as np

from tests.book_answers import (
    GRID,
    OBJECT,
    PADDING,
    Defect,
    beyond_the_edge,
    box_not_a_number,
    channels,
    class_id,
    empty_cells,
    empty_overlaps,
    graph,
    large_index,
    no_boxes,
    nothing_detected,
    orientation,
    score_not_a_number,
    short_batch,
    targets,
    throughput,
    ties,
    trivial_metrics,
    two_classes,
    two_objects,
)

DEFECTS = (
    Defect(
        key="padding",
        where="`multibox_target`",
        what="Padding rows make background anchors positive",
        input="16 anchors on a 4 × 4 grid, one object and two rows of −1",
        torch="anchor 0: background, offsets up to 69.1; anchor 1: background, offsets up to 69.1; "
        "anchor 10: class 1, offsets up to 2.5",
        mxnet="anchor 0: background, offsets up to 69.1; anchor 1: background, offsets up to 69.1; "
        "anchor 10: class 1, offsets up to 2.5",
        ours="anchor 10: class 1, offsets up to 2.5",
        why="The chapter says that the mask filters padding out. But each padding row claims the first free anchor, "
        "and the mask of this anchor is 1. The network then learns to stretch the anchor towards a box of no "
        "size at (−1, −1). In a batch whose fullest image has 30 objects, an image with one object trains 29 "
        "such anchors.",
        answer=targets(OBJECT, PADDING, PADDING),
    ),
    Defect(
        key="no_objects",
        where="`multibox_target`",
        what="An image without objects raises an error",
        input="labels of shape (1, 0, 5)",
        torch="raises IndexError",
        mxnet="raises MXNetError",
        ours="every anchor is background",
        why="Images of background teach a detector what to ignore. In both editions, a batch of such images ends "
        "the training run.",
        answer=targets(),
    ),
    Defect(
        key="outside",
        where="`multibox_target`",
        what="A box that overlaps no anchor is forced onto the first one",
        input="one object, and a second one whose label was left in pixels: (64, 64, 128, 192)",
        torch="anchor 0: class 4, offsets up to 4262.5; anchor 10: class 1, offsets up to 2.5",
        mxnet="anchor 0: class 4, offsets up to 4262.5; anchor 10: class 1, offsets up to 2.5",
        ours="anchor 10: class 1, offsets up to 2.5",
        why="Every box claims the anchor that it overlaps most. If it overlaps no anchor, it claims anchor 0, wherever "
        "anchor 0 is. The loss becomes large, and no message says why. In tinyssd a box with an overlap of 0 claims "
        "no anchor, and the readers of datasets refuse a label in pixels.",
        answer=targets(OBJECT, [4, 64, 64, 128, 192]),
    ),
    Defect(
        key="zero_area",
        where="`multibox_target`",
        what="A box without area is forced onto the first anchor as well",
        input="one object, and a second one whose corners are both (0.5, 0.5)",
        torch="anchor 0: class 4, offsets up to 69.1; anchor 10: class 1, offsets up to 2.5",
        mxnet="anchor 0: class 4, offsets up to 69.1; anchor 10: class 1, offsets up to 2.5",
        ours="anchor 10: class 1, offsets up to 2.5",
        why="Real datasets contain boxes without area: two of the 364 images of the blood cell dataset BCCD have them. "
        "Anchor 0 is far away from these boxes, and learns to shrink to a millionth of its size.",
        answer=targets(OBJECT, [4, 0.5, 0.5, 0.5, 0.5]),
    ),
    Defect(
        key="inverted",
        where="`multibox_target`",
        what="An inverted box has offsets that are not numbers",
        input="one object, and a second one with xmin 0.9 and xmax 0.3",
        torch="anchor 0: class 0, offsets not finite; anchor 10: class 1, offsets up to 2.5",
        mxnet="anchor 0: class 0, offsets not finite; anchor 10: class 1, offsets up to 2.5",
        ours="anchor 10: class 1, offsets up to 2.5",
        why="The logarithm of a negative width is not a number. Then the loss is not a number, and the next step makes "
        "every weight not a number. In tinyssd a box without area gets no anchor, and the readers of datasets "
        "name the row of an inverted box.",
        answer=targets(OBJECT, [0, 0.9, 0.2, 0.3, 0.6]),
    ),
    Defect(
        key="more_objects_than_anchors",
        where="`assign_anchor_to_bbox`",
        what="A box for which no anchor is left takes the first anchor from its object",
        input="two anchors, the left and the right half; an object of class 0 on the right, one of class 1 on the "
        "left, and a small one of class 2",
        torch="anchor 0: class 0, offsets up to 11.0; anchor 1: class 0, offsets up to 1.1",
        mxnet="anchor 0: class 0, offsets up to 11.0; anchor 1: class 0, offsets up to 1.1",
        ours="anchor 0: class 1, offsets up to 1.1; anchor 1: class 0, offsets up to 1.1",
        why="The book's code marks taken anchors with −1. When all anchors are taken, −1 is the largest overlap, and "
        "the first −1 belongs to anchor 0 and box 0. Therefore, anchor 0 is given to box 0, which is on the other "
        "side.",
        answer=targets(
            [0, 0.6, 0.0, 1.0, 1.0],
            [1, 0.0, 0.0, 0.4, 1.0],
            [2, 0.0, 0.0, 0.1, 0.1],
            anchors=np.array([[[0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]]], np.float32),
        ),
    ),
    Defect(
        key="large_index",
        where="`assign_anchor_to_bbox`",
        what="Above 2²⁴ pairs of anchor and box, an index is rounded to another anchor",
        input="8,388,611 anchors and two boxes, which overlap anchors 0 and 8,388,609",
        torch="anchor 0: box 0, anchor 8388610: box 1",
        mxnet="anchor 8388610: box 0",
        ours="anchor 0: box 0, anchor 8388609: box 1",
        why="The book's code divides the index of the best pair as a float32 number. Above 2²⁴, float32 has no odd "
        "numbers. MXNet's `argmax` rounds the index even before the division, so that the box can be wrong, too. No "
        "message reports this.",
        answer=large_index,
    ),
    Defect(
        key="float64",
        where="`multibox_target`",
        what="Labels in float64 raise an error",
        input="one object, anchors and labels in float64, as numpy and pandas make them",
        torch="raises RuntimeError",
        mxnet="raises MXNetError",
        ours="anchor 10: class 1, offsets up to 2.5",
        why="The book's code copies the boxes into a float32 array, whatever their type is. PyTorch refuses the copy, "
        "and MXNet refuses the division of float32 by float64. tinyssd keeps the type. Therefore, a run in float64 "
        "shows whether a difference is a mistake or rounding.",
        answer=targets(OBJECT, anchors=GRID.astype(np.float64)),
    ),
    Defect(
        key="empty_overlap",
        where="`box_iou`",
        what="The overlap of boxes without area is not a number",
        input="a point with itself; a box with its mirror image, whose area has the opposite sign",
        torch="nan and nan",
        mxnet="nan and nan",
        ours="0 and 0",
        why="Both overlaps are 0 / 0. For `argmax`, a value that is not a number is the largest. Therefore, a box "
        "without area claims an anchor before every real box does.",
        answer=empty_overlaps,
    ),
    Defect(
        key="ties",
        where="`nms`",
        what="With equal scores the two editions keep different boxes",
        input="two boxes that overlap by 0.9, both with a score of 0.5",
        torch="keeps box 0",
        mxnet="keeps box 1",
        ours="keeps box 0",
        why="In an area of one colour, all anchors have the same score. The two editions sort equal scores in opposite "
        "orders, and neither asks for a stable sort. Therefore, they detect different boxes with the same weights. In "
        "tinyssd the lower index always comes first.",
        answer=ties,
    ),
    Defect(
        key="no_boxes",
        where="`nms`",
        what="Without boxes, the returned indices are not integers",
        input="no box and no score; this can happen after a filter by score",
        torch="0 indices, float32",
        mxnet="0 indices, int32",
        ours="0 indices, int64",
        why="An index in float32 cannot be used: `boxes[keep]` raises an IndexError in the PyTorch edition.",
        answer=no_boxes,
    ),
    Defect(
        key="box_not_a_number",
        where="`nms`",
        what="One box that is not a number suppresses all others",
        input="three boxes apart from each other; box 1 has the best score and corners that are not numbers",
        torch="keeps box 1",
        mxnet="keeps box 1",
        ours="keeps box 1, box 0, box 2",
        why="The book keeps a box if its overlap is at most the threshold. A comparison with a value that is not a "
        "number is false, so one broken anchor removes all other boxes. tinyssd drops a box if its overlap is "
        "larger than the threshold.",
        answer=box_not_a_number,
    ),
    Defect(
        key="score_not_a_number",
        where="`multibox_detection`",
        what="A score that is not a number is a detection",
        input="two anchors apart from each other, with the scores nan and 0.7",
        torch="class 0 at nan in (0.10, 0.10, 0.30, 0.30); class 0 at 0.70 in (0.50, 0.50, 0.70, 0.70)",
        mxnet="class 0 at 0.70 in (0.50, 0.50, 0.70, 0.70); class 0 at nan in (0.10, 0.10, 0.30, 0.30)",
        ours="class 0 at 0.70 in (0.50, 0.50, 0.70, 0.70)",
        why="A comparison with nan is false. Therefore, this score is not below the threshold, and the box counts as "
        "an object. `display` draws the box for the same reason. In tinyssd the box is background and comes last.",
        answer=score_not_a_number,
    ),
    Defect(
        key="nothing_detected",
        where="The chapter's `predict`",
        what="An image without any detection raises an error",
        input="three anchors, background with a probability of 1",
        torch="0 detections",
        mxnet="raises MXNetError",
        ours="0 detections",
        why="The book's code selects the rows to keep with an empty list. MXNet turns this list into an array with one "
        "row without content, and raises an error when the array is read.",
        answer=nothing_detected,
    ),
    Defect(
        key="two_classes",
        where="The chapter's `predict`",
        what="An object suppresses one of another class",
        input="two boxes that overlap by 0.875: class 0 with a score of 0.8, class 1 with 0.7",
        torch="class 0 at 0.80 in (0.10, 0.10, 0.50, 0.50)",
        mxnet="class 0 at 0.80 in (0.10, 0.10, 0.50, 0.50)",
        ours="class 0 at 0.80 in (0.10, 0.10, 0.50, 0.50); class 1 at 0.70 in (0.10, 0.10, 0.50, 0.45)",
        why="For example, the box of a horse removes the box of its rider. By default, `multibox_detection` of tinyssd "
        "does the same, so that it can be compared with the book's function. `predict` suppresses only within a class "
        "(`class_aware`).",
        answer=two_classes,
    ),
    Defect(
        key="beyond_the_edge",
        where="The chapter's `predict`",
        what="Detections reach beyond the image",
        input="one anchor at (−0.1, 0.2, 0.3, 1.2), offsets of 0",
        torch="class 0 at 0.80 in (-0.10, 0.20, 0.30, 1.20)",
        mxnet="class 0 at 0.80 in (-0.10, 0.20, 0.30, 1.20)",
        ours="class 0 at 0.80 in (0.00, 0.20, 0.30, 1.00)",
        why="No label reaches beyond the image. The part outside the image only lowers the overlap with the object. A "
        "negative pixel index selects pixels on the opposite side of the image. By default, `multibox_detection` of "
        "tinyssd does the same as the book. `predict` clips the boxes (`clip`).",
        answer=beyond_the_edge,
    ),
    Defect(
        key="graph",
        where="The chapter's `predict`",
        what="A prediction keeps the whole forward pass in memory",
        input="one image",
        torch="the whole graph",
        mxnet="numbers",
        ours="numbers",
        why="PyTorch records what it needs for gradients, unless the code switches this off. With the book's network, "
        "37 MB stay in memory for every 256 × 256 image whose detections are kept. 100 images use 3.7 GB.",
        answer=graph,
        has_reference=False,
    ),
    Defect(
        key="class_id",
        where="`read_data_bananas`",
        what="Class ids are divided by 256 with the coordinates",
        input="a 256 × 256 image with an object of class 3 at (64, 64, 128, 192)",
        torch="[0.01172, 0.25, 0.25, 0.5, 0.75], trained as class 0",
        mxnet="[0.01172, 0.25, 0.25, 0.5, 0.75], trained as class 0",
        ours="[3, 0.25, 0.25, 0.5, 0.75], trained as class 3",
        why="0 / 256 is 0, so the class id of bananas is right. With more classes, all classes become class 0, and no "
        "message reports this.",
        answer=class_id,
    ),
    Defect(
        key="two_objects",
        where="`read_data_bananas`",
        what="An image with two objects becomes two images with one",
        input="two rows of label.csv about the same image",
        torch="objects in each image: 1, 1",
        mxnet="objects in each image: 1, 1",
        ours="objects in each image: 2",
        why="In each copy, the other object is background. The network learns to see this object and to ignore it.",
        answer=two_objects,
    ),
    Defect(
        key="empty_cells",
        where="`read_data_bananas`",
        what="An image without objects has a label that is not a number",
        input="a row of label.csv with the name of the image and empty cells, then `multibox_target`",
        torch="anchor 0: no class, offsets not finite",
        mxnet="anchor 0: no class, offsets not finite",
        ours="every anchor is background",
        why="pandas fills empty cells with nan. A row of nan claims anchor 0, with a class below 0 and offsets that "
        "are not numbers. In tinyssd the targets ignore rows that are not finite, and the readers return no row for "
        "this image.",
        answer=empty_cells,
    ),
    Defect(
        key="channels",
        where="`read_data_bananas`",
        what="Grey and transparent images do not have three channels",
        input="a grey PNG, one with an alpha channel, and an RGB one",
        torch="1, 4, 3 channels",
        mxnet="3, 3, 3 channels",
        ours="3, 3, 3 channels",
        why="torchvision's `read_image` keeps the channels of the file. Images with different numbers of channels "
        "cannot be stacked to a batch. For both frameworks, tinyssd decodes images as RGB with Pillow.",
        answer=channels,
    ),
    Defect(
        key="orientation",
        where="`read_data_bananas`",
        what="An upright photo lies on its side",
        input='a JPEG stored 40 wide and 20 high with the EXIF orientation "rotate by 90°"',
        torch="40 wide, 20 high",
        mxnet="40 wide, 20 high",
        ours="20 wide, 40 high",
        why="Phones store photos in this way, and viewers and labelling tools rotate them. Therefore, the boxes refer "
        "to the upright image. tinyssd also rotates the image.",
        answer=orientation,
    ),
    Defect(
        key="short_batch",
        where="The chapter's training loop",
        what="The last batch of an epoch moves the weights a quarter as far",
        input="1 image in the last batch of an epoch, and a batch size of 4 (in the book: 8 images, and 32)",
        torch="1.00 of the step of a full batch",
        mxnet="0.25 of the step of a full batch",
        ours="1.00 of the step of a full batch",
        why="`trainer.step(batch_size)` divides the loss of 1 image by 4, so the two editions train differently. In "
        "tinyssd the loss is the mean over the images of the batch.",
        answer=short_batch,
        has_reference=False,
    ),
    Defect(
        key="trivial_metrics",
        where="The chapter's training loop",
        what="A network that detects nothing has metrics that look good",
        input="8 images with an object each, 0.12 to 0.29 wide and high; predicted: background and offsets of 0",
        torch="class error 4.4e-03, bbox mae 4.7e-03",
        mxnet="class error 4.4e-03, bbox mae 4.7e-03",
        ours="class error 4.4e-03 (baseline 4.4e-03), bbox mae 4.7e-03 (baseline 4.7e-03)",
        why="Both metrics are means over all 5444 anchors, and an object concerns about 25 of them. After 20 epochs "
        "the book prints a class error of 3.3e-03 and a bbox mae of 3.1e-03. tinyssd prints the same two "
        "metrics, the score of a detector that finds nothing on the same images, and average precision.",
        answer=trivial_metrics,
        has_reference=False,
    ),
    Defect(
        key="throughput",
        where="The chapter's training loop",
        what="The examples per second are those of the last batch",
        input="31 batches of 32 images, one second each, and one of 8 in 0.25 s",
        torch="4000 examples/s",
        mxnet="4000 examples/s",
        ours="32 examples/s",
        why="The timer starts again with every batch. The book divides the size of the dataset by the time of the "
        "last batch. tinyssd divides by the sum of all steps.",
        answer=throughput,
    ),
)


PAGE = """\
# The defects of the book's code

On valid input, the functions of tinyssd return the same values as those of *Dive into Deep Learning*. This page lists
inputs on which the book's code fails or is wrong. The book's code is its package `d2l` 1.0.3, in PyTorch and in
MXNet. The package does not contain the chapter's loops. Below a heading with "the chapter", the test repeats what the
loop does.

Each entry gives the input, the book's answer, and the answer of tinyssd. This answer is the same for the numpy
reference, `ssd_torch` and `ssd_mxnet`. Where the book reads `label.csv`, tinyssd reads the same objects from a
RecordIO file.

{sections}

## In the text of *The Straight Dope*

The chapter *Object Detection Using Convolutional Neural Networks* defines the offsets of width and height as $t_w =
(Y_w - b_w)/b_w$ and $t_h = (Y_h - b_h)/b_h$. Its code calls MXNet's operator `MultiBoxTarget`, which computes
$\\log(Y_w/b_w)/0.2$ and $\\log(Y_h/b_h)/0.2$. For an object that is twice as wide as its anchor, the text gives 1 and
the operator gives 3.47. For half the width, the text gives −0.5 and the operator −3.47. tinyssd computes the
operator's numbers (`tests/test_chapters.py`).

---
`python -m tests.book_defects > docs/book_defects.md` writes this page. `tests/test_book_defects.py` computes every
answer and compares it with the answer above. A test fails if the book fixes a defect, or if this page is out of date.
"""


def page() -> str:
    """Return docs/book_defects.md."""
    sections = []
    for where in dict.fromkeys(defect.where for defect in DEFECTS):
        sections.append(f"## {where}")
        sections += [section(defect) for defect in DEFECTS if defect.where == where]
    return PAGE.format(sections="\n\n".join(sections))


def section(defect: Defect) -> str:
    """Return the lines of the page about one defect."""
    book = [f"the book in PyTorch: `{defect.torch}`", f"the book in MXNet: `{defect.mxnet}`"]
    if defect.torch == defect.mxnet:
        book = [f"the book, both editions: `{defect.torch}`"]
    lines = [f"input: {defect.input}", *book, f"**tinyssd: `{defect.ours}`**"]
    return "\n".join((f"### {defect.what}\n", *(f"- {line}" for line in lines), "\n" + textwrap.fill(defect.why, 120)))


if __name__ == "__main__":
    print(page(), end="")
