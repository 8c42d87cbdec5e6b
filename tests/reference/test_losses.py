"""Losses: the chapters' own, from the frameworks' own losses, with gradients against finite differences."""

from types import SimpleNamespace

import numpy as np
import pytest

from ssd_common import losses
from ssd_common.config import STRAIGHT_DOPE, LossConfig

TOLERANCE = {"float64": 1e-12, "float32": 2e-6}
CONFIGS = {
    "the book": LossConfig(),
    "the Straight Dope": STRAIGHT_DOPE.train.loss,
    "focal and L1": LossConfig(cls_loss="focal", alpha=0.5, gamma=1.5),
    "cross entropy and smooth L1": LossConfig(bbox_loss="smooth_l1", sigma=2.0),
    "hard negatives": LossConfig(negatives_per_positive=3),
    "one hard negative, smooth L1": LossConfig(bbox_loss="smooth_l1", negatives_per_positive=1),
    "weights": LossConfig(cls_weight=0.5, bbox_weight=3.0),
    "all of it": LossConfig("focal", "smooth_l1", negatives_per_positive=2, cls_weight=2.0, bbox_weight=0.0),
}


def random_case(seed, batch=3, num_anchors=20, num_classes=4, scale=3.0):
    """Return class logits, class labels, predicted offsets, target offsets and masks."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, num_classes + 1, (batch, num_anchors))
    masks = np.repeat((labels > 0).astype("float64"), 4, axis=1)
    logits = scale * rng.normal(size=(batch, num_anchors, num_classes + 1))
    return logits, labels, rng.normal(size=masks.shape), rng.normal(size=masks.shape) * masks, masks


def few_positives():
    """Three images with 2, 1 and no positives among 40 anchors."""
    logits, labels, offsets, targets, _ = random_case(7, num_anchors=40)
    few = np.zeros_like(labels)
    few[[0, 0, 1], [3, 17, 39]] = [4, 1, 2]
    masks = np.repeat((few > 0).astype("float64"), 4, axis=1)
    return logits, few, offsets, targets * masks, masks


def all_background():
    logits, labels, offsets, targets, masks = random_case(1)
    return logits, np.zeros_like(labels), offsets, np.zeros_like(targets), np.zeros_like(masks)


CASES = {
    "random": random_case(0),
    "one anchor": random_case(2, batch=1, num_anchors=1, num_classes=1),
    "few positives": few_positives(),
    "all background": all_background(),
    "large logits": random_case(3, scale=100.0),
    "nothing learned": tuple(a * z for a, z in zip(random_case(4), (0, 1, 0, 1, 1), strict=True)),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
every_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


def of_dtype(case, dtype):
    return [array if array.dtype == np.int64 else array.astype(dtype) for array in case]


@every_case
@every_config
def test_losses_are_the_same_in_numpy_and_the_backends(case, config, backend, dtype):
    case, n = of_dtype(case, dtype), backend.data.to_numpy
    on_device = [backend.data.to_device(array) for array in case]
    terms = [n(term) for term in backend.losses.loss_terms(*on_device, config)]
    reference = losses.loss_terms(*case, config)
    for ours, expected in zip(terms, reference, strict=True):
        assert ours.shape == expected.shape == (len(case[0]),)
        assert ours.dtype == expected.dtype == dtype
        np.testing.assert_allclose(ours, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
    np.testing.assert_array_equal(n(backend.losses.calc_loss(*on_device, config)), terms[0] + terms[1])
    np.testing.assert_array_equal(losses.calc_loss(*case, config), reference[0] + reference[1])


@pytest.mark.backend("torch")
@every_case
def test_the_default_loss_is_the_chapter_s_in_pytorch(case):
    import torch
    from torch import nn

    logits, labels, offsets, targets, masks = (torch.from_numpy(array) for array in case)
    cls = nn.CrossEntropyLoss(reduction="none")(logits.flatten(end_dim=1), labels.flatten()).reshape(labels.shape)
    bbox = nn.L1Loss(reduction="none")(offsets * masks, targets * masks)
    expected = (cls.mean(dim=1) + bbox.mean(dim=1)).numpy()
    np.testing.assert_allclose(losses.calc_loss(*case), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.backend("mxnet")
@every_case
def test_the_default_loss_is_the_chapter_s_in_mxnet(case):
    from mxnet import gluon
    from mxnet import np as mxnp

    logits, labels, offsets, targets, masks = (mxnp.array(array, dtype=array.dtype) for array in case)
    cls = gluon.loss.SoftmaxCrossEntropyLoss()(logits, labels)
    bbox = gluon.loss.L1Loss()(offsets * masks, targets * masks)
    np.testing.assert_allclose(losses.calc_loss(*case), (cls + bbox).asnumpy(), rtol=1e-12, atol=1e-12)


@every_case
def test_the_straight_dope_s_loss_is_its_chapter_s_formulas(case):
    """Focal loss with 0.25 and 2, and smooth L1 of the masked error with scalar 1, both averaged over the anchors."""
    logits, labels, offsets, targets, masks = case
    exponentials = np.exp(logits - logits.max(axis=2, keepdims=True))
    softmax = exponentials / exponentials.sum(axis=2, keepdims=True)
    expected = np.zeros(len(logits))
    for i in range(len(logits)):
        p = np.array([softmax[i, anchor, label] for anchor, label in enumerate(labels[i])])
        error = np.abs((offsets[i] - targets[i]) * masks[i])
        smooth = np.array([x * x / 2 if x < 1 else x - 0.5 for x in error])
        expected[i] = np.mean(-0.25 * (1 - p) ** 2 * np.log(p)) + np.mean(smooth)
    np.testing.assert_allclose(losses.calc_loss(*case, STRAIGHT_DOPE.train.loss), expected, rtol=1e-9)


# Hard negatives.


def hardest_by_sorting(cls_loss, cls_labels, ratio):
    """Return which anchors are kept, image by image: all positives, then background until there is enough."""
    kept = cls_labels > 0
    for picture, losses_of_picture in enumerate(cls_loss):
        background = [i for i in range(len(losses_of_picture)) if cls_labels[picture, i] == 0]
        background.sort(key=lambda i: (-losses_of_picture[i], i))
        kept[picture, background[: ratio * max(1, int(kept[picture].sum()))]] = True
    return kept


@pytest.mark.parametrize("share", [0, 0.01, 0.2, 0.6, 1])
@pytest.mark.parametrize("levels", [1, 3, 10**6], ids=["all equal", "many ties", "hardly a tie"])
def test_the_hardest_background_is_kept_and_of_equal_losses_the_first(levels, share, backend, dtype):
    """Lists of more than 16 with ties are those that MXNet's own sort leaves in no order."""
    rng = np.random.default_rng(0)
    loss = rng.integers(0, levels, (4, 300)).astype(dtype)
    labels = (rng.random(loss.shape) < share) * rng.integers(1, 4, loss.shape)
    for ratio in (1, 3, 2**62):
        expected = hardest_by_sorting(loss, labels, ratio)
        np.testing.assert_array_equal(losses.hard_negatives(loss, labels, ratio), expected)
        ours = backend.losses.hard_negatives(backend.data.to_device(loss), backend.data.to_device(labels), ratio)
        np.testing.assert_array_equal(backend.data.to_numpy(ours), expected)


