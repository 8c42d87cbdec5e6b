# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The chapter's exercises, answered in PyTorch
#
# At the end of this notebook you will have tried every improvement that the exercises of the chapter *Single Shot
# Multibox Detection* ask for: looked at the idea, checked the formula, and measured what it does to a small training.
# Its twin in the other framework has the same cells.

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

load_backend("torch")  # where the framework is missing, this line says so, and what to do
np.set_printoptions(precision=3, suppress=True)

# %% [markdown]
# ## How an answer is measured
#
# An improvement is a claim, and a claim about learning is settled by training. So every answer below ends the same way:
# we take the book's configuration, turn **one** switch, train from the start with the same seed, and look at the same
# validation images.
#
# The images are synthetic bananas, drawn on the spot, and the network sees them at 64 × 64 pixels, with objects that
# are large enough for that. The quick setting keeps everything small enough for a minute: few images, few steps. The
# full setting has as many images and epochs as the chapter, and takes about an hour without a GPU. The images are
# drawn twice as large as the network takes them, so that a larger input has something more to show.

# %%
from ssd_common.config import BOOK
from ssd_common.data.synthetic import SyntheticDataset
from ssd_common.runs.start import change_config

size, sides = 64, (0.35, 0.7)  # of the network's input in pixels, and of the bananas as a share of the image
pictures, epochs, batch_size = (32, 5, 4) if QUICK else (1000, 20, 32)
data = SyntheticDataset("train", image_size=2 * size, size_range=sides, num_images=pictures)
val = SyntheticDataset("val", image_size=2 * size, size_range=sides, num_images=32 if QUICK else 100)
book = change_config(BOOK, {"image_size": size, "epochs": epochs, "batch_size": batch_size})
book.train

# %% [markdown]
# That is the whole configuration of a training: each exercise is a field of `TrainConfig`, of its `LossConfig`, or of
# `ModelConfig`. On the command line the same fields are flags, as in `tinyssd train --bbox-loss smooth_l1`.
#
# `train_and_score` trains a configuration and keeps what we want to compare.

# %%
import time

from ssd_common.evaluation import mean_average_precision, precision_recall
from ssd_common.weights import initial_weights
from ssd_torch.data import get_device, to_device, to_numpy
from ssd_torch.evaluate import evaluate
from ssd_torch.predict import forward
from ssd_torch.train import make_trainer, train
from ssd_torch.weights import make_net

device = get_device()
results, curves = {}, {}


# %%
def train_and_score(name, preset):
    """Train a configuration from its initial weights, and keep what it scores on the validation images."""
    model, config, start = preset.model, preset.train, time.perf_counter()
    net = make_net(model, initial_weights(model, config), device)
    for _ in train(net, make_trainer(net, config), data, model, config, device=device):
        pass
    seconds = time.perf_counter() - start
    metrics, detections, truths = evaluate(net, val, model, preset.predict, config.loss, device=device)
    precision = mean_average_precision(detections, truths, model.num_classes)
    results[name] = metrics | precision | {"seconds": seconds}
    curves[name] = precision_recall(detections, truths, class_id=0)
    return net


# %%
from IPython.display import Markdown, display


def show_results(*names):
    """Show what some configurations scored, a row each."""
    lines = ["| setting | AP50 | AP | class error (baseline) | bbox MAE (baseline) | seconds |", "|---|" + "---:|" * 5]
    for name in names:
        row = results[name]
        errors = [f"{row[key]:.4f} ({row[f'baseline_{key}']:.4f})" for key in ("class_error", "bbox_mae")]
        scores = [f"{row['ap50']:.3f}", f"{row['ap']:.3f}", *errors, f"{row['seconds']:.1f}"]
        lines.append(f"| {name} | {' | '.join(scores)} |")
    display(Markdown("\n".join(lines)))


# %% [markdown]
# First the book's configuration itself, and then the same once more with another seed: other initial weights, another
# order of the images, nothing else.

# %%
net = train_and_score("the book", book)
train_and_score("another seed", change_config(book, {"seed": 1}))
show_results("the book", "another seed")

