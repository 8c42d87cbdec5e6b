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
# The chapter *Single Shot Multibox Detection* ends with exercises: better losses, larger images, fewer negatives,
# other weights, another metric. This notebook answers each of them in three steps: the idea, the formula with a
# check, and a training run that measures the effect. At the end you will be able to
#
# - write focal loss, smooth L1 and hard negative mining, and check their gradients;
# - train the detector with a loss of your own;
# - say when class error and bbox MAE can be compared, and when only average precision can;
# - tell an improvement from chance.
#
# **You need** the notebook [chapter_torch](chapter_torch.ipynb): anchors, targets, the training loop. **Time**: 60
# minutes to read, 1 minute to run; the full setting takes about an hour on a CPU. The same notebook exists
# [for MXNet](exercises_mxnet.ipynb).

# %%
import os

QUICK = os.environ.get("TINYSSD_NOTEBOOK", "quick") == "quick"

# %% [markdown]
# Write `QUICK = False` for the full setting. If the next cell does not find `ssd_common`, run
# `%pip install "tinyssd[torch] @ git+ADDRESS"` with the address of the repository, and restart the kernel.

# %%
import numpy as np

from ssd_common.teaching import check_same, show_figure
from ssd_torch.data import get_device, to_device, to_numpy

np.set_printoptions(precision=3, suppress=True)
device = get_device()  # a GPU if there is one

# %% [markdown]
# ## How an answer is measured
#
# An improvement is a claim, and a training run decides about it. Every answer below ends in the same way: we take
# the book's configuration, change **one** switch, train from the beginning with the same seed, and look at the
# same validation images.
#
# The images are synthetic bananas. The network sees them at 64 × 64 pixels, and the bananas are large enough for
# that. The quick setting has few images and few steps. The full setting has as many images and epochs as the
# chapter. The images are drawn twice as large as the network sees them, so that a larger input has more to show.

# %%
from ssd_common.config import BOOK
from ssd_common.data.synthetic import SyntheticDataset
from ssd_common.runs.start import change_config

size, sides = 64, (0.35, 0.7)  # of the network's input in pixels, and of the bananas as a fraction of the image
num_images, epochs, batch_size = (32, 5, 4) if QUICK else (1000, 20, 32)
data = SyntheticDataset("train", image_size=2 * size, size_range=sides, num_images=num_images)
val = SyntheticDataset("val", image_size=2 * size, size_range=sides, num_images=32 if QUICK else 100)
book = change_config(BOOK, {"image_size": size, "epochs": epochs, "batch_size": batch_size})
book.train

# %% [markdown]
# This is the whole configuration of a training run. Each exercise changes a field of `TrainConfig`, of its
# `LossConfig`, or of `ModelConfig`. On the command line, the same fields are flags:
# `tinyssd train --bbox-loss smooth_l1`.
#
# `train_and_score` trains a configuration and keeps the numbers that we want to compare.

# %%
import time

from ssd_common.evaluation import mean_average_precision, precision_recall
from ssd_common.weights import initial_weights
from ssd_torch.evaluate import evaluate
from ssd_torch.losses import loss_terms
from ssd_torch.predict import forward
from ssd_torch.train import make_trainer, train
from ssd_torch.weights import make_net

results, curves = {}, {}


# %%
def train_and_score(name, preset, terms=loss_terms):
    """Train a configuration from its initial weights, and keep its scores on the validation images."""
    start = time.perf_counter()
    net = make_net(preset.model, initial_weights(preset.model, preset.train), device)
    trainer = make_trainer(net, preset.train)
    for _ in train(net, trainer, data, preset.model, preset.train, device=device, terms=terms):
        pass
    seconds = time.perf_counter() - start
    metrics, detections, truths = evaluate(net, val, preset.model, preset.predict, preset.train.loss, device=device)
    precision = mean_average_precision(detections, truths, preset.model.num_classes)
    results[name] = metrics | precision | {"seconds": seconds}
    curves[name] = precision_recall(detections, truths, class_id=0)
    return net


