# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Solutions: PyTorch and MXNet side by side
#
# These are answers to the questions at the end of [side_by_side](side_by_side.ipynb). Try each question yourself
# first. **Time**: 1 minute to run.

# %%
import dataclasses

import numpy as np

from ssd_common import parity
from ssd_common.backends import load_backend
from ssd_common.boxes import box_iou
from ssd_common.config import BOOK
from ssd_common.data.sampling import batches, epoch_order
from ssd_common.data.synthetic import SyntheticDataset
from ssd_common.weights import initial_weights

# %%
backends = {name: load_backend(name) for name in ("torch", "mxnet")}
model_config = dataclasses.replace(BOOK.model, image_size=64)
data = SyntheticDataset(image_size=64, num_images=16)
weights = initial_weights(model_config, BOOK.train)

# %% [markdown]
# ## 1. Another mistake
#
# Predictions are decoded with `offset_inverse`. With a wrong sign, rungs 4 and 6 fail: rung 4 because it decodes boxes
# itself, rung 6 because detections use them. All rungs below rung 4 pass: overlaps and assignments do not decode.

# %%
chunks = list(batches(data, epoch_order(len(data), 2, seed=0, epoch=0)[:2], model_config))
subject = parity.Subject(dataclasses.replace(BOOK, model=model_config), weights, chunks)
modules = backends["torch"].boxes, backends["torch"].detection  # both have a name for the function
right = modules[0].offset_inverse
for module in modules:
    module.offset_inverse = lambda anchors, offsets: right(anchors, -offsets)
verdicts = {row.rung: row.passed for row in parity.climb(subject, backends, range(1, 7))}
for module in modules:
    module.offset_inverse = right
print({rung: "passed" if passed else "FAILED" for rung, passed in verdicts.items()})
assert [rung for rung, passed in verdicts.items() if not passed] == [4, 6]

# %% [markdown]
# ## 2. A bias before batch normalisation
#
# Batch normalisation subtracts the mean of each channel, and with it the bias. The loss does not depend on the bias,
# so its exact gradient is 0. What a framework computes is rounding, and a *relative* difference of two roundings means
# nothing. The ladder compares these gradients absolutely.

# %%
images, labels = (array.astype("float64") for array in chunks[0])
for name, backend in backends.items():
    net = backend.weights.make_net(model_config, initial_weights(model_config, BOOK.train, "float64"), dtype="float64")
    backend.train.forward_backward(net, *(backend.data.to_device(array, dtype="float64") for array in (images, labels)))
    gradients = backend.weights.get_gradients(net)
    bias, weight = (np.abs(gradients[f"blk_1.0.{part}"]).max() for part in ("bias", "weight"))
    print(f"{name}: largest gradient of the bias {bias:.1e}, of the weight {weight:.1e}")
    assert bias < 1e-12 * weight

# %% [markdown]
# ## 3. MXNet's velocity is −lr times PyTorch's
#
# PyTorch: $v \leftarrow m v + g$, then $w \leftarrow w - \mathrm{lr}\,v$. MXNet: $u \leftarrow m u - \mathrm{lr}\,g$,
# then $w \leftarrow w + u$. Let $u = -\mathrm{lr}\,v$ before a step. Then
# $m u - \mathrm{lr}\,g = -\mathrm{lr}\,(m v + g)$, so it holds after the step as well. It holds at the beginning,
# because both are 0. If the rate changes to $\mathrm{lr}'$, $u$ must be multiplied by $\mathrm{lr}'/\mathrm{lr}$.
# `ssd_mxnet` does this.

# %%
lr, momentum, rng = 0.25, 0.5, np.random.default_rng(0)
v = u = 0.0
for gradient in rng.normal(size=10):
    v, u = momentum * v + gradient, momentum * u - lr * gradient
print(u, -lr * v)
np.testing.assert_allclose(u, -lr * v)

# %% [markdown]
# ## 4. The short last batch
#
# In `train_step` the loss is the mean over the images that are there, and `trainer.step(1)` divides by 1. With the sum
# of the losses and `step(32)`, a batch of 8 images moves the weights by a quarter of the mean's step.

# %%
from mxnet import autograd, gluon

moved = {}
for name, images_in_batch in {"32 images": 32, "8 images": 8}.items():
    parameter = gluon.Parameter("parameter", shape=(1,), init="zeros")
    parameter.initialize()
    trainer = gluon.Trainer([parameter], "sgd", {"learning_rate": 1.0})
    with autograd.record():
        loss = parameter.data() * images_in_batch  # the sum of equal losses
    loss.backward()
    trainer.step(32)
    moved[name] = parameter.data().item()
print("step(32) moves the parameter by", moved)
assert moved["8 images"] == moved["32 images"] / 4

# %% [markdown]
# ## 5. Weight decay and the hidden learning rate
#
# Weight decay shortens the weights of the body, and a step turns a shorter weight farther: the hidden learning rate
# grows. It grows until the step lengthens the weight as much as the decay shortens it. Here the decay is 0.05, a
# hundred times the book's, so that the effect is visible after a few steps.

# %%
norms = {}
for decay in (0.0, 0.05):
    config = dataclasses.replace(BOOK.train, epochs=2, batch_size=4, weight_decay=decay)
    net = backends["torch"].weights.make_net(model_config, weights)
    trainer = backends["torch"].train.make_trainer(net, config)
    for _ in backends["torch"].train.train(net, trainer, data, model_config, config):
        pass
    norms[decay] = np.linalg.norm(backends["torch"].weights.get_weights(net)["blk_2.3.weight"])
start = np.linalg.norm(weights["blk_2.3.weight"])
print(f"norm of blk_2.3.weight: {start:.3f} at the start, {norms[0.0]:.3f} without decay, {norms[0.05]:.3f} with decay")
assert norms[0.05] < norms[0.0]

# %% [markdown]
# ## 6. A third implementation
#
# Plain Python, number by number.


# %%
def plain_iou(a, b):
    """Return the intersection over union of two boxes with an area."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


# %%
low, side = rng.uniform(0, 0.6, (2, 20, 2)), rng.uniform(0.1, 0.4, (2, 20, 2))
boxes1, boxes2 = np.concatenate((low, low + side), axis=-1)
plain = np.array([[plain_iou(a, b) for b in boxes2] for a in boxes1])
print(f"largest difference from the numpy reference: {np.abs(plain - box_iou(boxes1, boxes2)).max():.1e}")
np.testing.assert_allclose(plain, box_iou(boxes1, boxes2), atol=1e-12)
