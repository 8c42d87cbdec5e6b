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
# At the end of this notebook you will have opened a RecordIO file byte by byte, loaded weights that somebody published
# years ago into today's framework, and held what they say against what their chapter printed. The chapter is *Object
# Detection Using Convolutional Neural Networks* of *The Straight Dope*, written for MXNet; its detector is the one that
# *Dive into Deep Learning* took over.

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
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", f"tinyssd[mxnet] @ {source}"], check=True)
sys.path[:0] = map(str, clones)  # ahead of this folder, where ssd_torch.py is a notebook

# %%
import numpy as np

from ssd_common.backends import load_backend

load_backend("mxnet")  # where the framework is missing, this line says so, and what to do
np.set_printoptions(precision=4, suppress=True)

# %% [markdown]
# ## The files
#
# The chapter downloads 1000 images of a rendered Pikachu somewhere in a photograph, packed as RecordIO, and weights
# that were trained on them for 148 epochs. They are not part of this repository. If you have them, the environment
# variable `TINYSSD_DATA` names their folder:
#
# | file | where the chapter gets it, below `https://apache-mxnet.s3-accelerate.amazonaws.com/gluon/` |
# |---|---|
# | `pikachu/train.rec`, `pikachu/val.rec` | `dataset/pikachu/` |
# | `pretrained/ssd_pikachu-fbb7d872.params` | `models/` |
# | `img/pikachu.jpg` | the chapter's own repository |
#
# Without them a stand-in steps in: synthetic bananas, written as RecordIO by our own converter, and a network with
# random weights. Everything runs, and where the published numbers are due, a line says what would be there. The next
# cell is the only one that decides.

# %%
from tempfile import TemporaryDirectory

folder = Path(os.environ.get("TINYSSD_DATA") or "data")
records = {split: folder / "pikachu" / f"{split}.rec" for split in ("train", "val")}
weights_file, demo_picture = folder / "pretrained" / "ssd_pikachu-fbb7d872.params", folder / "img" / "pikachu.jpg"
PUBLISHED = all(file.is_file() for file in (*records.values(), weights_file, demo_picture))
if not PUBLISHED:
    from ssd_common.data.convert import convert_data

    stand_in = TemporaryDirectory()
    records = dict.fromkeys(records, Path(stand_in.name) / "bananas.rec")
    convert_data("synthetic:val", f"rec:{records['val']}")
print("the chapter's files" if PUBLISHED else f"stand-in: {records['val'].name}; {folder} lacks the chapter's files")

# %% [markdown]
# What the chapter prints goes through one function: it shows both numbers, and with the published weights it insists
# that they agree.


# %%
def check_printed(what, printed, ours, within):
    """Show what the chapter prints beside what we get; with the published weights the two must agree."""
    print(f"{what}, as the chapter prints it:\n{np.array(printed)}")
    if PUBLISHED:
        print(f"and as we get it:\n{np.array(ours)}")
        np.testing.assert_allclose(ours, printed, rtol=0, atol=within)
    else:
        print("to see it here, put the chapter's files where the table above says")


# %% [markdown]
# ## Default anchor boxes
#
# At every unit of a feature map the chapter centers several boxes: one for each size $s$ with the first ratio, 1, which
# is $s$ times as wide and as high as the image, and one for each further ratio $r$ with the first size, $s\sqrt r$
# wide and $s/\sqrt r$ high. (Map and image are square here.) Three sizes and two more ratios make five boxes. Its
# example is a map of 40 × 40 units; this is the first box at row 21, column 21.

# %%
from ssd_mxnet.anchors import multibox_prior
from ssd_mxnet.data import get_device, to_device, to_numpy

feature_map = to_device(np.zeros((1, 3, 40, 40), np.float32))
boxes = to_numpy(multibox_prior(feature_map, sizes=[0.5, 0.25, 0.1], ratios=[1, 2, 0.5])).reshape(40, 40, 5, 4)
print(boxes[20, 20, 0])
np.testing.assert_allclose(boxes[20, 20, 0], [0.2625, 0.2625, 0.7625, 0.7625], atol=1e-7)

# %%
from ssd_common.figures import save_anchor_plot
from ssd_common.teaching import show_figure, show_source

white = np.full((400, 400, 3), 255, np.uint8)
caption = (
    "The five anchors of one unit of a 40 × 40 feature map: three sizes as squares, the first size also wide and tall."
)
show_figure(save_anchor_plot, white, boxes[20, 20], caption=caption)

