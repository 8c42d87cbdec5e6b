# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Anchors, targets, non-maximum suppression
#
# A detector turns the pixels of an image into a short list of boxes. This notebook explains every step between the
# two, without a network: everything is numpy, on one image of a dog and a cat. At the end you will be able to
#
# - place anchors on an image, and choose their sizes and ratios;
# - decide which anchor should find which object, and with which offsets;
# - turn thousands of predictions into two detections;
# - name two inputs on which short versions of these functions go wrong.
#
# **You need** numpy: indexing, broadcasting, `argmax`. **Time**: 60 minutes to read, 1 minute to run. The quick and
# the full setting run the same cells. You write each function yourself; `check_same` compares it with the function of
# the same name in this package, in `ssd_common`.

# %%
import os

QUICK = os.environ.get("TINYSSD_NOTEBOOK", "quick") == "quick"

# %% [markdown]
# Write `QUICK = False` for the full setting. If the next cell does not find `ssd_common`, run
# `%pip install "tinyssd[notebooks] @ git+ADDRESS"` with the address of the repository, and restart the kernel.

# %%
from pathlib import Path

import numpy as np

from ssd_common.data.transforms import read_image, resize_image
from ssd_common.figures import save_box_panels, save_overlap_matrices, save_overlaps
from ssd_common.figures.boxes import Boxes, Matrix
from ssd_common.teaching import check_same, draw_dog_and_cat, show_figure
from ssd_common.teaching.dog_and_cat import BOXES
from ssd_common.teaching.sliders import show_with_sliders

np.set_printoptions(precision=3, suppress=True)
GREY, DOG, CAT = "#808080", "#D55E00", "#0072B2"  # colour-blind readers can tell them apart

# %% [markdown]
# ## A dog, a cat, and two ways to write a box
#
# The book's chapter "Anchor Boxes" uses a photograph of a dog and a cat. If you have that image, put its folder into
# `TINYSSD_DATA`. Otherwise the next cell draws a dog and a cat at the same places. Everything below works with both.

# %%
photograph = Path(os.environ.get("TINYSSD_DATA", "."), "img", "catdog.jpg")
image = read_image(photograph) if photograph.is_file() else draw_dog_and_cat()
height, width = image.shape[:2]
assert (height, width) == (561, 728)

truth = Boxes(BOXES, ["dog", "cat"], "black", dashed=True)
show_figure(save_box_panels, image, {"ground truth": [truth]}, caption="The two boxes that a detector should find.")

# %% [markdown]
# A box is four numbers. In **corner** format they are the left, upper, right and lower edge. In **center** format they
# are the middle, the width and the height. Corners are handy for overlaps; centers are handy for moving and
# stretching. We write all numbers as fractions of the image, so that they stay true when the image is resized.


# %%
def box_corner_to_center(boxes):
    low, high = boxes[..., :2], boxes[..., 2:]
    return np.concatenate(((low + high) / 2, high - low), axis=-1)


def box_center_to_corner(boxes):
    center, half = boxes[..., :2], boxes[..., 2:] / 2
    return np.concatenate((center - half, center + half), axis=-1)


# %%
dog, cat = BOXES
print("corners:", dog)
print("centers:", box_corner_to_center(dog))

# %%
check_same(box_corner_to_center, box_center_to_corner)

# %% tags=["check"] jupyter={"source_hidden": true}
np.testing.assert_allclose(box_center_to_corner(box_corner_to_center(BOXES)), BOXES)

# %% [markdown]
# ## Anchors: guesses made before looking
#
# A convolutional network has a fixed number of outputs, but an image may have any number of objects anywhere. The
# solution: cover the image with a fixed grid of boxes, the **anchors**. The network answers two small questions about
# each of them: *what is in it?* and *how should it move to fit better?*
#
# Several anchors share the center of each unit of a feature map. An anchor of size $s$ and ratio $r$ is $s\sqrt r$
# wide and $s/\sqrt r$ high. Both are measured in units of the image's *height*, so an anchor of ratio 1 is a square in
# pixels, and its area $s^2$ depends on the size alone. With $n$ sizes and $m$ ratios there are $nm$ combinations. We
# use only those with the first size or the first ratio: $n + m - 1$ at each unit.


# %%
def multibox_prior(data, sizes, ratios):
    rows, columns = data.shape[-2:]  # of the feature map
    center_y, center_x = (np.arange(rows) + 0.5) / rows, (np.arange(columns) + 0.5) / columns
    y, x = np.meshgrid(center_y, center_x, indexing="ij")
    centers = np.stack((x, y, x, y), axis=-1).reshape(-1, 1, 4)  # (units, 1, 4)
    pairs = [(size, ratios[0]) for size in sizes] + [(sizes[0], ratio) for ratio in ratios[1:]]
    size, ratio = np.array(pairs).T
    w, h = size * np.sqrt(ratio) * rows / columns, size / np.sqrt(ratio)
    return (centers + np.stack((-w, -h, w, h), axis=-1) / 2).reshape(1, -1, 4)