# %% [markdown]
# Read this table before any other. The two rows differ by **chance alone**, and an improvement that is smaller than
# their difference has not shown anything. One short training with one seed proves little; `make ablation` trains every
# switch for the chapter's 20 epochs at 256 × 256 pixels, with several seeds and in both frameworks. `docs/ablation.md`
# shows what a shorter run of it printed.
#
# *AP50* and *AP* are average precision, the subject of the last exercise: higher is better, 1 is perfect. The
# *baseline* of an error is what a network would score that predicts nothing, background and zero offsets everywhere. It
# depends on the images and on the anchors, not on the training:

# %%
for name in ("baseline_class_error", "baseline_bbox_mae"):
    np.testing.assert_allclose(results["another seed"][name], results["the book"][name], rtol=1e-5)

# %% [markdown]
# ## Exercise 1: a smoother loss for the offsets
#
# The book's offset loss is L1, the absolute value of the error. Its gradient is −1 or +1 however small the error is, so
# a prediction that is almost right is pushed as hard as one that is far off. Smooth L1 rounds the tip: below
# $1/\sigma^2$ it is a square, $(\sigma x)^2/2$, and its gradient $\sigma^2 x$ fades to zero; above it is the straight
# line $|x| - 0.5/\sigma^2$, so that one bad box cannot dominate a batch as it would with squares everywhere.

# %%
from ssd_common.teaching import show_figure, show_source
from ssd_torch.losses import l1_loss, smooth_l1

show_source(smooth_l1)

# %% [markdown]
# A formula is quickly written down wrong, so we check it: its values against the framework's own operator, its gradient
# against the derivative that we work out by hand. The framework differentiates for us.


# %% tags=["framework"]
def with_gradient(function, values):
    """Return the values of a function of an array, and the gradient of their sum."""
    X = to_device(values, device).requires_grad_()
    Y = function(X)
    Y.sum().backward()
    return to_numpy(Y), to_numpy(X.grad)


# %% tags=["framework"]
from torch.nn import functional as F


def own_smooth_l1(X, sigma):
    """Return smooth L1 by the framework's operator, whose beta is where the square ends."""
    return F.smooth_l1_loss(X, 0 * X, beta=1 / sigma**2, reduction="none")


# %% [markdown]
# The derivative of smooth L1 is $\sigma^2 x$, cut off at −1 and +1.

# %%
errors = np.linspace(-2, 2, 81)
losses, gradients = {}, {}
for sigma in (10, 1, 0.5):
    name = f"smooth L1, σ = {sigma:g}"
    losses[name], gradients[name] = with_gradient(lambda X, s=sigma: smooth_l1(X, s), errors)
    np.testing.assert_allclose(losses[name], to_numpy(own_smooth_l1(to_device(errors), sigma)), atol=1e-12)
    np.testing.assert_allclose(gradients[name], np.clip(sigma**2 * errors, -1, 1), atol=1e-12)
losses["L1"], gradients["L1"] = with_gradient(l1_loss, errors)

# %%
from ssd_common.figures import save_loss_curves

caption = (
    "Smooth L1 for three values of σ, and L1. With σ = 10 the two can hardly be told apart; the gradient of L1 jumps."
)
show_figure(save_loss_curves, errors, losses, gradients, "error of an offset", caption=caption)

# %% [markdown]
# One more thing can be seen in the curves: smooth L1 is nowhere above L1. Exchanging one for the other makes the offset
# loss *smaller* against the class loss, so the switch turns two knobs at once. Keep that in mind for the exercise about
# weights.

# %%
for name, values in losses.items():
    assert (values <= losses["L1"]).all(), name
train_and_score("smooth L1, σ = 1", change_config(book, {"bbox_loss": "smooth_l1", "sigma": 1.0}))
show_results("the book", "smooth L1, σ = 1")

# %% [markdown]
# ## Exercise 1, continued: a loss that looks at what is difficult
#
# Cross entropy is $-\log p$, where $p$ is the probability that the network gives to the true class. Almost all anchors
# are background, and the network soon knows it. Each of them costs little, but together they cost a lot. The focal loss
# $-\alpha\,(1-p)^\gamma \log p$ turns down what is already right: the larger γ, the more.

# %%
from ssd_torch.losses import cross_entropy, focal_loss

show_source(focal_loss)

# %% [markdown]
# The function takes logits. For two classes with the logits $0$ and $z$ the probability is $p = 1/(1+e^{-z})$, so we
# choose $z$ to get the $p$ that we want. The gradient by $z$ is $(1-p)^\gamma\,(\gamma\,p \log p + p - 1)$; with γ = 0
# it is the $p - 1$ of cross entropy.