# %%
from IPython.display import Markdown, display


def show_results(*names):
    """Show the scores of some configurations, a row each."""
    lines = ["| setting | AP50 | AP | class error (baseline) | bbox MAE (baseline) | seconds |", "|---|" + "---:|" * 5]
    for name in names:
        row = results[name]
        errors = [f"{row[key]:.4f} ({row[f'baseline_{key}']:.4f})" for key in ("class_error", "bbox_mae")]
        scores = [f"{row['ap50']:.3f}", f"{row['ap']:.3f}", *errors, f"{row['seconds']:.1f}"]
        lines.append(f"| {name} | {' | '.join(scores)} |")
    display(Markdown("\n".join(lines)))


# %% [markdown]
# First the book's configuration, then the same configuration with another seed: other initial weights and another
# order of the images, nothing else. (The configuration `BOOK` starts from Xavier's weights, as the book's MXNet
# edition does. The book's PyTorch edition starts from PyTorch's default.)

# %%
book_net = train_and_score("the book", book)
train_and_score("another seed", change_config(book, {"seed": 1}))
show_results("the book", "another seed")

# %% [markdown]
# Read this table before any other. The two rows differ by **chance alone**. An improvement that is smaller than
# their difference shows nothing. One short training run with one seed proves little. The command `make ablation`
# trains every switch for the chapter's 20 epochs at 256 × 256 pixels, with several seeds and in both frameworks.
# The page [effect of each exercise](../docs/ablation.md) shows the results of a shorter run.
#
# *AP50* and *AP* are average precision, the subject of the last exercise: higher is better, 1 is perfect. The
# *baseline* of an error is the score of a trivial detector that answers background and zero offsets everywhere. It
# depends on the images and on the anchors, not on training.

# %% tags=["check"] jupyter={"source_hidden": true}
for name in ("baseline_class_error", "baseline_bbox_mae"):
    np.testing.assert_allclose(results["another seed"][name], results["the book"][name], rtol=1e-5)

# %% [markdown]
# **Change it.** Train a third seed: `train_and_score("seed 2", change_config(book, {"seed": 2}))`. How far are the
# three rows apart? Only a larger difference counts below.
#
# ## Exercise 1: a smoother loss for the offsets
#
# The exercise: replace L1 by smooth L1. The gradient of L1 is −1 or +1, however small the error is. A prediction
# that is almost right is pushed as hard as one that is far off. Smooth L1 rounds the tip. Below $1/\sigma^2$ it is
# a parabola, $(\sigma x)^2/2$, with the gradient $\sigma^2 x$. Above, it is the straight line
# $|x| - 0.5/\sigma^2$. It has the same slope as L1, and the value is smaller by $0.5/\sigma^2$.


# %% tags=["framework"]
import torch


def l1_loss(errors):
    return torch.abs(errors)


def smooth_l1(errors, sigma):
    size = torch.abs(errors)
    return torch.where(size < 1 / sigma**2, (sigma * errors) ** 2 / 2, size - 0.5 / sigma**2)


# %%
check_same(l1_loss, smooth_l1)

# %% [markdown]
# `check_same` compares values and gradients with the package. We also compare them with the framework's own
# operator, and with the derivative that we find by hand: $\sigma^2 x$, cut off at −1 and +1.

# %% [markdown] tags=["framework"]
# **In PyTorch** a tensor that `requires_grad_()` is watched. `backward()` leaves the derivative of a sum in its
# `grad`.


# %% tags=["framework"]
def with_gradient(function, values):
    """Return the values of a function of an array, and the gradient of their sum."""
    X = to_device(values, device).requires_grad_()
    Y = function(X)
    Y.sum().backward()
    return to_numpy(Y), to_numpy(X.grad)


# %% tags=["framework"]
from torch.nn import functional as F


def operator_smooth_l1(X, sigma):
    """Return smooth L1 by the framework's operator; its beta is the error where the parabola ends."""
    return F.smooth_l1_loss(X, 0 * X, beta=1 / sigma**2, reduction="none")