# %%
check_same(multibox_prior)

# %% [markdown]
# Let every pixel be a unit, as the book does. Three sizes and three ratios make five anchors at each pixel, two
# million in all. These are the five anchors of the pixel in row 250 and column 250.

# %%
pixel_anchors = multibox_prior(np.empty((height, width)), sizes=[0.75, 0.5, 0.25], ratios=[1, 2, 0.5])
print(f"{pixel_anchors.shape[1]:,} anchors; five of them:")
five_at_pixel = pixel_anchors.reshape(height, width, 5, 4)[250, 250]
print(five_at_pixel)

# %% tags=["check"] jupyter={"source_hidden": true}
assert pixel_anchors.shape == (1, height * width * 5, 4) == (1, 2042040, 4)
sides = box_corner_to_center(five_at_pixel)[:, 2:] * (width / height, 1)  # in heights of the image
np.testing.assert_allclose(sides.prod(axis=1), [0.75**2, 0.5**2, 0.25**2, 0.75**2, 0.75**2], rtol=1e-5)

# %%
names = ["s=0.75, r=1", "s=0.5, r=1", "s=0.25, r=1", "s=0.75, r=2", "s=0.75, r=0.5"]
ratios_of = Boxes(five_at_pixel[[0, 3, 4]], [names[0], names[3], names[4]])
show_figure(
    save_box_panels,
    image,
    {"sizes": [Boxes(five_at_pixel[:3], names[:3])], "ratios": [ratios_of]},
    columns=2,
    caption="The five anchors of one pixel: three sizes with ratio 1, and three ratios with size 0.75.",
)

# %% [markdown]
# ### Several scales
#
# Two million guesses are too many, and most of them are nearly the same. A detector with several feature maps does
# better: a fine map with small anchors for small objects, and a coarse map with large anchors for large objects.
#
# The book's model resizes every image to a square of 256 × 256 pixels. Its feature maps are square, too. On such an
# image an anchor of ratio 1 is a square. Therefore we draw the anchors on the image as the model sees it.

# %%
square_image = resize_image(image, 400)
scales = {}
for units, size in ((4, 0.15), (2, 0.4), (1, 0.8)):
    of_scale = multibox_prior(np.empty((units, units)), sizes=[size], ratios=[1, 2, 0.5])
    scales[f"{units} × {units} units, size {size}"] = [Boxes(of_scale[0], colors=["#0072B2", "#D55E00", "#009E73"])]
show_figure(
    save_box_panels,
    square_image,
    scales,
    caption="Three anchors at each unit of three feature maps: ratio 1 blue, 2 vermilion, 0.5 green. Some reach beyond "
    "the image.",
)

# %% [markdown]
# The book's model has five maps, with four anchors at each unit.

# %%
from ssd_common.config import BOOK

model_config = BOOK.model
grids = []
for units, map_sizes, map_ratios in zip(
    model_config.feature_map_sizes, model_config.anchors.sizes, model_config.anchors.ratios, strict=True
):
    grids.append(multibox_prior(np.empty((units, units)), map_sizes, map_ratios))
    print(f"{units:2} × {units:2} units, sizes {map_sizes[0]:.2f} and {map_sizes[1]:.3f}: {grids[-1].shape[1]} anchors")
grid = np.concatenate(grids, axis=1)
print("in all", grid.shape)

# %% tags=["check"] jupyter={"source_hidden": true}
from ssd_common.anchors import anchor_grid

assert grid.shape == (1, 5444, 4)
np.testing.assert_allclose(grid, anchor_grid(model_config, "float64"), atol=1e-12)

# %% [markdown]
# ## How much do two boxes overlap?
#
# To say which anchor is close to which object, we need a number. The usual one is the **intersection over union**
# (IoU): the area that both boxes cover, divided by the area that at least one of them covers. The IoU of equal boxes
# is 1. The IoU of boxes that do not touch is 0. It does not depend on the unit.


# %%
def box_iou(boxes1, boxes2):
    boxes1, boxes2 = boxes1[..., :, None, :], boxes2[..., None, :, :]  # every pair: (..., n, m, 4)
    low, high = np.maximum(boxes1[..., :2], boxes2[..., :2]), np.minimum(boxes1[..., 2:], boxes2[..., 2:])
    inter = (high - low).clip(0).prod(axis=-1)
    area1, area2 = ((boxes[..., 2:] - boxes[..., :2]).prod(axis=-1) for boxes in (boxes1, boxes2))
    union = area1 + area2 - inter
    return inter / np.where(union > 0, union, 1)  # a box without area overlaps nothing


