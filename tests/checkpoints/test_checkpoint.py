"""The weights file: all of a training comes back, damage is noticed, and either framework goes on with the other's."""

import dataclasses
import json

import numpy as np
import pytest
import safetensors
from safetensors.numpy import save_file

import ssd_common.checkpoints.checkpoint
from ssd_common.backends import load_backend
from ssd_common.checkpoints.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from ssd_common.config import STRAIGHT_DOPE, Config, ModelConfig, PredictConfig, RunConfig, TrainConfig
from ssd_common.config.tables import to_dict
from ssd_common.errors import InputError
from ssd_common.metrics import SUMS
from ssd_common.weights import initial_weights, parameter_shapes

TINY = ModelConfig(image_size=64)
STATISTICS = ("running_mean", "running_var")
TRAINED = [name for name in parameter_shapes(TINY) if not name.endswith(STATISTICS)]


def random_tensors(names, dtype, seed):
    """Return values of every magnitude, and of every sign except for variances, by canonical name."""
    rng = np.random.default_rng(seed)
    shapes = parameter_shapes(TINY)
    tensors = {name: rng.standard_normal(shapes[name]).astype(dtype) for name in names}
    return {name: np.abs(value) if name.endswith("running_var") else value for name, value in tensors.items()}


def assert_equal_tensors(actual, expected):
    assert sorted(actual) == sorted(expected)
    for name in expected:
        assert actual[name].dtype == expected[name].dtype, name
        np.testing.assert_array_equal(actual[name], expected[name], err_msg=name)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A weights file of a training with momentum."""
    path = tmp_path_factory.mktemp("weights") / "last.safetensors"
    velocity = random_tensors(TRAINED, "float32", seed=2)
    run_config = RunConfig(Config(TINY), data="synthetic")
    save_checkpoint(path, Checkpoint(initial_weights(TINY, TrainConfig()), run_config, velocity))
    return path


# Round trip.


def test_everything_in_a_checkpoint_comes_back(dtype, tmp_path):
    model = dataclasses.replace(STRAIGHT_DOPE.model, class_names=("pikachu",), image_size=128)
    train = dataclasses.replace(STRAIGHT_DOPE.train, seed=7, momentum=0.9)
    config = Config(model, train, dataclasses.replace(STRAIGHT_DOPE.predict, nms_threshold=0.25))
    weights = random_tensors(parameter_shapes(TINY), dtype, seed=1)
    run_config = RunConfig(config, "straight-dope", "mxnet", "voc:DIR:train", "voc:DIR:test", 12)
    checkpoint = Checkpoint(weights, run_config, random_tensors(TRAINED, dtype, seed=2), epoch=3, step=12)
    path = tmp_path / "new" / "w.safetensors"
    save_checkpoint(path, checkpoint)
    loaded = load_checkpoint(path)
    assert_equal_tensors(loaded.weights, checkpoint.weights)
    assert_equal_tensors(loaded.velocity, checkpoint.velocity)
    assert (loaded.run, loaded.epoch, loaded.step) == (checkpoint.run, checkpoint.epoch, checkpoint.step)


def test_an_array_that_is_not_contiguous_is_saved_as_it_is_seen(tmp_path):
    weights = random_tensors(parameter_shapes(TINY), "float32", seed=1)
    for name, value in weights.items():
        weights[name] = np.asfortranarray(value)
    weights["blk_0.0.1.bias"] = np.arange(32, dtype=np.float32)[::2]
    save_checkpoint(tmp_path / "w.safetensors", Checkpoint(weights, RunConfig(Config(TINY))))
    assert_equal_tensors(load_checkpoint(tmp_path / "w.safetensors").weights, weights)


@pytest.mark.parametrize("top_k", [7, 0])
def test_how_predictions_become_detections_comes_back(top_k, tmp_path):
    predict = PredictConfig(nms_threshold=0.25, class_aware=False, clip=False, top_k=top_k)
    weights = initial_weights(TINY, TrainConfig())
    save_checkpoint(tmp_path / "w.safetensors", Checkpoint(weights, RunConfig(Config(TINY, predict=predict))))
    assert load_checkpoint(tmp_path / "w.safetensors").config.predict == predict


def test_the_sums_of_an_epoch_come_back_and_only_numbers_are_taken(tmp_path):
    path, start = tmp_path / "w.safetensors", Checkpoint(initial_weights(TINY, TRAIN), RunConfig(Config(TINY, TRAIN)))
    sums = dict.fromkeys(SUMS, 0.1 + 0.2)
    save_checkpoint(path, dataclasses.replace(start, sums=sums))
    assert load_checkpoint(path).sums == sums
    for wrong in (float("nan"), "3", None, True, 10**400, 0):
        save_checkpoint(path, dataclasses.replace(start, sums=sums | {"examples": wrong}))
        with pytest.raises(InputError, match="'sums' in the metadata must be numbers"):
            load_checkpoint(path)
    save_checkpoint(path, dataclasses.replace(start, sums={"examples": 3.0}))
    with pytest.raises(InputError, match="'sums' in the metadata must be numbers"):
        load_checkpoint(path)


def test_an_older_file_that_does_not_say_how_gets_the_defaults(tmp_path):
    path, weights = tmp_path / "w.safetensors", initial_weights(TINY, TrainConfig())
    metadata = {"format": "tinyssd-weights-1", "epoch": "1", "step": "2", "data": "pikachu:train"}
    metadata |= {"model": json.dumps(to_dict(TINY)), "train": json.dumps(to_dict(TrainConfig()))}
    metadata["sha256"] = ssd_common.checkpoints.checkpoint._digest(weights, metadata)
    save_file(weights, path, metadata)
    loaded = load_checkpoint(path).config.predict
    assert loaded == PredictConfig()
    assert loaded.top_k == 400


def test_any_reader_of_safetensors_can_read_the_file(file):
    checkpoint = load_checkpoint(file)
    with safetensors.safe_open(str(file), framework="np") as reader:
        metadata = reader.metadata()
        read = {name: reader.get_tensor(name) for name in reader.keys()}  # noqa: SIM118 - not a dict
    assert_equal_tensors(read, checkpoint.weights | {f"momentum/{n}": v for n, v in checkpoint.velocity.items()})
    assert json.loads(metadata["run"])["model"]["class_names"] == ["banana"]
    assert len(metadata["sha256"]) == 64


# Damage.


def header_size(payload):
    return 8 + int.from_bytes(payload[:8], "little")


def places(payload, part, count):
    """Return byte positions all over one part of a weights file."""
    header = header_size(payload)
    first, last = {"length": (0, 7), "header": (8, header - 1), "tensors": (header, len(payload) - 1)}[part]
    return sorted({first, last, *np.random.default_rng(0).integers(first, last, count).tolist()})


@pytest.mark.parametrize(("part", "count"), [("length", 8), ("header", 60), ("tensors", 20)])
def test_a_flipped_bit_anywhere_is_noticed(part, count, file, tmp_path):
    payload, damaged = file.read_bytes(), tmp_path / "damaged.safetensors"
    for place in places(payload, part, count):
        flipped = bytearray(payload)
        flipped[place] ^= 1 << (place % 8)
        damaged.write_bytes(flipped)
        with pytest.raises(InputError) as error:
            load_checkpoint(damaged)
        assert str(error.value).startswith(f"{damaged}: "), place
        assert "\n" not in str(error.value), place


@pytest.mark.parametrize("name", ["epoch", "step", "run"])
def test_changed_metadata_is_noticed(name, file, tmp_path):
    with safetensors.safe_open(str(file), framework="np") as reader:
        metadata, tensors = reader.metadata(), {name: reader.get_tensor(name) for name in reader.keys()}  # noqa: SIM118
    save_file(tensors, tmp_path / "w.safetensors", metadata)
    load_checkpoint(tmp_path / "w.safetensors")  # as it was
    save_file(tensors, tmp_path / "w.safetensors", metadata | {name: metadata[name].replace("0", "1") + " "})
    with pytest.raises(InputError, match="the sha256 does not match; the file is damaged, take another copy"):
        load_checkpoint(tmp_path / "w.safetensors")


@pytest.mark.parametrize("share", [0, 1e-6, 1e-4, 0.5, 1 - 1e-6])
def test_a_file_cut_short_is_noticed(share, file, tmp_path):
    payload = file.read_bytes()
    (tmp_path / "w.safetensors").write_bytes(payload[: int(len(payload) * share)])
    with pytest.raises(InputError, match=r"w\.safetensors: not a readable safetensors file"):
        load_checkpoint(tmp_path / "w.safetensors")


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"format": "np", "sha256": "0" * 64}])
def test_a_file_of_another_tool_is_refused(metadata, tmp_path):
    save_file(random_tensors(parameter_shapes(TINY), "float32", seed=1), tmp_path / "w.safetensors", metadata)
    with pytest.raises(InputError, match="a safetensors file, but not a weights file of tinyssd"):
        load_checkpoint(tmp_path / "w.safetensors")


# Momentum, handed from one framework to the other. The numbers are ones that MXNet's float32 settings hold exactly.

TRAIN = TrainConfig(lr=0.25, momentum=0.875, weight_decay=2**-11)


def start(backend, weights, momentum, train=TRAIN):
    """Return a network and its optimiser, in float64."""
    net = backend.weights.make_net(TINY, weights, dtype="float64")
    trainer = backend.train.make_trainer(net, train)
    backend.weights.set_velocity(net, trainer, momentum)
    return net, trainer


def step(name, net, trainer, gradients):
    """Let the framework itself make one step with given gradients: those of the loss sum(gradient * parameter)."""
    if name == "torch":
        import torch

        net.zero_grad()
        sum((torch.from_numpy(gradients[n]) * p).sum() for n, p in net.named_parameters()).backward()
        trainer.step()
    else:
        from mxnet import autograd
        from mxnet import np as mxnet_np

        named = net._collect_params_with_prefix().items()
        parameters = {n.replace("gamma", "weight").replace("beta", "bias"): p.data() for n, p in named}
        with autograd.record():
            loss = sum((mxnet_np.array(g, dtype=g.dtype) * parameters[n]).sum() for n, g in gradients.items())
        loss.backward()
        trainer.step(1)


@pytest.mark.backend("torch", "mxnet")
@pytest.mark.parametrize(("first", "second"), [("torch", "mxnet"), ("mxnet", "torch")])
def test_the_next_step_is_the_same_in_the_framework_that_takes_over(first, second, tmp_path):
    begin = random_tensors(parameter_shapes(TINY), "float64", seed=1)
    gradients = [random_tensors(TRAINED, "float64", seed) for seed in (2, 3, 4)]
    giver, taker = load_backend(first), load_backend(second)

    own = start(taker, begin, {})
    for gradient in gradients:
        step(second, *own, gradient)

    net, trainer = start(giver, begin, {})
    for gradient in gradients[:2]:
        step(first, net, trainer, gradient)
    handed = Checkpoint(
        giver.weights.get_weights(net), RunConfig(Config(TINY, TRAIN)), giver.weights.get_velocity(net, trainer)
    )
    save_checkpoint(tmp_path / "w.safetensors", handed)
    loaded = load_checkpoint(tmp_path / "w.safetensors")
    taken = start(taker, loaded.weights, loaded.velocity)
    step(second, *taken, gradients[2])

    for read in (lambda net, _: taker.weights.get_weights(net), taker.weights.get_velocity):
        ours, theirs = read(*taken), read(*own)
        assert sorted(ours) == sorted(theirs)
        for name in theirs:
            np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-12, atol=1e-12, err_msg=name)
    moved = taker.weights.get_weights(taken[0])
    assert not any(np.allclose(moved[name], loaded.weights[name]) for name in TRAINED)


def test_a_step_is_the_formula_of_pytorchs_documentation(backend):
    """`v = momentum v + g + wd p`, then `p = p - lr v`."""
    begin = random_tensors(parameter_shapes(TINY), "float64", seed=1)
    momentum, gradient = (random_tensors(TRAINED, "float64", seed) for seed in (2, 3))
    expected = {name: 0.875 * momentum[name] + gradient[name] + 2**-11 * begin[name] for name in TRAINED}
    net, trainer = start(backend, begin, momentum)
    step(backend.name, net, trainer, gradient)
    weights, velocity = backend.weights.get_weights(net), backend.weights.get_velocity(net, trainer)
    for name in TRAINED:
        np.testing.assert_allclose(velocity[name], expected[name], rtol=0, atol=1e-13, err_msg=name)
        np.testing.assert_allclose(weights[name], begin[name] - 0.25 * expected[name], rtol=0, atol=1e-13, err_msg=name)


def test_training_leaves_the_checkpoint_it_started_from_alone(backend, dtype):
    begin, momentum = (random_tensors(names, dtype, 1) for names in (parameter_shapes(TINY), TRAINED))
    copies = [{n: v.copy() for n, v in tensors.items()} for tensors in (begin, momentum)]
    given = Checkpoint(copies[0], RunConfig(Config(TINY)), copies[1])
    net = backend.weights.make_net(TINY, given.weights, dtype=dtype)
    trainer = backend.train.make_trainer(net, TRAIN)
    backend.weights.set_velocity(net, trainer, given.velocity)
    taken = backend.weights.get_velocity(net, trainer)
    step(backend.name, net, trainer, random_tensors(TRAINED, dtype, seed=3))
    assert_equal_tensors(given.weights, begin)
    assert_equal_tensors(given.velocity, momentum)
    for name in momentum:  # the very bits, though MXNet's come as float64
        np.testing.assert_array_equal(taken[name].astype(dtype), momentum[name], err_msg=name)


def test_momentum_does_not_depend_on_the_learning_rate(backend):
    """A run that goes on with another learning rate goes on with the same velocity."""
    weights = initial_weights(TINY, TRAIN)
    velocity = random_tensors(TRAINED, "float64", seed=2)
    for lr in (0.25, 0.1):
        net, trainer = start(backend, weights, velocity, dataclasses.replace(TRAIN, lr=lr))
        read = backend.weights.get_velocity(net, trainer)
        for name in TRAINED:
            np.testing.assert_allclose(read[name], velocity[name], rtol=1e-15, err_msg=name)


def test_there_is_no_momentum_before_the_first_step_or_without(backend):
    weights = initial_weights(TINY, TRAIN)
    assert backend.weights.get_velocity(*start(backend, weights, {})) == {}
    net, trainer = start(backend, weights, {}, dataclasses.replace(TRAIN, momentum=0.0))
    step(backend.name, net, trainer, random_tensors(TRAINED, "float64", seed=2))
    assert backend.weights.get_velocity(net, trainer) == {}