@pytest.mark.backend("torch")
@pytest.mark.parametrize("picture", [0, 1])
def test_with_hard_negatives_the_loss_is_a_quarter_of_torchvision_s(picture):
    """Its SSD adds up over a batch and divides by the positives, ours is a mean: of one image, 4 anchors each."""
    import torch
    from torchvision.models.detection.ssd import SSD

    logits, labels, offsets, targets, masks = (array[picture : picture + 1] for array in few_positives())
    head = {"cls_logits": torch.tensor(logits), "bbox_regression": torch.tensor(offsets).reshape(1, -1, 4)}
    positive = labels[0] > 0
    (rows,) = np.nonzero(positive)
    matched = np.full(labels.shape[1], -1)
    matched[rows] = np.arange(len(rows))
    encoded = torch.tensor(targets.reshape(-1, 4)[rows])
    ssd = SimpleNamespace(neg_to_pos_ratio=3, box_coder=SimpleNamespace(encode_single=lambda *_: encoded))
    truth = {"boxes": torch.zeros(len(rows), 4), "labels": torch.tensor(labels[0][rows])}
    anchors = torch.zeros(labels.shape[1], 4)
    theirs = SSD.compute_loss(ssd, [truth], head, [anchors], [torch.tensor(matched)])
    config = LossConfig(bbox_loss="smooth_l1", negatives_per_positive=3)
    cls, bbox = losses.loss_terms(logits, labels, offsets, targets, masks, config)
    np.testing.assert_allclose(4 * cls[0], theirs["classification"].item(), rtol=1e-12)
    np.testing.assert_allclose(4 * bbox[0], theirs["bbox_regression"].item(), rtol=1e-12)