# %% [markdown]
# ## The network
#
# The network is the one of the notebook `ssd_mxnet`, which builds it layer by layer: convolutions predict classes and
# offsets on five feature maps, and the predictions are put in one row. The chapter's examples, with 5 anchors a unit
# and 10 classes on a first map, 3 anchors on a second one, have these shapes.

# %% tags=["framework"]
from ssd_mxnet.model import bbox_predictor, cls_predictor, down_sample_blk

X = to_device(np.zeros((2, 8, 20, 20), np.float32))
layers = cls_predictor(5, 10), bbox_predictor(10), down_sample_blk(16), cls_predictor(3, 10)
for layer in layers:
    layer.initialize()
Y1, boxes1, X2 = (layer(X) for layer in layers[:3])
Y2 = layers[3](X2)

# %%
from ssd_mxnet.model import concat_preds, flatten_pred

assert Y1.shape == (2, 55, 20, 20)
assert boxes1.shape == (2, 40, 20, 20)
assert X2.shape == (2, 16, 10, 10)
assert Y2.shape == (2, 33, 10, 10)
assert flatten_pred(Y1).shape == (2, 22000)
assert flatten_pred(Y2).shape == (2, 3300)
assert concat_preds([Y1, Y2]).shape == (2, 25300)

# %% [markdown]
# Between the two chapters the detector changed its settings, not its layers. The preset `STRAIGHT_DOPE` has the older
# ones, `BOOK` those of *Dive into Deep Learning*; `ssd_common/config/hyperparameters.py` says of each where it comes
# from.

# %%
from ssd_common.config import BOOK, STRAIGHT_DOPE

for part in ("model", "train"):
    old, new = vars(getattr(STRAIGHT_DOPE, part)), vars(getattr(BOOK, part))
    for name in old:
        if old[name] != new[name]:
            print(f"{name}: {old[name]}\n    later {new[name]}")

# %% [markdown]
# ## The published weights
#
# The file was written by MXNet, and its layers are numbered in the order in which they were made: `conv0` is in a
# downsampling block behind the body, because the chapter makes those first. `load_weights` knows these names and gives
# the tensors ours. It parses the format itself, in numpy, so that either framework can have the weights.

# %%
from ssd_common.checkpoints import read_params

if PUBLISHED:
    arrays = read_params(weights_file)
    print({name: array.shape for name, array in list(arrays.items())[:6]})
    assert (len(arrays), sum(array.size for array in arrays.values())) == (92, 1_012_360)
else:
    print("here stands the list of 92 arrays with 1,012,360 values of", weights_file.name)

# %%
from ssd_common.checkpoints import load_weights
from ssd_common.weights import initial_weights
from ssd_mxnet.predict import forward
from ssd_mxnet.weights import make_net

device, model, config = get_device(), STRAIGHT_DOPE.model, STRAIGHT_DOPE.train
weights = load_weights(weights_file).weights if PUBLISHED else initial_weights(model, config)
net = make_net(model, weights, device)
anchors, cls_preds, bbox_preds = forward(net, to_device(np.zeros((1, 3, 256, 256), np.float32), device))
assert anchors.shape == (1, 5444, 4)
assert cls_preds.shape == (1, 5444, 2)
assert bbox_preds.shape == (1, 21776)

# %% [markdown]
# The anchors do not depend on the weights. The chapter prints the first and the last three:

# %%
printed_anchors = [
    [-0.084375, -0.084375, 0.115625, 0.115625],
    [-0.12037501, -0.12037501, 0.15162501, 0.15162501],
    [-0.12579636, -0.05508568, 0.15704636, 0.08633568],
    [0.01949999, 0.01949999, 0.98049998, 0.98049998],
    [-0.12225395, 0.18887302, 1.12225389, 0.81112695],
    [0.18887302, -0.12225395, 0.81112695, 1.12225389],
]
ours = to_numpy(anchors)[0, [0, 1, 2, -3, -2, -1]]
print(ours)
np.testing.assert_allclose(ours, printed_anchors, rtol=0, atol=2e-7)

# %% [markdown]
# ## A record
#
# Thousands of small image files are slow to read, above all from a network drive. RecordIO puts them in one file, one
# *record* after the other. A record begins with four bytes that say "here begins a record" and four with its length:

# %%
from ssd_common.data.formats.recordio import MAGIC, read_records