# %%
check_same(box_iou)

# %%
square = [0.1, 0.1, 0.6, 0.6]
pairs = {
    "shifted by half a side": (square, [0.35, 0.1, 0.85, 0.6]),
    "by half along both": (square, [0.35, 0.35, 0.85, 0.85]),
    "half as wide and high": ([0.1, 0.1, 0.9, 0.9], [0.3, 0.3, 0.7, 0.7]),
    "apart": ([0.05, 0.1, 0.4, 0.45], [0.5, 0.5, 0.95, 0.95]),
}
show_figure(save_overlaps, pairs, caption="Four pairs of boxes. Pairs that look half right have IoU 1/3, 1/7 and 1/4.")

# %% tags=["check"] jupyter={"source_hidden": true}
ious = [box_iou(np.array([first]), np.array([second])).item() for first, second in pairs.values()]
np.testing.assert_allclose(ious, [1 / 3, 1 / 7, 1 / 4, 0], atol=1e-12)

# %% [markdown]
# Most detectors use a threshold of 0.5. This threshold is stricter than it seems. If two equal squares are shifted
# *along one axis*, the shift must not be more than a third of their side.

# %%
third = np.array([square]) + np.array([0.5 / 3, 0, 0.5 / 3, 0])
print("IoU of two squares that are a third of their side apart:", box_iou(np.array([square]), third).item())
np.testing.assert_allclose(box_iou(np.array([square]), third), 0.5)

# %% [markdown]
# **Change it.** Move the sliders, or change the numbers in the next cell and run it again. Which size and which ratio
# fit the dog best? (A size near 0.7 and a ratio near 0.65 give an IoU of more than 0.9.)


# %%
def draw_anchor(size=0.5, ratio=1.0):
    """Show one anchor in the middle of the dog, and how well it fits."""
    fitted = multibox_prior(np.empty((height, width)), [size], [ratio])[0]
    fitted = fitted[np.abs(box_corner_to_center(fitted)[:, :2] - box_corner_to_center(dog)[:2]).sum(axis=1).argmin()]
    iou = box_iou(fitted[None], dog[None]).item()
    caption = f"An anchor of size {size:.2f} and ratio {ratio:.2f}: its IoU with the dog is {iou:.2f}."
    show_figure(save_box_panels, image, {"": [truth, Boxes(fitted[None], colors=DOG)]}, caption=caption)
    return iou


# %%
show_with_sliders(draw_anchor, size=(0.1, 1.2, 0.05, 0.5), ratio=(0.25, 4, 0.05, 1.0))

# %% tags=["check"] jupyter={"source_hidden": true}
if not QUICK:
    assert draw_anchor(0.7, 0.65) > 0.9 > draw_anchor(0.5, 1.0)

# %% [markdown]
# ## Matching: which anchor should find which object?
#
# Training needs a target for every anchor. We use the book's example of five anchors, and compute the overlap of each
# anchor with both animals.

# %%
five_anchors = np.array(
    [
        [0, 0.1, 0.2, 0.3],
        [0.15, 0.2, 0.4, 0.4],
        [0.63, 0.05, 0.88, 0.98],
        [0.66, 0.45, 0.8, 0.8],
        [0.57, 0.3, 0.92, 0.9],
    ]
)
numbered = Boxes(five_anchors, ["0", "1", "2", "3", "4"])
show_figure(
    save_box_panels, image, {"five anchors": [truth, numbered]}, caption="Five anchors, numbered, and two objects."
)
jaccard = box_iou(five_anchors, BOXES)  # (num_anchors, num_boxes)
print(jaccard)

# %% [markdown]
# The simplest rule is: *an anchor belongs to the object that it overlaps most, if the IoU is at least 0.5; all other
# anchors are background.* Look at the dog's column: its best anchor has an IoU of 0.14. With this rule, the network
# would learn that there is no dog in this image.

# %% tags=["check"] jupyter={"source_hidden": true}
assert jaccard[:, 0].max() < 0.15
assert (jaccard.max(axis=1) >= 0.5).tolist() == [False, False, True, False, True]

# %% [markdown]
# Therefore every object first claims one anchor, even a bad one. The claims are greedy: take the largest number of the
# whole matrix, give that anchor to that object, cross out the row and the column, and repeat with the rest. After
# that, the rule with the threshold decides about the anchors that nobody has claimed.

