"""A network of one's own, with another number of feature maps, is trained, evaluated and used like the package's."""

import dataclasses

import numpy as np
import pytest

from ssd_common.anchors import anchor_grid
from ssd_common.config import BOOK, NUM_BLOCKS, AnchorConfig, ModelConfig, RunConfig, TrainConfig
from ssd_common.config.run import from_table, to_table
from ssd_common.data.synthetic import BookDataset
from ssd_common.errors import InputError
from ssd_common.weights import check_weights, initial_weights, parameter_shapes

SIZES = ((0.2, 0.3), (0.4, 0.5), (0.6, 0.7), (0.7, 0.8), (0.8, 0.9), (0.9, 0.95))


def model_of(blocks):
    anchors = AnchorConfig(SIZES[:blocks], ((1.0, 2.0, 0.5),) * blocks)
    return ModelConfig(image_size=128, anchors=anchors)


@pytest.mark.parametrize(("blocks", "maps"), [(2, (16, 1)), (4, (16, 8, 4, 1)), (6, (16, 8, 4, 2, 1, 1))])
def test_the_feature_maps_follow_the_anchors(blocks, maps):
    model = model_of(blocks)
    assert model.feature_map_sizes == maps
    assert model.num_anchors == 4 * sum(units**2 for units in maps)
    assert anchor_grid(model).shape == (1, model.num_anchors, 4)


def make_network(framework, model):
    """Return a network with so many maps, built from the package's parts as a notebook does it."""
    if framework == "torch":
        import torch
        from torch import nn

        from ssd_torch.model import base_net, bbox_predictor, blk_forward, cls_predictor, concat_preds, down_sample_blk

        parent, concatenate, largest = nn.Module, lambda a: torch.cat(a, dim=1), lambda: nn.AdaptiveMaxPool2d(1)
    else:
        from mxnet import np as mx_np
        from mxnet.gluon import nn

        from ssd_mxnet.model import base_net, bbox_predictor, blk_forward, cls_predictor, concat_preds, down_sample_blk

        parent, concatenate, largest = nn.Block, lambda a: mx_np.concatenate(a, axis=1), nn.GlobalMaxPool2D

    def inputs(i):
        return [64 if i == 0 else 128] if framework == "torch" else []

    class Network(parent):
        def __init__(self):
            super().__init__()
            for i in range(len(model.anchors.sizes)):
                if i == 0:
                    block = base_net()
                elif i == len(model.anchors.sizes) - 1:
                    block = largest()
                else:
                    block = down_sample_blk(*inputs(i - 1), 128)
                setattr(self, f"blk_{i}", block)
                setattr(self, f"cls_{i}", cls_predictor(*inputs(i), 4, 1))
                setattr(self, f"bbox_{i}", bbox_predictor(*inputs(i), 4))

        def forward(self, X):
            results = []
            for i, (sizes, ratios) in enumerate(zip(model.anchors.sizes, model.anchors.ratios, strict=True)):
                layers = [getattr(self, f"{kind}_{i}") for kind in ("blk", "cls", "bbox")]
                X, *result = blk_forward(X, layers[0], sizes, ratios, *layers[1:])
                results.append(result)
            anchors, cls_preds, bbox_preds = zip(*results, strict=True)
            cls_preds = concat_preds(cls_preds).reshape(len(X), -1, 2)
            return concatenate(anchors), cls_preds, concat_preds(bbox_preds)

    net = Network()
    if framework == "mxnet":
        net.initialize()
    return net


@pytest.mark.parametrize("blocks", [4, 6])
def test_a_network_of_ones_own_is_trained_evaluated_and_used(backend, blocks):
    model, data = model_of(blocks), BookDataset(num_images=6, image_size=128)
    net, config = make_network(backend.name, model), TrainConfig(epochs=3, batch_size=3, lr=0.05)
    rows = list(backend.train.train(net, backend.train.make_trainer(net, config), data, model, config))
    assert rows[-1]["loss"] < rows[0]["loss"]
    metrics, detections, truths = backend.evaluate.evaluate(net, data, model)
    assert np.isfinite(metrics["loss"])
    assert len(detections) == len(truths) == 6
    (rows,) = backend.predict.predict(net, [data[0].image], model)
    assert rows.shape[1] == 6


@pytest.mark.parametrize("blocks", [4, 6])
def test_the_packages_network_says_in_a_line_that_it_has_five_blocks(backend, blocks):
    model = model_of(blocks)
    line = rf"anchors of TinySSD need sizes and ratios for {NUM_BLOCKS} blocks, got those of {blocks}$"
    with pytest.raises(InputError, match=f"^{line}"):
        initial_weights(model, BOOK.train)
    weights = {name: np.zeros(shape) for name, shape in parameter_shapes(BOOK.model).items()}
    with pytest.raises(InputError, match=f"^weights: {line}"):
        backend.weights.make_net(model, weights)
    model_module = __import__(f"ssd_{backend.name}.model").model
    with pytest.raises(InputError, match=f"^{line}"):
        model_module.TinySSD(1, model.anchors)


def test_a_configuration_with_four_blocks_is_read_and_refused_where_weights_are_wanted():
    table = to_table(RunConfig(dataclasses.replace(BOOK, model=model_of(4))))
    model = from_table(table, "config.toml").config.model
    assert model == model_of(4)
    with pytest.raises(InputError, match=r"^file\.safetensors: anchors of TinySSD need"):
        check_weights({}, model, "file.safetensors")


@pytest.mark.parametrize(
    ("sizes", "ratios", "message"),
    [
        (SIZES[:2], ((1.0,),), "each of 1 to 12 blocks, got those of 2 and 1"),
        ((), (), "each of 1 to 12 blocks, got those of 0 and 0"),
        (((0.5,),) * 5000, ((1.0,),) * 5000, "each of 1 to 12 blocks, got those of 5000 and 5000"),
        (((0.5,), ()), ((1.0,), (1.0,)), r"anchor sizes of block 1 must be positive numbers, got \[\]"),
        (((0.5,), (1.0,)), ((1.0,), (-1.0,)), r"anchor ratios of block 1 must be positive numbers, got \[-1.0\]"),
    ],
)
def test_anchors_that_no_network_could_have_are_refused(sizes, ratios, message):
    with pytest.raises(InputError, match=message):
        AnchorConfig(sizes, ratios)


def test_an_image_has_to_be_halved_as_often_as_there_are_maps():
    with pytest.raises(InputError, match="the image size must be a multiple of 128 up to 8192, got 64"):
        dataclasses.replace(model_of(6), image_size=64)
    assert dataclasses.replace(model_of(4), image_size=32).feature_map_sizes == (4, 2, 1, 1)