start = records["val"].read_bytes()[:64]
length = int.from_bytes(start[4:8], "little")
payload = next(iter(read_records(records["val"])))
print("magic number", start[:4].hex(" "), "· length", length, "bytes · then", start[8:24].hex(" "), "…")
assert start[:4] == MAGIC
assert length == len(payload)
assert start[8:] == payload[:56]

# %% [markdown]
# What is in it, the **payload**, is a header of 24 bytes, the label, and an encoded image. The header says how many
# numbers the label has, and the label of a detection dataset has a header of its own: its length, how many numbers
# describe an object, width and height of the image. Then comes a row for each object, its class and the corners of
# its box as fractions of the image.

# %%
from ssd_common.data.formats.records import read_detection_label, unpack_image_record

record = unpack_image_record(payload)
header_width, object_width, *size = record.label[: int(record.label[0])]
rows = read_detection_label(record.label)
print("label:", record.label, "\nits header:", int(header_width), "numbers; an object:", int(object_width), "numbers")
print("image of", size, "pixels,", len(record.image), "bytes, beginning with", record.image[:4])
print("objects:\n", rows)
assert record.label.size == header_width + len(rows) * object_width
assert record.image[:3] in (b"\xff\xd8\xff", b"\x89PN")  # JPEG or PNG

# %%
show_source(unpack_image_record, read_detection_label)

# %% [markdown]
# That is all there is to the format, and so our reader needs no framework; `tests/data/test_pikachu.py` holds it
# against MXNet's own, image for image. Wrapped as a dataset, with images decoded and labels as arrays:

# %%
from ssd_common.data import load_dataset
from ssd_common.figures import save_detection_grid

train_data, val = (load_dataset(f"rec:{records[s]}", limit=32 if QUICK else None) for s in ("train", "val"))
image, labels, _ = val[0]
assert image.shape == (256, 256, 3)
np.testing.assert_array_equal(labels, rows[:, :5])
examples = [train_data[i] for i in range(8)]
names = model.class_names if PUBLISHED else train_data.class_names
images, truths, _ = zip(*examples, strict=True)
caption = "Eight training images with the boxes of their labels, dashed."
show_figure(save_detection_grid, images, [[]] * 8, names, truths, caption=caption)

# %% [markdown]
# Every image has one object, and a small one. The chapter makes more of them by cropping at random, so that the
# object comes out larger and elsewhere, and takes only crops that show at least 95 percent of it. Either framework gets
# the same crops, because they are made before, in numpy. A batch has the shapes that the chapter prints.

# %%
from ssd_common.data.sampling import batches, epoch_order

order = epoch_order(len(train_data), 32, seed=0, epoch=0)
X, Y = next(batches(train_data, order, model, augment_config=config.augment))
print("data shapes:", X.shape, "label shapes:", Y.shape)
assert (X.shape, Y.shape) == ((32, 3, 256, 256), (32, 1, 5))
mean = np.array(model.mean, np.float32)[:, None, None]
images = [(X[i] + mean).astype(np.uint8).transpose(1, 2, 0) for i in range(8)]
caption = "Eight images of a batch as the network is trained on them: random crops, at 256 × 256 pixels again."
show_figure(save_detection_grid, images, [[]] * 8, names, Y[:8], caption=caption)

# %% [markdown]
# ## Losses
#
# The chapter writes two losses itself. For the classes it has the focal loss, $-\alpha\,(1-p)^\gamma \log p$ with α =
# 0.25 and γ = 2, which turns down what is already right; for the offsets smooth L1, whose gradient fades where the
# error is small. The notebook `exercises_mxnet` draws both and takes them apart.

# %%
from ssd_mxnet.losses import cross_entropy, focal_loss, loss_terms, smooth_l1

show_source(focal_loss, smooth_l1)
print(config.loss)

# %% [markdown]
# Both are averaged over all 5444 anchors of an image. To see that a library's loss is what the chapter's formula says,
# compute it once more from the formula, on a real batch.

# %%
from ssd_mxnet.targets import multibox_target

anchors, cls_preds, bbox_preds = forward(net, to_device(X, device))
bbox_labels, bbox_masks, cls_labels = multibox_target(anchors, to_device(Y, device))
targets = cls_labels, bbox_preds, bbox_labels, bbox_masks
cls, bbox = map(to_numpy, loss_terms(cls_preds, *targets, config.loss))
logits, truth = to_numpy(cls_preds).astype(np.float64), to_numpy(cls_labels)
p = 1 / (1 + np.exp(np.where(truth > 0, -1, 1) * (logits[..., 1] - logits[..., 0])))
np.testing.assert_allclose(cls, np.mean(-0.25 * (1 - p) ** 2 * np.log(p), axis=1), rtol=1e-4)
error = np.abs(to_numpy((bbox_preds - bbox_labels) * bbox_masks))
np.testing.assert_allclose(bbox, np.where(error < 1, error**2 / 2, error - 0.5).mean(axis=1), rtol=1e-4)