# %%
errors = np.linspace(-2, 2, 81)
values_of, slopes_of = {}, {}
for sigma in (10, 1, 0.5):
    name = f"smooth L1, σ = {sigma:g}"
    values_of[name], slopes_of[name] = with_gradient(lambda X, s=sigma: smooth_l1(X, s), errors)
    by_operator = to_numpy(operator_smooth_l1(to_device(errors, device), sigma))
    np.testing.assert_allclose(values_of[name], by_operator, atol=1e-12)
    np.testing.assert_allclose(slopes_of[name], np.clip(sigma**2 * errors, -1, 1), atol=1e-12)
values_of["L1"], slopes_of["L1"] = with_gradient(l1_loss, errors)

# %%
from ssd_common.figures import save_loss_curves

caption = "Smooth L1 for three values of σ, and L1. With σ = 10 it is hard to tell from L1. The gradient of L1 jumps."
show_figure(save_loss_curves, errors, values_of, slopes_of, "error of an offset", caption=caption)

# %% [markdown]
# The curves show one more thing: smooth L1 is nowhere above L1. The switch therefore also makes the offset loss
# *smaller* than the class loss. It changes two things at once. Remember this in the exercise about weights.

# %%
train_and_score("smooth L1, σ = 1", change_config(book, {"bbox_loss": "smooth_l1", "sigma": 1.0}))
show_results("the book", "smooth L1, σ = 1")

# %% tags=["check"] jupyter={"source_hidden": true}
for name, values in values_of.items():
    assert (values <= values_of["L1"]).all(), name

# %% [markdown]
# **Change it.** Set σ to 10 in the training run. The curve of σ = 10 is never more than 0.005 below L1, so you
# should see a difference no larger than that between two seeds.

# %% tags=["check"] jupyter={"source_hidden": true}
if not QUICK:
    assert np.abs(values_of["smooth L1, σ = 10"] - values_of["L1"]).max() <= 0.005 + 1e-12

# %% [markdown]
# ## Exercise 1, continued: a loss that looks at the difficult anchors
#
# The exercise: replace cross entropy by the focal loss. Cross entropy is $-\log p$, where $p$ is the probability
# that the network gives to the right class. Almost all anchors are background, and the network soon knows it. Each
# of them costs little, but together they cost a lot. The focal loss $-\alpha\,(1-p)^\gamma \log p$ turns down what
# is already right, and a larger γ turns it down more.


# %% tags=["framework"]
def cross_entropy(cls_preds, cls_labels):
    log_probs = torch.log_softmax(cls_preds, dim=-1)
    return -log_probs.gather(-1, cls_labels[..., None])[..., 0]


def focal_loss(cls_preds, cls_labels, alpha, gamma):
    loss = cross_entropy(cls_preds, cls_labels)
    return alpha * (1 - torch.exp(-loss)) ** gamma * loss


# %%
check_same(cross_entropy, focal_loss)

# %% [markdown]
# The function takes logits. For two classes with the logits 0 and $z$, the probability is $p = 1/(1+e^{-z})$, so
# we can choose $z$ for every $p$. The gradient by $z$ is $(1-p)^\gamma\,(\gamma\,p \log p + p - 1)$. With γ = 0
# this is the $p - 1$ of cross entropy.

# %%
p = np.linspace(0.01, 0.99, 99)
logits = np.stack([np.zeros_like(p), np.log(p / (1 - p))], axis=-1)[None]  # (1, 99, 2)
ones = to_device(np.ones((1, 99), np.int64), device)
focal_of, focal_slopes = {}, {}
for gamma in (0, 1, 2, 5):
    values, slopes = with_gradient(lambda Z, g=gamma: focal_loss(Z, ones, 1.0, g), logits)
    focal_of[f"γ = {gamma}"], focal_slopes[f"γ = {gamma}"] = values[0], slopes[0, :, 1]
    np.testing.assert_allclose(values[0], -((1 - p) ** gamma) * np.log(p), atol=1e-12)
    np.testing.assert_allclose(slopes[0, :, 1], (1 - p) ** gamma * (gamma * p * np.log(p) + p - 1), atol=1e-12)

