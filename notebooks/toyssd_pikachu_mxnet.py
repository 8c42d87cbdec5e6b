# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The Straight Dope's toy SSD and its Pikachu, in MXNet
#
# This notebook follows the chapter *Object Detection Using Convolutional Neural Networks* of *The Straight Dope*,
# an older book for MXNet. *Dive into Deep Learning* took over its detector. At the end of this notebook you will
# be able to
#
# - build this detector from its layers, and say the shape of every output (`check_same` compares your layers with
#   the package's);
# - read a RecordIO file byte by byte;
# - load weights that were published years ago, and compare the predictions with the numbers in print;
# - say why an accuracy of 0.997 proves nothing here.
#
# **You need** convolution, batch normalisation, softmax and cross entropy. The notebook
# [anchors_targets_nms](anchors_targets_nms.ipynb) explains anchors. **Time**: 45 minutes to read, 1 minute to run.
# The same notebook exists [for PyTorch](toyssd_pikachu_torch.ipynb).

# %%
import os

QUICK = os.environ.get("TINYSSD_NOTEBOOK", "quick") == "quick"

# %% [markdown]
# Write `QUICK = False` for the full setting. If the next cell does not find `ssd_common`, run
# `%pip install "tinyssd[mxnet] @ git+ADDRESS"` with the address of the repository, and restart the kernel.

# %%
import numpy as np

from ssd_common.teaching import check_same, show_figure
from ssd_mxnet.data import get_device, to_device, to_numpy

np.set_printoptions(precision=4, suppress=True)
DOWNLOAD = False  # True fetches the chapter's dataset and weights where they are missing
FROM_SCRATCH = False  # True starts from random weights, not from the published ones

# %% [markdown]
# ## Two questions instead of one
#
# A classifier answers one question about an image: *what is it?* A **detector** answers two questions about every
# object in the image: *what is it*, and *where is it?* The number of objects is not known, but a network has a
# fixed number of outputs.
#
# An older solution is a **sliding window**: cut out a window at every position and in every size, and run a
# classifier on each. For 5444 windows, the classifier runs 5444 times. **Two-stage** detectors run a first network
# that proposes some hundred regions, and a second network that classifies each of them. A **single shot** detector
# (SSD) runs one network once. This network answers both questions for 5444 fixed boxes, the *default anchor
# boxes*.
#
# ## The chapter's files
#
# The chapter downloads 1000 images of a rendered Pikachu and the weights of a finished training run. They are not
# part of this repository. The next cell looks for them in the folder that the environment variable `TINYSSD_DATA`
# names. With `DOWNLOAD = True` it fetches what is missing, and checks each file's SHA-1 hash.

# %%
import os
from pathlib import Path

from ssd_common.data.formats.download import fetch_file
from ssd_common.errors import InputError

MXNET_FILES = "https://apache-mxnet.s3-accelerate.amazonaws.com/gluon/"
PARAMS = "ssd_pikachu-fbb7d872.params"
FILES = {  # name: address and SHA-1
    "pikachu/train.rec": ("dataset/pikachu/train.rec", "e6bcb6ffba1ac04ff8a9b1115e650af56ee969c8"),
    "pikachu/val.rec": ("dataset/pikachu/val.rec", "d6c33f799b4d058e82f2cb5bd9a976f69d72d520"),
    f"pretrained/{PARAMS}": (f"models/{PARAMS}", "fbb7d872d76355fff1790d864c2238decdb452bc"),
}

# %%
folder, found = Path(os.environ.get("TINYSSD_DATA") or "data"), {}
for file_name, (address, sha1) in FILES.items():
    if (folder / file_name).is_file():
        found[file_name] = folder / file_name
    elif DOWNLOAD:
        try:
            found[file_name] = fetch_file(MXNET_FILES + address, sha1, Path(file_name).name)
        except InputError as error:
            print(f"{file_name}: {error}")
    else:
        print(f"{file_name} is not in the folder {folder}; DOWNLOAD = True fetches it")
PUBLISHED = set(found) == set(FILES)
print("Pikachu, with the published weights" if PUBLISHED else "bananas, with the detector from this package")

# %% [markdown]
# **If the files are missing**, the notebook still runs. It then uses synthetic bananas, written as RecordIO, and
# the trained detector of bananas from this package. The published numbers cannot be compared in that case: the
# function `check_printed` shows the number in print and says so.


# %%
def check_printed(what, printed, ours, within):
    """Show what the chapter prints and what we get; with the published weights the two must agree."""
    print(f"{what}, as the chapter prints it:\n{np.array(printed)}")
    if PUBLISHED:
        print(f"and as we get it:\n{np.array(ours)}")
        np.testing.assert_allclose(ours, printed, rtol=0, atol=within)
    else:
        print("(compared only with the published weights)")