# %%
left, claimed, steps = jaccard.copy(), {}, {}
for title in ("1. the largest of all", "2. the largest left"):
    anchor, box = np.unravel_index(left.argmax(), left.shape)
    steps[title] = Matrix(left.copy(), [(anchor, box)])
    claimed[anchor] = box
    left[anchor] = left[:, box] = -1
by_threshold = [(i, jaccard[i].argmax()) for i in range(5) if i not in claimed and jaccard[i].max() >= 0.5]
steps["3. of the others, ≥ 0.5"] = Matrix(jaccard, by_threshold)

# %%
show_figure(
    save_overlap_matrices,
    steps,
    [f"anchor {i}" for i in range(5)],
    ["dog", "cat"],
    caption="The cat claims anchor 4, which leaves the game with it. The dog claims anchor 1, with an IoU of only "
    "0.14. Of the other three, anchor 2 is close enough to the cat.",
)

# %% tags=["check"] jupyter={"source_hidden": true}
assert claimed == {4: 1, 1: 0}
assert by_threshold == [(2, 1)]

# %% [markdown]
# The function does it in the other order: first the threshold for all anchors, then the claims, which overwrite it. It
# returns for each anchor the number of its object, or −1.


# %%
def assign_anchor_to_bbox(ground_truth, anchors, iou_threshold=0.5):
    overlaps = box_iou(anchors, ground_truth)  # (num_anchors, num_boxes)
    assigned = np.where(overlaps.max(axis=1) >= iou_threshold, overlaps.argmax(axis=1), -1)
    while overlaps.max() > 0:  # an overlap of 0 claims nothing
        anchor, box = np.unravel_index(overlaps.argmax(), overlaps.shape)
        assigned[anchor] = box
        overlaps[anchor] = overlaps[:, box] = -1
    return assigned


# %%
print(assign_anchor_to_bbox(BOXES, five_anchors))
check_same(assign_anchor_to_bbox)

# %% tags=["check"] jupyter={"source_hidden": true}
np.testing.assert_array_equal(assign_anchor_to_bbox(BOXES, five_anchors), [-1, 0, 1, -1, 1])

# %% [markdown]
# ## Offsets: how to move an anchor
#
# The network could predict the corners of the box, but then each anchor would have to learn its own place. Offsets are
# relative to the anchor, so the same convolution can answer for all anchors. With center and size $(x, y, w, h)$ of
# the object and $(x_a, y_a, w_a, h_a)$ of the anchor they are
#
# $$10\,\frac{x - x_a}{w_a},\quad 10\,\frac{y - y_a}{h_a},\quad 5\log\frac{w}{w_a},\quad 5\log\frac{h}{h_a}.$$
#
# With the logarithm, twice as wide and half as wide are equally far from 0. The factors 10 and 5 are one over the
# usual spread of these numbers, 0.1 and 0.2. They bring all four offsets to about the same size.


# %%
def offset_boxes(anchors, assigned_bb, eps=1e-6):
    anc, bb = box_corner_to_center(anchors), box_corner_to_center(assigned_bb)
    offset_xy = 10 * (bb[..., :2] - anc[..., :2]) / anc[..., 2:]
    offset_wh = 5 * np.log(eps + bb[..., 2:] / anc[..., 2:])
    return np.concatenate((offset_xy, offset_wh), axis=-1)


def offset_inverse(anchors, offset_preds):
    anc = box_corner_to_center(anchors)
    pred_xy = offset_preds[..., :2] * anc[..., 2:] / 10 + anc[..., :2]
    pred_wh = np.exp(offset_preds[..., 2:] / 5) * anc[..., 2:]
    return box_center_to_corner(np.concatenate((pred_xy, pred_wh), axis=-1))


# %%
check_same(offset_boxes, offset_inverse)

# %%
moved = {}
for i, title in enumerate(("x: +3", "y: +3", "width: +3", "height: +3")):
    stretched = offset_inverse(five_anchors[[4]], 3 * np.eye(4)[[i]])
    moved[title] = [Boxes(five_anchors[[4]], ["anchor 4"], GREY, dashed=True), Boxes(stretched, colors=CAT)]
show_figure(
    save_box_panels,
    image,
    moved,
    columns=4,
    caption="The effect of one offset: +3 moves by 0.3 of the anchor's side, or stretches it by exp(3/5) = 1.82.",
)

# %% [markdown]
# `offset_inverse` undoes `offset_boxes`, up to the millionth that `offset_boxes` adds inside the logarithm. Without
# this number a box of width 0 would give −∞.

# %%
claimed_anchors, their_boxes = five_anchors[[1, 2, 4]], BOXES[[0, 1, 1]]
print(offset_inverse(claimed_anchors, offset_boxes(claimed_anchors, their_boxes)))
np.testing.assert_allclose(
    offset_inverse(claimed_anchors, offset_boxes(claimed_anchors, their_boxes)), their_boxes, atol=1e-6
)

