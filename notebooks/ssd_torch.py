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
# At the end of this notebook you will have built a detector layer by layer, trained it to find bananas, and seen the
# boxes that it draws on images it has never met. We go through the chapter *Single Shot Multibox Detection* of *Dive
# into Deep Learning*, section by section. The notebook has a twin in another framework, word for word the same.

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
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", f"tinyssd[torch] @ {source}"], check=True)
sys.path[:0] = map(str, clones)  # ahead of this folder, where ssd_torch.py is a notebook

# %%
import numpy as np

from ssd_common.backends import load_backend
from ssd_common.teaching import LiveTraining, show_figure, show_source

load_backend("torch")  # where the framework is missing, this line says so, and what to do
np.set_printoptions(precision=3, suppress=True)

# %% [markdown]
# ## The idea
#
# A classifier is asked *what* is in an image. A detector is asked *what, where, and how often*, and the answer can be
# of any length. How can a network with a fixed number of outputs give it?
#
# By turning it into many small questions, always the same ones. Before it has seen the image, a **single shot
# multibox detector** (SSD) lays a fixed grid of boxes over it, the **anchors**, in several sizes and shapes: whatever
# is in the image, some anchor is not far off. A convolutional network then runs once over the image (this is the
# single shot) and answers two questions about every anchor:
#
# - **What is in it?** One of the classes that we want to find, or class 0, the *background*: nothing.
# - **How must it be moved and stretched to fit?** Four numbers, its *offsets*.
#
# Most anchors will say "background" and are dropped. Of those that found the same object, the best one is kept.
#
# Our objects are bananas, one in each image. The book's images have to be downloaded; ours are drawn on the spot,
# from a seed, and the other yellow or bent things in them are there to make it harder.

# %%
from ssd_common.data.synthetic import SyntheticDataset
from ssd_common.figures import save_box_panels
from ssd_common.figures.boxes import Boxes

image, labels, _ = SyntheticDataset("train")[51]
print(image.shape, labels)
show_figure(
    save_box_panels,
    image,
    {"256 × 256 pixels": [Boxes(labels[:, 1:], ["banana"])]},
    caption="An image, and what a detector is to say about it: a class and a box.",
)

# %% [markdown]
# A **label** is a row of five numbers: the class, counted from 0, then the left, upper, right and lower edge of the box
# as fractions of the image.
#
# ## The model
#
# We build the network from the small parts to the whole: the layers that predict, the blocks that make feature maps,
# and how they are put together.
#
# ### Class prediction layer
#
# Take one feature map, $h$ units high and $w$ wide, and let $a$ anchors be centered on every unit. With $q$ classes of
# objects, the network has $q + 1$ numbers to say about each anchor, one for background and one for each class. The
# higher the number, the likelier the class.
#
# A fully connected layer could compute all these $hwa(q+1)$ numbers, but each would have its own weight for every value
# of the map. A convolution does better: a unit of its output is computed from the same place in the map, and with the
# same weights everywhere, since a banana on the left looks like a banana on the right. We need $a(q+1)$ output
# channels; channel $i(q+1)+j$ is about class $j$ of anchor $i$. The kernel is 3 × 3, and a padding of 1 keeps height
# and width.

# %%
from ssd_torch.model import bbox_predictor, cls_predictor

show_source(cls_predictor)

# %% [markdown]
# How much smaller is that? Here is the count for the largest map that we will have, 64 channels of 32 × 32 units with
# 4 anchors each, and a single class.

# %%
inputs, outputs = 64 * 32 * 32, 32 * 32 * 4 * (1 + 1)
fully_connected = inputs * outputs + outputs
convolution = 3 * 3 * 64 * 4 * (1 + 1) + 4 * (1 + 1)
print(f"fully connected {fully_connected:,} weights, convolution {convolution:,}")
assert fully_connected > 100_000 * convolution

# %% [markdown]
# ### Bounding box prediction layer
#
# The layer for the offsets is the same, but for the number of channels: four for each anchor, whatever the classes are.

# %%
show_source(bbox_predictor)

# %% [markdown]
# ### Concatenating predictions for multiple scales
#
# A fine feature map is good for small objects and a coarse one for large objects, so the detector uses several. Their
# predictions have different shapes. Say that one map has 20 × 20 units with 5 anchors each, the next 10 × 10 units with
# 3 anchors each, and that there are 10 classes, in a batch of 2 images. The first then has 5 · (10 + 1) = 55
# channels, the second 33. Both frameworks put the channels before height and width.