# %% [markdown]
# ## Default anchor boxes
#
# Every unit of a feature map gets several boxes with the same center. A box with size $s$ and ratio $r$ is
# $s\sqrt r$ wide and $s/\sqrt r$ high, as fractions of a square image. The chapter uses each size with the first
# ratio, and the first size with each further ratio. Three sizes and three ratios make five boxes. Here is the
# first box at row 21, column 21 of a map of 40 × 40 units.

# %%
from ssd_mxnet.anchors import multibox_prior

fine_map = to_device(np.zeros((1, 3, 40, 40), np.float32))
boxes = to_numpy(multibox_prior(fine_map, sizes=[0.5, 0.25, 0.1], ratios=[1, 2, 0.5])).reshape(40, 40, 5, 4)
print(boxes[20, 20, 0])
np.testing.assert_allclose(boxes[20, 20, 0], [0.2625, 0.2625, 0.7625, 0.7625], atol=1e-7)

# %%
from ssd_common.figures import save_anchor_plot

white = np.full((400, 400, 3), 255, np.uint8)
caption = (
    "The five boxes of one unit of a 40 × 40 feature map: three squares, and the largest size once wide and once tall."
)
show_figure(save_anchor_plot, white, boxes[20, 20], caption=caption)

# %% [markdown]
# ## Predict classes
#
# A convolution with a 3 × 3 kernel and padding 1 keeps height and width. Its channels hold the answers: channel
# $i\,(q+1) + j$ is the score of class $j$ for anchor $i$, where $q$ is the number of object classes and class 0
# is the background. Five anchors and ten classes need $5 \cdot 11 = 55$ channels.

# %% [markdown] tags=["framework"]
# **In MXNet** a layer finds its number of input channels when it sees the first batch. `initialize()` says how to
# draw the parameters; Gluon draws them at that moment.


# %% tags=["framework"]
from mxnet.gluon import nn


def class_predictor(num_anchors, num_classes):
    return nn.Conv2D(num_anchors * (num_classes + 1), kernel_size=3, padding=1)


class_pred = class_predictor(5, 10)
class_pred.initialize()
X = to_device(np.zeros((2, 3, 20, 20), np.float32))
print("class prediction", class_pred(X).shape)

# %% tags=["check"] jupyter={"source_hidden": true}
assert class_pred(X).shape == (2, 55, 20, 20)

# %%
check_same(class_predictor, name="cls_predictor")

# %% [markdown]
# ## Predict anchor boxes
#
# The network does not predict the corners of a box. It predicts how to change the anchor, with four numbers for
# each anchor. The chapter calls them the delta vector. With the object's center and size $(Y_x, Y_y, Y_w, Y_h)$
# and the anchor's $(b_x, b_y, b_w, b_h)$, its text defines
#
# $$t_x = \frac{Y_x - b_x}{b_w},\quad t_y = \frac{Y_y - b_y}{b_h},\quad t_w = \frac{Y_w - b_w}{b_w},\quad
# t_h = \frac{Y_h - b_h}{b_h}.$$


# %% tags=["framework"]
def box_predictor(num_anchors):
    return nn.Conv2D(num_anchors * 4, kernel_size=3, padding=1)


box_pred = box_predictor(10)
box_pred.initialize()
print("box prediction", box_pred(X).shape)

# %% tags=["check"] jupyter={"source_hidden": true}
assert box_pred(X).shape == (2, 40, 20, 20)

# %%
check_same(box_predictor, name="bbox_predictor")

# %% [markdown]
# **The formula in the text is not what the chapter's code computes.** The code calls the operator
# `MultiBoxTarget`. It divides the first two numbers by 0.1, takes the *logarithm* of the ratio of the sides, and
# divides by 0.2. Take an anchor that is 0.2 wide and high, and an object with the same center, once twice as wide
# and once half as wide.

# %%
from ssd_mxnet.targets import multibox_target

anchor = np.array([[[0.4, 0.4, 0.6, 0.6]]], np.float32)
deltas = {}
for object_width in (0.4, 0.1):
    label = np.array([[[0, 0.5 - object_width / 2, 0.4, 0.5 + object_width / 2, 0.6]]], np.float32)
    computed = multibox_target(to_device(anchor), to_device(label))[0]
    deltas[object_width] = (object_width - 0.2) / 0.2, to_numpy(computed)[0, 2].item()
    print(f"object {object_width} wide: t_w is {deltas[object_width][0]:+.3f} in the text, ", end="")
    print(f"{deltas[object_width][1]:+.3f} as computed")
np.testing.assert_allclose(deltas[0.4], [1, np.log(2) / 0.2], rtol=1e-5)
np.testing.assert_allclose(deltas[0.1], [-0.5, -np.log(2) / 0.2], rtol=1e-5)

# %% [markdown]
# With the text's formula, "twice as wide" is 1 and "half as wide" is only −0.5. With the logarithm both are
# equally far from 0. The divisors 0.1 and 0.2 are called *variances*. They bring all four numbers to about the
# same size.
#
# ## Down-sample features
#
# Each scale halves height and width. A block of two convolutions, each with batch normalisation and ReLU, computes
# features; a 2 × 2 pooling layer then halves the map.


