# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Solutions: a single shot multibox detector
#
# These are answers to the questions at the end of [chapter_torch](chapter_torch.ipynb) and
# [chapter_mxnet](chapter_mxnet.ipynb). Try each question yourself first. The code runs with both frameworks:
# write `FRAMEWORK = "mxnet"` for MXNet. **Time**: 1 minute to run.

# %%
import dataclasses

import numpy

from ssd_common.backends import load_backend
from ssd_common.config import BOOK, AnchorConfig, ModelConfig, TrainConfig
from ssd_common.data.synthetic import BookDataset, SyntheticDataset
from ssd_common.teaching import show_figure, show_table
from ssd_common.weights import initial_weights

FRAMEWORK = "torch"
backend = load_backend(FRAMEWORK)
to_device, to_numpy = backend.data.to_device, backend.data.to_numpy

# %% [markdown]
# ## 1. Anchors on a larger image
#
# An image of 512 × 512 pixels makes maps of 64, 32, 16, 8 and 1 units. Every unit has four anchors. The last map
# stays at one unit, because global max pooling takes the largest value of a whole map.

# %%
counted = 4 * (64**2 + 32**2 + 16**2 + 8**2 + 1)
print(counted)
assert counted == dataclasses.replace(BOOK.model, image_size=512).num_anchors == 21764

# %% [markdown]
# ## 2. Other thresholds
#
# A lower threshold finds more bananas and draws more wrong boxes. A higher threshold does the opposite. Here are
# the numbers for the trained detector of the package on 40 images that were not used for its training.

# %%
from ssd_common.boxes import box_iou
from ssd_common.checkpoints import load_checkpoint
from ssd_common.checkpoints.pretrained import FILE

trained = load_checkpoint(FILE)
trained_net = backend.weights.make_net(trained.config.model, trained.weights)
unseen = [SyntheticDataset("val", num_images=40)[i] for i in range(40)]
found = backend.predict.predict(trained_net, [one.image for one in unseen], trained.config.model)

# %%
table = []
for threshold in (0.05, 0.2, 0.7, 0.9):
    kept = [rows[rows[:, 1] >= threshold, 2:] for rows in found]
    ious = [box_iou(boxes, one.labels[:, 1:]) for boxes, one in zip(kept, unseen, strict=True)]
    right = sum(int((iou >= 0.5).any()) for iou in ious)  # bananas that are found
    table.append([f"{threshold}", str(right), str(sum(map(len, kept)) - right)])
show_table(["threshold", "bananas found", "other boxes"], table, caption="40 images with one banana each.")
assert [int(row[1]) for row in table] == sorted((int(row[1]) for row in table), reverse=True)
assert int(table[0][2]) > int(table[-1][2])

# %% [markdown]
# ## 3. The receptive field after three blocks
#
# A block makes 6 units of its input from one unit of its output: $2 u + 4$ from $u$ neighbouring units. So one
# unit sees 6, then $2 \cdot 6 + 4 = 16$, then $2 \cdot 16 + 4 = 36$ pixels. The anchors there have sides of 51
# pixels and more, so a unit does not see all of an anchor that it has to judge. The check changes one column of
# pixels at a time, and counts how many columns change the unit in the middle.

# %%
net = backend.weights.make_net(BOOK.model, initial_weights(BOOK.model, TrainConfig(init="torch")))
rng = numpy.random.default_rng(0)
columns = numpy.repeat(rng.uniform(0, 255, (1, 3, 64, 64)), 65, axis=0)
for column in range(64):
    columns[column, :, :, column] = rng.uniform(-2000, 2000, (3, 64))
units = to_numpy(backend.predict.forward(net.blk_0, to_device(columns.astype(numpy.float32))))[:, :, 4, 4]
seen = (numpy.abs(units[:64] - units[64]) > 1e-6).any(axis=1)
print("columns that the unit sees:", seen.sum(), "from", seen.argmax(), "to", 63 - seen[::-1].argmax())
assert seen.sum() == 36

# %% [markdown]
# ## 4. A sixth feature map
#
# - `get_blk`: blocks 1 to 4 are downsampling blocks, and block 5 takes the global maximum.
# - `sizes` and `ratios` get six rows, and in PyTorch `in_channels` of `TinySSD` gets a sixth 128.
# - An image is halved seven times before the global maximum: the smallest image has 128 × 128 pixels.

# %%
from ssd_common.errors import InputError
from ssd_common.figures import save_architecture

