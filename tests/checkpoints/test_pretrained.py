"""The detector that comes with the package is the file that its digest names, and finds the same in both frameworks."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from ssd_common.backends import load_backend
from ssd_common.checkpoints import load_checkpoint, load_weights
from ssd_common.checkpoints.pretrained import FILE, NAME, resolve
from ssd_common.config import read_run_config
from ssd_common.data.synthetic import SyntheticDataset
from ssd_common.evaluation import mean_average_precision


def test_the_file_is_the_one_that_its_digest_and_its_configuration_belong_to():
    digest, name = FILE.with_name(f"{FILE.name}.sha256").read_text().split()
    assert (hashlib.sha256(FILE.read_bytes()).hexdigest(), FILE.name) == (digest, name)
    checkpoint = load_checkpoint(FILE)
    assert checkpoint.run == read_run_config(FILE.with_name("config.toml"))
    assert (checkpoint.run.based_on, checkpoint.run.data) == ("improved", "synthetic")
    assert checkpoint.velocity == {}


def test_a_file_of_the_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve(NAME) == FILE
    Path("pretrained").write_bytes(b"")
    assert resolve(NAME) == NAME


@pytest.mark.backend("torch")
@pytest.mark.backend("mxnet")
def test_both_frameworks_find_the_same_bananas():
    checkpoint, data, found = load_weights(NAME), SyntheticDataset("val", num_images=8), []
    for name in ("torch", "mxnet"):
        backend = load_backend(name)
        net = backend.weights.make_net(checkpoint.config.model, checkpoint.weights)
        images = [data[i].image for i in range(len(data))]
        found.append(backend.predict.predict(net, images, checkpoint.config.model, checkpoint.config.predict))
    for ours, theirs in zip(*found, strict=True):
        ours, theirs = ours[ours[:, 1] >= 0.5], theirs[theirs[:, 1] >= 0.5]
        np.testing.assert_array_equal(ours[:, 0], theirs[:, 0])
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-6)  # float32; 1.8e-7 was measured
        assert len(ours) == 1


def test_it_finds_nearly_all(backend):
    checkpoint, data = load_weights(NAME), SyntheticDataset("val", num_images=30)
    net = backend.weights.make_net(checkpoint.config.model, checkpoint.weights)
    model, predict = checkpoint.config.model, checkpoint.config.predict
    _, detections, truths = backend.evaluate.evaluate(net, data, model, predict)
    assert mean_average_precision(detections, truths, 1)["ap50"] >= 0.95  # of all 100: 0.989
