# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A single shot multibox detector in PyTorch
#
# You build a detector layer by layer, train it to find bananas, and use it on images that it has never seen. The
# notebook follows the chapter *Single Shot Multibox Detection* of *Dive into Deep Learning*, section by section.
# At the end you will be able to
#
# - write every part of the detector in PyTorch: predictors, blocks, loss, training loop, prediction;
# - explain what an anchor is, and which class and which offsets it should predict;
# - judge a detector: class error against a trivial detector, average precision, boxes on images;
# - change a part (a block, the anchors, the loss), train again, and say what the change did;
# - save the weights, load them, and run the detector on a photo of your own.
#
# **You need** Python, arrays, convolution, batch normalisation, softmax and cross entropy, stochastic gradient
# descent. **Time**: 90 minutes to read, about 1 minute to run. The full setting (the chapter's sizes) takes an
# hour on a CPU. The same notebook exists [for MXNet](chapter_mxnet.ipynb). Every function and class is in a
# cell: change the cell, then run the cells below it again. `check_same` compares a cell with the tested code in
# `ssd_torch`. The folded cells check the numbers of the notebook as it is written: delete one that stops after a
# change of yours.

# %%
import os

QUICK = os.environ.get("TINYSSD_NOTEBOOK", "quick") == "quick"

# %% [markdown]
# Write `QUICK = False` for the full setting.

# %%
# If tinyssd is not installed: %pip install "tinyssd[torch] @ git+ADDRESS-OF-THE-REPOSITORY"
import dataclasses
import tempfile
from pathlib import Path

import numpy

from ssd_common.teaching import LiveTraining, check_same, show_figure, show_table
from ssd_common.teaching.sliders import show_with_sliders
from ssd_torch.data import get_device, to_device, to_numpy

numpy.set_printoptions(precision=3, suppress=True)

# %% tags=["framework"]
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
device = get_device()  # a GPU if there is one

# %% [markdown]
# This is what you will have built. The package brings a trained detector. Here it looks at an image that was not
# used for its training.

# %%
import ssd_torch.predict
from ssd_common.checkpoints import load_checkpoint
from ssd_common.checkpoints.pretrained import FILE
from ssd_common.data.synthetic import SyntheticDataset
from ssd_common.figures import save_detection_grid
from ssd_torch.weights import make_net

trained = load_checkpoint(FILE)
trained_net = make_net(trained.config.model, trained.weights, device)
first_image = SyntheticDataset("val", num_images=9)[8].image
first_found = ssd_torch.predict.predict(trained_net, [first_image], trained.config.model, device=device)

# %%
show_figure(
    save_detection_grid,
    [first_image],
    first_found,
    trained.config.model.class_names,
    caption="A detector answers with boxes. Each has a class and a score between 0 and 1.",
)

# %% tags=["check"] jupyter={"source_hidden": true}
assert len(first_found[0]) >= 1
assert first_found[0][0, 1] > 0.5

# %% [markdown]
# ## The idea
#
# A classifier answers *what* is in an image. A detector answers *what, where, and how often*. The answer can have
# any length. How can a network with a fixed number of outputs give such an answer?
#
# It answers many small questions, always the same ones. Before it sees the image, a **single shot multibox
# detector** (SSD) lays a fixed grid of boxes over it. These boxes are the **anchors**. They have several sizes
# and shapes, so that some anchor is close to every object. Then a convolutional network runs once over the image
# (the single shot). It answers two questions about every anchor:
#
# - **What is in it?** One of the object classes, or the *background*: nothing.
# - **How must it be moved and stretched to fit?** Four numbers, its *offsets*.
#
# Most anchors answer "background" and are dropped. Several anchors find the same object; the best one is kept.
#
# Our objects are bananas, one in each image. The book's images have to be downloaded. Ours are drawn from a seed,
# in the book's way: a few bananas, turned, scaled and pasted onto backgrounds.

# %%
from ssd_common.data.synthetic import BookDataset
from ssd_common.figures import save_box_panels
from ssd_common.figures.boxes import Boxes

example = BookDataset("train", num_images=10)[2]
print(example.image.shape, example.labels)
show_figure(
    save_box_panels,
    example.image,
    {"256 × 256 pixels": [Boxes(example.labels[:, 1:], ["banana"])]},
    caption="An image with its label, drawn as a box.",
)

# %% [markdown]
# A **label** is a row of five numbers: the class of the object, then the left, upper, right and lower edge of its
# box as fractions of the image.
#
# Two numberings of classes will meet. Labels and detections count the *object classes* from 0: a banana has the
# **class id** 0. The network needs one more class for the background, and background gets number 0. So an anchor
# with a banana has the **class label** `class_id + 1`, here 1. A class id of −1 means "no object".
#
# ## The model
#
# The detector is a base network followed by blocks that make smaller and smaller feature maps. A small map has
# few units, and each unit sees a large part of the image. So fine maps find small objects, and coarse maps find
# large ones.

# %%
from ssd_common.config import BOOK
from ssd_common.figures import save_architecture

show_figure(
    save_architecture,
    BOOK.model,
    caption="The network of the chapter. Every block makes a feature map (channels × height × width). Every unit of a "
    "map has four anchors (drawn in their size, for the unit in black). Two layers predict their classes and offsets.",
)

# %% [markdown]
# We write the parts from the small to the large ones. Large detectors take a base network that was trained to
# classify millions of images, such as VGG or ResNet. Ours is small and starts from random weights. Anchors,
# predictions on several maps, and the two losses are the same in many other detectors.
#
# ### Class prediction layer
#
# Take a feature map that is $h$ units high and $w$ units wide, with $a$ anchors at every unit. With $q$ object
# classes, the network has $q + 1$ numbers to say about each anchor: one for background and one for each class.
# The higher the number, the likelier the class.
#
# A fully connected layer could compute these $hwa(q+1)$ numbers, but each number would need a weight for every
# value of the map. A convolution uses the same weights at every unit, because a banana on the left looks like a
# banana on the right. We need $a(q+1)$ output channels. Channel $i(q+1)+j$ is about class $j$ of anchor $i$. The
# kernel is 3 × 3, and a padding of 1 keeps height and width.