# %%
caption = "Focal loss with α = 1, and its gradient by the logit of the right class. γ = 0 is cross entropy."
show_figure(save_loss_curves, p, focal_of, focal_slopes, "probability p of the right class", caption=caption)

# %% [markdown]
# At $p = 0.9$ and γ = 2 an anchor costs a hundredth of its cross entropy. At $p = 0.1$ it still costs four fifths.

# %%
factor = focal_of["γ = 2"] / focal_of["γ = 0"]
print(f"at p = 0.9 the factor is {factor[89]:.2f}, at p = 0.1 it is {factor[9]:.2f}")
np.testing.assert_allclose(factor[[89, 9]], [0.01, 0.81])

# %% [markdown]
# Does this move the attention to the objects? We ask the network that was trained with the book's settings: how
# much of the loss on the validation images comes from background anchors?

# %%
from ssd_common.data.sampling import batches, in_order
from ssd_torch.targets import multibox_target

images, boxes = next(batches(val, in_order(len(val), 32), book.model))
anchors, cls_preds, bbox_preds = forward(book_net, to_device(images, device))
bbox_labels, bbox_masks, cls_labels = multibox_target(anchors, to_device(boxes, device))
background = to_numpy(cls_labels) == 0
print(f"anchors: {background.mean():.2%} are background")
for gamma in (0, 2, 5):
    loss = to_numpy(focal_loss(cls_preds, cls_labels, 1.0, gamma))
    print(f"focal loss with γ = {gamma}: {loss[background].sum() / loss.sum():.2%} comes from background")

# %% [markdown]
# The factor α is the same for every class here, as in the Straight Dope's chapter, where it is 0.25. α = 0.25
# scales the whole class loss to a quarter. At $p = 0.5$ the factor $(1-p)^2$ is another quarter. Together this is
# 1/16 of cross entropy, at exactly those anchors of which the network knows nothing yet. A fair trial of the focal
# loss would choose a new learning rate as well.

# %%
train_and_score("focal loss, γ = 2", change_config(book, {"cls_loss": "focal"}))
show_results("the book", "focal loss, γ = 2")

# %% tags=["check"] jupyter={"source_hidden": true}
uncertain = to_device(np.zeros((1, 1, 2))), to_device(np.ones((1, 1), np.int64))
np.testing.assert_allclose(to_numpy(focal_loss(*uncertain, 0.25, 2) / cross_entropy(*uncertain)), 1 / 16)

# %% [markdown]
# ## Exercise 2.1: a larger input for small objects
#
# The exercise: enlarge the image for small objects. If an object is small, no anchor may fit it. Then it trains
# only the one anchor that it claims, and it is hard to find. A larger image has larger feature maps, with more
# anchors closer together. The network consists of convolutions, so its weights stay the same.

# %%
import dataclasses

large = dataclasses.replace(BOOK.model, image_size=512)
print("feature maps:", BOOK.model.feature_map_sizes, "and", large.feature_map_sizes)
print("anchors:", BOOK.model.num_anchors, "and", large.num_anchors)
large_outputs = forward(book_net, to_device(np.zeros((1, 3, 512, 512), np.float32), device))
print("the trained network on 512 × 512 pixels:", tuple(large_outputs[0].shape))

# %% tags=["check"] jupyter={"source_hidden": true}
assert (BOOK.model.num_anchors, large.num_anchors) == (5444, 4 * (64**2 + 32**2 + 16**2 + 8**2 + 1))
assert large_outputs[0].shape == (1, large.num_anchors, 4)

# %% [markdown]
# Is that enough? We draw bananas of 5 to 8 percent of the image, and compute for each of them its best overlap
# with any anchor. An anchor belongs to an object if their IoU is at least 0.5, or if the object claims it.