# %% tags=["framework"]
def down_sample(num_filters):
    blk = nn.HybridSequential()
    for _ in range(2):
        blk.add(nn.Conv2D(num_filters, kernel_size=3, padding=1))
        blk.add(nn.BatchNorm())
        blk.add(nn.Activation("relu"))
    blk.add(nn.MaxPool2D(2))
    return blk


blk = down_sample(10)
blk.initialize()
print("before", X.shape, "after", blk(X).shape)

# %% tags=["check"] jupyter={"source_hidden": true}
assert blk(X).shape == (2, 10, 10, 10)

# %%
check_same(down_sample, name="down_sample_blk")

# %% [markdown]
# ## Manage predictions from several maps
#
# Two feature maps have different sizes, and here also different numbers of anchors. Their predictions have
# different shapes, so they cannot be stacked. We move the channels to the end and flatten: the numbers of one unit
# stay together. Then all predictions of an image fit in one row.

# %% tags=["framework"]
feature_map_1 = to_device(np.zeros((2, 8, 20, 20), np.float32))
layers = class_predictor(5, 10), down_sample(16), class_predictor(3, 10)
for layer in layers:
    layer.initialize()
y_1, feature_map_2 = layers[0](feature_map_1), layers[1](feature_map_1)
y_2 = layers[2](feature_map_2)
for what, values in {"feature map 2": feature_map_2, "classes 1": y_1, "classes 2": y_2}.items():
    print(f"{what:14}", values.shape)


# %% tags=["framework"]
from mxnet import np as mxnp


def flatten_prediction(pred):
    return pred.transpose(0, 2, 3, 1).reshape(len(pred), -1)


def concat_predictions(preds):
    return mxnp.concatenate([flatten_prediction(pred) for pred in preds], axis=1)


# %%
print("flat 1", tuple(flatten_prediction(y_1).shape), " flat 2", tuple(flatten_prediction(y_2).shape))
print("together", tuple(concat_predictions([y_1, y_2]).shape))

# %% tags=["check"] jupyter={"source_hidden": true}
assert (y_1.shape, feature_map_2.shape, y_2.shape) == ((2, 55, 20, 20), (2, 16, 10, 10), (2, 33, 10, 10))
assert (flatten_prediction(y_1).shape, flatten_prediction(y_2).shape) == ((2, 22000), (2, 3300))
assert concat_predictions([y_1, y_2]).shape == (2, 25300)

# %%
check_same(flatten_prediction, name="flatten_pred")
check_same(concat_predictions, name="concat_preds")

# %% [markdown]
# ## Body network
#
# The body computes the first feature map from the pixels. Three down-sampling blocks turn an image of 256 × 256
# pixels into 64 maps of 32 × 32.


# %% tags=["framework"]
def body():
    blk = nn.HybridSequential()
    for num_filters in (16, 32, 64):
        blk.add(down_sample(num_filters))
    return blk


bnet = body()
bnet.initialize()
body_output = bnet(to_device(np.zeros((2, 3, 256, 256), np.float32)))
print("body network", [image.shape for image in body_output])

# %% tags=["check"] jupyter={"source_hidden": true}
assert body_output.shape == (2, 64, 32, 32)

# %%
check_same(body, name="base_net")

# %% [markdown]
# ## The toy SSD model
#
# The model predicts at five scales. The body makes the first map, three down-sampling blocks make the next three,
# and a maximum over the whole map makes the last one, a single unit. Each scale has its own two predictors.


# %% tags=["framework"]
def toy_ssd_model(num_anchors, num_classes):
    downsamples, class_preds, box_preds = (nn.HybridSequential() for _ in range(3))
    for _ in range(3):
        downsamples.add(down_sample(128))
    for _ in range(5):
        class_preds.add(class_predictor(num_anchors, num_classes))
        box_preds.add(box_predictor(num_anchors))
    return body(), downsamples, class_preds, box_preds


print(toy_ssd_model(5, 2))

# %% [markdown]
# The forward pass walks through the five scales, and collects anchors and predictions on its way.


# %% tags=["framework"]
def toy_ssd_forward(X, body, downsamples, class_preds, box_preds, sizes, ratios):
    anchors, classes, deltas = [], [], []
    X = body(X)
    for i in range(5):
        anchors.append(multibox_prior(X, sizes[i], ratios[i]))
        classes.append(class_preds[i](X))
        deltas.append(box_preds[i](X))
        if i < 3:
            X = downsamples[i](X)
        elif i == 3:
            X = X.max(axis=(2, 3), keepdims=True)  # one unit
    return mxnp.concatenate(anchors, axis=1), concat_predictions(classes), concat_predictions(deltas)


# %% tags=["framework"]
from ssd_common.config import STRAIGHT_DOPE