# %% tags=["framework"]
def cls_predictor(num_inputs, num_anchors, num_classes):
    return nn.Conv2d(num_inputs, num_anchors * (num_classes + 1), kernel_size=3, padding=1)


# %% [markdown] tags=["framework"]
# *In PyTorch*, a layer has to be told its number of input channels, and it has weights as soon as it is made.

# %%
check_same(cls_predictor)

# %% [markdown]
# The line with ✓ means: with the same weights and the same input, your layer and the package's give the same
# outputs and gradients. If you change the cell, `check_same` says what differs first, and "Run all" stops there. Try
# `kernel_size=5, padding=2`. To keep a change, write `check_same(cls_predictor, own=True)`: it prints the
# difference, and the notebook runs on.
#
# How much smaller is the convolution? Here is the count for the largest map that we will have, 64 channels of 32
# × 32 units with 4 anchors each, and a single class.

# %%
num_inputs, num_outputs = 64 * 32 * 32, 32 * 32 * 4 * (1 + 1)
fully_connected = num_inputs * num_outputs + num_outputs
convolution = 3 * 3 * 64 * 4 * (1 + 1) + 4 * (1 + 1)
print(f"fully connected {fully_connected:,} weights, convolution {convolution:,}")

# %% tags=["check"] jupyter={"source_hidden": true}
assert fully_connected > 100_000 * convolution

# %% [markdown]
# ### Bounding box prediction layer
#
# The layer for the offsets differs only in the number of channels: four for each anchor, whatever the classes
# are.


# %% tags=["framework"]
def bbox_predictor(num_inputs, num_anchors):
    return nn.Conv2d(num_inputs, num_anchors * 4, kernel_size=3, padding=1)


# %%
check_same(bbox_predictor)

# %% [markdown]
# ### Concatenating predictions for multiple scales
#
# The predictions on different maps have different shapes. Here is an example with 10 classes and a batch of 2
# images. One map has 20 × 20 units with 5 anchors each, the other 10 × 10 units with 3 anchors each. The first
# prediction has 5 · (10 + 1) = 55 channels, the second 33. Both frameworks put the channels before height and
# width.


# %% tags=["framework"]
def try_layer(X, layer):
    return layer(X)


Y1 = try_layer(torch.zeros((2, 8, 20, 20)), cls_predictor(8, 5, 10))
Y2 = try_layer(torch.zeros((2, 16, 10, 10)), cls_predictor(16, 3, 10))
print(Y1.shape, Y2.shape)

# %% tags=["check"] jupyter={"source_hidden": true}
assert tuple(Y1.shape) == (2, 55, 20, 20)
assert tuple(Y2.shape) == (2, 33, 10, 10)

# %% [markdown]
# Only the batch size agrees. The loss should not care which map a prediction comes from. So we write all
# predictions of an image into one row. First the channels go last, so that the numbers about one anchor stay
# together. The anchors are listed in the same order.


# %% tags=["framework"]
def flatten_pred(pred):
    return torch.flatten(pred.permute(0, 2, 3, 1), start_dim=1)


def concat_preds(preds):
    return torch.cat([flatten_pred(p) for p in preds], dim=1)


# %%
check_same(flatten_pred, concat_preds)
print(concat_preds([Y1, Y2]).shape)

# %% tags=["check"] jupyter={"source_hidden": true}
assert tuple(concat_preds([Y1, Y2]).shape) == (2, 20 * 20 * 55 + 10 * 10 * 33) == (2, 25300)

# %% [markdown]
# ### Downsampling block
#
# A downsampling block halves height and width. It follows VGG: a 3 × 3 convolution, batch normalisation (which
# VGG did not have yet) and ReLU, all of this twice. Then 2 × 2 max pooling keeps the largest of four neighbours.
#
# Halving has a second effect: a unit of the output sees a larger part of the input. Through the pooling it sees 2
# × 2 units, through the second convolution 4 × 4, through the first one 6 × 6: $1 \cdot 2 + (3-1) + (3-1) = 6$.
# This part is its **receptive field**. After several blocks it is large enough for a large object.


# %% tags=["framework"]
def down_sample_blk(in_channels, out_channels):
    blk = nn.Sequential()
    for _ in range(2):
        blk.append(nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1))
        blk.append(nn.BatchNorm2d(out_channels))
        blk.append(nn.ReLU())
        in_channels = out_channels
    blk.append(nn.MaxPool2d(2))
    return blk


# %% tags=["framework"]
check_same(down_sample_blk)
print(try_layer(torch.zeros((2, 3, 20, 20)), down_sample_blk(3, 10)).shape)

# %% [markdown] tags=["framework"]
# *In PyTorch*, batch normalisation uses the mean of the batch after `net.train()`, and the running mean after
# `net.eval()`. A network is in training mode when it is made.

# %% [markdown]
# ### Base network
#
# The base network turns pixels into features: three downsampling blocks with 16, 32 and 64 channels. It makes 32
# × 32 units of 256 × 256 pixels, because $256 / 2^3 = 32$.


# %% tags=["framework"]
def base_net():
    blk, num_filters = nn.Sequential(), [3, 16, 32, 64]
    for i in range(3):
        blk.append(down_sample_blk(num_filters[i], num_filters[i + 1]))
    return blk


check_same(base_net)
print(try_layer(torch.zeros((2, 3, 256, 256)), base_net()).shape)

# %% [markdown]
# ### The complete model
#
# There are five blocks. Block 0 is the base network, blocks 1 to 3 are downsampling blocks, and block 4 takes the
# largest value of each channel (global max pooling), so that one unit remains.


# %% tags=["framework"]
def get_blk(i):
    if i == 0:
        return base_net()
    if i == 1:
        return down_sample_blk(64, 128)
    if i == 4:
        return nn.AdaptiveMaxPool2d((1, 1))
    return down_sample_blk(128, 128)