# %% tags=["framework"]
import torch

Y1 = cls_predictor(8, 5, 10)(torch.zeros(2, 8, 20, 20))
Y2 = cls_predictor(16, 3, 10)(torch.zeros(2, 16, 10, 10))

# %%
print(Y1.shape, Y2.shape)
assert Y1.shape == (2, 55, 20, 20)
assert Y2.shape == (2, 33, 10, 10)

# %% [markdown]
# Only the batch size is the same. The loss should not have to care which map a prediction comes from, so we write all
# predictions of an image in one row. The channels go last before that, so that the numbers about one anchor stay
# together: it is this order in which the anchors are listed, too.

# %%
from ssd_torch.model import concat_preds, flatten_pred

show_source(flatten_pred, concat_preds)
both = concat_preds([Y1, Y2])
print(both.shape)
assert both.shape == (2, 20 * 20 * 55 + 10 * 10 * 33) == (2, 25300)

# %% [markdown]
# ### Downsampling block
#
# To get from a fine map to a coarse one we halve height and width. The block follows VGG's: a 3 × 3 convolution, batch
# normalisation (which VGG did not have yet) and ReLU, all of it twice, then 2 × 2 max pooling, which keeps the largest
# of four neighbours.
#
# Halving has a second effect, and it is the one that we are after: a unit of the output looks at a larger piece of the
# input. It sees 2 × 2 units through the pooling, 4 × 4 through the second convolution and 6 × 6 through the first. This
# piece is its **receptive field**. After several blocks it is large enough for a large object.

# %%
from ssd_torch.model import base_net, down_sample_blk

show_source(down_sample_blk)

# %% tags=["framework"]
Y = down_sample_blk(3, 10)(torch.zeros(2, 3, 20, 20))

# %%
print(Y.shape)
assert Y.shape == (2, 10, 10, 10)

# %% [markdown]
# ### Base network
#
# The first part of the detector turns pixels into features. Large detectors take a network for it that was trained to
# classify millions of images, such as VGG or ResNet, without its last layers. Ours is small and begins from nothing:
# three downsampling blocks with 16, 32 and 64 channels. It makes 32 × 32 units of 256 × 256 pixels, since 256/2³ = 32.

# %%
show_source(base_net)

# %% tags=["framework"]
Y = base_net()(torch.zeros(2, 3, 256, 256))

# %%
print(Y.shape)
assert Y.shape == (2, 64, 32, 32)

# %% [markdown]
# ### The complete model
#
# There are five blocks, and each makes a feature map from that of the block before:
#
# | block | what it is | its map, for an image of 256 × 256 | side of its square anchors |
# |---|---|---|---|
# | 0 | the base network | 64 channels, 32 × 32 | 0.20 and 0.272 of the image |
# | 1 | a downsampling block | 128 channels, 16 × 16 | 0.37 and 0.447 |
# | 2 | a downsampling block | 128 channels, 8 × 8 | 0.54 and 0.619 |
# | 3 | a downsampling block | 128 channels, 4 × 4 | 0.71 and 0.79 |
# | 4 | global max pooling | 128 channels, 1 × 1 | 0.88 and 0.961 |
#
# Every map gives its anchors, its class predictions and its offset predictions, and is handed on to the next block.

# %%
from ssd_torch.model import TinySSD, blk_forward, get_blk

show_source(get_blk, blk_forward)

# %% [markdown]
# Where do the sizes come from? The interval from 0.2 to 1.05 is cut into five equal parts, and each block takes the
# lower end of its part, so that together they cover all sizes of objects. The second size lies between this end and the
# next, at their geometric mean: $\sqrt{0.2 \cdot 0.37} = 0.272$, and so on.

# %%
from ssd_common.config import BOOK

ends = np.linspace(0.2, 1.05, 6)
np.testing.assert_allclose(BOOK.model.anchors.sizes, np.stack([ends[:-1], np.sqrt(ends[:-1] * ends[1:])], 1), atol=5e-4)
print("sizes of block 0:", BOOK.model.anchors.sizes[0], "ratios:", BOOK.model.anchors.ratios[0])