class ToySSD(nn.Block):
    def __init__(self, num_classes, anchor_config=STRAIGHT_DOPE.model.anchors):
        super().__init__()
        self.num_classes, self.anchor_config = num_classes, anchor_config
        self.body, self.downsamples, self.class_preds, self.box_preds = toy_ssd_model(4, num_classes)

    def forward(self, X):
        layers = self.body, self.downsamples, self.class_preds, self.box_preds
        outputs = toy_ssd_forward(X, *layers, self.anchor_config.sizes, self.anchor_config.ratios)
        anchors, classes, deltas = outputs
        return anchors, classes.reshape(len(X), -1, self.num_classes + 1), deltas


# %% [markdown]
# With two classes, the three outputs have the shapes that the chapter prints.

# %% tags=["framework"]
two_classes = ToySSD(2)
two_classes.initialize()
two_class_outputs = two_classes(to_device(np.zeros((1, 3, 256, 256), np.float32)))
for what, values in zip(("anchors", "class predictions", "box predictions"), two_class_outputs, strict=True):
    print(f"{what:18}", values.shape)

# %% tags=["check"] jupyter={"source_hidden": true}
assert [tuple(values.shape) for values in two_class_outputs] == [(1, 5444, 4), (1, 5444, 3), (1, 21776)]

# %% [markdown]
# ## The dataset
#
# Thousands of small image files are slow to read, especially from a network drive. **RecordIO** puts them into one
# file, one *record* after the other. The chapter reads it with MXNet's `ImageDetIter`. We open it ourselves, so
# that both frameworks can use it, and so that you see what is inside.

# %%
from tempfile import TemporaryDirectory

from ssd_common.data.convert import convert_data

stand_in = TemporaryDirectory()
if PUBLISHED:
    train_file, val_file = found["pikachu/train.rec"], found["pikachu/val.rec"]
else:
    train_file = val_file = Path(stand_in.name) / "bananas.rec"
    convert_data("synthetic:val", f"rec:{val_file}")
print(val_file.name, "has", val_file.stat().st_size, "bytes")

# %% [markdown]
# A record begins with four bytes that are the same in every record, the *magic number*. Four bytes with its length
# follow.

# %%
from ssd_common.data.formats.recordio import MAGIC, read_records

start = val_file.read_bytes()[:64]
length = int.from_bytes(start[4:8], "little")
payload = next(iter(read_records(val_file)))
print("magic number", start[:4].hex(" "), "· length", length, "bytes · then", start[8:24].hex(" "), "…")
assert start[:4] == MAGIC
assert length == len(payload)
assert start[8:] == payload[:56]

# %% [markdown]
# The rest of the record is the **payload**: a header of 24 bytes, the label, and an encoded image. The header says
# how many numbers the label has. The label of a detection dataset has a small header, too: its own length, how
# many numbers describe one object, and the width and height of the image. Then comes one row for each object, with
# its class id and the corners of its box as fractions of the image.

# %%
from ssd_common.data.formats.records import read_detection_label, unpack_image_record

record = unpack_image_record(payload)
header_width, object_width, *image_sides = record.label[: int(record.label[0])]
objects = read_detection_label(record.label)
print("label:", record.label)
print("its header:", int(header_width), "numbers; an object:", int(object_width), "numbers; image:", image_sides)
print("encoded image:", len(record.image), "bytes, beginning with", record.image[:4])
print("objects:\n", objects)
assert record.label.size == header_width + len(objects) * object_width
assert record.image[:3] in (b"\xff\xd8\xff", b"\x89PN")  # JPEG or PNG

# %% [markdown]
# That is the whole format. Wrapped as a dataset, with decoded images and labels as arrays:

# %%
from ssd_common.data import load_dataset
from ssd_common.figures import save_detection_grid

train_data, val = (load_dataset(f"rec:{file}", limit=32 if QUICK else None) for file in (train_file, val_file))
np.testing.assert_array_equal(val[0].labels, objects[:, :5])
names = STRAIGHT_DOPE.model.class_names if PUBLISHED else train_data.class_names
eight = [train_data[i] for i in range(8)]
caption = "Eight training images. The dashed boxes are those of the labels."
show_figure(save_detection_grid, [x.image for x in eight], [[]] * 8, names, [x.labels for x in eight], caption=caption)

# %% [markdown]
# Every image has one object, and the object is small. The chapter crops the training images at random: the object
# then comes out larger and at another place. Only crops that show at least 95 percent of the object count. A batch
# has the shapes that the chapter prints.

# %%
from ssd_common.data.sampling import batches, epoch_order

train_config = STRAIGHT_DOPE.train
order = epoch_order(len(train_data), 32, seed=0, epoch=0)
batch_images, batch_labels = next(batches(train_data, order, STRAIGHT_DOPE.model, augment_config=train_config.augment))
print("data shapes:", batch_images.shape, "label shapes:", batch_labels.shape)
assert (batch_images.shape, batch_labels.shape) == ((32, 3, 256, 256), (32, 1, 5))