# %% [markdown]
# ## Targets: classes, masks, offsets
#
# `multibox_target` computes everything that the loss needs, for a whole batch. A row of labels is a **class id**,
# counted from 0, and a box. For every anchor the function returns
#
# - the **class label**: 0 is background, so class id $i$ becomes label $i + 1$;
# - the **mask**: 1 for the four numbers of an anchor with an object, else 0. A background anchor has no box to learn;
# - the **offsets** from the anchor to its object.


# %%
def multibox_target(anchors, labels):
    anchors, offsets, masks, class_labels = anchors[0], [], [], []
    for rows in labels:  # one image
        rows = rows[rows[:, 0] >= 0]  # rows of -1 fill up the batch
        assigned = assign_anchor_to_bbox(rows[:, 1:], anchors) if len(rows) else np.full(len(anchors), -1)
        has_object = assigned >= 0
        mine = rows[assigned[has_object]]  # (anchors with an object, 5)
        offset, class_label = np.zeros(anchors.shape), np.zeros(len(anchors), int)
        offset[has_object] = offset_boxes(anchors[has_object], mine[:, 1:])
        class_label[has_object] = mine[:, 0] + 1
        offsets.append(offset.ravel())
        masks.append(np.repeat(has_object, 4).astype(float))
        class_labels.append(class_label)
    return np.stack(offsets), np.stack(masks), np.stack(class_labels)


# %%
check_same(multibox_target)

# %%
labels = np.array([[[0, *dog], [1, *cat]]])  # (batch, max_objects, 5): class id 0 is the dog, 1 the cat
offsets, masks, class_labels = multibox_target(five_anchors[None], labels)
print("class labels", class_labels)
print("masks of the five anchors", masks.reshape(5, 4)[:, 0])
print(offsets.reshape(5, 4))  # the numbers that the book prints

# %% tags=["check"] jupyter={"source_hidden": true}
np.testing.assert_array_equal(class_labels, [[0, 1, 2, 0, 2]])
np.testing.assert_array_equal(masks.reshape(5, 4)[:, 0], [0, 1, 1, 0, 1])

# %%
colors = [[GREY, DOG, CAT][label] for label in class_labels[0]]
words = [f"{i}: {['background', 'dog', 'cat'][label]}" for i, label in enumerate(class_labels[0])]
show_figure(
    save_box_panels,
    image,
    {"the class label of each anchor": [truth._replace(labels=()), Boxes(five_anchors, words, colors)]},
    caption="The targets of the five anchors: background grey, dog vermilion, cat blue.",
)

# %% [markdown]
# ### The whole grid
#
# The same two animals, now with the 5444 anchors of the book's model.

# %%
grid_offsets, _, grid_classes = multibox_target(grid, labels)
ends = np.cumsum([of_map.shape[1] for of_map in grids])[:-1]
for units, on_map in zip(model_config.feature_map_sizes, np.split(grid_classes[0] > 0, ends), strict=True):
    print(f"{units:2} × {units:2} units: {on_map.sum():2} of {on_map.size:4} anchors have an object")
num_positive = int((grid_classes > 0).sum())
print(f"in all {num_positive}, {num_positive / 5444:.1%}")

# %%
panels = {}
for label, animal, color in ((1, "dog", DOG), (2, "cat", CAT)):
    own = grid[0, grid_classes[0] == label]
    panels[f"{len(own)} anchors of the {animal}"] = [Boxes(own, colors=color), truth._replace(labels=())]
caption = "Every anchor of the book's model that should find an animal, on the square image."
show_figure(save_box_panels, square_image, panels, columns=2, caption=caption)

# %% [markdown]
# Remember two things. First, more than 99 of 100 anchors are background. A network that always answers "background" is
# right for 99 of 100 anchors, and useless: never judge a detector by its class error alone. Second, the offsets of the
# anchors with an object are numbers of about size one. The factors 10 and 5 have done this.

# %%
positive_offsets = grid_offsets.reshape(5444, 4)[grid_classes[0] > 0]
print("standard deviation of the offsets:", positive_offsets.std(axis=0))

# %% tags=["check"] jupyter={"source_hidden": true}
assert num_positive == 48
assert (np.abs(np.log2(positive_offsets.std(axis=0))) < 1).all()

# %% [markdown]
# A small object is in a worse position. An object that is 8 % of the image wide and 7 % high overlaps no anchor of
# this grid by more than 0.14. It has the single anchor that it claims.

# %%
small = np.array([[[0, 0.3, 0.3, 0.38, 0.37]]])
print(f"best IoU: {box_iou(grid[0], small[0, :, 1:]).max():.3f}")
print("anchors with an object:", (multibox_target(grid, small)[2] > 0).sum())
assert (multibox_target(grid, small)[2] > 0).sum() == 1