# %% [markdown]
# Every block returns its feature map for the next block, the anchors of this map, and the predictions for them.
# `multibox_prior` makes the anchors. You can write this function yourself in
# [anchors_targets_nms](anchors_targets_nms.ipynb).

# %%
from ssd_torch.anchors import multibox_prior


def blk_forward(X, blk, size, ratio, cls_predictor, bbox_predictor):
    Y = blk(X)
    anchors = multibox_prior(Y, sizes=size, ratios=ratio)
    cls_preds = cls_predictor(Y)
    bbox_preds = bbox_predictor(Y)
    return Y, anchors, cls_preds, bbox_preds


check_same(get_blk, blk_forward)

# %% [markdown]
# Each block has two **sizes**: the side of a square anchor as a fraction of the image. The interval from 0.2 to
# 1.05 is cut into five equal parts, and each block takes the lower end of its part. So together they cover all
# sizes of objects. The second size lies between this end and the next one, at their geometric mean: $\sqrt{0.2
# \cdot 0.37} = 0.272$.
#
# A **ratio** is width over height. Every unit has four anchors: squares of both sizes, and two boxes with the
# area of the smaller square, one twice as wide as high, one twice as high as wide.

# %%
sizes = [[0.2, 0.272], [0.37, 0.447], [0.54, 0.619], [0.71, 0.79], [0.88, 0.961]]
ratios = [[1, 2, 0.5]] * 5
num_anchors = len(sizes[0]) + len(ratios[0]) - 1

# %% tags=["check"] jupyter={"source_hidden": true}
ends = numpy.linspace(0.2, 1.05, 6)
numpy.testing.assert_allclose(sizes, numpy.stack([ends[:-1], numpy.sqrt(ends[:-1] * ends[1:])], 1), atol=5e-4)
assert num_anchors == 4

# %% [markdown]
# Here are the anchors of one unit of each map. Run the cell again after a change of `sizes` or `ratios`.

# %%
from ssd_common.anchors import multibox_prior as numpy_prior


def anchor_panels(sizes, ratios, labels, units_of_maps=(32, 16, 8, 4, 1)):
    """Return the anchors of the unit under the middle of the object, on each map."""
    middle, found = (labels[0, 1:3] + labels[0, 3:5]) / 2, {}
    for units, size, ratio in zip(units_of_maps, sizes, ratios, strict=False):  # there may be fewer maps
        per_unit = len(size) + len(ratio) - 1
        boxes = numpy_prior(numpy.empty((units, units)), size, ratio).reshape(units, units, per_unit, 4)
        cells = numpy_prior(numpy.empty((units, units)), [1 / units], [1])[0]
        column, row = (middle * units).astype(int)
        title = f"{units} × {units} units: {per_unit * units**2} anchors"
        found[title] = [Boxes(cells, colors="#ffffff60"), Boxes(boxes[row, column])]
    return found


# %%
show_figure(
    save_box_panels,
    example.image,
    anchor_panels(sizes, ratios, example.labels),
    caption="The anchors of one unit of each map. The same anchors are repeated at every unit, 5444 in total. "
    "Anchors may reach beyond the image.",
)

# %% [markdown]
# No anchor fits the banana exactly. On the first map some anchors come close, and the offsets do the rest.
#
# Now the whole network. It calls the blocks one after the other and concatenates their results. Sizes and ratios
# are parameters, so that you can give it others; their length says how many blocks there are. Python reads the
# default of a parameter when it reads the class: after a change of `sizes`, run this cell again.


# %% tags=["framework"]
class TinySSD(nn.Module):
    def __init__(self, num_classes, sizes=sizes, ratios=ratios):
        super().__init__()
        self.num_classes, self.sizes, self.ratios = num_classes, sizes, ratios
        in_channels = [64, 128, 128, 128, 128]
        for i in range(len(sizes)):
            num_anchors = len(sizes[i]) + len(ratios[i]) - 1
            setattr(self, f"blk_{i}", get_blk(i))  # the same as self.blk_0 = get_blk(0), and so on
            setattr(self, f"cls_{i}", cls_predictor(in_channels[i], num_anchors, num_classes))
            setattr(self, f"bbox_{i}", bbox_predictor(in_channels[i], num_anchors))

    def forward(self, X):
        anchors, cls_preds, bbox_preds = [], [], []
        for i in range(len(self.sizes)):
            blk, cls, bbox = getattr(self, f"blk_{i}"), getattr(self, f"cls_{i}"), getattr(self, f"bbox_{i}")
            X, *results = blk_forward(X, blk, self.sizes[i], self.ratios[i], cls, bbox)
            anchors.append(results[0])
            cls_preds.append(results[1])
            bbox_preds.append(results[2])
        cls_preds = concat_preds(cls_preds).reshape(len(X), -1, self.num_classes + 1)
        return torch.cat(anchors, dim=1), cls_preds, concat_preds(bbox_preds)


# %%
check_same(TinySSD)

# %% [markdown]
# Let us run it, untrained, on a batch of 4 images. On the five maps there are $(32^2 + 16^2 + 8^2 + 4^2 + 1)
# \cdot 4 = 5444$ anchors. They depend on the size of the image only, so all images of the batch share them.

# %% tags=["framework"]
untrained = TinySSD(num_classes=1)
with torch.no_grad():
    outputs = untrained(torch.zeros((4, 3, 256, 256)))

# %%
for what, output in zip(("anchors", "class predictions", "offset predictions"), outputs, strict=True):
    print(f"{what}: {tuple(output.shape)}")

# %% tags=["check"] jupyter={"source_hidden": true}
assert [tuple(output.shape) for output in outputs] == [(1, 5444, 4), (4, 5444, 2), (4, 5444 * 4)]

# %% [markdown] tags=["framework"]
# *In PyTorch*, every computation is recorded for gradients unless it is inside `with torch.no_grad():`.
# `print(net)` lists all layers with their names.