def test_background_that_is_not_hard_has_no_gradient(backend):
    logits, labels, offsets, targets, masks = few_positives()
    d, config = backend.data.to_device, LossConfig(negatives_per_positive=3)
    rest = d(labels), d(offsets), d(targets), d(masks)
    slopes = gradient(backend, lambda x: backend.losses.calc_loss(x, *rest, config), logits)
    kept = losses.hard_negatives(losses.cross_entropy(logits, labels), labels, 3)
    np.testing.assert_array_equal((slopes != 0).any(axis=2), kept)
    np.testing.assert_array_equal(kept.sum(axis=1), [8, 4, 3])


ERRORS = np.concatenate((np.linspace(-3, 3, 61), [0.25, -0.25, 1e-9, 1e6]))


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
def test_smooth_l1_is_that_of_each_framework(sigma, backend, dtype):
    errors = ERRORS.astype(dtype)
    on_device = backend.data.to_device(errors)
    if backend.name == "torch":
        from torch import nn, zeros_like

        theirs = nn.SmoothL1Loss(reduction="none", beta=1 / sigma**2)(on_device, zeros_like(on_device))
    else:
        from mxnet import npx

        theirs = npx.smooth_l1(on_device, scalar=sigma)
    theirs = backend.data.to_numpy(theirs)
    np.testing.assert_allclose(losses.smooth_l1(errors, sigma), theirs, rtol=TOLERANCE[dtype])
    ours = backend.data.to_numpy(backend.losses.smooth_l1(on_device, sigma))
    np.testing.assert_allclose(ours, theirs, rtol=TOLERANCE[dtype])


@pytest.mark.backend("torch")
@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_loss_of_two_classes_is_torchvision_s(gamma):
    """The softmax of two logits is the sigmoid of their difference; alpha is a plain factor here."""
    import torch
    from torchvision.ops import sigmoid_focal_loss

    logits, labels = random_case(8, num_classes=1)[:2]
    difference = torch.tensor(logits[..., 1] - logits[..., 0])
    theirs = sigmoid_focal_loss(difference, torch.tensor(labels, dtype=torch.float64), alpha=-1, gamma=gamma)
    np.testing.assert_allclose(losses.focal_loss(logits, labels, 0.25, gamma), 0.25 * theirs.numpy(), rtol=1e-9)


def test_focal_loss_without_gamma_is_cross_entropy(backend):
    logits, labels = CASES["random"][:2]
    on_device = backend.data.to_device(logits), backend.data.to_device(labels)
    expected = 0.3 * losses.cross_entropy(logits, labels)
    np.testing.assert_allclose(losses.focal_loss(logits, labels, 0.3, 0), expected, rtol=1e-12)
    ours = backend.data.to_numpy(backend.losses.focal_loss(*on_device, 0.3, 0))
    np.testing.assert_allclose(ours, expected, rtol=1e-12)