# %% [markdown]
# Who pays that loss? With cross entropy and the published weights, nearly all of it comes from background anchors that
# the network is already sure of, because there are so many. The focal loss leaves most of it to the others.

# %%
background = truth == 0
losses_of = {"cross entropy": cross_entropy(cls_preds, cls_labels)}
losses_of["focal loss"] = focal_loss(cls_preds, cls_labels, config.loss.alpha, config.loss.gamma)
print(f"{background.mean():.2%} of the anchors are background")
share = {name: float(to_numpy(v)[background].sum() / to_numpy(v).sum()) for name, v in losses_of.items()}
print({name: f"{value:.1%} from background" for name, value in share.items()})
assert share["cross entropy"] > 0.8 and share["focal loss"] < 0.5 or not PUBLISHED

# %% [markdown]
# ## Training
#
# The chapter loads the published weights and goes on for the last two of 150 epochs. So do we; with random weights
# these are the first two of a training that would take hours on a CPU. As everywhere in these notebooks, the loop is
# short enough to be read.

# %%
from ssd_mxnet.train import make_trainer, train, train_step

show_source(train, train_step)

# %%
import dataclasses

config = dataclasses.replace(config, epochs=2)
for row in train(net, make_trainer(net, config), train_data, model, config, device=device):
    accuracy, error = 1 - row["class_error"], row["bbox_mae"]
    print(f"epoch {row['epoch']}: loss {row['loss']:.6f}, accuracy {accuracy:.6f}, mean absolute error {error:.6f}")

# %% [markdown]
# For both epochs the chapter prints a class accuracy of 0.9976 and 0.9977, and a mean absolute error of the offsets of
# 0.0018, which sounds nearly perfect. We can tell how much it is worth, because we measure beside it what a network
# would score that calls every anchor background and moves no box.

# %%
trivial = 1 - row["baseline_class_error"]
check_printed("accuracy, error", [0.9977, 0.0018], [accuracy, error], within=0.001)
print(f"a network that sees nothing: accuracy {trivial:.4f}, error {row['baseline_bbox_mae']:.4f}")
assert trivial > 0.99

# %% [markdown]
# More than 99 percent, for nothing. Nearly all anchors are background, and counting anchors counts background. This is
# the most important lesson of the chapter, and it is not in it: **judge a detector by its detections.**
#
# ## Prediction
#
# The chapter's image has several Pikachus; those of the two sets have one each. It is resized to 256 × 256 pixels,
# the mean is subtracted, and the network runs once. We use the published weights as they are.

# %%
from ssd_common.data.sampling import to_batch
from ssd_common.data.transforms import read_image

picture = read_image(demo_picture) if PUBLISHED else val[0].image
net = make_net(model, weights, device)
outputs = forward(net, to_device(to_batch([picture], model), device))
_, cls_preds, bbox_preds = map(to_numpy, outputs)
printed_classes = [[0.3375, -1.6466], [1.1530, -1.7726], [1.1536, -0.9835], [-0.2756, -1.2940], [0.4552, -0.8878]]
check_printed("class predictions", printed_classes, cls_preds[0, [0, 1, 2, -3, -2]], within=0.2)
printed_offsets = [-0.1674, -0.1308, -0.6886, -0.1897, 0.1182, -0.2707]
check_printed("box predictions", printed_offsets, bbox_preds[0, [0, 1, 2, -3, -2, -1]], within=0.1)

# %% [markdown]
# Close, but not equal, and there are two good reasons. The chapter predicts *after* its two further epochs, whose
# random crops nobody can repeat. And it shrinks the image with OpenCV, which takes each new pixel from four old ones
# and skips the rest; we take the mean of all that a new pixel covers. Numbers can be compared only as far as the pixels
# are the same.
#
# From predictions to detections: softmax, the anchors moved by their offsets, and non-maximum suppression. The chapter
# lets any detection suppress any other, whatever their classes, and does not cut boxes off at the edges.

# %%
from ssd_mxnet.predict import detect