# %% [markdown]
# ## Training
#
# ### Reading the dataset and initialising the model
#
# The full setting has the chapter's sizes: 1000 images of 256 × 256 pixels, 20 epochs, batches of 32. The quick
# setting has the same recipe and the same network on less: 320 images of 64 × 64 pixels, 8 epochs, batches of 8.
# Its maps have 8 × 8, 4 × 4, 2 × 2, 1 × 1 and 1 × 1 units.

# %%
from ssd_common.config import get_preset

book = get_preset("book", "torch")
if QUICK:
    image_size, num_images, changes = 64, 320, {"epochs": 8, "batch_size": 8}
else:
    image_size, num_images, changes = 256, 1000, {}
train_data = BookDataset("train", image_size=image_size, num_images=num_images)
val_data = BookDataset("val", image_size=image_size, num_images=48 if QUICK else 100)
model_config = dataclasses.replace(book.model, image_size=image_size)
train_config = dataclasses.replace(book.train, **changes)
print(f"{len(train_data)} training images, {len(val_data)} for validation, {model_config.num_anchors} anchors each")

# %%
shown = [train_data[i] for i in range(8)]
show_figure(
    save_detection_grid,
    [one.image for one in shown],
    [[]] * 8,
    train_data.class_names,
    truths=[one.labels for one in shown],
    caption="Eight training images with the boxes of their bananas.",
)

# %% [markdown]
# A **batch** stacks images of the same size. An image may have fewer objects than its neighbour. Then rows of −1
# fill up its labels, so that they can be stacked, too. Our images have one banana each.

# %%
from ssd_common.data.sampling import batches, epoch_order

order = epoch_order(len(train_data), train_config.batch_size, train_config.seed, epoch=0)
batch_images, batch_labels = next(batches(train_data, order, model_config))
X, Y = to_device(batch_images, device), to_device(batch_labels, device)
print(tuple(X.shape), tuple(Y.shape))

# %% tags=["check"] jupyter={"source_hidden": true}
assert tuple(X.shape) == (train_config.batch_size, 3, image_size, image_size)
assert tuple(Y.shape) == (train_config.batch_size, 1, 5)

# %% [markdown]
# Now the network, for a single class, and the optimiser. The chapter trains with stochastic gradient descent, a
# learning rate of 0.2 and a weight decay of 5 · 10⁻⁴.

# %% tags=["framework"]
net = TinySSD(num_classes=1).to(device)
trainer = torch.optim.SGD(net.parameters(), lr=0.2, weight_decay=5e-4)

# %% [markdown] tags=["framework"]
# *In PyTorch*, the first weights are PyTorch's default. This is also what the book's PyTorch edition uses. Its
# MXNet edition draws them by Xavier's rule, and prints other numbers for that reason.

# %% [markdown]
# ### The right answer for every anchor
#
# A label says where the banana is. But the network is asked about anchors. What is the right answer for each of
# them? The rule looks at the **intersection over union** (IoU) of an anchor and a box: the area that both cover
# over the area that at least one of them covers. First every object takes one of the anchors that overlap it
# most, so that no object is left out. Then each remaining anchor takes the object that it overlaps most, if the
# IoU is at least 0.5. All other anchors are background. The notebook
# [anchors_targets_nms](anchors_targets_nms.ipynb) goes through this step by step.
#
# `multibox_target` does this for a batch. For each anchor it returns the **offsets**, a **mask** that is 1 where
# the offsets count, and the **class label**: 0 for background, `class_id + 1` for an object.

# %%
from ssd_torch.targets import multibox_target

anchors, cls_preds, bbox_preds = net(X)
bbox_labels, bbox_masks, cls_labels = multibox_target(anchors, Y)
print(tuple(bbox_labels.shape), tuple(bbox_masks.shape), tuple(cls_labels.shape))

# %% tags=["check"] jupyter={"source_hidden": true}
assert tuple(bbox_labels.shape) == tuple(bbox_masks.shape) == (len(X), model_config.num_anchors * 4)
assert tuple(cls_labels.shape) == (len(X), model_config.num_anchors)
assert set(to_numpy(cls_labels).ravel().tolist()) == {0, 1}

# %%
has_object = to_numpy(cls_labels[0]) > 0
truth = batch_labels[0, :, 1:]
show_figure(
    save_box_panels,
    train_data[order[0][0]].image,
    {
        f"{has_object.sum()} of {model_config.num_anchors} anchors": [Boxes(to_numpy(anchors)[0, has_object])],
        "the box of the label": [Boxes(truth, ["banana"])],
    },
    caption="Left: the anchors that should say “banana” in the first image of the batch. Right: where they should go.",
)

# %% [markdown]
# Offsets are measured in units of the anchor, so that the same number means the same for a large and a small
# anchor. With $(x, y)$ for the center, $w$ and $h$ for width and height, and the index $a$ for the anchor, they
# are
#
# $$10\,\frac{x - x_a}{w_a},\quad 10\,\frac{y - y_a}{h_a},\quad 5\log\frac{w}{w_a},\quad 5\log\frac{h}{h_a}.$$
#
# The factors 10 and 5 bring all four to about the same size. `offset_inverse` goes back from anchors and offsets
# to boxes. With the right offsets, every anchor of the banana arrives at the same box.

# %%
from ssd_torch.boxes import offset_inverse

arrived = to_numpy(offset_inverse(anchors[0], bbox_labels[0].reshape(-1, 4)))[has_object]
print("from the offsets:", arrived[0], "in the label:", truth[0])

# %% tags=["check"] jupyter={"source_hidden": true}
numpy.testing.assert_allclose(arrived, numpy.repeat(truth, len(arrived), axis=0), atol=1e-5)

# %% [markdown]
# ### Loss and evaluation functions
#
# There are two questions about each anchor, so there are two losses, and they are added.
#
# - **Class**: the cross entropy $-\log p$, where $p$ is the probability that the network gives to the right
#   class.
# - **Offsets**: the L1 loss, the absolute value of the error. Squares would let a few large errors dominate. The
#   mask leaves out the background, which has no box.
#
# Both are means over all anchors of an image. The result is one number for each image.