# %%
from ssd_common.data.anchor_fit import best_overlaps, box_shapes, fit_anchors

tiny = SyntheticDataset("val", image_size=128, size_range=(0.05, 0.08), num_images=32)
tiny_boxes = [tiny[i].labels for i in range(len(tiny))]
mean_overlap = {}
for image_size in (256, 512):
    model_config = dataclasses.replace(BOOK.model, image_size=image_size)
    own = dataclasses.replace(model_config, anchors=fit_anchors(box_shapes(tiny_boxes), model_config))
    for name, candidate in {"the book's anchors": model_config, "fitted anchors": own}.items():
        overlaps = best_overlaps(tiny_boxes, candidate)
        mean_overlap[image_size, name] = overlaps.mean()
        print(f"{image_size} pixels, {name:18}: best IoU {overlaps.mean():.2f} on average, ", end="")
        print(f"{(overlaps >= 0.5).mean():4.0%} of the objects reach 0.5")

# %% tags=["check"] jupyter={"source_hidden": true}
assert best_overlaps(tiny_boxes, large).max() < 0.5
assert mean_overlap[512, "fitted anchors"] > mean_overlap[256, "fitted anchors"]

# %% [markdown]
# A larger image alone does nothing here, because the sizes of the anchors are *fractions* of the image, and so is
# the object. An object of side 0.08 inside an anchor of the smallest size, 0.2, has an IoU of
# $0.08^2/0.2^2 = 0.16$ in an image of any size. Such objects need smaller anchors. `fit_anchors` finds them: it
# clusters the boxes of the training images. Small anchors that are far apart leave gaps, so the larger image is
# needed as well. The two answers need each other.
#
# **Change it.** Draw bananas of 15 to 20 percent: `size_range=(0.15, 0.2)`. Now the book's anchors reach an IoU of
# 0.5 for most of the objects.
#
# Our own bananas are not that small. We measure each answer by itself.

# %% tags=["check"] jupyter={"source_hidden": true}
if not QUICK:
    middle = SyntheticDataset("val", image_size=128, size_range=(0.15, 0.2), num_images=32)
    assert (best_overlaps([middle[i].labels for i in range(32)], BOOK.model) >= 0.5).mean() > 0.5

# %%
fitted = fit_anchors(box_shapes(data[i].labels for i in range(len(data))), book.model)
train_and_score("fitted anchors", change_config(book, {"anchors": fitted}))
train_and_score("input twice as large", change_config(book, {"image_size": 2 * size}))
show_results("the book", "fitted anchors", "input twice as large")

# %% [markdown]
# Look at the baselines of the fitted anchors. More of these anchors fit, so more anchors have an object, and the
# trivial detector makes more errors. Class error and bbox MAE can be compared **only where the anchors are the
# same**. Average precision looks at the final boxes and compares everything. Look at the seconds, too: twice the
# side is about four times the work.
#
# ## Exercise 2.2: fewer negative anchors
#
# The exercise: use fewer of the many background anchors. The paper's answer is **hard negative mining**: keep the
# anchors with an object, and of the background only the anchors with the largest loss, three for each object
# anchor.


# %% tags=["framework"]
def hard_negatives(cls_loss, cls_labels, negatives_per_positive):
    positive = cls_labels > 0
    loss = torch.where(positive, -torch.inf, cls_loss)  # of the background
    rank = loss.argsort(dim=1, descending=True, stable=True).argsort(dim=1)  # 0: the largest loss
    quota = negatives_per_positive * positive.sum(dim=1, keepdim=True).clamp(min=1)
    return positive | (rank < quota)


# %%
check_same(hard_negatives)
kept = to_numpy(hard_negatives(cross_entropy(cls_preds, cls_labels), cls_labels, 3))
positives = (~background).sum(axis=1)
print(f"of {kept.shape[1]} anchors, {positives.mean():.1f} have an object and {kept.sum(axis=1).mean():.1f} are kept")