# %%
mean = np.array(STRAIGHT_DOPE.model.mean, np.float32)[:, None, None]
cropped = [(batch_images[i] + mean).astype(np.uint8).transpose(1, 2, 0) for i in range(8)]
caption = "Eight images as the network is trained on them: random crops, resized to 256 × 256 pixels again."
show_figure(save_detection_grid, cropped, [[]] * 8, names, batch_labels[:8], caption=caption)

# %% [markdown]
# ## The weights
#
# The published file is MXNet's. MXNet numbered the layers in the order in which they were created. The chapter
# creates the three down-sampling blocks before the body, so `conv0` belongs to one of those blocks. `load_weights`
# reads the file without MXNet and renames the tensors: `blk_2.3.weight` is the weight of layer 3 of block 2.

# %%
from ssd_common.checkpoints import load_weights, read_params

if PUBLISHED:
    arrays = read_params(found[f"pretrained/{PARAMS}"])
    print({name: array.shape for name, array in list(arrays.items())[:6]})
    print(len(arrays), "arrays,", sum(array.size for array in arrays.values()), "numbers")
    assert (len(arrays), sum(array.size for array in arrays.values())) == (92, 1_012_360)
checkpoint = load_weights(Path(found.get(f"pretrained/{PARAMS}", "pretrained")))
model_config = checkpoint.config.model
print(len(checkpoint.weights), "tensors for", model_config.class_names)

# %% [markdown]
# `ToySSD` has the same layers under the chapter's own names, so each tensor needs its name there.

# %%
from ssd_common.weights import initial_weights
from ssd_mxnet.weights import get_weights, set_weights

device = get_device()  # a GPU if there is one


def toy_name(name):
    """Return the name in `ToySSD` of a tensor: `downsamples.1.3.weight` for `blk_2.3.weight`."""
    kind, _, rest = name.partition("_")
    number, _, layer = rest.partition(".")
    if kind == "blk":
        return f"body.{layer}" if number == "0" else f"downsamples.{int(number) - 1}.{layer}"
    return f"{'class_preds' if kind == 'cls' else 'box_preds'}.{number}.{layer}"


# %% tags=["framework"]
def make_toy_net(weights):
    """Return a `ToySSD` on the device with these weights."""
    net = ToySSD(model_config.num_classes, model_config.anchors)
    net.initialize(ctx=device)
    net(to_device(np.zeros((1, 3, 256, 256), np.float32), device))  # now the shapes of all parameters are known
    set_weights(net, {toy_name(name): array for name, array in weights.items()})
    net.hybridize()
    return net


# %%
net = make_toy_net(initial_weights(model_config, train_config) if FROM_SCRATCH else checkpoint.weights)
print("the last three tensors:", list(get_weights(net))[-3:])

# %% tags=["check"] jupyter={"source_hidden": true}
from ssd_mxnet.predict import forward
from ssd_mxnet.weights import make_net

some = to_device(batch_images[:2], device)
twin = make_net(model_config, checkpoint.weights, device)
for one, other in zip(forward(make_toy_net(checkpoint.weights), some), forward(twin, some), strict=True):
    np.testing.assert_allclose(to_numpy(one), to_numpy(other), atol=1e-3)

# %% [markdown]
# ## Training targets and losses
#
# `MultiBoxTarget` says for every anchor what the network should answer: four deltas, a mask that is 1 where they
# count, and a class. The function `multibox_target` of this package computes the same.

# %%
from ssd_mxnet.predict import forward

anchors, cls_preds, bbox_preds = forward(net, to_device(batch_images, device))
bbox_labels, bbox_masks, cls_labels = multibox_target(anchors, to_device(batch_labels, device))
print("deltas", tuple(bbox_labels.shape), " mask", tuple(bbox_masks.shape), " classes", tuple(cls_labels.shape))
background = to_numpy(cls_labels) == 0
print(f"{background.mean():.2%} of the anchors are background")

# %% [markdown]
# The chapter writes two losses. The **focal loss** for the classes is $-\alpha\,(1-p)^\gamma \log p$ with
# $\alpha = 0.25$ and $\gamma = 2$, where $p$ is the probability of the right class. It turns down what is already
# right. **Smooth L1** for the deltas is $x^2/2$ below an error of 1 and $|x| - 1/2$ above. Both are averaged over
# all 5444 anchors.


# %% tags=["framework"]
from mxnet import npx


def focal_loss(logits, classes, alpha=0.25, gamma=2):
    p = npx.pick(npx.softmax(logits), classes)
    return -alpha * (1 - p) ** gamma * mxnp.log(p)


def smooth_l1_loss(errors):
    size = mxnp.abs(errors)
    return mxnp.where(size < 1, size**2 / 2, size - 0.5)


# %%
check_same(focal_loss)

# %% tags=["check"] jupyter={"source_hidden": true}
from ssd_mxnet import losses