# %% [markdown]
# **Change it.** Write `iou_threshold=0.4` into the definition of `assign_anchor_to_bbox`, run that cell, and then the
# cells of this section again. The dog and the cat then have twice as many anchors. With 0.7 they keep fewer than ten.

# %% tags=["check"] jupyter={"source_hidden": true}
if not QUICK:
    by_limit = {t: int((assign_anchor_to_bbox(BOXES, grid[0], t) >= 0).sum()) for t in (0.4, 0.5, 0.7)}
    print(by_limit)
    assert by_limit[0.4] > 1.9 * by_limit[0.5]
    assert by_limit[0.7] < 10

# %% [markdown]
# ## Non-maximum suppression: one box for each object
#
# Neighbouring anchors see the same object, and a good network answers at all of them. **Non-maximum suppression**
# (NMS) keeps the best answer: take the box with the highest score, drop all boxes that overlap it by more than a
# threshold, and repeat with the rest. With `class_ids`, a box drops only boxes of its own class.


# %%
def nms(boxes, scores, iou_threshold, *, class_ids=None):
    left, keep = np.argsort(-scores, kind="stable"), []
    while len(left):
        best, left = left[0], left[1:]
        keep.append(best)
        dropped = box_iou(boxes[[best]], boxes[left])[0] > iou_threshold
        if class_ids is not None:
            dropped &= class_ids[left] == class_ids[best]
        left = left[~dropped]
    return np.array(keep, int)


# %%
check_same(nms)

# %% [markdown]
# Here are four predictions, as in the book: three about the dog, one about the cat.

# %%
four = np.array([dog, [0.08, 0.2, 0.56, 0.95], [0.15, 0.3, 0.62, 0.91], cat])
scores, class_ids = np.array([0.9, 0.8, 0.7, 0.9]), np.array([0, 0, 0, 1])
kept = nms(four, scores, iou_threshold=0.5)
print("kept:", kept, " overlap with the best dog:", box_iou(four[:1], four)[0])
np.testing.assert_array_equal(kept, [0, 3])  # equal scores: the lower index comes first

# %%
texts = [f"{['dog', 'cat'][c]} {s}" for c, s in zip(class_ids, scores, strict=True)]
dropped_boxes = Boxes(four[1:3], texts[1:3], GREY, dashed=True)
panels = {
    "before": [Boxes(four, texts, [DOG, DOG, DOG, CAT])],
    "the best box drops two": [dropped_boxes, Boxes(four[[0]], texts[:1], DOG)],
    "after": [Boxes(four[kept], [texts[i] for i in kept], [DOG, CAT])],
}
show_figure(save_box_panels, image, panels, caption="Four predictions, and the two that non-maximum suppression keeps.")

# %% [markdown]
# ### Within a class, or across classes?
#
# The book's function ignores the class. Suppose that the cat lies in the dog's lap, so that both boxes nearly
# coincide: then the better box suppresses the other animal. With `class_ids` both remain.

# %%
lap = np.array([[0.1, 0.1, 0.5, 0.9], [0.1, 0.1, 0.5, 0.8]])
lap_scores, lap_classes = np.array([0.8, 0.7]), np.array([0, 1])
print("IoU", box_iou(lap[:1], lap[1:]).item())
print("across classes:", nms(lap, lap_scores, 0.5))
print("within a class:", nms(lap, lap_scores, 0.5, class_ids=lap_classes))

# %% tags=["check"] jupyter={"source_hidden": true}
np.testing.assert_allclose(box_iou(lap[:1], lap[1:]), 0.875)
assert nms(lap, lap_scores, 0.5).tolist() == [0]
assert nms(lap, lap_scores, 0.5, class_ids=lap_classes).tolist() == [0, 1]

# %% [markdown]
# This has a price. If the network takes one dog for a dog *and* for a cat, nobody drops the cat. The function
# `predict` of this package works within a class, as most detectors do. `multibox_detection` keeps the book's rule by
# default, so that it can be compared with the book's function.
#
# ## From 5444 predictions to two detections
#
# `multibox_detection` decodes the offsets, takes the best class of each anchor, and suppresses. It returns one row
# `[class_id, score, xmin, ymin, xmax, ymax]` for every anchor, detections first. Class id −1 marks background and
# suppressed boxes. A score below `pos_threshold` is background, and the row then holds the score of the background.