# %% tags=["check"] jupyter={"source_hidden": true}
np.testing.assert_array_equal(kept.sum(axis=1), np.minimum(4 * positives, kept.shape[1]))
assert kept[~background].all()

# %% [markdown]
# Here they are on a validation image, for the network that was trained with the book's settings.

# %%
from ssd_common.figures import save_box_panels
from ssd_common.figures.boxes import Boxes

corners = to_numpy(anchors)[0]
panels = {
    "anchors with an object": [Boxes(corners[~background[0]])],
    "hard negatives": [Boxes(corners[kept[0] & background[0]])],
}
caption = "The anchors of one image that count in hard negative mining. All other background anchors are left out."
show_figure(save_box_panels, val[0].image, panels, caption=caption)

# %%
train_and_score("hard negatives 3:1", change_config(book, {"negatives_per_positive": 3}))
show_results("the book", "hard negatives 3:1")

# %% [markdown]
# A mean over the few hard anchors is a larger number than a mean over all anchors, and so are its gradients. This
# switch also changes how far a step goes.

# %% tags=["check"] jupyter={"source_hidden": true}
from ssd_common.config import LossConfig

mining = LossConfig(negatives_per_positive=3)
targets = cls_labels, bbox_preds, bbox_labels, bbox_masks
kept_loss, kept_slopes = with_gradient(lambda Z: loss_terms(Z, *targets, mining)[0], to_numpy(cls_preds))
assert not kept_slopes[~kept].any()  # anchors that are left out get no gradient
assert kept_loss.mean() > to_numpy(loss_terms(cls_preds, *targets)[0]).mean()

# %% [markdown]
# **Change it.** Keep one negative for each positive anchor: `{"negatives_per_positive": 1}`. The network then sees
# very little background. Look for false positives: how does the precision change?
#
# ## Exercise 2.3: weights for the two losses
#
# The exercise: give the two losses different weights. The loss is a sum of two quantities that have nothing in
# common: one is about classes, the other about places. Counting both once is a choice. `LossConfig` has a factor
# for each.

# %%
for weight in (1.0, 4.0):
    cls, bbox = loss_terms(cls_preds, *targets, LossConfig(bbox_weight=weight))
    print(f"offset loss times {weight:g}: class loss {float(cls.mean()):.4f}, offset loss {float(bbox.mean()):.4f}")

# %% [markdown]
# Only the *ratio* of the two weights is new. Without weight decay, multiplying both by one number is the same as
# multiplying the learning rate. We let the offsets count four times.

# %%
train_and_score("offset loss times 4", change_config(book, {"bbox_weight": 4.0}))
show_results("the book", "smooth L1, σ = 1", "offset loss times 4")

# %% [markdown]
# ## A loss of your own
#
# `train` takes any function in place of `loss_terms`. It gets the predictions and the targets, and returns two
# losses for each image: one for the classes, one for the offsets. As an example we use the *square* of the offset
# errors.


# %% tags=["framework"]
def squared_terms(cls_preds, cls_labels, bbox_preds, bbox_labels, bbox_masks, loss_config=None):
    """Return cross entropy and half the squared error of the offsets, a mean for each image."""
    errors = (bbox_preds - bbox_labels) * bbox_masks
    return cross_entropy(cls_preds, cls_labels).mean(dim=1), (errors**2 / 2).mean(dim=1)


# %%
train_and_score("squared offsets", book, terms=squared_terms)
show_results("the book", "smooth L1, σ = 1", "squared offsets")

# %% [markdown]
# **Change it.** Write another function and train with it. Question 6 asks for the generalised IoU.

# %% tags=["check"] jupyter={"source_hidden": true}
squared = [to_numpy(loss) for loss in squared_terms(cls_preds, *targets)]
plain = [to_numpy(loss) for loss in loss_terms(cls_preds, *targets)]
np.testing.assert_allclose(squared[0], plain[0], rtol=1e-4)
assert squared[1].shape == plain[1].shape == (len(images),)