show_source(detect)
(detections,) = detect(*outputs, STRAIGHT_DOPE.predict)
printed_first = [0, 0.6118, 0.5181, 0.5042, 0.6733, 0.7012]
check_printed("first detection", printed_first, detections[0] if len(detections) else np.zeros(6), within=0.03)

# %%
from ssd_common.figures import save_box_panels
from ssd_common.figures.boxes import Boxes

panels = {}
for threshold in (0.45, 0.3):
    drawn = detections[:8][detections[:8, 1] >= threshold]
    panels[f"score from {threshold} on"] = [Boxes(drawn[:, 2:], [f"{score:.2f}" for score in drawn[:, 1]])]
caption = "The image with its detections: from a score of 0.45 on, as in the chapter, and with more of the unsure ones."
show_figure(save_box_panels, picture, panels, caption=caption)

# %% [markdown]
# ## How good is it?
#
# The chapter ends with that image. The validation records tell more: average precision, the area under the curve of
# precision and recall, for detections that overlap their object by an IoU of 0.5 (`ap50`), and as the mean over ten
# thresholds up to 0.95 (`ap`).

# %%
from ssd_common.evaluation import mean_average_precision
from ssd_mxnet.evaluate import evaluate

metrics, found, truths = evaluate(net, val, model, STRAIGHT_DOPE.predict, config.loss, device=device)
metrics |= mean_average_precision(found, truths, model.num_classes)
print(f"{len(val)} images: AP50 {metrics['ap50']:.3f}, AP {metrics['ap']:.3f}")
for name in ("class_error", "bbox_mae"):
    print(f"{name}: {metrics[name]:.5f}, predicting nothing: {metrics[f'baseline_{name}']:.5f}")
assert metrics["ap50"] > 0.7 or not PUBLISHED

# %% [markdown]
# With the published weights this is a remarkable pair of results: the network finds most of the Pikachus, and its class
# error is *above* that of a network that finds none. Its boxes are good enough for an IoU of 0.5 and seldom for 0.75,
# which is what separates `ap50` from `ap`. Random weights find nothing, and average precision says so.

# %%
if PUBLISHED:
    assert metrics["class_error"] > metrics["baseline_class_error"]
    assert metrics["ap75"] < metrics["ap50"] / 2
shown = range(8)
images = [val[i].image for i in shown]
caption = "Validation images with the best detection of each, and the true box, dashed."
best = [found[i][:1] for i in shown]
show_figure(save_detection_grid, images, best, names, [val[i].labels for i in shown], threshold=0, caption=caption)

# %%
from ssd_common.evaluation import precision_recall
from ssd_common.figures import save_precision_recall

curve = precision_recall(found, truths, class_id=0)
caption = "Precision and recall on the validation images at IoU 0.5. The dot is where the score falls below 0.5."
show_figure(save_precision_recall, [curve], names, caption=caption)

# %% [markdown]
# ## Questions
#
# 1. How many bytes of a record are not image? Find out for the whole validation file what RecordIO costs.
# 2. The label's header gives width and height of the image. Does anything in this notebook need them?
# 3. Why does a crop that shows 95 percent of the object make the detector better at *large* Pikachus, and what does the
#    smallest anchor, 0.2 of the image, have to do with it? (The Pikachus are 0.07 to 0.16 wide.)
# 4. Resize the chapter's image by taking four neighbours for each new pixel, predict again, and compare with the
#    numbers that the chapter prints. Which of the two reasons above matters more?
# 5. Evaluate with `class_aware=True` and with `clip=True`. Which of them can change anything when there is one class?
# 6. A small project: train from scratch with anchors fitted to the boxes (`tinyssd data anchors pikachu`), and find out
#    how many epochs it takes to beat the published weights in `ap`.
#
# ## Where to look
#
# - `ssd_common/data/formats/recordio.py` and `records.py`: the format, read and written; `ssd_common/data/convert.py`
#   writes it from any other dataset (`tinyssd data convert`).
# - `ssd_common/checkpoints/params_file.py` and `ssd_common/checkpoints/convert.py`: weights files of others.
# - `tests/test_chapters.py`: every number that the chapter prints and that does not depend on weights;
#   `tests/checkpoints/test_convert.py`: the published weights against the chapter's own network.
# - On the command line: `tinyssd predict --weights ssd_pikachu-fbb7d872.params pikachu.jpg`, and `tinyssd train
#   --preset straight-dope --data pikachu`.
# - The notebook `ssd_mxnet` builds the network, `exercises_mxnet` measures focal and smooth L1 loss.