# %%
p = np.linspace(0.01, 0.99, 99)
logits = np.stack([np.zeros_like(p), np.log(p / (1 - p))], axis=-1)[None]  # (1, 99, 2)
labels = to_device(np.ones((1, 99), np.int64), device)
losses, gradients = {}, {}
for gamma in (0, 1, 2, 5):
    values, slopes = with_gradient(lambda Z, g=gamma: focal_loss(Z, labels, 1.0, g), logits)
    losses[f"γ = {gamma}"], gradients[f"γ = {gamma}"] = values[0], slopes[0, :, 1]
    np.testing.assert_allclose(values[0], -((1 - p) ** gamma) * np.log(p), atol=1e-12)
    np.testing.assert_allclose(slopes[0, :, 1], (1 - p) ** gamma * (gamma * p * np.log(p) + p - 1), atol=1e-12)

# %%
caption = "Focal loss with α = 1, and its gradient by the logit of the true class; γ = 0 is cross entropy."
show_figure(save_loss_curves, p, losses, gradients, "probability p of the true class", caption=caption)

# %% [markdown]
# At $p = 0.9$ and γ = 2 an anchor counts for a hundredth of what it costs in cross entropy; at $p = 0.1$ it still
# counts for four fifths.

# %%
share = losses["γ = 2"] / losses["γ = 0"]
np.testing.assert_allclose(share[[89, 9]], [0.01, 0.81])
p[[89, 9]]

# %% [markdown]
# Does that move the attention to the objects? We ask the network that was trained with the book's setting: how much of
# the loss on the validation images comes from background anchors?

# %%
from ssd_common.data.sampling import batches, in_order
from ssd_torch.targets import multibox_target

images, boxes = next(batches(val, in_order(len(val), 32), book.model))
anchors, cls_preds, bbox_preds = forward(net, to_device(images, device))
bbox_labels, bbox_masks, cls_labels = multibox_target(anchors, to_device(boxes, device))
background = to_numpy(cls_labels) == 0
print(f"anchors: {background.mean():.2%} are background")
for gamma in (0, 2):
    values = to_numpy(focal_loss(cls_preds, cls_labels, 1.0, gamma))
    print(f"focal loss with γ = {gamma}: {values[background].sum() / values.sum():.2%} comes from background")

# %% [markdown]
# The factor α is the same for every class here, as in the Straight Dope's chapter, where it is 0.25. All that it does
# is to make the class loss smaller, here to a quarter. With the other quarter, $(1-p)^2$, an anchor of which the
# network knows nothing, $p = 0.5$, counts for a sixteenth of what it does in cross entropy. A fair trial of the focal
# loss would tune the learning rate with it.

# %%
from ssd_common.config import LossConfig

uncertain = to_device(np.zeros((1, 1, 2))), to_device(np.ones((1, 1), np.int64))
ratio = to_numpy(focal_loss(*uncertain, LossConfig().alpha, LossConfig().gamma) / cross_entropy(*uncertain))
np.testing.assert_allclose(ratio, 1 / 16)
train_and_score("focal loss, γ = 2", change_config(book, {"cls_loss": "focal"}))
show_results("the book", "focal loss, γ = 2")

# %% [markdown]
# ## Exercise 2.1: a larger input for small objects
#
# If an object is small, there may be no anchor that fits it. It then trains only the one anchor that it claims, and is
# hard to find. Making the image larger makes the feature maps larger, and puts more anchors closer together. The
# network is made of convolutions, so it needs no other weights for that.

# %%
import dataclasses

large = dataclasses.replace(BOOK.model, image_size=512)
print("feature maps:", BOOK.model.feature_map_sizes, "and", large.feature_map_sizes)
print("anchors:", BOOK.model.num_anchors, "and", large.num_anchors)
assert (BOOK.model.num_anchors, large.num_anchors) == (5444, 4 * (64**2 + 32**2 + 16**2 + 8**2 + 1))
outputs = forward(net, to_device(np.zeros((1, 3, 512, 512), np.float32), device))
assert outputs[0].shape == (1, large.num_anchors, 4)

