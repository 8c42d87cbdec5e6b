# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Solutions: the Straight Dope's Pikachu
#
# These are answers to the questions at the end of [toyssd_pikachu_torch](toyssd_pikachu_torch.ipynb) and
# [toyssd_pikachu_mxnet](toyssd_pikachu_mxnet.ipynb). They use the chapter's files if `TINYSSD_DATA` has them, and
# otherwise bananas with the detector from this package. Write `FRAMEWORK = "mxnet"` for MXNet. **Time**: 1 minute to
# run.

# %%
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ssd_common.backends import load_backend
from ssd_common.checkpoints import load_weights
from ssd_common.data.convert import convert_data

FRAMEWORK = "torch"
backend = load_backend(FRAMEWORK)
folder, stand_in = Path(os.environ.get("TINYSSD_DATA") or "data"), TemporaryDirectory()
val_file, params = folder / "pikachu" / "val.rec", folder / "pretrained" / "ssd_pikachu-fbb7d872.params"
PUBLISHED = val_file.is_file() and params.is_file()

# %%
if not PUBLISHED:
    val_file, params = Path(stand_in.name) / "bananas.rec", Path("pretrained")
    convert_data("synthetic:val", f"rec:{val_file}")
checkpoint = load_weights(params)
model_config = checkpoint.config.model
net = backend.weights.make_net(model_config, checkpoint.weights)
print("Pikachu" if PUBLISHED else "bananas")

# %% [markdown]
# ## 1. What RecordIO costs
#
# A record has 8 bytes of its own, 24 bytes of image header, 4 bytes for each number of the label, and up to 3 bytes of
# padding: the next record begins at a multiple of 4.

# %%
from ssd_common.data.formats.recordio import read_records
from ssd_common.data.formats.records import read_detection_label, unpack_image_record

records = [unpack_image_record(payload) for payload in read_records(val_file)]
extra = val_file.stat().st_size - sum(len(record.image) for record in records)
print(f"{extra} bytes are not image, {extra / len(records):.1f} for each of {len(records)} images")
known = sum(8 + 24 + 4 * record.label.size for record in records)
print(f"header and label: {known} bytes, padding: {extra - known} bytes")
assert 0 <= extra - known < 4 * len(records)

# %% [markdown]
# ## 2. Width and height in the label
#
# No cell needs them: the boxes are fractions, and the image knows its own size. A label with another size reads the
# same.

# %%
label = records[0].label.copy()
label[2:4] = 1
np.testing.assert_array_equal(read_detection_label(label), read_detection_label(records[0].label))
print("the objects are the same:", read_detection_label(label))

# %% [markdown]
# ## 3. Crops and the smallest anchor
#
# The objects are smaller than the smallest anchor, so their best overlap is small. A crop enlarges the object, up to
# the size of the anchors: it fits more of them. The network learns from these anchors, and they have the size of
# *large* objects.

# %%
from ssd_common.config import STRAIGHT_DOPE
from ssd_common.data import load_dataset
from ssd_common.data.anchor_fit import best_overlaps
from ssd_common.data.sampling import batches, epoch_order

data = load_dataset(f"rec:{val_file}", limit=64)
order = epoch_order(len(data), 64, seed=0, epoch=0)
best = {}
for name, augment in {"as they are": None, "cropped": STRAIGHT_DOPE.train.augment}.items():
    options = {"augment_config": augment} if augment else {}
    _, labels = next(batches(data, order, STRAIGHT_DOPE.model, **options))
    best[name] = best_overlaps(list(labels), STRAIGHT_DOPE.model)
    width = (labels[..., 3] - labels[..., 1]).mean()
    print(f"{name}: {width:.3f} of the image wide, best IoU {best[name].mean():.2f}")
assert best["cropped"].mean() > best["as they are"].mean() or not PUBLISHED  # our bananas are large enough already

# %% [markdown]
# ## 4. Shrinking by skipping pixels
#
# Every second pixel instead of the mean of four: edges become harder, and the logits change.

# %%
from ssd_common.data.sampling import to_batch
from ssd_common.data.transforms import read_image, resize_image

photo = folder / "img" / "pikachu.jpg"
image = resize_image(read_image(photo) if photo.is_file() else data[0].image, 512)
every_second = np.ascontiguousarray(image[::2, ::2])
to_device, to_numpy = backend.data.to_device, backend.data.to_numpy
logits = [
    to_numpy(backend.predict.forward(net, to_device(to_batch([x], model_config)))[1]) for x in (image, every_second)
]
difference = np.abs(logits[0] - logits[1])
print(f"logits change by {difference.mean():.3f} on average and by {difference.max():.3f} at most")
assert difference.max() > 0.01

# %% [markdown]
# The mean change is as large as the difference to the numbers in print. With the published weights, the pixels explain
# much of it.
#
# ## 5. `class_aware` and `clip`
#
# With one class, a box suppresses the same boxes in both cases. Clipping changes boxes that reach beyond the image,
# and then also their overlaps.

# %%
import dataclasses

X = to_device(to_batch([image], model_config))
plain = STRAIGHT_DOPE.predict
found = {
    name: backend.predict.detect(*backend.predict.forward(net, X), config)[0]
    for name, config in {
        "plain": plain,
        "class_aware": dataclasses.replace(plain, class_aware=True),
        "clip": dataclasses.replace(plain, clip=True),
    }.items()
}

# %%
for name, rows in found.items():
    print(f"{name:11} {len(rows)} detections, corners from {rows[:, 2:].min():.2f} to {rows[:, 2:].max():.2f}")
np.testing.assert_array_equal(found["plain"], found["class_aware"])
assert found["clip"][:, 2:].min() >= 0
assert found["clip"][:, 2:].max() <= 1

# %% [markdown]
# ## 6. Fitted anchors
#
# This is the beginning of the project. Train with them: `tinyssd data anchors pikachu` writes the same anchors as a
# configuration, and the page [effect of each exercise](../docs/ablation.md) shows what they do in 10 epochs.

# %%
from ssd_common.data.anchor_fit import box_shapes, fit_anchors

boxes = [data[i].labels for i in range(len(data))]
fitted = dataclasses.replace(model_config, anchors=fit_anchors(box_shapes(boxes), model_config))
for name, config in {"the detector's anchors": model_config, "fitted anchors": fitted}.items():
    overlaps = best_overlaps(boxes, config)
    print(f"{name}: best IoU {overlaps.mean():.2f}, {(overlaps >= 0.5).mean():.0%} of the objects reach 0.5")
assert best_overlaps(boxes, fitted).mean() > best_overlaps(boxes, model_config).mean() or not PUBLISHED