# %% [markdown]
# ## Exercise 2.4: another way to evaluate
#
# The exercise: find another metric in the SSD paper. The chapter prints class error and bbox MAE. Both look
# excellent without any learning, because more than 99 of 100 anchors are background. The paper reports **average
# precision**. It looks at the final boxes, as a user does:
#
# - sort the detections of all images by score;
# - go down the list. *Precision* is the fraction of detections that are right so far. *Recall* is the fraction of
#   objects that are found so far;
# - average precision is the area under the curve of the best precision at each recall or above.
#
# Here is a case for pencil and paper: two images with one object each, and three detections. The best one is
# right, the second is beside the object, and the third finds the other object.

# %%
from ssd_common.data.ground_truth import GroundTruth

objects = [[0, 0.2, 0.2, 0.6, 0.6]], [[0, 0.5, 0.5, 0.9, 0.9]]
by_hand = [GroundTruth(np.array(rows), size=(100, 100)) for rows in objects]
found = [[0, 0.9, 0.2, 0.2, 0.6, 0.6], [0, 0.8, 0.6, 0.6, 1.0, 1.0]], [[0, 0.7, 0.5, 0.5, 0.9, 0.9]]
three_detections = [np.array(rows) for rows in found]
curve = precision_recall(three_detections, by_hand, class_id=0)
print("precision", curve.precision, " recall", curve.recall)

# %% tags=["check"] jupyter={"source_hidden": true}
np.testing.assert_allclose(curve.precision, [1, 1 / 2, 2 / 3])
np.testing.assert_allclose(curve.recall, [1 / 2, 1 / 2, 1])

# %% [markdown]
# Up to a recall of ½ the best precision is 1, after that it is ⅔. Pascal VOC measures the area in two ways:
# exactly since 2010, and as a mean over 11 recalls before. COCO takes a mean over 101 recalls. All three by hand:

# %%
from ssd_common.evaluation import coco_average_precision, voc_average_precision

scores = voc_average_precision(three_detections, by_hand, 1) | coco_average_precision(three_detections, by_hand, 1)
expected = {
    "voc12": 1 / 2 * 1 + 1 / 2 * 2 / 3,
    "voc07": (6 * 1 + 5 * 2 / 3) / 11,
    "ap50": (51 * 1 + 50 * 2 / 3) / 101,
}
for name, value in expected.items():
    print(f"{name}: {scores[name].item():.4f}, by hand {value:.4f}")
    np.testing.assert_allclose(scores[name], value)

# %% [markdown]
# `ap50` counts a detection as right from an IoU of 0.5 on, as VOC does. COCO's `ap` is the mean over ten such
# thresholds up to 0.95. In this case every box is either exact or wrong, so `ap` equals `ap50`. Boxes of a real
# network are never exact; therefore their `ap` is lower.
#
# ## Beyond the exercises
#
# Most detectors use three things that the chapter leaves out: an optimiser with momentum, a learning rate that
# rises and falls, and images that are changed at random. (`AUGMENTATIONS["jitter"]` mirrors and shifts them,
# changes their brightness and adds noise.) The preset `improved` combines momentum, one cycle of a higher learning
# rate, augmentation, hard negatives, smooth L1 and PyTorch's default initial weights. Its own anchors are for
# smaller objects, so it gets the fitted anchors here.

# %%
from ssd_common.config import AUGMENTATIONS, IMPROVED

one_cycle = {"momentum": 0.9, "lr": BOOK.train.lr / 10, "schedule": "one-cycle"}
train_and_score("momentum, one cycle", change_config(book, one_cycle))
train_and_score("augmentation", change_config(book, {"augment": AUGMENTATIONS["jitter"]}))
sizes = {"image_size": size, "epochs": epochs, "batch_size": batch_size, "anchors": fitted}
train_and_score("improved", change_config(IMPROVED, sizes))
show_results("the book", "momentum, one cycle", "augmentation", "fitted anchors", "improved")