# %% [markdown]
# A **ratio** is width over height. Every unit has four anchors: squares of both sizes, and the smaller size once twice
# as wide as high, once twice as high as wide, with the same area. Let us look at them. In each panel the thin lines are
# the units of one map, and the boxes are the four anchors of the unit under the middle of the banana.

# %%
from ssd_common.anchors import multibox_prior

middle = labels[0, [1, 2]] / 2 + labels[0, [3, 4]] / 2  # of the banana, x and y
maps = list(zip(BOOK.model.feature_map_sizes, BOOK.model.anchors.sizes, BOOK.model.anchors.ratios, strict=True))
panels = {}
for units, sizes, ratios in maps:
    column, row = (middle * units).astype(int)
    anchors = multibox_prior(np.empty((units, units)), sizes, ratios).reshape(units, units, 4, 4)
    cells = multibox_prior(np.empty((units, units)), [1 / units], [1])[0]
    title = f"{units} × {units} units: {4 * units**2} anchors"
    panels[title] = [Boxes(cells, colors="#ffffff60"), Boxes(anchors[row, column])]

# %%
show_figure(
    save_box_panels,
    image,
    panels,
    caption="The four anchors of one unit of each map. Each has its like at every other unit of the map: 5444 in all. "
    "Anchors may reach beyond the image.",
)

# %% [markdown]
# No anchor is just right for the banana, but on the first map some come close, and the offsets can do the rest. Now the
# whole network: it calls the blocks one after the other and concatenates what they return.

# %%
show_source(TinySSD)

# %% [markdown]
# Let us run it on a batch of 32 images, untrained as it is. On the five maps there are
# $(32^2 + 16^2 + 8^2 + 4^2 + 1) \cdot 4 = 5444$ anchors. They depend on nothing but the size of the image, so all
# images of the batch share them.

# %% tags=["framework"]
net = TinySSD(num_classes=1)
X = torch.zeros(32, 3, 256, 256)

# %%
from ssd_torch.predict import forward

anchors, cls_preds, bbox_preds = forward(net, X)
print("output anchors:", anchors.shape)
print("output class preds:", cls_preds.shape)
print("output bbox preds:", bbox_preds.shape)
assert anchors.shape == (1, 5444, 4)
assert cls_preds.shape == (32, 5444, 2)
assert bbox_preds.shape == (32, 5444 * 4) == (32, 21776)

# %% [markdown]
# ## Training
#
# ### Reading the dataset and initialising the model
#
# The chapter's sizes, 1000 images of 256 × 256 pixels and 20 epochs, take between twenty minutes and an hour without
# a GPU. The quick setting keeps the network as it is and makes the task smaller: there are 400 images with larger
# bananas, and the network sees them at 64 × 64 pixels, so that its maps have 8 × 8, 4 × 4, 2 × 2, 1 × 1 and 1 × 1
# units.
#
# In both settings we choose the anchors anew, because they have to suit the objects. The side of an anchor should be
# about that of the objects, and a few units of its map, or else an object falls between two anchors and fits neither.
# Four units of a 32 × 32 map are 0.125 of the image, right for small bananas; four units of an 8 × 8 map are 0.5,
# right for large ones.

# %%
import dataclasses

from ssd_common.config import AUGMENTATIONS, IMPROVED, AnchorConfig

if QUICK:
    image_size, banana_sizes, num_pictures = 64, (0.35, 0.6), 400
    anchor_config = AnchorConfig(sizes=((0.36, 0.48), (0.45, 0.6), (0.6, 0.7), (0.7, 0.8), (0.88, 0.961)))
    learning = {"epochs": 8, "lr": 0.1}
else:
    image_size, banana_sizes, num_pictures = 256, (0.12, 0.29), 1000
    anchor_config, learning = IMPROVED.model.anchors, {"epochs": 20}

# %%
data = SyntheticDataset("train", size_range=banana_sizes, num_images=num_pictures)
val = SyntheticDataset("val", size_range=banana_sizes, num_images=64)
model = dataclasses.replace(BOOK.model, image_size=image_size, anchors=anchor_config)
print(f"{len(data)} training images, {len(val)} for validation; {model.num_anchors} anchors on each")

# %%
from ssd_common.figures import save_detection_grid

images, labels, _ = zip(*[data[i] for i in range(8)], strict=True)
show_figure(
    save_detection_grid,
    images,
    [[]] * 8,
    data.class_names,
    truths=labels,
    caption="Eight training images with the boxes of their bananas.",
)