def gradient(backend, function, array):
    """Return the derivative of the sum of `function(array)`."""
    X = backend.data.to_device(array)
    if backend.name == "torch":
        X.requires_grad_()
        function(X).sum().backward()
        return backend.data.to_numpy(X.grad)
    from mxnet import autograd

    X.attach_grad()
    with autograd.record():
        loss = function(X).sum()
    loss.backward()
    return backend.data.to_numpy(X.grad)


def finite_differences(function, array, step=1e-6):
    """Return the derivative of the sum of `function(array)`, element by element."""
    slopes = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        shift = np.zeros_like(array)
        shift[index] = step
        slopes[index] = (function(array + shift).sum() - function(array - shift).sum()) / (2 * step)
    return slopes


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
def test_the_gradient_of_smooth_l1_is_its_slope(sigma, backend):
    errors = np.linspace(-5, 5, 43)  # none of them at a kink
    expected = finite_differences(lambda x: losses.smooth_l1(x, sigma), errors)
    ours = gradient(backend, lambda x: backend.losses.smooth_l1(x, sigma), errors)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 3.5])
def test_the_gradient_of_the_focal_loss_is_its_slope(gamma, backend):
    logits, labels = random_case(5, batch=2, num_anchors=5)[:2]
    on_device = backend.data.to_device(labels)
    expected = finite_differences(lambda x: losses.focal_loss(x, labels, 0.25, gamma), logits)
    ours = gradient(backend, lambda x: backend.losses.focal_loss(x, on_device, 0.25, gamma), logits)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-8)


@every_config
def test_the_gradient_of_the_loss_is_its_slope(config, backend):
    logits, labels, offsets, targets, masks = random_case(6, batch=2, num_anchors=4, num_classes=2)
    d = backend.data.to_device

    def ours(logits, offsets):
        return backend.losses.calc_loss(logits, d(labels), offsets, d(targets), d(masks), config)

    def reference(logits, offsets):
        return losses.calc_loss(logits, labels, offsets, targets, masks, config)

    np.testing.assert_allclose(
        gradient(backend, lambda x: ours(x, d(offsets)), logits),
        finite_differences(lambda x: reference(x, offsets), logits),
        rtol=0,
        atol=1e-8,
    )
    slopes = finite_differences(lambda x: reference(logits, x), offsets)
    np.testing.assert_allclose(gradient(backend, lambda x: ours(d(logits), x), offsets), slopes, rtol=0, atol=1e-8)
    np.testing.assert_array_equal(slopes[masks == 0], 0)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_an_anchor_that_is_right_beyond_doubt_has_gradient_0(gamma, backend):
    """Its probability is 1 in float32."""
    logits, labels = np.array([[[40, 0], [0, 40]]], "float32"), backend.data.to_device(np.array([[0, 1]]))
    ours = gradient(backend, lambda x: backend.losses.focal_loss(x, labels, 0.25, gamma), logits)
    np.testing.assert_allclose(ours, np.zeros((1, 2, 2)), rtol=0, atol=1e-6)


@every_case
def test_the_metrics_count_right_anchors_and_masked_errors(case, backend, dtype):
    logits, labels, offsets, targets, masks = of_dtype(case, dtype)
    d = backend.data.to_device
    best = [row.tolist().index(max(row)) for row in logits.reshape(-1, logits.shape[2])]
    right = np.equal(best, labels.flatten()).sum()
    assert losses.cls_eval(logits, labels) == float(backend.losses.cls_eval(d(logits), d(labels))) == right
    errors = np.abs(offsets.astype("float64") - targets)[masks > 0].sum()
    ours = float(backend.losses.bbox_eval(d(offsets), d(targets), d(masks)))
    np.testing.assert_allclose([ours, losses.bbox_eval(offsets, targets, masks)], errors, rtol=TOLERANCE[dtype])