ends = numpy.linspace(0.1, 1.05, 7)
pairs = numpy.stack([ends[:-1], numpy.sqrt(ends[:-1] * ends[1:])], axis=1).round(3)
six = AnchorConfig(tuple(map(tuple, pairs.tolist())), ((1.0, 2.0, 0.5),) * 6)
model = ModelConfig(anchors=six)
print(model.feature_map_sizes, model.num_anchors)
assert model.feature_map_sizes == (32, 16, 8, 4, 2, 1)
try:
    ModelConfig(anchors=six, image_size=64)
except InputError as error:
    print(error)

# %%
show_figure(save_architecture, model, caption="The network with a sixth feature map.")

# %% [markdown]
# ## 5. A matching rule of your own
#
# The rule of the question, in numpy: targets need no gradient, so numpy may compute them. The function has the
# same parameters and results as `multibox_target`, so the training loop of the notebook takes it as `targets=`.

# %%
from ssd_common.boxes import offset_boxes


# %%
def center_targets(anchors, labels):
    """Return offsets, mask and class labels; an anchor takes the object whose center lies in it, if it is small."""
    boxes, objects = to_numpy(anchors)[0], to_numpy(labels)
    offsets, classes = numpy.zeros((len(objects), *boxes.shape)), numpy.zeros((len(objects), len(boxes)), numpy.int64)
    for image, number in numpy.argwhere(objects[..., 0] >= 0):
        class_id, box = objects[image, number, 0], objects[image, number, 1:]
        center = (box[:2] + box[2:]) / 2
        taken = (boxes[:, :2] <= center).all(axis=1) & (center <= boxes[:, 2:]).all(axis=1)
        taken &= numpy.prod(boxes[:, 2:] - boxes[:, :2], axis=1) <= 2 * numpy.prod(box[2:] - box[:2])
        offsets[image, taken] = offset_boxes(boxes[taken], numpy.repeat(box[None], taken.sum(), axis=0))
        classes[image, taken] = int(class_id) + 1
    mask = numpy.repeat(classes > 0, 4, axis=1)
    offsets = offsets.reshape(mask.shape)
    return to_device(offsets.astype("float32")), to_device(mask.astype("float32")), to_device(classes)


# %% [markdown]
# We compare it with `multibox_target` on the chapter's anchors. In the notebook, `try_out(TinySSD(num_classes=1),
# targets=center_targets)` trains with it: copy the two cells.

# %%
from ssd_common.anchors import anchor_grid
from ssd_common.data.sampling import pad_labels

data = BookDataset("train", image_size=64, num_images=32)
labels = to_device(pad_labels([data[i].labels for i in range(len(data))]))
anchors = to_device(anchor_grid(dataclasses.replace(BOOK.model, image_size=64)))
for rule in (backend.targets.multibox_target, center_targets):
    offsets, mask, classes = (to_numpy(result) for result in rule(anchors, labels))
    print(f"{rule.__name__}: {(classes > 0).sum(axis=1).mean():.1f} anchors for each banana")
    assert offsets.shape == mask.shape == (32, 4 * 344)
    assert (offsets[mask == 0] == 0).all()
    assert set(numpy.unique(classes)) == {0, 1}

# %% [markdown]
# ## 6. Bananas and apples
#
# The dataset has two classes, so `class_names` has two names and the network has three columns of class
# predictions. After these few steps both fruits are found rarely. Expect apples to be found more easily, because
# they are round: every apple fits a square anchor, and the box of a banana changes with its angle. Train longer,
# and see.

# %%
from ssd_common.evaluation.average_precision import coco_average_precision

both = dataclasses.replace(BOOK.model, class_names=("banana", "apple"), image_size=64)
fruits = SyntheticDataset(classes=both.class_names, max_objects=3, image_size=64, size_range=(0.2, 0.4), num_images=48)
steps = TrainConfig(epochs=3, batch_size=8, init="torch", lr=0.1)
fruit_net = backend.weights.make_net(both, initial_weights(both, steps))
rows = list(backend.train.train(fruit_net, backend.train.make_trainer(fruit_net, steps), fruits, both, steps))
_, detections, truths = backend.evaluate.evaluate(fruit_net, fruits, both)
ap50 = coco_average_precision(detections, truths, 2)["ap50"]
print(dict(zip(both.class_names, ap50.round(3).tolist(), strict=True)))
assert rows[-1]["loss"] < rows[0]["loss"]
