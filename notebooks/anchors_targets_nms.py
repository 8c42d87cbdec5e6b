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
# At the end of this notebook you will know what stands between an image's pixels and a list of boxes: where anchors
# come from, how each learns what it is to predict, and how thousands of predictions become two. All of it is numpy, on
# one image of a dog and a cat; no network is trained, and the quick and the full setting are the same.

# %%
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

SETTING = os.environ.get("TINYSSD_NOTEBOOK", "quick")  # a teacher writes "full" here
SOURCE = os.environ.get("TINYSSD_SOURCE")  # of the package, for a notebook outside its clone: "git+https://…"
QUICK = {"quick": True, "full": False}[SETTING]
clones = [folder for folder in Path.cwd().parents if (folder / "ssd_common").is_dir()]
if not importlib.util.find_spec("ssd_common"):
    assert clones or SOURCE, "tinyssd is not installed: give SOURCE the address of its repository"
    source = clones[0].as_uri() if clones else SOURCE
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", f"tinyssd[notebooks] @ {source}"], check=True)
sys.path[:0] = map(str, clones)  # ahead of this folder, where ssd_torch.py is a notebook

# %%
import numpy as np

from ssd_common.anchors import anchor_grid, multibox_prior
from ssd_common.boxes import box_center_to_corner, box_corner_to_center, box_iou, offset_boxes, offset_inverse
from ssd_common.config import BOOK
from ssd_common.data.transforms import read_image
from ssd_common.detection import multibox_detection, nms
from ssd_common.figures import save_box_panels, save_overlap_matrices, save_overlaps
from ssd_common.figures.boxes import Boxes, Matrix
from ssd_common.targets import assign_anchor_to_bbox, multibox_target
from ssd_common.teaching import draw_dog_and_cat, show_figure, show_source
from ssd_common.teaching.dog_and_cat import BOXES

np.set_printoptions(precision=3, suppress=True)
GREY, DOG, CAT = "#808080", "#D55E00", "#0072B2"  # which the colour-blind can tell apart

# %% [markdown]
# ## A dog, a cat, and two ways to write a box
#
# The book's chapter "Anchor Boxes" explains everything on a photograph of a dog and a cat. If you have that image,
# put its folder into `TINYSSD_DATA`; if not, we draw one, with both animals in the same places. Nothing below depends
# on which of the two you see.

# %%
photograph = Path(os.environ.get("TINYSSD_DATA", "."), "img", "catdog.jpg")
image = read_image(photograph) if photograph.is_file() else draw_dog_and_cat()
height, width = image.shape[:2]
assert (height, width) == (561, 728)

truth = Boxes(BOXES, ["dog", "cat"], "black", dashed=True)
show_figure(save_box_panels, image, {"ground truth": [truth]}, caption="The two boxes that a detector is to find.")

# %% [markdown]
# A box is four numbers. In **corner** format they are the left, upper, right and lower edge; in **center** format the
# middle, the width and the height. Corners are handy for overlaps, centers for moving and stretching. We write them as
# fractions of the image, so that they stay true when the image is resized.

# %%
dog, cat = BOXES
print("corners:", dog)
print("centers:", box_corner_to_center(dog))
np.testing.assert_allclose(box_center_to_corner(box_corner_to_center(BOXES)), BOXES)

# %% [markdown]
# ## Anchors: guesses made before looking
#
# A convolutional network has a fixed number of outputs, but an image has any number of objects anywhere. The way out:
# cover the image with a fixed grid of boxes, the **anchors**, and ask the network two small questions about each:
# *what is in it?* and *how would you move it to fit better?*
#
# At each unit of a feature map sit several anchors, all with the same center. One with size $s$ and ratio $r$ is
# $s\sqrt r$ wide and $s/\sqrt r$ high, both measured against the image's height, so its area $s^2$ depends on the
# size alone. With $n$ sizes and $m$ ratios there could be $nm$ at each unit; we take only the pairs with the first size
# or the first ratio, which are $n + m - 1$.

# %%
show_source(multibox_prior)

# %% [markdown]
# Let every pixel be a unit, as the book does. Three sizes and three ratios make five anchors a pixel, two million in
# all. Here are the five of the pixel in row 250 and column 250.

# %%
anchors = multibox_prior(np.empty((height, width), np.float32), sizes=[0.75, 0.5, 0.25], ratios=[1, 2, 0.5])
assert anchors.shape == (1, height * width * 5, 4) == (1, 2042040, 4)