# %% [markdown]
# Is that enough? Let us draw bananas of 5 to 8 percent of the image, and ask for each how well the best of all the
# anchors overlaps it. The chapter gives an object to the anchors that overlap it by an IoU of 0.5 or more, and to the
# one that it claims.

# %%
from ssd_common.data.anchor_fit import best_overlaps, box_shapes, fit_anchors

tiny = SyntheticDataset("val", image_size=128, size_range=(0.05, 0.08), num_images=32)
tiny_boxes = [tiny[i][1] for i in range(len(tiny))]
mean_overlap = {}
for image_size in (256, 512):
    model = dataclasses.replace(BOOK.model, image_size=image_size)
    fitted = dataclasses.replace(model, anchors=fit_anchors(box_shapes(tiny_boxes), model))
    for name, config in {"the book's anchors": model, "fitted anchors": fitted}.items():
        overlaps = best_overlaps(tiny_boxes, config)
        print(f"{image_size} pixels, {name:18}: {(overlaps >= 0.5).mean():4.0%} of the objects reach 0.5")
        mean_overlap[image_size, name] = overlaps.mean()
        assert name == "fitted anchors" or overlaps.max() < 0.5
assert mean_overlap[512, "fitted anchors"] > mean_overlap[256, "fitted anchors"]

# %% [markdown]
# A larger image alone does nothing here, and it is easy to see why: the sizes of the anchors are *fractions* of the
# image, and so is the object. An object of side 0.08 inside an anchor of the smallest size, 0.2, overlaps it by
# $0.08^2/0.2^2 = 0.16$, in an image of any size. What such objects need is smaller anchors, which `fit_anchors` finds
# by clustering the boxes of the training images; and then a larger map as well, because small anchors that are far
# apart leave gaps between them. The two answers need each other.
#
# For our bananas, which are not that small, we measure each by itself.

# %%
fitted = fit_anchors(box_shapes(data[i].labels for i in range(len(data))), book.model)
train_and_score("fitted anchors", change_config(book, {"anchors": fitted}))
train_and_score("input twice as large", change_config(book, {"image_size": 2 * size}))
show_results("the book", "fitted anchors", "input twice as large")

# %% [markdown]
# Look at the baselines of the fitted anchors. More anchors that fit mean more positive anchors, and so a network that
# predicts nothing makes more errors. Class error and bbox MAE can be compared **only where the anchors are the same**.
# Average precision looks at the boxes that come out, and compares everything. And look at the seconds: a side twice as
# long is about four times the work.
#
# ## Exercise 2.2: fewer negative anchors
#
# SSD's own answer to all that background is hard negative mining: in each image keep the positive anchors, and of the
# background only those that the network gets most wrong, three for each positive one.

# %%
from ssd_torch.losses import hard_negatives

show_source(hard_negatives)

# %%
kept = to_numpy(hard_negatives(cross_entropy(cls_preds, cls_labels), cls_labels, 3))
positives = (~background).sum(axis=1)
np.testing.assert_array_equal(kept.sum(axis=1), np.minimum(4 * positives, kept.shape[1]))
assert kept[~background].all()
print(f"of {kept.shape[1]} anchors, {positives.mean():.1f} are positive and {kept.sum(axis=1).mean():.1f} are kept")

# %% [markdown]
# Which are they? Here is a validation image, and what the network that was trained with the book's setting finds
# hard.

# %%
from ssd_common.figures import save_box_panels
from ssd_common.figures.boxes import Boxes

corners, image = to_numpy(anchors)[0], val[0].image
panels = {
    "positive anchors": [Boxes(corners[~background[0]])],
    "hard negatives": [Boxes(corners[kept[0] & background[0]])],
}
caption = "The anchors of an image that count in hard negative mining. The other background anchors are left out."
show_figure(save_box_panels, image, panels, caption=caption)

# %% [markdown]
# The other anchors are out of the loss, and so out of the gradient:

# %%
from ssd_torch.losses import loss_terms

config = LossConfig(negatives_per_positive=3)
targets = cls_labels, bbox_preds, bbox_labels, bbox_masks
values, slopes = with_gradient(lambda Z: loss_terms(Z, *targets, config)[0], to_numpy(cls_preds))
assert not slopes[~kept].any()
over_all = to_numpy(loss_terms(cls_preds, *targets)[0])
print(
    f"class loss of the same predictions: {over_all.mean():.3f} over all anchors, {values.mean():.3f} over those kept"
)
train_and_score("hard negatives 3:1", change_config(book, {"negatives_per_positive": 3}))
show_results("the book", "hard negatives 3:1")