offset_errors = (bbox_preds - bbox_labels) * bbox_masks
np.testing.assert_allclose(
    to_numpy(smooth_l1_loss(offset_errors)), to_numpy(losses.smooth_l1(offset_errors, 1)), atol=1e-6
)

# %% [markdown]
# Where does the loss come from? With cross entropy, most of it comes from background anchors, because there are so
# many of them. The focal loss leaves most of it to the anchors that are not right yet.

# %%
share = {}
for name, loss_of_anchors in {
    "cross entropy": focal_loss(cls_preds, cls_labels, alpha=1, gamma=0),
    "focal loss": focal_loss(cls_preds, cls_labels),
}.items():
    costs = to_numpy(loss_of_anchors)
    share[name] = costs[background].sum() / costs.sum()
    print(f"{name}: {share[name]:.1%} comes from background")
assert share["focal loss"] < share["cross entropy"]

# %% [markdown]
# ## Training
#
# The chapter uses stochastic gradient descent with learning rate 0.1 and weight decay 0.0005. For the first
# weights it asks for Xavier with magnitude 2. A GPU is used if there is one. The chapter loads the published
# weights and trains for the last two of 150 epochs; we do the same. With `FROM_SCRATCH = True` the loop below
# starts from random weights and needs `epochs = 150`, which takes hours on a CPU.


# %% tags=["framework"]
def train_batch(net, trainer, X, Y):
    with autograd.record():
        anchors, cls_preds, bbox_preds = net(X)
        bbox_labels, bbox_masks, cls_labels = multibox_target(anchors, Y)
        loss = focal_loss(cls_preds, cls_labels).mean() + smooth_l1_loss((bbox_preds - bbox_labels) * bbox_masks).mean()
    loss.backward()
    trainer.step(1)
    accuracy = (cls_preds.argmax(axis=-1) == cls_labels).astype("float64").mean()
    error = mxnp.abs((bbox_labels - bbox_preds) * bbox_masks).mean()
    return loss.item(), accuracy.item(), error.item(), (cls_labels == 0).astype("float64").mean().item()


# %% [markdown] tags=["framework"]
# **In MXNet** the framework records what happens inside `autograd.record()`, and layers behave as in training.
# `backward()` overwrites the old gradients. `step(n)` divides the gradient by `n`; the loss is a mean already,
# so 1.

# %% tags=["framework"]
from mxnet import autograd, gluon

settings = {"learning_rate": train_config.lr, "wd": train_config.weight_decay}
trainer = gluon.Trainer(net.collect_params(), "sgd", settings)

# %%
epochs = 150 if FROM_SCRATCH and not QUICK else 2
for epoch in range(epochs):
    order = epoch_order(len(train_data), 32, train_config.seed, epoch)
    sums, count = np.zeros(4), 0
    for images, labels in batches(train_data, order, model_config, augment_config=train_config.augment, epoch=epoch):
        sums += np.array(train_batch(net, trainer, to_device(images, device), to_device(labels, device))) * len(images)
        count += len(images)
    loss, accuracy, error, background_share = sums / count
    print(f"epoch {epoch + 1}: loss {loss:.6f}, accuracy {accuracy:.6f}, mean absolute error {error:.6f}")

# %% [markdown]
# For these two epochs the chapter prints an accuracy of 0.9976 and 0.9977, and a mean absolute error of 0.0018.
# What is that worth? Compare it with a trivial detector that answers "background" for every anchor.

# %%
if not FROM_SCRATCH:
    check_printed("accuracy, error", [0.9977, 0.0018], [accuracy, error], within=0.001)
print(f"accuracy of always answering background: {background_share:.4f}")
assert background_share > 0.98

# %% [markdown]
# Nearly all anchors are background, so counting anchors means counting background. This is the most important
# lesson of the chapter, and the chapter does not contain it: **judge a detector by its detections.**
#
# ### Save and load
#
# The chapter ends its training with `save_params`. `save_weights` writes the file in the format of its suffix:
# `.safetensors` with the configuration inside, or `.params` for MXNet.

# %%
import dataclasses

from ssd_common.checkpoints.convert import save_weights

toy_weights = get_weights(net)
trained = {name: toy_weights[toy_name(name)] for name in checkpoint.weights}
for suffix in (".safetensors", ".params"):
    path = Path(stand_in.name) / f"toy_ssd{suffix}"
    save_weights(path, dataclasses.replace(checkpoint, weights=trained, velocity={}))
    again = load_weights(path, None if suffix == ".safetensors" else checkpoint.config).weights
    print(path.name, path.stat().st_size, "bytes; equal:", all(np.array_equal(trained[k], again[k]) for k in trained))
    assert all(np.array_equal(trained[name], again[name]) for name in trained)

# %% [markdown]
# ## Prediction
#
# ### Prepare an image
#
# The chapter reads a file, resizes it to 256 × 256 pixels, subtracts the mean colour, and puts the channels first.
# If the chapter's image is missing, we take one of the validation images. **Use your own photo**: write its path
# here.