# %% tags=["framework"]
def calc_loss(cls_preds, cls_labels, bbox_preds, bbox_labels, bbox_masks):
    cls = F.cross_entropy(cls_preds.transpose(1, 2), cls_labels, reduction="none").mean(dim=1)
    bbox = torch.abs((bbox_preds - bbox_labels) * bbox_masks).mean(dim=1)
    return cls + bbox


# %%
check_same(calc_loss)
print("loss of each image:", to_numpy(calc_loss(cls_preds, cls_labels, bbox_preds, bbox_labels, bbox_masks)))

# %% [markdown]
# Two numbers show how good the network is. `cls_eval` counts the anchors whose most probable class is right, and
# `bbox_eval` adds up the absolute errors of the offsets.


# %% tags=["framework"]
def cls_eval(cls_preds, cls_labels):
    return float((cls_preds.argmax(dim=-1) == cls_labels).sum())


def bbox_eval(bbox_preds, bbox_labels, bbox_masks):
    return float(torch.abs((bbox_labels - bbox_preds.detach()) * bbox_masks).sum())


# %%
check_same(cls_eval, bbox_eval)

# %% [markdown]
# The **class error** is the fraction of anchors whose predicted class is wrong. Compare it with a trivial
# detector that always answers background: it is wrong only where there is an object. A small class error alone is
# no success. The **bbox MAE** is the mean absolute error of the offsets. The trivial detector answers zero
# offsets. Both trivial errors need no network, only labels and anchors.

# %%
from ssd_common.data.sampling import pad_labels

every_label = to_device(pad_labels([train_data[i].labels for i in range(len(train_data))]), device)
right_offsets, _, right_classes = multibox_target(anchors, every_label)
trivial = {
    "baseline_class_error": float((to_numpy(right_classes) > 0).mean()),
    "baseline_bbox_mae": float(numpy.abs(to_numpy(right_offsets)).mean()),
}
print(trivial)

# %% tags=["check"] jupyter={"source_hidden": true}
assert trivial["baseline_class_error"] < 0.05

# %% [markdown]
# ### Training the model
#
# All parts are there. A training step runs the network on a batch, asks `multibox_target` for the right answers,
# computes the loss, and lets the framework find the gradients. Then the trainer changes the weights. The step
# returns five sums. From them an epoch computes the loss, the class error and the bbox MAE.


# %% tags=["framework"]
def train_step(net, trainer, X, Y, loss=calc_loss, targets=multibox_target):
    net.train()
    trainer.zero_grad()
    anchors, cls_preds, bbox_preds = net(X)
    bbox_labels, bbox_masks, cls_labels = targets(anchors, Y)
    losses = loss(cls_preds, cls_labels, bbox_preds, bbox_labels, bbox_masks)
    losses.mean().backward()
    trainer.step()
    correct, error = cls_eval(cls_preds, cls_labels), bbox_eval(bbox_preds, bbox_labels, bbox_masks)
    return losses.sum().item(), correct, cls_labels.numel(), error, bbox_labels.numel()


# %% [markdown] tags=["framework"]
# *In PyTorch*, gradients add up until `zero_grad()` clears them. `backward()` fills in the gradients, `step()`
# uses them. `net.train()` tells batch normalisation to use the mean of the batch.

# %%
check_same(train_step)

# %% [markdown]
# The training loop repeats the step for every batch of every epoch.


# %%
def train(net, trainer, data, model_config, train_config, device=None, loss=calc_loss, targets=multibox_target):
    for epoch in range(train_config.epochs):
        sums = numpy.zeros(5)
        order = epoch_order(len(data), train_config.batch_size, train_config.seed, epoch)
        for images, labels in batches(data, order, model_config):
            X, Y = to_device(images, device), to_device(labels, device)
            sums += train_step(net, trainer, X, Y, loss, targets)
        means = {"class_error": 1 - sums[1] / sums[2], "bbox_mae": sums[3] / sums[4]}
        yield {"epoch": epoch + 1, "loss": sums[0] / len(data), **means}


# %%
check_same(train)

# %% [markdown]
# After each epoch we also compute the **average precision** on the validation images. It judges the detector as a
# whole: it is 1 if every banana is found and every box is right. It falls with each banana that is missed, and
# with each wrong box that has a high score. For AP50 a box is right if its IoU with the banana is at least 0.5.
# AP is the mean over stricter and stricter thresholds up to 0.95.

# %%
from ssd_common.evaluation import mean_average_precision
from ssd_torch.evaluate import evaluate

live = LiveTraining("PyTorch", train_config.epochs)
for row in live(train(net, trainer, train_data, model_config, train_config, device)):
    metrics, detections, truths = evaluate(net, val_data, model_config, device=device)
    metrics |= mean_average_precision(detections, truths, model_config.num_classes)
    row |= trivial | {f"val_{name}": metrics[name] for name in ("class_error", "bbox_mae", "ap50", "ap")}

# %% [markdown]
# Look at the class error first. Below the dotted line, the network gets more anchors right than "background
# everywhere" does. Above the line, it can still find bananas: it marks the right anchors, and some neighbours of
# them as well. Each such neighbour counts as an error, but non-maximum suppression will remove its box. AP50
# rises before AP does: first the boxes are roughly right, then they become tight. If you run the cell again, it
# trains on. To start anew, run the cell that makes `net` first.

# %% tags=["check"] jupyter={"source_hidden": true}
last = live.rows[-1]
assert last["class_error"] < last["baseline_class_error"]
assert last["bbox_mae"] < 0.9 * last["baseline_bbox_mae"]
assert last["val_ap"] < last["val_ap50"]
assert last["val_ap50"] > (0.3 if QUICK else 0.8)

# %% [markdown]
# ## Prediction
#
# For a new image there are no labels, only the three outputs of the network. Softmax turns the class predictions
# into probabilities. `multibox_detection` moves the anchors by their offsets and gives each box the object class
# with the highest probability; this probability is its **score**. Many anchors find the same banana.
# **Non-maximum suppression** keeps the box with the highest score and drops every box that overlaps it with an
# IoU above 0.5. Then it goes on with the best of the rest. Dropped boxes and background have the class id −1. We
# leave them out.

