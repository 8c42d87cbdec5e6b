"""The training loop of the chapter."""

from mxnet import autograd, gluon

from ssd_common.config import LossConfig
from ssd_common.data.prefetch import Prefetched
from ssd_common.data.sampling import batches, epoch_order
from ssd_common.group import ALONE
from ssd_common.metrics import EpochMeter
from ssd_common.schedule import learning_rate

from .data import to_device
from .evaluate import batch_metrics
from .losses import loss_terms
from .options import set_precision
from .targets import multibox_target


def make_trainer(net, train_config):
    """Return the optimiser: stochastic gradient descent with weight decay on every parameter.

    Args:
        net: the network.
        train_config: a `TrainConfig`.

    Source: d2l, section "Single Shot Multibox Detection", reading the dataset and initializing the model.
    """
    settings = {"learning_rate": train_config.lr, "momentum": train_config.momentum, "wd": train_config.weight_decay}
    return gluon.Trainer(net.collect_params(), "sgd", settings)


def set_learning_rate(trainer, lr):
    """Give the optimiser the learning rate of the next step; its velocities keep their meaning.

    Args:
        trainer: as returned by `make_trainer`.
        lr: see `ssd_common.schedule.learning_rate`.
    """
    (updater,) = trainer._updaters  # private, of one device: there is no public way to the states
    for state in updater.states.values():  # each is `-lr` times the velocity, and None without momentum
        if state is not None and lr != trainer.learning_rate:
            state *= lr / trainer.learning_rate
    trainer.set_learning_rate(lr)


def forward_backward(net, X, Y, loss_config=LossConfig(), terms=loss_terms):
    """Leave the gradient of one batch's mean loss in the network, and return what `batch_metrics` measured.

    Args:
        net: the network.
        X: images `(batch, 3, height, width)`.
        Y: labels `(batch, max_objects, 5)`.
        loss_config: which losses.
        terms: computes the losses; a function of your own takes and returns what `loss_terms` does.

    Source: d2l, section "Single Shot Multibox Detection", training the model.
    """
    with autograd.record():
        anchors, cls_preds, bbox_preds = net(X)
        bbox_labels, bbox_masks, cls_labels = multibox_target(anchors, Y)
        cls, bbox = terms(cls_preds, cls_labels, bbox_preds, bbox_labels, bbox_masks, loss_config)
        mean_loss = (cls + bbox).mean()
    mean_loss.backward()
    return batch_metrics(cls, bbox, cls_preds, cls_labels, bbox_preds, bbox_labels, bbox_masks)


def train_step(net, trainer, X, Y, loss_config=LossConfig(), terms=loss_terms, group=ALONE):
    """Update the network on one batch, and return what `batch_metrics` measured before the update.

    Args:
        net: the network.
        trainer: as returned by `make_trainer`.
        X: images `(batch, 3, height, width)`.
        Y: labels `(batch, max_objects, 5)`.
        loss_config: which losses.
        terms: computes the losses; a function of your own takes and returns what `loss_terms` does.
        group: the processes that train together, see `distributed.join`.

    Source: d2l, section "Single Shot Multibox Detection", training the model.
    """
    metrics = group.average(net, forward_backward(net, X, Y, loss_config, terms))
    trainer.step(1)  # the loss is a mean already, over as many images as the last batch has
    return metrics


def train(
    net,
    trainer,
    data,
    model_config,
    train_config,
    first_epoch=0,
    device=None,
    progress=iter,
    terms=loss_terms,
    new_meter=EpochMeter,
    group=ALONE,
):
    """Train the network, yielding the metrics of each epoch when it ends.

    Args:
        net: the network.
        trainer: as returned by `make_trainer`.
        data: the training dataset.
        model_config: the `ModelConfig` of the network.
        train_config: a `TrainConfig`.
        first_epoch: how many epochs were trained before.
        device: where the network is.
        progress: called with an epoch's batches, which have a length, returns an iterable of them; it may show a bar.
        terms: see `train_step`.
        new_meter: called when an epoch begins, returns its `EpochMeter`; the batches that it counts are not trained.
        group: see `train_step`; each of its processes trains its share of every batch.

    Yields:
        `{"epoch": from 1, …}` with the metrics of `EpochMeter.summary`.

    Source: d2l, section "Single Shot Multibox Detection", training the model.
    """
    set_precision(net, train_config.precision)
    for epoch in range(first_epoch, train_config.epochs):
        meter = new_meter()
        order = epoch_order(len(data), train_config.batch_size, train_config.seed, epoch)
        left = order[meter.steps :]
        made = batches(
            data,
            group.shard(left),
            model_config,
            augment_config=train_config.augment,
            seed=train_config.seed,
            epoch=epoch,
        )
        for images, labels in meter.time_data(progress(Prefetched(made, len(left)))):
            step = epoch * len(order) + meter.steps
            set_learning_rate(trainer, learning_rate(train_config, step, train_config.epochs * len(order)))
            X, Y = to_device(images, device), to_device(labels, device)
            meter.add(train_step(net, trainer, X, Y, train_config.loss, terms, group))
        yield {"epoch": epoch + 1, **meter.summary()}