five = anchors.reshape(height, width, 5, 4)[250, 250]
names = ["s=0.75, r=1", "s=0.5, r=1", "s=0.25, r=1", "s=0.75, r=2", "s=0.75, r=0.5"]
shapes = box_corner_to_center(five)[:, 2:] * (width / height, 1)  # in heights of the image
np.testing.assert_allclose(shapes.prod(axis=1), [0.75**2, 0.5**2, 0.25**2, 0.75**2, 0.75**2], rtol=1e-5)
print(five)

# %%
show_figure(
    save_box_panels,
    image,
    {"sizes": [Boxes(five[:3], names[:3])], "ratios": [Boxes(five[[0, 3, 4]], [names[0], names[3], names[4]])]},
    columns=2,
    caption="The five anchors of one pixel: three sizes with ratio 1, and three ratios with size 0.75.",
)

# %% [markdown]
# ### Several scales
#
# Two million guesses are too many, and most of them nearly the same. A detector with several feature maps does better:
# a fine map with small anchors for small objects, a coarse one with large anchors for large objects.

# %%
scales = {}
for units, size in ((4, 0.15), (2, 0.4), (1, 0.8)):
    of_scale = multibox_prior(np.empty((units, units)), sizes=[size], ratios=[1, 2, 0.5])
    scales[f"{units} × {units} units, size {size}"] = [Boxes(of_scale[0], colors=["#0072B2", "#D55E00", "#009E73"])]
show_figure(
    save_box_panels,
    image,
    scales,
    caption="Three anchors a unit on three feature maps: ratio 1 blue, 2 vermilion, 0.5 green. Some reach beyond the "
    "picture.",
)

# %% [markdown]
# The book's model has five maps and four anchors at each unit. It sees every image as a square of 256 × 256 pixels,
# so to it a square anchor is one with equal sides as fractions.

# %%
model = BOOK.model
grid = anchor_grid(model, "float64")
per_map = [units**2 * model.anchors.per_unit(i) for i, units in enumerate(model.feature_map_sizes)]
for units, sizes, count in zip(model.feature_map_sizes, model.anchors.sizes, per_map, strict=True):
    print(f"{units:2} × {units:2} units, sizes {sizes[0]:.2f} and {sizes[1]:.3f}: {count:4} anchors")
assert grid.shape == (1, sum(per_map), 4) == (1, 5444, 4)

# %% [markdown]
# ## How much do two boxes overlap?
#
# To say which anchor is close to which object we need a number. The usual one is the **intersection over union**, IoU:
# the area that both cover, divided by the area that at least one covers. It is 1 for equal boxes, 0 for boxes apart,
# and does not care about the unit.

# %%
square = [0.1, 0.1, 0.6, 0.6]
pairs = {
    "shifted by half a side": (square, [0.35, 0.1, 0.85, 0.6]),
    "by half along both": (square, [0.35, 0.35, 0.85, 0.85]),
    "half as wide and high": ([0.1, 0.1, 0.9, 0.9], [0.3, 0.3, 0.7, 0.7]),
    "apart": ([0.05, 0.1, 0.4, 0.45], [0.5, 0.5, 0.95, 0.95]),
}
show_figure(save_overlaps, pairs, caption="Four pairs of boxes. What looks half right has an IoU of 1/3, 1/7 or 1/4.")

# %%
ious = [box_iou(np.array([first]), np.array([second])).item() for first, second in pairs.values()]
np.testing.assert_allclose(ious, [1 / 3, 1 / 7, 1 / 4, 0], atol=1e-12)

# %% [markdown]
# So 0.5, the threshold that most detectors use, asks for more than it seems: two equal squares must not be further
# apart than a third of their side.

# %%
third = box_iou(np.array([square]), np.array([square]) + np.array([0.5 / 3, 0, 0.5 / 3, 0]))
np.testing.assert_allclose(third, 0.5)

# %% [markdown]
# ## Matching: which anchor is to find which object?
#
# Training needs a target for every anchor. Take the book's example of five anchors, and write down the overlap of each
# with both animals.

# %%
anchors = np.array(
    [
        [0, 0.1, 0.2, 0.3],
        [0.15, 0.2, 0.4, 0.4],
        [0.63, 0.05, 0.88, 0.98],
        [0.66, 0.45, 0.8, 0.8],
        [0.57, 0.3, 0.92, 0.9],
    ]
)
numbered = Boxes(anchors, ["0", "1", "2", "3", "4"])
show_figure(
    save_box_panels, image, {"five anchors": [truth, numbered]}, caption="Five anchors, numbered, and two objects."
)
jaccard = box_iou(anchors, BOXES)  # (num_anchors, num_boxes)
print(jaccard)