# %%
from ssd_common.data.transforms import read_image, resize_image

photo = folder / "img" / "pikachu.jpg"  # or your own file
demo_image = read_image(photo) if PUBLISHED and photo.is_file() else val[3].image
pixels = resize_image(demo_image, 256).astype(np.float32) - np.array(model_config.mean, np.float32)
prepared = np.ascontiguousarray(pixels.transpose(2, 0, 1)[None])  # (1, 3, 256, 256)
print("from", demo_image.shape, "to", prepared.shape)
assert prepared.shape == (1, 3, 256, 256)

# %% [markdown]
# ### Network inference
#
# One call. We use the weights as they were before our two epochs, because their numbers are in print.

# %%
published_net = make_toy_net(checkpoint.weights)
outputs = forward(published_net, to_device(prepared, device))
demo_anchors, demo_classes, demo_offsets = map(to_numpy, outputs)
printed_anchors = [
    [-0.084375, -0.084375, 0.115625, 0.115625],
    [-0.12037501, -0.12037501, 0.15162501, 0.15162501],
    [-0.12579636, -0.05508568, 0.15704636, 0.08633568],
    [0.01949999, 0.01949999, 0.98049998, 0.98049998],
    [-0.12225395, 0.18887302, 1.12225389, 0.81112695],
    [0.18887302, -0.12225395, 0.81112695, 1.12225389],
]
check_printed("anchors", printed_anchors, demo_anchors[0, [0, 1, 2, -3, -2, -1]], within=2e-7)

# %%
PIKACHU = PUBLISHED and photo.name == "pikachu.jpg" and photo.is_file()
printed_classes = [[0.3375, -1.6466], [1.1530, -1.7726], [1.1536, -0.9835], [-0.2756, -1.2940], [0.4552, -0.8878]]
printed_offsets = [-0.1674, -0.1308, -0.6886, -0.1897, 0.1182, -0.2707]
if PIKACHU:
    check_printed("class predictions", printed_classes, demo_classes[0, [0, 1, 2, -3, -2]], within=0.2)
    check_printed("box predictions", printed_offsets, demo_offsets[0, [0, 1, 2, -3, -2, -1]], within=0.1)

# %% [markdown]
# With the chapter's image the numbers are close, but not equal, for two reasons. The chapter predicts *after* its
# two further epochs, whose random crops nobody can repeat. And it shrinks the image with OpenCV, which uses four
# old pixels for each new one; we use the mean of all pixels that a new one covers.
#
# ### From predictions to detections
#
# `MultiBoxDetection` turns the predictions into detections: softmax, then the anchors moved by their deltas, then
# non-maximum suppression. With `force_suppress=True` a box suppresses boxes of *every* class, not only of its own.
# With `clip=False` a box may reach beyond the image. In this package that is `class_aware=False, clip=False`, the
# default of `multibox_detection`.

# %% tags=["framework"]
from ssd_mxnet.detection import multibox_detection

cls_probs = npx.softmax(outputs[1]).transpose(0, 2, 1)  # (1, classes, 5444)
rows = to_numpy(multibox_detection(cls_probs, outputs[2], outputs[0]))[0]
print(rows.shape)
print(rows)

# %% [markdown]
# There is one row for each anchor: `[class_id, score, xmin, ymin, xmax, ymax]`. **Most rows have class −1**: their
# score is very small, or a better box suppressed them. (A suppressed row keeps its box here. MXNet's operator
# fills some of these rows with −1.) We keep the others.

# %%
detections = rows[rows[:, 0] >= 0]
print(f"{(rows[:, 0] < 0).sum()} rows have class -1, {len(detections)} rows remain; the first three:")
print(detections[:3])
if PIKACHU:
    check_printed("first detection", [0, 0.6118, 0.5181, 0.5042, 0.6733, 0.7012], detections[0], within=0.03)

# %% tags=["check"] jupyter={"source_hidden": true}
assert rows.shape == (5444, 6)
assert 0 < len(detections) < 5444

# %% [markdown]
# ### Display results

# %%
from ssd_common.figures import save_box_panels
from ssd_common.figures.boxes import Boxes

panels = {}
for threshold in (0.45, 0.3):
    drawn = detections[:8][detections[:8, 1] >= threshold]
    panels[f"score of at least {threshold}"] = [Boxes(drawn[:, 2:], [f"{score:.2f}" for score in drawn[:, 1]])]
caption = "Detections with a score of at least 0.45, as in the chapter, and of at least 0.3."
show_figure(save_box_panels, demo_image, panels, caption=caption)

# %% [markdown]
# **Change it.** (1) Set the first threshold to 0.6: with Pikachu, only one of the detections above 0.3 remains.
# (2) Replace `resize_image(demo_image, 256)` by `resize_image(demo_image, 512)`: the network accepts it, returns
# 21764 anchors, and looks for objects half as large. (3) Call `multibox_detection(…, nms_threshold=0.1)`: no two
# boxes may overlap by more than 0.1, and fewer remain.

