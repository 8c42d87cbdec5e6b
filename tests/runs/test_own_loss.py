"""A loss of one's own is trained and evaluated: `terms` takes the place of `loss_terms`."""

import dataclasses

import numpy as np

from ssd_common.config import LossConfig, ModelConfig, PredictConfig, TrainConfig
from ssd_common.data.synthetic.scenes import SyntheticDataset
from ssd_common.weights import initial_weights

MODEL = ModelConfig(image_size=64)
CONFIG = TrainConfig(epochs=1, batch_size=2, lr=0.1)
DOUBLED = LossConfig(cls_weight=2.0, bbox_weight=2.0)


def trained(backend, loss_config, **terms):
    """Return the weights after an epoch, the losses of that epoch, and those of evaluation."""
    config, data = dataclasses.replace(CONFIG, loss=loss_config), SyntheticDataset(num_images=4)
    net = backend.weights.make_net(MODEL, initial_weights(MODEL, config))
    trainer = backend.train.make_trainer(net, config)
    (row,) = backend.train.train(net, trainer, data, MODEL, config, **terms)
    metrics, _, _ = backend.evaluate.evaluate(net, data, MODEL, PredictConfig(), loss_config, **terms)
    names = ("cls_loss", "bbox_loss")
    return backend.weights.get_weights(net), [row[n] for n in names], [metrics[n] for n in names]


def test_a_loss_of_ones_own_is_trained_and_evaluated(backend):
    """Twice the losses, computed by a function of one's own, are the losses with a weight of 2: the same bits."""

    def twice(cls_preds, cls_labels, bbox_preds, bbox_labels, bbox_masks, loss_config):
        cls, bbox = backend.losses.loss_terms(cls_preds, cls_labels, bbox_preds, bbox_labels, bbox_masks, loss_config)
        return 2 * cls, 2 * bbox

    weights, losses, measured = trained(backend, LossConfig(), terms=twice)
    expected, expected_losses, expected_measured = trained(backend, DOUBLED)
    assert (losses, measured) == (expected_losses, expected_measured)
    for name, value in expected.items():
        np.testing.assert_array_equal(weights[name], value, err_msg=name)
    plain, plain_losses, _ = trained(backend, LossConfig())
    assert losses != plain_losses
    assert any((weights[name] != plain[name]).any() for name in plain)