# %% [markdown]
# With momentum 0.9 a gradient acts on about ten steps; therefore the learning rate is a tenth. The cycle is one
# function for both frameworks. It starts at 1/25 of the highest rate, reaches it after 30 percent of the steps,
# and then falls.

# %%
from ssd_common.schedule import learning_rate

rates = [learning_rate(change_config(book, one_cycle).train, step, 100) for step in range(100)]
print(f"step 0: {rates[0]:.4f}, step {np.argmax(rates)}: {max(rates):.4f}, step 99: {rates[99]:.1e}")

# %% tags=["check"] jupyter={"source_hidden": true}
assert np.argmax(rates) == 29
np.testing.assert_allclose([rates[0], rates[29], rates[99]], [0.02 / 25, 0.02, 0.02 / 250000])

# %% [markdown]
# ## Everything in one table

# %%
show_results(*results)

# %%
from ssd_common.figures import save_precision_recall

compared = ("the book", "another seed", "fitted anchors", "improved")
caption = "Precision and recall on the same validation images at IoU 0.5, after four training runs."
show_figure(save_precision_recall, [curves[name] for name in compared], compared, caption=caption)

# %% tags=["check"] jupyter={"source_hidden": true}
assert all(0 <= row["ap"] <= row["ap50"] <= 1 for row in results.values())
assert results["the book"]["baseline_class_error"] < 0.01

# %% [markdown]
# Do not choose a winner from a quick run. It stops long before the training is finished, and what helps in the
# first minute may not help in the end. Augmentation, for example, is for long training runs, in which the network
# would otherwise memorise its images. Each row also changes one thing where a practitioner would tune three.
#
# The table shows how to ask such a question: change one switch at a time, put the difference between two seeds
# beside it, use a metric that does not change with the anchors, and report the price in seconds.
#
# ## Summary
#
# - Smooth L1 has L1's slope for large errors and a smaller gradient for small ones. Focal loss turns down what is
#   right.
# - Small objects need small anchors first, and then a larger image.
# - Hard negative mining leaves out the background that the network knows already.
# - `train(…, terms=…)` trains with any loss.
# - Class error and bbox MAE change with the anchors. Average precision does not.
# - Compare with the difference between two seeds before you believe in an improvement.
#
# ## Questions
#
# The file [solutions_exercises](solutions_exercises.ipynb) answers the questions with code.
#
# 1. Which rows of the table differ from the book's by more than two seeds differ? Train a third seed and ask
#    again.
# 2. Why must class error not be compared between the book's anchors and the fitted ones? Why may average
#    precision?
# 3. Show that smooth L1 is never above L1, for any σ. For which σ is its gradient at an error of 0.5 equal to
#    L1's?
# 4. At which $p$ is the gradient of the focal loss with γ = 2 largest? What does that say about a hopeless anchor?
# 5. Keep one negative for each positive anchor instead of three. How do the false positives change? Look at the
#    precision, not only at the average.
# 6. The offset loss counts four offsets alike and says nothing about overlap. Read about the **generalised IoU**
#    loss (Rezatofighi et al., 2019). Write a `giou_terms` and train with it: `terms=giou_terms`. (Hint: the IoU of
#    two boxes does not change when both are moved and stretched together. So you may decode the offsets of both
#    with an anchor of center 0 and side 1.)
#
# ## Where to look
#
# - [ssd_common/config/hyperparameters.py](../ssd_common/config/hyperparameters.py): every switch, with its source.
# - [ssd_torch/losses.py](../ssd_torch/losses.py): the losses of the package. Its tests compare them with numpy,
#   with the frameworks' own losses and with finite differences.
# - [Effect of each exercise](../docs/ablation.md): every switch in both frameworks.
#   [Why the book's two editions differ](../docs/book_gap.md): the effect of initial weights alone.
# - [anchors_targets_nms](anchors_targets_nms.ipynb) explains anchors and overlaps.
#   [toyssd_pikachu_torch](toyssd_pikachu_torch.ipynb) uses focal and smooth L1 loss, as an older chapter did.
