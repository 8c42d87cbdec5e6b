"""Training in bfloat16: what changes, what stays float32, and who refuses it."""

import dataclasses
from contextlib import nullcontext

import numpy as np
import pytest

from ssd_common.backends import load_backend
from ssd_common.config import BOOK
from ssd_common.errors import InputError
from ssd_common.weights import initial_weights

MODEL = dataclasses.replace(BOOK.model, image_size=64)


def batch():
    rng = np.random.default_rng(0)
    labels = np.array([[[0, 0.2, 0.2, 0.6, 0.7]], [[0, 0.4, 0.1, 0.9, 0.5]]], np.float32)
    return rng.integers(0, 256, (2, 3, 64, 64)).astype(np.float32), labels


def step(precision):
    """Return what a step in PyTorch measured, its gradients and the weights after it."""
    torch = load_backend("torch")
    net = torch.weights.make_net(MODEL, initial_weights(MODEL, BOOK.train))
    torch.options.set_precision(net, precision)
    trainer = torch.train.make_trainer(net, BOOK.train)
    X, Y = (torch.data.to_device(array) for array in batch())
    metrics = torch.train.train_step(net, trainer, X, Y)
    return {k: float(v) for k, v in metrics.items()}, torch.weights.get_gradients(net), torch.weights.get_weights(net)


@pytest.mark.backend("torch")
def test_bfloat16_computes_the_same_step_roughly():
    exact, gradients, _ = step("fp32")
    rough, rough_gradients, weights = step("bf16")
    assert rough["cls_loss"] != exact["cls_loss"]  # it did compute in another precision
    # Eight bits of mantissa, through up to twelve layers.
    for name in ("cls_loss", "abs_error"):
        np.testing.assert_allclose(rough[name], exact[name], rtol=0.1)
    for name in ("positives", "abs_offsets"):  # targets come from anchors, which stay float32
        assert rough[name] == exact[name]
    for name in ("cls_0.weight", "bbox_1.weight", "blk_0.0.0.weight"):
        a, b = gradients[name].ravel(), rough_gradients[name].ravel()
        assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > 0.9
    assert {array.dtype for array in weights.values()} == {np.dtype("float32")}
    assert {array.dtype for array in rough_gradients.values()} == {np.dtype("float32")}


@pytest.mark.backend("torch")
def test_anchors_of_a_bfloat16_map_are_float32():
    import torch

    anchors = load_backend("torch").anchors.multibox_prior(torch.zeros(1, 4, 4, dtype=torch.bfloat16), [0.2], [1.0])
    assert anchors.dtype == torch.float32


@pytest.mark.backend("torch")
def test_a_machine_without_the_instructions_refuses(monkeypatch):
    import torch

    backend, cpu = load_backend("torch"), torch.device("cpu")
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    backend.options.check_precision("fp32", cpu)
    with pytest.raises(InputError, match="no bfloat16 instructions; leave --precision out"):
        backend.options.check_precision("bf16", cpu)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
    backend.options.check_precision("bf16", cpu)


@pytest.mark.backend("torch")
@pytest.mark.parametrize(("capability", "refused"), [((7, 5), True), ((8, 0), False), ((9, 0), False)])
def test_a_gpu_that_only_emulates_bfloat16_refuses(capability, refused, monkeypatch):
    import torch

    asked = []
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: asked.append(device) or capability)
    backend, second = load_backend("torch"), torch.device("cuda", 1)
    with pytest.raises(InputError, match="this GPU has no bfloat16") if refused else nullcontext():
        backend.options.check_precision("bf16", second)
    assert asked == [second]


@pytest.mark.backend("mxnet")
def test_mxnet_refuses_rather_than_train_in_another_precision():
    backend = load_backend("mxnet")
    with pytest.raises(InputError, match="MXNet trains in fp32 only"):
        backend.options.check_precision("bf16", backend.data.get_device("cpu"))
    net = backend.weights.make_net(MODEL, initial_weights(MODEL, BOOK.train))
    with pytest.raises(InputError, match="MXNet trains in fp32 only"):
        backend.options.set_precision(net, "bf16")