# %% [markdown]
# A **batch** stacks images of the same size. An image may have fewer objects than its neighbour; rows of −1 then
# fill up its labels, so that they can be stacked, too. Ours have one banana each.

# %%
from ssd_common.data.sampling import batches, epoch_order
from ssd_torch.data import get_device, to_device, to_numpy

config = dataclasses.replace(IMPROVED.train, augment=AUGMENTATIONS["none"], **learning)
order = epoch_order(len(data), config.batch_size, config.seed, epoch=0)
batch_images, batch_labels = next(batches(data, order, model))
device = get_device()
X, Y = to_device(batch_images, device), to_device(batch_labels, device)
print(X.shape, Y.shape)
assert X.shape == (config.batch_size, 3, image_size, image_size)
assert Y.shape == (config.batch_size, 1, 5)

# %% [markdown]
# Now the network, for a single class. Its first weights are drawn by numpy from a seed, so that this notebook and its
# twin begin with the same numbers. The trainer does stochastic gradient descent with weight decay, as in the book.
#
# The settings are those of our preset `improved`, not the book's. Most of them answer exercises of the chapter, and
# they make the training shorter: the gradients have momentum, the learning rate rises and falls again, batches are
# smaller, the initial weights are PyTorch's instead of Xavier's, and the loss is another one, with smooth L1 and only
# some of the background. Why this last point matters we shall see in a moment.

# %%
from ssd_common.weights import initial_weights
from ssd_torch.train import make_trainer
from ssd_torch.weights import make_net

net = make_net(model, initial_weights(model, config), device)
trainer = make_trainer(net, config)
show_source(make_trainer)

# %% [markdown]
# ### The right answer for every anchor
#
# A label says where the banana is. But the network is asked about anchors: what is the right answer for each of them?
# The rule looks at the **intersection over union** (IoU) of an anchor and a box, the area that both cover over the area
# that at least one covers. Every object first takes the anchor that overlaps it most, so that none goes without. After
# that, each anchor left takes the object that it overlaps most, if the IoU is at least 0.5. All other anchors are
# background. The notebook [anchors_targets_nms](anchors_targets_nms.ipynb) goes through this step by step.
#
# `multibox_target` does it for a batch. It returns what to predict for each anchor: the **offsets**, a **mask** that is
# 1 where the offsets count, and the **class**.

# %%
from ssd_torch.targets import multibox_target

anchors, cls_preds, bbox_preds = forward(net, X)
bbox_labels, bbox_masks, cls_labels = multibox_target(anchors, Y)
print(bbox_labels.shape, bbox_masks.shape, cls_labels.shape)
assert bbox_labels.shape == bbox_masks.shape == (config.batch_size, model.num_anchors * 4)
assert cls_labels.shape == (config.batch_size, model.num_anchors)

# %%
has_object = to_numpy(cls_labels[0]) > 0
truth = batch_labels[0, :, 1:]
show_figure(
    save_box_panels,
    data[order[0][0]].image,
    {
        f"{has_object.sum()} of {model.num_anchors} anchors": [Boxes(to_numpy(anchors)[0, has_object])],
        "the box of the label": [Boxes(truth, ["banana"])],
    },
    caption="Left, the anchors that are to say “banana” in the first image of the batch; right, where they go.",
)

# %% [markdown]
# The offsets are measured with the anchor as the unit, so that the same numbers mean the same for large and for small
# anchors. With $(x, y)$ for the center, $w$ and $h$ for width and height, and the index $a$ for the anchor, they are
#
# $$10\,\frac{x - x_a}{w_a},\quad 10\,\frac{y - y_a}{h_a},\quad 5\log\frac{w}{w_a},\quad 5\log\frac{h}{h_a}.$$
#
# The factors 10 and 5 bring all four to about the same size. `offset_inverse` goes back: anchors and offsets give
# boxes. From the right offsets, every anchor that has an object must arrive at the same box.

# %%
from ssd_torch.boxes import offset_inverse

boxes = to_numpy(offset_inverse(anchors[0], bbox_labels[0].reshape(-1, 4)))[has_object]
print("from the offsets:", boxes[0], "in the label:", truth[0])
np.testing.assert_allclose(boxes, np.repeat(truth, len(boxes), axis=0), atol=1e-5)