# %%
def multibox_detection(cls_probs, offset_preds, anchors, nms_threshold=0.5, pos_threshold=0.009999999):
    images = []
    for probs, offset in zip(cls_probs, offset_preds, strict=True):
        score, class_id = probs[1:].max(axis=0), probs[1:].argmax(axis=0).astype(float)
        boxes = offset_inverse(anchors[0], offset.reshape(-1, 4))
        keep = nms(boxes, score, nms_threshold)
        rest = np.setdiff1d(np.arange(len(score)), keep)
        weak = score < pos_threshold
        class_id[rest], class_id[weak] = -1, -1
        rows = np.column_stack((class_id, np.where(weak, 1 - score, score), boxes))
        images.append(rows[np.concatenate((keep, rest))])
    return np.stack(images)


# %%
check_same(multibox_detection)

# %% [markdown]
# There is no network here, so we invent the predictions of a fairly good one: scores that grow with the overlap, and
# offsets that are right except for some noise.

# %%
rng = np.random.default_rng(0)
overlap = box_iou(grid[0], BOXES)  # (5444, 2)
logits = np.zeros((5444, 3))
logits[:, 1:] = 14 * (overlap - 0.5) + rng.normal(0, 1, (5444, 2))
cls_probs = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).T[None]  # (1, 3, 5444), background first
noise = rng.normal(0, 0.6, (5444, 4))
offset_preds = (offset_boxes(grid[0], BOXES[overlap.argmax(axis=1)]) + noise).reshape(1, -1)

# %%
detected = multibox_detection(cls_probs, offset_preds, grid)[0]
sure = cls_probs[0, 1:].max(axis=0) >= 0.5
found = detected[(detected[:, 0] >= 0) & (detected[:, 1] >= 0.5)]
print(f"{sure.sum()} anchors are at least half sure of an animal; {len(found)} detections remain:")
print(found)

# %% tags=["check"] jupyter={"source_hidden": true}
assert detected.shape == (5444, 6)
assert sure.sum() > 40
assert found[:, 0].tolist() == [0, 1]
assert (box_iou(found[:, 2:], BOXES).diagonal() > 0.6).all()

# %% [markdown]
# **Change it.** Move the sliders, or change the two numbers. A low NMS threshold loses an animal that is close to
# another one. A high NMS threshold finds one animal several times. A low score threshold shows what the network is not
# sure of.


# %%
def draw_detections(score=0.5, nms_threshold=0.5):
    """Show the boxes with at least this score, before and after suppression."""
    strong = cls_probs[0, 1:].max(axis=0) >= score
    candidates = offset_inverse(grid[0, strong], offset_preds.reshape(5444, 4)[strong])
    shades = [[DOG, CAT][i] for i in cls_probs[0, 1:].argmax(axis=0)[strong]]
    rows = multibox_detection(cls_probs, offset_preds, grid, nms_threshold, max(score, 0.009999999))[0]
    rows = rows[rows[:, 0] >= 0]
    after = Boxes(rows[:, 2:], [f"{row[1]:.2f}" for row in rows[:8]], [[DOG, CAT][int(row[0])] for row in rows])
    panels = {f"before: {strong.sum()} boxes": [Boxes(candidates, colors=shades)]}
    panels[f"after: {len(rows)} boxes"] = [truth._replace(labels=()), after]
    caption = f"Boxes with a score of at least {score:.2f}, before and after suppression at {nms_threshold:.2f}."
    show_figure(save_box_panels, image, panels, columns=2, caption=caption)
    return len(rows)


# %%
show_with_sliders(draw_detections, score=(0.05, 0.95, 0.05, 0.5), nms_threshold=(0.05, 1.0, 0.05, 0.5))

# %% tags=["check"] jupyter={"source_hidden": true}
if not QUICK:
    assert draw_detections(0.5, 0.5) == 2 < draw_detections(0.5, 0.7) < draw_detections(0.5, 0.9)
    assert draw_detections(0.1, 0.5) > 2

# %% [markdown]
# ## Where short code goes wrong
#
# Short versions of these functions can be found in many places, also in the book. They are right on clean examples.
# Here are two inputs that real datasets contain. The page [the book's defects](../docs/book_defects.md) lists all that
# we know.
#
# **Padding rows.** The images of a batch have different numbers of objects, so the shorter label arrays are filled up
# with rows of −1. If every row claims its best anchor, padding claims one, too: all its overlaps are 0, and the
# largest of them is found at anchor 0. This anchor would learn the following offsets.

# %%
padding = np.array([[-1.0, -1, -1, -1, -1]])
padding_overlaps = box_iou(padding[:, 1:], five_anchors)  # (1, num_anchors)
phantom = offset_boxes(five_anchors[[padding_overlaps.argmax()]], padding[:, 1:])
print(f"largest overlap {padding_overlaps.max()}, offsets", phantom[0])
print(f"real offsets add up to {np.abs(offsets).sum():.0f}, the phantom's to {np.abs(phantom).sum():.0f}")