# %% tags=["check"] jupyter={"source_hidden": true}
if not QUICK:
    assert not PIKACHU or (detections[:, 1] >= 0.6).sum() == 1 < (detections[:, 1] >= 0.3).sum()
    doubled = np.repeat(np.repeat(prepared, 2, axis=2), 2, axis=3)
    assert forward(published_net, to_device(doubled, device))[0].shape == (1, 21764, 4)
    fewer = to_numpy(multibox_detection(cls_probs, outputs[2], outputs[0], nms_threshold=0.1))[0]
    assert (fewer[:, 0] >= 0).sum() < len(detections)

# %% [markdown]
# ## How good is it?
#
# The chapter ends with one image. The validation records tell more. **Average precision** looks at the boxes that
# come out: `ap50` counts a detection as right if its IoU with the object is at least 0.5, `ap` is the mean over
# ten thresholds from 0.5 to 0.95.

# %%
from ssd_common.evaluation import mean_average_precision
from ssd_mxnet.evaluate import evaluate

metrics, found_boxes, truths = evaluate(
    published_net, val, model_config, STRAIGHT_DOPE.predict, train_config.loss, device=device
)
metrics |= mean_average_precision(found_boxes, truths, model_config.num_classes)
print(f"{len(val)} images: AP50 {metrics['ap50']:.3f}, AP {metrics['ap']:.3f}")
for name in ("class_error", "bbox_mae"):
    print(f"{name}: {metrics[name]:.5f}, always background: {metrics[f'baseline_{name}']:.5f}")
assert metrics["ap50"] > 0.7

# %% [markdown]
# With the published weights this pair of results is remarkable: the network finds most of the Pikachus, and its
# class error is *higher* than that of a detector that finds none. Its boxes are good enough for an IoU of 0.5, and
# seldom for 0.75. This difference separates `ap50` from `ap`. (The detector of bananas is trained longer and
# better than that.)

# %% tags=["check"] jupyter={"source_hidden": true}
if PUBLISHED:
    assert metrics["class_error"] > metrics["baseline_class_error"]
    assert metrics["ap75"] < metrics["ap50"] / 2

# %%
shown = [val[i] for i in range(8)]
best = [found_boxes[i][:1] for i in range(8)]
caption = "Validation images with the best detection of each. The true box is dashed."
show_figure(
    save_detection_grid,
    [x.image for x in shown],
    best,
    names,
    [x.labels for x in shown],
    threshold=0,
    caption=caption,
)

# %%
from ssd_common.evaluation import precision_recall
from ssd_common.figures import save_precision_recall

curve = precision_recall(found_boxes, truths, class_id=0)
caption = "Precision and recall on the validation images at IoU 0.5. At the dot the score falls below 0.5."
show_figure(save_precision_recall, [curve], names, caption=caption)

# %% [markdown]
# ## Summary
#
# - Detection is harder than classification: the network says what an object is and where it is.
# - A sliding window runs a classifier thousands of times, and a two-stage detector runs a second network for every
#   proposed region. A single shot detector runs one network once.
# - The network predicts classes and deltas for fixed anchors on feature maps of several scales.
# - The deltas are logarithms divided by variances, although the chapter's text says otherwise.
# - Most anchors are background. Accuracy over anchors says nothing; average precision looks at the detections.
#
# ## Questions
#
# The file [solutions_toyssd_pikachu](solutions_toyssd_pikachu.ipynb) answers the questions with code.
#
# 1. How many bytes of the validation file are not image? What does RecordIO cost for each image?
# 2. The label's header gives width and height of the image. Does any cell of this notebook need them?
# 3. A crop that shows 95 percent of the object helps with *large* Pikachus. Why? How large is
#    the smallest anchor? (The Pikachus are 0.07 to 0.16 of the image wide.)
# 4. Shrink the image by taking every $n$-th pixel, predict again, and compare with the numbers in print. How much
#    do the logits change?
# 5. Call `multibox_detection` with `class_aware=True`, then with `clip=True`. Which of them can change anything
#    when there is only one class?
# 6. A small project: fit the anchors to the boxes (`tinyssd data anchors pikachu`) and train from scratch. After
#    how many epochs is `ap` better than with the published weights?
#
# ## Where to look
#
# - [ssd_common/data/formats/recordio.py](../ssd_common/data/formats/recordio.py) and
#   [records.py](../ssd_common/data/formats/records.py): the format, read and written.
# - [ssd_common/checkpoints/params_file.py](../ssd_common/checkpoints/params_file.py): MXNet's weights files.
# - On the command line: `tinyssd predict --weights ssd_pikachu-fbb7d872.params pikachu.jpg`, and
#   `tinyssd train --preset straight-dope --data pikachu`.
# - [exercises_mxnet](exercises_mxnet.ipynb) measures what focal and smooth L1 loss do to a training run.
