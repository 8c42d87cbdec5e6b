"""The learning rate: PyTorch's own schedules, the same steps in both frameworks, the same when it is resumed."""

import dataclasses

import numpy as np
import pytest
from rich.console import Console

from ssd_common.checkpoints.checkpoint import Checkpoint
from ssd_common.config import Config, ModelConfig, RunConfig, TrainConfig
from ssd_common.config.tables import from_dict
from ssd_common.data import load_dataset
from ssd_common.errors import InputError
from ssd_common.runs.folder import RunFolder
from ssd_common.runs.train import train_run
from ssd_common.schedule import FIRST, LAST, WARM_UP, learning_rate
from ssd_common.weights import initial_weights

SCHEDULES = ("constant", "cosine", "one-cycle")
TINY = ModelConfig(image_size=64)


def rates(schedule, num_steps, lr=0.3):
    """Return the learning rate of every step."""
    return [learning_rate(TrainConfig(lr=lr, schedule=schedule), step, num_steps) for step in range(num_steps)]


def torch_rates(make_scheduler, num_steps, lr=0.3):
    """Return the learning rate of every step under one of PyTorch's schedulers."""
    import torch

    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler, found = make_scheduler(optimiser), []
    for step in range(num_steps):
        found.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        if step < num_steps - 1:
            scheduler.step()
    return found


@pytest.mark.backend("torch")
@pytest.mark.parametrize("num_steps", [1, 2, 3, 4, 10, 57, 560])
def test_one_cycle_is_pytorchs(num_steps):
    from torch.optim.lr_scheduler import OneCycleLR

    theirs = torch_rates(lambda o: OneCycleLR(o, 0.3, total_steps=num_steps, cycle_momentum=False), num_steps)
    np.testing.assert_allclose(rates("one-cycle", num_steps), theirs, rtol=0, atol=1e-15)


@pytest.mark.backend("torch")
@pytest.mark.parametrize("num_steps", [1, 2, 57, 560])
def test_cosine_is_pytorchs(num_steps):
    from torch.optim.lr_scheduler import CosineAnnealingLR

    theirs = torch_rates(lambda o: CosineAnnealingLR(o, T_max=num_steps), num_steps)
    np.testing.assert_allclose(rates("cosine", num_steps), theirs, rtol=0, atol=1e-14)


def test_the_default_is_the_books_one_rate():
    assert rates(TrainConfig().schedule, 7) == [0.3] * 7


def test_one_cycle_warms_up_and_ends_low():
    found = rates("one-cycle", 100)
    top = int(WARM_UP * 100) - 1
    np.testing.assert_allclose([found[0], found[top], found[-1]], [0.3 * FIRST, 0.3, 0.3 * LAST], rtol=1e-12)
    assert (np.diff(found[: top + 1]) > 0).all()
    assert (np.diff(found[top:]) < 0).all()


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("num_steps", [1, 2, 3, 50])
def test_no_step_has_a_rate_of_0(schedule, num_steps):
    """MXNet's velocities contain the rate and are divided by it."""
    assert min(rates(schedule, num_steps)) > 0


# In the optimisers.


def one_parameter(backend):
    """Return how to read a parameter of value 1 in float64, how to give it the gradient 1, and its layer."""
    if backend.name == "torch":
        import torch

        layer = torch.nn.Linear(1, 1, bias=False, dtype=torch.float64)
        torch.nn.init.ones_(layer.weight)
        return lambda: layer.weight.item(), lambda: layer.weight.sum().backward(), layer
    from mxnet import autograd
    from mxnet.gluon import nn

    layer = nn.Dense(1, in_units=1, use_bias=False, dtype="float64")
    layer.initialize("ones")

    def backward():
        with autograd.record():
            loss = layer.weight.data().sum()
        loss.backward()

    return lambda: layer.weight.data().item(), backward, layer


def test_a_new_rate_multiplies_the_whole_velocity(backend):
    """`v = momentum v + g`, then `p = p - lr v`: what PyTorch documents, with rates that float32 holds exactly."""
    lrs, momentum = [0.25, 0.5, 0.125, 0.125, 1.0], 0.75
    value, backward, layer = one_parameter(backend)
    trainer = backend.train.make_trainer(layer, TrainConfig(lr=lrs[0], momentum=momentum, weight_decay=0.0))
    expected, velocity = 1.0, 0.0
    for lr in lrs:
        backend.train.set_learning_rate(trainer, lr)
        if backend.name == "torch":
            layer.zero_grad()
        backward()
        trainer.step(*(() if backend.name == "torch" else (1,)))
        velocity = momentum * velocity + 1
        expected -= lr * velocity
        np.testing.assert_allclose(value(), expected, rtol=1e-15)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_step_of_a_training_has_its_rate_and_so_after_it_is_resumed(schedule, backend, monkeypatch):
    config = TrainConfig(epochs=2, batch_size=2, lr=0.03125, momentum=0.5, schedule=schedule)
    data, seen = load_dataset("synthetic", limit=5), []
    step = backend.train.train_step

    def train_step(net, trainer, *args):
        lr = trainer.param_groups[0]["lr"] if backend.name == "torch" else trainer.learning_rate
        seen.append(lr)
        return step(net, trainer, *args)

    monkeypatch.setattr(backend.train, "train_step", train_step)

    def start(weights, momentum):
        net = backend.weights.make_net(TINY, weights)
        trainer = backend.train.make_trainer(net, config)
        backend.weights.set_velocity(net, trainer, momentum)
        return net, trainer

    straight = start(initial_weights(TINY, config), {})
    list(backend.train.train(*straight, data, TINY, config))
    assert seen == rates(schedule, 6, lr=config.lr)

    first = start(initial_weights(TINY, config), {})
    next(iter(backend.train.train(*first, data, TINY, config)))
    second = start(backend.weights.get_weights(first[0]), backend.weights.get_velocity(*first))
    list(backend.train.train(*second, data, TINY, config, first_epoch=1))
    assert seen[6:] == seen[:6]
    ours, theirs = (backend.weights.get_weights(net) for net, _ in (second, straight))
    for name in theirs:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(schedule, backend, tmp_path):
    """MXNet keeps velocities times the rate, which is rounded anew at every step."""
    train = TrainConfig(epochs=3, batch_size=2, lr=0.03, momentum=0.9, schedule=schedule)
    data, kept = load_dataset("synthetic", limit=5), []

    def run(name, start):
        folder = RunFolder(tmp_path / name, Console(quiet=True))
        folder.save = lambda checkpoint, best: kept.append(checkpoint)
        with folder:
            return train_run(backend, folder, data, data, start, backend.data.get_device("cpu")).checkpoint

    whole = run("whole", Checkpoint(initial_weights(TINY, train), RunConfig(Config(TINY, train))))
    resumed = run("resumed", next(checkpoint for checkpoint in kept if checkpoint.epoch == 1))
    for kind in ("weights", "velocity"):
        for name, value in getattr(whole, kind).items():
            np.testing.assert_array_equal(getattr(resumed, kind)[name], value, err_msg=f"{kind} {name}")


def test_a_schedule_that_does_not_exist_is_not_taken_from_a_file():
    with pytest.raises(InputError, match="schedule must be one of constant, cosine, one-cycle, got 'linear'"):
        from_dict(TrainConfig(), {"schedule": "linear"}, "a file")
    assert from_dict(TrainConfig(), {"schedule": "cosine"}, "a file") == dataclasses.replace(
        TrainConfig(), schedule="cosine"
    )