# %% tags=["framework"]
from ssd_common.data.sampling import to_batch
from ssd_torch.detection import multibox_detection


def predict(net, images, model_config, nms_threshold=0.5, device=None):
    X = to_device(to_batch(images, model_config), device)
    net.eval()
    with torch.no_grad():
        anchors, cls_preds, bbox_preds = net(X)
    cls_probs = F.softmax(cls_preds, dim=2).permute(0, 2, 1)
    output = multibox_detection(cls_probs, bbox_preds, anchors, nms_threshold, clip=True)
    return [rows[rows[:, 0] >= 0] for rows in to_numpy(output)]


# %%
check_same(predict)

# %% [markdown]
# Here is the validation image with the highest score, without suppression and with it.

# %%
surest = max(range(len(val_data)), key=lambda i: detections[i][0, 1] if len(detections[i]) else 0)
before_after = {}
for when, threshold in (("before", 1.0), ("after", 0.5)):  # no two boxes overlap by more than 1
    (sure_rows,) = predict(net, [val_data[surest].image], model_config, threshold, device)
    sure_rows = sure_rows[sure_rows[:, 1] >= 0.3]
    before_after[f"{when}: {len(sure_rows)}"] = [Boxes(sure_rows[:, 2:], [f"{sure_rows[0, 1]:.2f}"])]
show_figure(
    save_box_panels,
    val_data[surest].image,
    before_after,
    columns=2,
    caption="Boxes with a score of at least 0.3, before and after non-maximum suppression, and the best score.",
)

# %% [markdown]
# Finally, as in the chapter, we draw the boxes with a high score. `show_bboxes` outlines boxes whose corners are
# in pixels.

# %%
from matplotlib.figure import Figure

from ssd_common.figures import show_bboxes


def display(image, output, threshold):
    axes = Figure(figsize=(4, 4), layout="constrained").subplots()
    axes.imshow(image)
    height, width = image.shape[:2]
    for row in output:
        if row[1] >= threshold:
            show_bboxes(axes, [row[2:] * [width, height, width, height]], f"{row[1]:.2f}", "w")
    return axes


# %%
check_same(display)


# %%
def save_display(path, image, output, threshold):
    display(image, output, threshold).figure.savefig(path)


def draw_at(score=0.3, nms_threshold=0.5):
    """Show the boxes of one validation image that have at least this score and remain after suppression."""
    (rows,) = predict(net, [val_data[surest].image], model_config, nms_threshold, device)
    caption = f"Boxes with a score of at least {score:.2f} after suppression at an IoU of {nms_threshold:.2f}."
    show_figure(save_display, val_data[surest].image, rows, threshold=score, caption=caption)


# %% [markdown]
# Jupyter shows two sliders if the package ipywidgets is installed. A low score adds wrong boxes. A high NMS
# threshold keeps several boxes of one banana. Without sliders, change the last number in each pair of
# parentheses and run the cell again.

# %%
show_with_sliders(draw_at, score=(0.05, 0.95, 0.05, 0.3), nms_threshold=(0.05, 1.0, 0.05, 0.5))

# %%
checked = [val_data[i] for i in range(12)]
show_figure(
    save_detection_grid,
    [one.image for one in checked],
    predict(net, [one.image for one in checked], model_config, device=device),
    val_data.class_names,
    truths=[one.labels for one in checked],
    threshold=0.3 if QUICK else 0.9,
    caption="Detections on images that were not used for training. Without a solid box, no score is high enough.",
)

# %% [markdown]
# ## What the exercises add
#
# The chapter ends with exercises: a smoother loss, fewer background anchors, and more. Their answers together
# are our preset `improved`. Here we train the same network with it, for as many epochs, on the same images. The
# package's `train` does the same as the `train` above. It can also change the learning rate from step to step.
#
# | setting | the book | `improved` | why |
# |---|---|---|---|
# | loss of the offsets | L1 | smooth L1: a parabola replaces the tip of L1 | small errors get small gradients |
# | background anchors | all | the three most difficult for each positive one | nearly all anchors are background |
# | momentum | 0 | 0.9 | steps keep their direction |
# | learning rate | 0.2 | rises to its maximum, then falls | large steps first, fine ones at the end |

# %%
import ssd_torch.train
from ssd_common.config import AUGMENTATIONS, IMPROVED
from ssd_common.weights import initial_weights

improved_config = dataclasses.replace(
    IMPROVED.train, epochs=train_config.epochs, batch_size=train_config.batch_size, augment=AUGMENTATIONS["none"]
)
improved_net = make_net(model_config, initial_weights(model_config, improved_config), device)
improved_trainer = ssd_torch.train.make_trainer(improved_net, improved_config)
for improved_row in ssd_torch.train.train(
    improved_net, improved_trainer, train_data, model_config, improved_config, device=device
):
    print(f"epoch {improved_row['epoch']}  loss {improved_row['loss']:.3f}")

# %%
improved_metrics, improved_found, improved_truths = evaluate(improved_net, val_data, model_config, device=device)
improved_metrics |= mean_average_precision(improved_found, improved_truths, 1)
recipes = {"book": metrics, "improved": improved_metrics}
show_table(
    ["recipe", "AP50", "AP"],
    [[name, f"{of['ap50']:.2f}", f"{of['ap']:.2f}"] for name, of in recipes.items()],
    caption="Average precision on the validation images after the same number of epochs.",
)

# %% tags=["check"] jupyter={"source_hidden": true}
assert improved_metrics["ap50"] > metrics["ap50"] - 0.05
assert improved_metrics["ap"] > metrics["ap"] - 0.05

# %% [markdown]
# ## Change it
#
# Everything above can be changed: the training loop takes any network, any loss, any rule for the targets. The
# boxes below train on small images, so that you see the result soon. In the quick setting they take three steps
# each, which only shows that the changed network runs: its AP50 is 0. In the full setting they train for eight
# epochs.