# %% [markdown]
# ### Loss and evaluation functions
#
# There are two questions about each anchor, so there are two losses, and they are added up.
#
# - **Class**: the cross entropy $-\log p$, where $p$ is the probability that the network gives to the right class.
# - **Offsets**: the size of the errors, the L1 loss. Squares would let a few far-off boxes drown the rest. Smooth L1,
#   which we use, is the same but for small errors, where it is a parabola. The mask leaves out the background, which
#   has no box.
#
# Nearly all anchors are background. If all of them count, the network first learns to say "background" everywhere, and
# it takes longer until the few others are heard. `hard_negatives` keeps three background anchors for each one with an
# object: those that look most like an object to the network.

# %%
from ssd_torch.losses import bbox_eval, calc_loss, cls_eval, loss_terms

show_source(loss_terms, calc_loss)
losses = calc_loss(cls_preds, cls_labels, bbox_preds, bbox_labels, bbox_masks, config.loss)
print("the loss of each image, untrained:", to_numpy(losses))
assert losses.shape == (config.batch_size,)

# %% [markdown]
# To see how good the network is we count the anchors with the right class, and take the absolute errors of the offsets.
# The class error is the share of the other anchors. Keep in mind what these are without any network: one that says
# "background" everywhere is wrong at the anchors with an object, and nowhere else. A small class error alone is no
# success.

# %%
show_source(cls_eval, bbox_eval)
trivial = float((to_numpy(cls_labels) > 0).mean())
class_error = 1 - float(cls_eval(cls_preds, cls_labels)) / to_numpy(cls_labels).size
print(f"class error of the untrained network {class_error:.3f}, of saying background everywhere {trivial:.3f}")
assert trivial < 0.1

# %% [markdown]
# ### Training the model
#
# All parts are there. A step of the training runs the network on a batch, asks `multibox_target` for the right answers,
# computes the loss, and lets the framework find the gradients; then the trainer changes the weights.

# %%
from ssd_torch.train import forward_backward, train, train_step

show_source(forward_backward, train_step)

# %% [markdown]
# `train` repeats this for every batch of every epoch, and hands us a row of numbers when an epoch ends. We add the
# **average precision** on the validation images, which judges the detector as a whole: it is 1 if every banana is
# found and every box is right, and falls with each banana that is missed and each wrong box with a high score. For AP50
# a box is right if its IoU with the banana is at least 0.5; AP is the mean over stricter and stricter thresholds up to
# 0.95.

# %%
from ssd_common.evaluation import mean_average_precision
from ssd_torch.evaluate import evaluate

live = LiveTraining("PyTorch", config.epochs)
for row in live(train(net, trainer, data, model, config, device=device, progress=live.progress)):
    metrics, detections, truths = evaluate(net, val, model, loss_config=config.loss, device=device)
    metrics |= mean_average_precision(detections, truths, model.num_classes)
    row |= {f"val_{name}": metrics[name] for name in ("class_error", "bbox_mae", "ap50", "ap")}

# %% [markdown]
# Look at the class error first: only below the dotted line does the network get more anchors right than "background
# everywhere" would. Above it, it may still find objects; that is what AP shows. And AP50 is ahead of AP. First the
# boxes are roughly right, then they get tighter.

# %%
first, last = live.rows[0], live.rows[-1]
assert last["loss"] < first["loss"] / 2
assert last["class_error"] < last["baseline_class_error"]
assert last["val_ap"] < last["val_ap50"]
assert last["val_ap50"] > 0.8

# %% [markdown]
# ## Prediction
#
# For a new image there are no labels, only the three outputs of the network. `detect` makes boxes of them. Offsets
# move the anchors, and softmax turns the class predictions into probabilities. A box is of the object class with the
# highest probability, and this probability is its **score**; boxes with a score below 0.01 are background.

# %%
from ssd_torch.predict import detect, predict

show_source(forward, detect, predict)

# %% [markdown]
# Many anchors find the same banana. **Non-maximum suppression** keeps the box with the highest score, drops all that
# overlap it with an IoU above 0.5, and goes on with the best of what is left. Here is an image that the network was
# not trained on, without this step and with it.

# %%
from ssd_common.config import PredictConfig