# %% [markdown]
# The simplest rule would be: *an anchor belongs to the object that it overlaps most, if the IoU is at least 0.5; all
# others are background.* Look at the column of the dog: its best anchor has 0.14. With that rule the network would be
# taught that there is no dog in this image.

# %%
assert jaccard[:, 0].max() < 0.15
assert (jaccard.max(axis=1) >= 0.5).tolist() == [False, False, True, False, True]

# %% [markdown]
# So every object first claims one anchor, good or not. It is done greedily: take the largest number of the whole
# matrix, give that anchor to that object, cross out its row and its column, and go on with what is left. Then the rule
# with the threshold is for the anchors that nobody has claimed.

# %%
left, claimed, steps = jaccard.copy(), {}, {}
for title in ("1. the largest of all", "2. the largest left"):
    anchor, box = np.unravel_index(left.argmax(), left.shape)
    steps[title] = Matrix(left.copy(), [(anchor, box)])
    claimed[anchor] = box
    left[anchor] = left[:, box] = -1
rest = [(i, jaccard[i].argmax()) for i in range(5) if i not in claimed and jaccard[i].max() >= 0.5]
steps["3. of the others, ≥ 0.5"] = Matrix(jaccard, rest)
assert claimed == {4: 1, 1: 0}
assert rest == [(2, 1)]

# %%
show_figure(
    save_overlap_matrices,
    steps,
    [f"anchor {i}" for i in range(5)],
    ["dog", "cat"],
    caption="Anchor 4 is claimed by the cat, and leaves the game with it; anchor 1 is claimed by the dog, at an IoU of "
    "only 0.14. Of the three others anchor 2 is close enough to the cat.",
)

# %% [markdown]
# `assign_anchor_to_bbox` does the same the other way round: first the threshold for all anchors, then the claims, which
# overwrite it. It returns the number of the object for each anchor, or −1.

# %%
show_source(assign_anchor_to_bbox)
assigned = assign_anchor_to_bbox(BOXES, anchors)
print(assigned)
np.testing.assert_array_equal(assigned, [-1, 0, 1, -1, 1])

# %% [markdown]
# ### Class labels, masks, offsets
#
# `multibox_target` turns this into what the loss needs, for a whole batch. A row of labels is a class id and a box.
#
# - **class labels**: 0 is background, and object class $i$ becomes $i + 1$;
# - **masks**: 1 for the four numbers of an anchor that has an object, else 0. A background anchor has no box to learn;
# - **offsets**: how to move the anchor onto its object (the next section).

# %%
labels = np.array([[[0, *dog], [1, *cat]]])  # (batch, max_objects, 5): class 0 is the dog, class 1 the cat
offsets, masks, class_labels = multibox_target(anchors[None], labels)
np.testing.assert_array_equal(class_labels, [[0, 1, 2, 0, 2]])
np.testing.assert_array_equal(masks.reshape(5, 4)[:, 0], [0, 1, 1, 0, 1])
print(offsets.reshape(5, 4))  # the numbers that the book prints

# %%
colors = [[GREY, DOG, CAT][c] for c in class_labels[0]]
words = [f"{i}: {['background', 'dog', 'cat'][c]}" for i, c in enumerate(class_labels[0])]
show_figure(
    save_box_panels,
    image,
    {"what each anchor is to say": [truth._replace(labels=()), Boxes(anchors, words, colors)]},
    caption="The targets of the five anchors: grey ones are background, vermilion is the dog's, blue are the cat's.",
)

# %% [markdown]
# ## Offsets: how to move an anchor
#
# A network could be asked for the corners of the box, but then each anchor would have to learn its own place. Offsets
# are relative to the anchor, so the same convolution can answer for all of them. With centers $(x, y, w, h)$ of the
# object and $(x_a, y_a, w_a, h_a)$ of the anchor they are
#
# $$10\,\frac{x - x_a}{w_a},\quad 10\,\frac{y - y_a}{h_a},\quad 5\log\frac{w}{w_a},\quad 5\log\frac{h}{h_a}.$$
#
# With the logarithm, twice as wide and half as wide are equally far from just right. The factors are one over the
# spread that these numbers usually have, 0.1 and 0.2, so that all four are of about the same size.

# %%
show_source(offset_boxes, offset_inverse)