# %% tags=["framework"]
small_config = dataclasses.replace(model_config, image_size=64)
small_data = BookDataset("train", image_size=64, num_images=24 if QUICK else 320)
small_val = BookDataset("val", image_size=64, num_images=24 if QUICK else 100)


def try_out(net, **changes):
    """Train a network on small images; return its AP50."""
    trainer = torch.optim.SGD(net.parameters(), lr=0.2, weight_decay=5e-4)
    config = dataclasses.replace(book.train, epochs=1 if QUICK else 8, batch_size=8)
    for _ in train(net.to(device), trainer, small_data, small_config, config, device, **changes):
        pass
    _, found, true = evaluate(net, small_val, small_config, device=device)
    return mean_average_precision(found, true, 1)["ap50"]


# %%
book_ap50 = try_out(TinySSD(num_classes=1))
print(f"the chapter's network on small images: AP50 {book_ap50:.2f}")

# %% [markdown]
# **Change it 1: a residual block.** Two convolutions with a path around them replace blocks 2 and 3. **Expect**
# the same shapes everywhere, so nothing else has to change, and about the same AP50: paths around convolutions
# help in deep networks, and this network is not deep. **Try**: a third convolution, or no batch normalisation.


# %% tags=["framework"]
class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, kernel_size=3, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, kernel_size=3, padding=1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, X):
        return F.relu(X + self.layers(X))


# %% tags=["framework"]
def residual_blk(in_channels, out_channels):
    assert in_channels == out_channels, "the path around adds, so the channels must agree"
    return nn.Sequential(Residual(out_channels), nn.MaxPool2d(2))


residual_net = TinySSD(num_classes=1)
residual_net.blk_2, residual_net.blk_3 = residual_blk(128, 128), residual_blk(128, 128)
residual_ap50 = try_out(residual_net)
print(f"with residual blocks: AP50 {residual_ap50:.2f}, before {book_ap50:.2f}")

# %% tags=["check"] jupyter={"source_hidden": true}
assert QUICK or residual_ap50 > book_ap50 - 0.2

# %% [markdown]
# **Change it 2: fewer feature maps.** Only the first two maps predict. **Expect** far fewer weights and about the
# same AP50; on so few images, 0.1 more or less is chance. The bananas have sides of 0.16 to 0.25, so the anchors of
# the other maps are too large for them. **Try**: larger bananas. In the cell of `small_data`, write
# `SyntheticDataset("train", size_range=(0.4, 0.6), image_size=64, num_images=320)`, and the same with `"val"`. Or try
# the last three maps. `sizes[2:]` is not enough, because `TinySSD` gives these sizes to its first maps. Write a
# `get_blk` whose block 0 is the old blocks 0 to 2 in one; its map has 128 channels.

# %%
two_maps = TinySSD(1, sizes[:2], ratios[:2])
two_maps_ap50 = try_out(two_maps)
print(f"with two maps: AP50 {two_maps_ap50:.2f}, before {book_ap50:.2f}")

# %% tags=["check"] jupyter={"source_hidden": true}
assert QUICK or two_maps_ap50 > book_ap50 - 0.2

# %% [markdown]
# **Change it 3: your own anchors.** Choose sizes by two rules. (1) About as large as the objects. (2) About four
# units of the map they belong to: neighbouring anchors then overlap by more than half, so no object falls into a
# gap. Example: four units of a 32 × 32 map are 0.125 of the image; four units of an 8 × 8 map are 0.5. On small
# images rule 2 cannot hold for bananas of 0.2. **Expect** a lower AP50 for anchors that are three times too
# large, but not 0: no such anchor has an IoU of 0.5 with a banana, and the first rule of the matching still gives
# each banana one anchor. **Try**: sizes of your own, and look at the figure before you train.

# %%
large_sizes = [[3 * side for side in sizes[0]], *sizes[1:]]
show_figure(
    save_box_panels,
    example.image,
    anchor_panels(large_sizes, ratios, example.labels),
    caption="The anchors after the change.",
)


# %%
def count_anchors(sizes):
    """Return how many anchors an object has on small images, in the mean."""
    maps = zip((8, 4, 2, 1, 1), sizes, ratios, strict=False)
    made = [numpy_prior(numpy.empty((units, units)), size, ratio) for units, size, ratio in maps]
    made = to_device(numpy.concatenate(made, axis=1).astype("float32"), device)
    return float((to_numpy(multibox_target(made, every_label)[2]) > 0).sum(axis=1).mean())


print(f"anchors of a banana: {count_anchors(sizes):.1f} before, {count_anchors(large_sizes):.1f} after the change")

# %%
large_ap50 = try_out(TinySSD(1, large_sizes, ratios))
print(f"with large anchors: AP50 {large_ap50:.2f}, before {book_ap50:.2f}")

# %% tags=["check"] jupyter={"source_hidden": true}
assert count_anchors(large_sizes) < count_anchors(sizes)
assert QUICK or large_ap50 < book_ap50

# %% [markdown]
# **Change it 4: your own loss.** Squares replace the absolute errors of the offsets. **Expect** another loss
# value, which cannot be compared with the one before. Only AP50 can. The chapter prefers absolute errors, so that
# a few large errors do not dominate. Our images have no wrong labels, so squares are no disadvantage here: they
# make the large errors of the first epochs small sooner. **Try**: a factor of 2 in front of one of the two
# losses. The package's `train` takes a loss as `terms=`: a function with a sixth parameter, the `LossConfig`, that
# returns the two losses as a pair.


# %% tags=["framework"]
def squared_loss(cls_preds, cls_labels, bbox_preds, bbox_labels, bbox_masks):
    cls = F.cross_entropy(cls_preds.transpose(1, 2), cls_labels, reduction="none").mean(dim=1)
    bbox = (((bbox_preds - bbox_labels) * bbox_masks) ** 2).mean(dim=1)
    return cls + bbox