image = val[max(range(len(val)), key=lambda i: detections[i][0, 1])].image  # where the network is surest
panels = {}
for name, nms_threshold in (("before", 1.0), ("after", 0.5)):  # no two boxes overlap by more than 1
    (rows,) = predict(net, [image], model, PredictConfig(nms_threshold), device=device)
    rows = rows[rows[:, 1] >= 0.5]
    panels[f"{name}: {len(rows)}"] = [Boxes(rows[:, 2:], [f"{rows[0, 1]:.2f}"])]
print("boxes", *panels, sep="  ")
assert len(rows) == 1

# %%
show_figure(
    save_box_panels,
    image,
    panels,
    columns=2,
    caption="Boxes with a score of at least 0.5, before and after non-maximum suppression, and the best score.",
)

# %% [markdown]
# Finally, as in the chapter, we show what the network is sure of: the boxes with a score of at least 0.9, on the first
# validation images. Images without a solid box are those where it is not sure.

# %%
images, labels, _ = zip(*[val[i] for i in range(12)], strict=True)
show_figure(
    save_detection_grid,
    images,
    predict(net, images, model, device=device),
    val.class_names,
    truths=labels,
    threshold=0.9,
    caption="Detections with a score of at least 0.9 on images that the network was not trained on.",
)

# %% [markdown]
# Images persuade, numbers decide. How many such boxes are there in all validation images, and how many are right?

# %%
from ssd_common.boxes import box_iou

shown = right = 0
for i, rows in enumerate(detections):
    sure = rows[rows[:, 1] >= 0.9, 2:]
    shown += len(sure)
    right += int((box_iou(sure, val[i].labels[:, 1:]) >= 0.5).any(axis=1).sum())
print(f"{shown} boxes with a score of at least 0.9 in {len(val)} images, {right} of them right")
assert shown >= len(val) / 3
assert right >= 0.9 * shown

# %% [markdown]
# ## Summary
#
# - A single shot multibox detector runs once over an image and answers two questions about each anchor of a fixed
#   grid: what is in it, and how must it be moved to fit.
# - It predicts on several feature maps, fine ones for small objects and coarse ones for large ones. Convolutions make
#   the predictions, so that the layers are small and the same everywhere.
# - For the training, every anchor gets a class and offsets from the labels. Class loss and offset loss are added up.
# - Few anchors have an object. Therefore class error says little, and it helps to leave most of the background out.
# - At the end, non-maximum suppression keeps one box for each object.
#
# ## Questions
#
# 1. How many anchors has the book's model on an image of 512 × 512 pixels? Count first, then ask
#    `dataclasses.replace(BOOK.model, image_size=512).num_anchors`.
# 2. Show the last figure with a threshold of 0.5, and of 0.2. What do you win, what do you lose?
# 3. A unit after one downsampling block sees 6 × 6 pixels. How many are it after three, at the end of the base network?
#    Compare with the side of the anchors there. Check your number: change one pixel of an image and see which units of
#    the map change (in evaluation mode, since batch normalisation lets all pixels of a batch talk to each other).
# 4. In the quick setting, put `BOOK.model.anchors` in place of `anchor_config` and train again. What becomes of the
#    scores, and why? How many anchors have an object now?
# 5. Train with `BOOK.train`, the chapter's own settings, for the same number of epochs. In which of the curves do you
#    see the difference, and in which can you not compare at all?
# 6. A small project: find bananas and apples. `SyntheticDataset(classes=("banana", "apple"), max_objects=3)` draws
#    them; the model needs `class_names`. Which of the two is found more easily? `tinyssd eval` tells by class.
#
# ## Where to look
#
# - The code that this notebook shows: `ssd_torch/model.py`, `losses.py`, `targets.py`, `train.py`, `predict.py`; the
#   same files in the twin package, and the numpy reference of the mathematics in `ssd_common`.
# - [anchors_targets_nms](anchors_targets_nms.ipynb): anchors, matching and suppression, step by step in numpy.
# - [exercises_torch](exercises_torch.ipynb): the chapter's exercises, among them the settings that we borrowed.
# - [side_by_side](side_by_side.ipynb): this detector in both frameworks, number by number.
# - The chapter [Single Shot Multibox Detection](https://d2l.ai/chapter_computer-vision/ssd.html), and the paper by
#   [Liu et al.](https://arxiv.org/abs/1512.02325), 2016.