# %%
moved = {}
for i, title in enumerate(("x: +3", "y: +3", "width: +3", "height: +3")):
    prediction = 3 * np.eye(4)[[i]]
    box = offset_inverse(anchors[[4]], prediction)
    moved[title] = [Boxes(anchors[[4]], ["anchor 4"], GREY, dashed=True), Boxes(box, colors=CAT)]
show_figure(
    save_box_panels,
    image,
    moved,
    columns=4,
    caption="What one offset does: +3 moves by 0.3 of the anchor's side, or stretches it by exp(3/5) = 1.82.",
)

# %% [markdown]
# Encoding and decoding are each other's inverse. (But for the millionth that `offset_boxes` adds inside the logarithm,
# so that a box without width does not give −∞.)

# %%
positive = class_labels[0] > 0
decoded = offset_inverse(anchors[positive], offsets.reshape(5, 4)[positive])
np.testing.assert_allclose(decoded, BOXES[assigned[positive]], atol=1e-6)

rng = np.random.default_rng(0)
objects = np.sort(rng.uniform(size=(1000, 2, 2)), axis=1).reshape(-1, 4)  # any boxes at all
objects = objects[(box_corner_to_center(objects)[:, 2:] > 0.01).all(axis=1)]  # but not thinner than a hundredth
start = grid[0, rng.integers(5444, size=len(objects))]
np.testing.assert_allclose(offset_inverse(start, offset_boxes(start, objects)), objects, atol=2e-6)

# %% [markdown]
# ### The whole grid
#
# The same two animals, now with the 5444 anchors of the book's model.

# %%
grid_offsets, _, grid_classes = multibox_target(grid, labels)
of_maps = np.split(grid_classes[0] > 0, np.cumsum(per_map)[:-1])
for units, positive in zip(model.feature_map_sizes, of_maps, strict=True):
    print(f"{units:2} × {units:2} units: {positive.sum():2} of {positive.size:4} anchors have an object")
num_positive = int((grid_classes > 0).sum())
print(f"in all {num_positive}, {num_positive / 5444:.1%}")
assert num_positive == 48

# %%
panels = {}
for class_label, name, color in ((1, "dog", DOG), (2, "cat", CAT)):
    own = grid[0, grid_classes[0] == class_label]
    panels[f"{len(own)} anchors of the {name}"] = [Boxes(own, colors=color), truth._replace(labels=())]
show_figure(
    save_box_panels, image, panels, columns=2, caption="Every anchor of the book's model that is to find an animal."
)

# %% [markdown]
# Two things are worth remembering. More than 99 of 100 anchors are background, so a network that always says
# "background" is right 99 times of 100 and of no use: never judge a detector by its class error alone. And the positive
# offsets are numbers of size one, which is what the factors 10 and 5 were for.

# %%
assert num_positive / 5444 < 0.01
positive_offsets = grid_offsets.reshape(5444, 4)[grid_classes[0] > 0]
spread = positive_offsets.std(axis=0)
print("standard deviation of the offsets:", spread)
assert (spread > 0.5).all()
assert (spread < 2).all()

# %% [markdown]
# A small object is worse off. One that is 8 % of the image wide and 7 % high overlaps no anchor of this grid by more
# than 0.14: it has the single anchor that it claims.

# %%
small = np.array([[[0, 0.3, 0.3, 0.38, 0.37]]])
print(f"best IoU: {box_iou(grid[0], small[0, :, 1:]).max():.3f}")
assert (multibox_target(grid, small)[2] > 0).sum() == 1

# %% [markdown]
# ## Non-maximum suppression: one box for each object
#
# Neighbouring anchors see the same object, and a good network lets all of them say so. **Non-maximum suppression**
# keeps the best: take the box with the highest score, drop all that overlap it by more than a threshold, and go on with
# what is left. Here are four predictions, as in the book: three about the dog, one about the cat.

# %%
boxes = np.array([dog, [0.08, 0.2, 0.56, 0.95], [0.15, 0.3, 0.62, 0.91], cat])
scores, class_ids = np.array([0.9, 0.8, 0.7, 0.9]), np.array([0, 0, 0, 1])
kept = nms(boxes, scores, iou_threshold=0.5)
print("kept:", kept, " overlap with the best dog:", box_iou(boxes[:1], boxes)[0])
np.testing.assert_array_equal(kept, [0, 3])  # equal scores: the lower index comes first