# %% [markdown]
# A mean over the few hard anchors is a larger number than a mean over all of them, and so are its gradients: this
# switch changes how far a step goes, too.
#
# ## Exercise 2.3: weights for the two losses
#
# The loss is a sum of two quantities that have nothing to do with each other, one about classes and one about places.
# That both count once is a choice like any other. `LossConfig` has a factor for each.

# %%
losses_of = {weight: loss_terms(cls_preds, *targets, LossConfig(bbox_weight=weight)) for weight in (1.0, 4.0)}
for (cls, bbox), weight in zip(losses_of.values(), losses_of, strict=True):
    print(f"offset loss times {weight:g}: class loss {float(cls.mean()):.4f}, offset loss {float(bbox.mean()):.4f}")
(cls_1, bbox_1), (cls_4, bbox_4) = [map(to_numpy, terms) for terms in losses_of.values()]
np.testing.assert_array_equal(cls_1, cls_4)
np.testing.assert_allclose(4 * bbox_1, bbox_4, rtol=1e-6)

# %% [markdown]
# Only the *ratio* of the two weights is new: multiplying both by the same number is the same, without weight decay, as
# multiplying the learning rate. We let the offsets count four times.

# %%
train_and_score("offset loss times 4", change_config(book, {"bbox_weight": 4.0}))
show_results("the book", "smooth L1, σ = 1", "offset loss times 4")

# %% [markdown]
# ## Exercise 2.4: another way to evaluate
#
# The chapter prints class error and bbox MAE. Both look excellent without any learning: a network that predicts nothing
# has fewer than one anchor in a hundred wrong, because nearly all anchors are background. The SSD paper reports
# **average precision**: it looks at the boxes that come out, as a user does. Sort the detections of all images by
# score; going down, keep count of *precision*, the share that is right so far, and of *recall*, the share of the
# objects found so far. Average precision is the area under the best precision at each recall or above.
#
# Here is a case that we can do by hand: two images with an object each, and three detections. The best one is right,
# the second is beside the object, the third finds the other object.

# %%
from ssd_common.data.ground_truth import GroundTruth

objects = [[0, 0.2, 0.2, 0.6, 0.6]], [[0, 0.5, 0.5, 0.9, 0.9]]
truths = [GroundTruth(np.array(rows), size=(100, 100)) for rows in objects]
found = [[0, 0.9, 0.2, 0.2, 0.6, 0.6], [0, 0.8, 0.6, 0.6, 1.0, 1.0]], [[0, 0.7, 0.5, 0.5, 0.9, 0.9]]
detections = [np.array(rows) for rows in found]
curve = precision_recall(detections, truths, class_id=0)
np.testing.assert_allclose(curve.precision, [1, 1 / 2, 2 / 3])
np.testing.assert_allclose(curve.recall, [1 / 2, 1 / 2, 1])

# %% [markdown]
# Up to a recall of ½ the best precision is 1, from there on it is ⅔. Pascal VOC has two ways to measure that area, the
# exact one since 2010 and the mean over 11 recalls before; COCO takes the mean over 101 recalls. All three by hand:

# %%
from ssd_common.evaluation import coco_average_precision, voc_average_precision

scores = voc_average_precision(detections, truths, 1) | coco_average_precision(detections, truths, 1)
np.testing.assert_allclose(scores["voc12"], 1 / 2 * 1 + 1 / 2 * 2 / 3)
np.testing.assert_allclose(scores["voc07"], (6 * 1 + 5 * 2 / 3) / 11)
np.testing.assert_allclose(scores["ap50"], (51 * 1 + 50 * 2 / 3) / 101)
assert results["the book"]["baseline_class_error"] < 0.01
{name: values.item() for name, values in scores.items() if name in ("voc07", "voc12", "ap50", "ap")}