# %%
check_same(squared_loss, name="calc_loss", own=True)
squared_ap50 = try_out(TinySSD(num_classes=1), loss=squared_loss)
print(f"with squares: AP50 {squared_ap50:.2f}, before {book_ap50:.2f}")

# %% tags=["check"] jupyter={"source_hidden": true}
assert QUICK or squared_ap50 > book_ap50 - 0.2

# %% [markdown]
# ## Saving, loading, and a photo of your own
#
# A `.safetensors` file of this project keeps the weights and the configuration. Both frameworks read it, so you
# can train in one and predict in the other. Each framework also has a format of its own, for weights only.
# `load_weights` reads all of these files in either notebook, but only for the chapter's network. Save a network with
# other blocks in the framework's own format.

# %%
from ssd_common.checkpoints import Checkpoint, load_weights, save_checkpoint
from ssd_common.config import Config, RunConfig
from ssd_torch.weights import get_weights

folder = Path(tempfile.mkdtemp())  # choose a folder that stays: Path("weights")
run = RunConfig(Config(model_config, train_config), backend="torch", data="synthetic-book")
save_checkpoint(folder / "mine.safetensors", Checkpoint(get_weights(net), run))
again = load_weights(folder / "mine.safetensors")
loaded_net = make_net(again.config.model, again.weights, device)

# %% tags=["framework"]
torch.save(net.state_dict(), folder / "mine.pt")  # the framework's own format
# Reads it into a network with blocks of yours: net.load_state_dict(torch.load(folder / "mine.pt", weights_only=True))
same_weights = load_weights(folder / "mine.pt").weights

# %% tags=["check"] jupyter={"source_hidden": true}
one, other = (predict(each, [example.image], model_config, device=device)[0] for each in (net, loaded_net))
numpy.testing.assert_allclose(one[one[:, 1] > 0.1], other[other[:, 1] > 0.1], atol=1e-4)
assert all((same_weights[name] == value).all() for name, value in get_weights(net).items())

# %% [markdown]
# A photo from a file has any size. `read_image` reads the file. `to_batch` resizes the photo to the size that
# the network expects, and puts the channels first. Boxes are fractions of the image, so they fit the photo of
# any size. Write the path of a photo of yours, with `/` between folders (on Windows, too). We use the trained
# detector of the package: it was trained on more varied bananas than your network.

# %%
from PIL import Image

from ssd_common.data.transforms import read_image

drawn = SyntheticDataset("val", num_images=6)[5].image  # a photo to begin with
Image.fromarray(drawn).resize((400, 300)).save(folder / "photo.png")
photo_file = folder / "photo.png"  # write the path of your photo here

# %%
photo = read_image(photo_file)
print("photo", photo.shape, "→ batch", to_batch([photo], trained.config.model).shape)
photo_found = predict(trained_net, [photo], trained.config.model, device=device)[0]
show_figure(
    save_display,
    photo,
    photo_found,
    threshold=0.5,
    caption="What the detector of the package finds on the photo.",
)

# %% tags=["check"] jupyter={"source_hidden": true}
assert len(photo_found) >= 1 or photo_file != folder / "photo.png"

# %% [markdown]
# ## Summary
#
# - A single shot multibox detector runs once over an image. It answers two questions about each anchor of a fixed
#   grid: what is in it, and how must it be moved to fit?
# - It predicts on several feature maps: fine ones for small objects, coarse ones for large objects. Convolutions
#   make the predictions, with the same weights at every unit.
# - For training, every anchor gets a class label and offsets. Class loss and offset loss are added.
# - Few anchors have an object. So class error says little, and it helps to leave most of the background out.
# - At the end, non-maximum suppression keeps one box for each object.
#
# ## Questions
#
# The notebook [solutions_chapter](solutions_chapter.ipynb) answers the questions with code.
#
# 1. How many anchors does the chapter's model have on an image of 512 × 512 pixels? Count first, then ask
#    `dataclasses.replace(book.model, image_size=512).num_anchors`.
# 2. Draw the figure of the twelve images with a threshold of 0.2, and of 0.7. What do you gain, and what do you
#    lose?
# 3. A unit sees 6 × 6 pixels after one downsampling block. How many pixels does it see after three blocks?
#    Compare with the side of the anchors there. To check: change the columns of an image one at a time, and count
#    the columns that change a unit in the middle of the map. Do this in evaluation mode, because batch
#    normalisation in training mode lets all pixels of a batch influence each other.
# 4. A sixth feature map: what has to change in `get_blk`, `sizes`, `ratios`, in PyTorch also in `TinySSD`, and in
#    the smallest possible image?
# 5. Write your own matching rule: an anchor takes the object whose center lies in the anchor, if the anchor is at
#    most twice as large as the object. Parameters, results and their types are those of `multibox_target`. numpy
#    may compute them: `to_numpy` and `to_device` translate. Train with `targets=`.
# 6. Find bananas and apples. `SyntheticDataset(classes=("banana", "apple"), max_objects=3)` draws them. What
#    changes in the model? Which of the two fruits is found more easily? `coco_average_precision` from
#    `ssd_common.evaluation.average_precision` returns the AP50 of each class. (MXNet gives no error if a network
#    has too few classes.)
#
# ## Where to look
#
# - The package's versions of these cells: [model](../ssd_torch/model.py), [losses](../ssd_torch/losses.py),
#   [targets](../ssd_torch/targets.py), [train](../ssd_torch/train.py), [predict](../ssd_torch/predict.py).
# - [anchors_targets_nms](anchors_targets_nms.ipynb): anchors, matching and suppression, step by step in numpy.
# - [exercises_torch](exercises_torch.ipynb): the chapter's exercises, one by one.
# - [side_by_side](side_by_side.ipynb): this detector in both frameworks, number by number.
# - The chapter [Single Shot Multibox Detection](https://d2l.ai/chapter_computer-vision/ssd.html), and the paper
#   by [Liu et al.](https://arxiv.org/abs/1512.02325), 2016.