# %%
texts = [f"{['dog', 'cat'][c]} {s}" for c, s in zip(class_ids, scores, strict=True)]
suppressed = Boxes(boxes[1:3], texts[1:3], GREY, dashed=True)
panels = {
    "before": [Boxes(boxes, texts, [DOG, DOG, DOG, CAT])],
    "the best, and what it suppresses": [suppressed, Boxes(boxes[[0]], texts[:1], DOG)],
    "after": [Boxes(boxes[kept], [texts[i] for i in kept], [DOG, CAT])],
}
show_figure(save_box_panels, image, panels, caption="Four predictions, and the two that non-maximum suppression keeps.")

# %%
show_source(nms)

# %% [markdown]
# ### Within a class, or across classes?
#
# The book's function does not look at the class. Suppose that the cat lay in the dog's lap, so that both boxes nearly
# coincide: the better one suppresses the other animal. With `class_ids` a box suppresses only boxes of its own class.

# %%
lap = np.array([[0.1, 0.1, 0.5, 0.9], [0.1, 0.1, 0.5, 0.8]])
lap_scores, lap_classes = np.array([0.8, 0.7]), np.array([0, 1])
np.testing.assert_allclose(box_iou(lap[:1], lap[1:]), 0.875)
across = nms(lap, lap_scores, 0.5)
within = nms(lap, lap_scores, 0.5, class_ids=lap_classes)
print("across classes:", across, " within a class:", within)
assert across.tolist() == [0]
assert within.tolist() == [0, 1]

# %% [markdown]
# There is a price: where the network takes a dog for a dog *and* for a cat, nobody drops the cat any more. Our
# `predict` works within a class, as most detectors do; `multibox_detection` keeps the book's rule unless asked
# (`class_aware=True`), so that it can be compared with the book's.

# %% [markdown]
# ## From 5444 predictions to two detections
#
# We have no network here, so let us make up what a fairly good one would say: scores that grow with the overlap, and
# offsets that are right but for some noise.

# %%
rng = np.random.default_rng(0)
overlap = box_iou(grid[0], BOXES)  # (5444, 2)
logits = np.zeros((5444, 3))
logits[:, 1:] = 14 * (overlap - 0.5) + rng.normal(0, 1, (5444, 2))
cls_probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
cls_probs = cls_probs.T[None]  # (1, 3, 5444), background first
offset_preds = offset_boxes(grid[0], BOXES[overlap.argmax(axis=1)]) + rng.normal(0, 0.6, (5444, 4))
offset_preds = offset_preds.reshape(1, -1)

# %% [markdown]
# `multibox_detection` decodes the offsets, takes the best class of each anchor, and suppresses. It returns a row
# `[class_id, score, xmin, ymin, xmax, ymax]` for every anchor; −1 marks background and what was suppressed. Detections
# come first.

# %%
rows = multibox_detection(cls_probs, offset_preds, grid)[0]
assert rows.shape == (5444, 6)
sure = cls_probs[0, 1:].max(axis=0) >= 0.5
found = rows[(rows[:, 0] >= 0) & (rows[:, 1] >= 0.5)]
print(f"{sure.sum()} anchors are at least half sure of an animal; {len(found)} detections remain:")
print(found)
assert sure.sum() > 40
assert found[:, 0].tolist() == [0, 1]
assert (box_iou(found[:, 2:], BOXES).diagonal() > 0.6).all()

# %%
before = offset_inverse(grid[0, sure], offset_preds.reshape(5444, 4)[sure])
colors = [[DOG, CAT][class_id] for class_id in cls_probs[0, 1:].argmax(axis=0)[sure]]
texts = [f"{['dog', 'cat'][int(row[0])]} {row[1]:.2f}" for row in found]
panels = {
    f"before: {sure.sum()} boxes": [Boxes(before, colors=colors)],
    f"after: {len(found)} boxes": [truth._replace(labels=()), Boxes(found[:, 2:], texts, [DOG, CAT])],
}
show_figure(save_box_panels, image, panels, columns=2, caption="Before and after; the ground truth is dashed.")

# %% [markdown]
# The threshold is a compromise: too low, and of two animals close together one is lost, as in the lap above; too high,
# and one animal is found several times.

# %%
counts = {}
for threshold in (0.1, 0.3, 0.5, 0.7, 0.9):
    rows = multibox_detection(cls_probs, offset_preds, grid, nms_threshold=threshold)[0]
    counts[threshold] = int(((rows[:, 0] >= 0) & (rows[:, 1] >= 0.5)).sum())
    print(f"IoU threshold {threshold}: {counts[threshold]} detections")
assert counts[0.5] == 2 < counts[0.7] < counts[0.9]