# %% [markdown]
# This anchor would learn to shrink to a millionth of its size and to leave the image. In an L1 loss, this phantom
# weighs more than the dog and the cat together. The functions above avoid it twice: `multibox_target` skips rows with
# class id −1, and an overlap of 0 claims nothing.

# %% tags=["check"] jupyter={"source_hidden": true}
assert padding_overlaps.max() == 0
assert np.abs(phantom).max() > 69
assert np.abs(phantom).sum() > 5 * np.abs(offsets).sum()
padded = np.concatenate((labels, np.repeat(padding[None], 3, axis=1)), axis=1)  # two animals, three rows of padding
for with_padding, without in zip(
    multibox_target(five_anchors[None], padded), (offsets, masks, class_labels), strict=True
):
    np.testing.assert_array_equal(with_padding, without)

# %% [markdown]
# **Inverted boxes.** Somebody drew a box from right to left, and the file says xmin 0.9 and xmax 0.3. The width is
# negative, and its logarithm is not a number. Then the loss is not a number either, and after the next step no weight
# is. In our functions a box without area overlaps nothing, so no anchor learns it.

# %%
inverted = np.array([[0, 0.9, 0.2, 0.3, 0.8]])
with np.errstate(invalid="ignore"):
    print("an anchor would learn the offsets", offset_boxes(five_anchors[[0]], inverted[:, 1:])[0])
print("its largest overlap with an anchor is", box_iou(inverted[:, 1:], five_anchors).max())

# %% tags=["check"] jupyter={"source_hidden": true}
assert box_iou(inverted[:, 1:], five_anchors).max() == 0
with_inverted = np.concatenate((labels, inverted[None]), axis=1)
for answer, expected in zip(
    multibox_target(five_anchors[None], with_inverted), (offsets, masks, class_labels), strict=True
):
    np.testing.assert_array_equal(answer, expected)

# %% [markdown]
# ## Summary
#
# - Anchors are a fixed grid of boxes. Choose their sizes so that some of them overlap your objects by at least 0.5.
# - Matching gives every object at least one anchor, and every close anchor an object. All others are background.
# - Offsets are relative to the anchor. Their logarithms and factors bring them to about size one.
# - Non-maximum suppression keeps one box for each object. Its threshold is a compromise.
# - Labels in real files have padding, inverted boxes and boxes without area. Test your functions with them.
#
# ## Questions
#
# The file [solutions_anchors_targets_nms](solutions_anchors_targets_nms.ipynb) answers the questions with code.
#
# 1. Two equal squares are shifted against each other by the same distance along *both* axes. How far may they be
#    apart, as a fraction of their side, before the IoU falls below 0.5? Check your answer with `box_iou`.
# 2. The ratios (1, 2, 0.5) and the sizes $s_1, s_2$ give four anchors at a unit. Which four? Which combinations are
#    left out? Draw all of them with `save_box_panels`.
# 3. Find five anchors and two boxes so that the claim of one object takes away an anchor that the threshold had given
#    to the other object. Is this good for the other object?
# 4. `assign_anchor_to_bbox` is greedy. Find overlaps for which another one-to-one assignment has a larger sum.
#    (`scipy.optimize.linear_sum_assignment` finds the best one; the detector DETR trains with it.)
# 5. Replace the hard rule of `nms` by **Soft-NMS** (Bodla et al., 2017): do not drop a box, but multiply its score by
#    $\exp(-\mathrm{IoU}^2/\sigma)$. What happens to the cat in the dog's lap with σ = 0.5? Because
#    `multibox_detection` above calls `nms`, you can use your version in the whole pipeline.
# 6. A small project: `ssd_common.data.anchor_fit` fits sizes and ratios to a dataset. Fit them to the synthetic set,
#    and count the anchors of each object before and after.
#
# ## Where to look
#
# - [ssd_common/boxes.py](../ssd_common/boxes.py), [anchors.py](../ssd_common/anchors.py),
#   [targets.py](../ssd_common/targets.py), [detection.py](../ssd_common/detection.py): the numpy reference. The files
#   of the same names in `ssd_torch` and `ssd_mxnet` do the work for a whole batch at once.
# - [chapter_torch](chapter_torch.ipynb) and [chapter_mxnet](chapter_mxnet.ipynb): a network that learns the targets.
# - [side_by_side](side_by_side.ipynb): how we know that three implementations compute the same numbers.
# - [The book's defects](../docs/book_defects.md): inputs on which the short versions go wrong, each with a test.
# - The chapters "Anchor Boxes" and "Multiscale Object Detection" of *Dive into Deep Learning*.