# %% [markdown]
# `ap50` counts a detection as right from an IoU of 0.5 on, as VOC does; COCO's `ap` is the mean over ten such
# thresholds, up to 0.95. It comes from the library faster-coco-eval, and this case does not ask it for more than `ap50`
# does, because a box is either exact or wrong. Our networks are not exact, and so their `ap` is below their `ap50`.
#
# ## Beyond the exercises
#
# The chapter leaves out what most detectors use: an optimiser with momentum whose learning rate rises and falls,
# images that are changed at random (`AUGMENTATIONS`; `jitter` mirrors, shifts, brightens and adds noise), and all of
# it together. The preset `improved` combines hard negatives, smooth L1, momentum, one cycle of the learning rate with a
# higher peak, augmentation, and PyTorch's initial weights; its own anchors are for smaller objects, so it gets the
# fitted ones here.

# %%
from ssd_common.config import AUGMENTATIONS, IMPROVED

one_cycle = {"momentum": 0.9, "lr": BOOK.train.lr / 10, "schedule": "one-cycle"}
train_and_score("momentum, one cycle", change_config(book, one_cycle))
train_and_score("augmentation", change_config(book, {"augment": AUGMENTATIONS["jitter"]}))
sizes = {"image_size": size, "epochs": epochs, "batch_size": batch_size, "anchors": fitted}
train_and_score("improved", change_config(IMPROVED, sizes))
show_results("the book", "momentum, one cycle", "augmentation", "fitted anchors", "improved")

# %% [markdown]
# With momentum 0.9 a gradient acts on ten steps or so, hence a tenth of the learning rate. Its cycle is one function
# for both frameworks:

# %%
from ssd_common.schedule import learning_rate

config = change_config(book, one_cycle).train
rates = [learning_rate(config, step, 100) for step in range(100)]
assert np.argmax(rates) == 29
np.testing.assert_allclose([rates[0], rates[29], rates[99]], [0.02 / 25, 0.02, 0.02 / 250000])
show_source(learning_rate)

# %% [markdown]
# ## Everything in one table

# %%
show_results(*results)
assert all(0 <= row["ap"] <= row["ap50"] <= 1 for row in results.values())

# %%
from ssd_common.figures import save_precision_recall

shown = ("the book", "another seed", "fitted anchors", "improved")
caption = "Precision and recall of the same validation images at IoU 0.5, after four of the trainings."
show_figure(save_precision_recall, [curves[name] for name in shown], shown, caption=caption)

# %% [markdown]
# Resist the wish to crown a winner. A quick training is stopped long before it is done, and what helps in the first
# minute need not help in the end: augmentation, for one, is meant for trainings so long that the network would learn
# its images by heart. And each row changes one thing where a practitioner would tune three. What the table does show
# is how such a question is asked: one switch at a time, the chance between two seeds beside it, a metric that does not
# move with the anchors, and the price in seconds. For the answers to trust, let `make ablation` run for a few days.
#
# ## Questions
#
# 1. Which rows of the table differ from the book's by more than the two seeds differ? Train a third seed, and ask
#    again.
# 2. Why must class error not be compared between the book's anchors and the fitted ones, and why may average precision?
# 3. Show that smooth L1 is never above L1, whatever σ is. For which σ is its gradient at an error of 0.5 the same as
#    L1's?
# 4. At which $p$ is the gradient of the focal loss with γ = 2 largest? What does that say about a hopeless anchor?
# 5. Keep one negative for each positive anchor instead of three. What becomes of the false positives? Look at the
#    precision, not only at the average.
# 6. A small project: the offset loss here counts the four offsets alike and says nothing about overlap. Read about the
#    generalised IoU loss (Rezatofighi et al., 2019), add it to the three packages as `CONTRIBUTING.md` says, and
#    measure it.
#
# ## Where to look
#
# - `ssd_common/config/hyperparameters.py`: every switch, with its source; `ssd_common/losses.py`: the formulas in
#   numpy.
# - `ssd_torch/losses.py`: the same in this framework; `tests/reference/test_losses.py`: both against the frameworks'
#   own losses, torchvision's SSD, and finite differences.
# - `ssd_common/data/anchor_fit.py`, `ssd_common/schedule.py`, `ssd_common/data/augment/augmentation.py`,
#   `ssd_common/evaluation/average_precision.py`.
# - `benchmarks/ablation.py` and `docs/ablation.md`: the same for every switch, in both frameworks. `docs/book_gap.md`:
#   what initial weights alone can do.
# - The notebook `ssd_torch` builds the detector, `anchors_targets_nms` explains anchors and overlaps,
#   `toyssd_pikachu_torch` uses focal and smooth L1 loss as an older chapter did.