# %% [markdown]
# ## Where naive code goes wrong
#
# The functions above are short, and short versions of them can be found in many places, the book among them. They are
# right on clean examples. Here are two inputs that real datasets contain; docs/book_defects.md has all that we know.
#
# **Padding rows.** Images of a batch have different numbers of objects, so the shorter label arrays are filled up
# with rows of −1. A loop that lets every row claim its best anchor lets padding claim one, too: no overlap is larger
# than 0, so the largest is found at anchor 0. What would that anchor have to learn?

# %%
padding = np.array([[-1.0, -1, -1, -1, -1]])
overlaps = box_iou(padding[:, 1:], anchors)  # (1, num_anchors)
naive_claim = overlaps.argmax()
phantom = offset_boxes(anchors[[naive_claim]], padding[:, 1:])
print(f"anchor {naive_claim} would learn the offsets", phantom[0])
assert overlaps.max() == 0
assert np.abs(phantom).max() > 69

# %% [markdown]
# To shrink to a millionth of its size, outside the image. In an L1 loss this phantom weighs more than dog and cat
# together. Ours lets nothing claim an anchor with an overlap of 0, and reads no box from a row with class id −1.

# %%
print(f"real offsets add up to {np.abs(offsets).sum():.0f}, the phantom's to {np.abs(phantom).sum():.0f}")
assert np.abs(phantom).sum() > 5 * np.abs(offsets).sum()

padded = np.concatenate((labels, np.repeat(padding[None], 3, axis=1)), axis=1)  # two animals, three rows of padding
assert padded.shape == (1, 5, 5)
for with_padding, without in zip(multibox_target(anchors[None], padded), (offsets, masks, class_labels), strict=True):
    np.testing.assert_array_equal(with_padding, without)

# %% [markdown]
# **Inverted boxes.** Somebody drew a box from right to left, and the file says xmin 0.9 and xmax 0.3. Its width is
# negative, the logarithm of that is not a number, and neither is the loss, nor any weight after the next step. For ours
# a box without area overlaps nothing, so no anchor ever learns it.

# %%
inverted = np.array([[0, 0.9, 0.2, 0.3, 0.8]])
with np.errstate(invalid="ignore"):
    print("an anchor would learn the offsets", offset_boxes(anchors[[0]], inverted[:, 1:])[0])
    assert np.isnan(offset_boxes(anchors[[0]], inverted[:, 1:])).any()
assert box_iou(inverted[:, 1:], anchors).max() == 0

with_inverted = np.concatenate((labels, inverted[None]), axis=1)
for found, expected in zip(multibox_target(anchors[None], with_inverted), (offsets, masks, class_labels), strict=True):
    np.testing.assert_array_equal(found, expected)

# %% [markdown]
# ## Questions
#
# 1. Two equal squares are shifted against each other along both axes. How far may they be apart, as a share of their
#    side, before the IoU falls below 0.5? Check with `box_iou`.
# 2. The ratios (1, 2, 0.5) with sizes $s_1, s_2$ give four anchors at a unit. Which four, and which combinations are
#    left out? Draw them with `save_box_panels`.
# 3. Find five anchors and two boxes for which the claim of one object takes away an anchor that the threshold had given
#    to the other. Is that good for the other object?
# 4. `assign_anchor_to_bbox` is greedy. Construct overlaps for which another one-to-one assignment has a larger sum.
#    (`scipy.optimize.linear_sum_assignment` finds the best; DETR trains with it.)
# 5. Replace the hard rule of `nms` by *Soft-NMS* (Bodla et al., 2017): do not drop a box, but lower its score by
#    $\exp(-\mathrm{IoU}^2/\sigma)$. What becomes of the cat in the dog's lap?
# 6. A small project: `tinyssd data anchors` fits sizes and ratios to a dataset. Use `ssd_common.data.anchor_fit` on
#    the synthetic set, and count how many anchors each object has before and after.

# %% [markdown]
# ## Where to look
#
# - `ssd_common/boxes.py`, `anchors.py`, `targets.py`, `detection.py`: the reference that you have read here. The files
#   of the same names in `ssd_torch` and `ssd_mxnet` do it for a batch at a time.
# - `notebooks/ssd_torch.py` or `ssd_mxnet.py`: a network that learns to answer the anchors' questions.
# - `notebooks/side_by_side.py`: how we know that three implementations compute the same.
# - docs/book_defects.md: every input that we know on which the short versions go wrong, each with a test.
# - The chapters "Anchor Boxes" and "Multiscale Object Detection" of *Dive into Deep Learning*.
