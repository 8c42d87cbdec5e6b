"""Windows, mappings and labels: as torchvision's and MXNet's own transforms have them."""

import itertools
import random

import numpy as np
import pytest
from PIL import Image

from ssd_common.boxes import box_iou
from ssd_common.data.augment import geometry
from ssd_common.data.augment.geometry import (
    FILL,
    Mapping,
    Window,
    expand_window,
    flip,
    iou_crop,
    map_labels,
    object_crop,
    shift_window,
    view,
)
from ssd_common.data.transforms import resize_image

WIDTH, HEIGHT = 120, 80
WHOLE = Window(0, 0, WIDTH, HEIGHT)
SIDES = np.array((WIDTH, HEIGHT) * 2)


def random_picture(seed=0):
    """Return a smooth image: two ways of resampling it differ by rounding only."""
    noise = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), np.uint8)
    return Image.fromarray(noise).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)


def random_labels(rng, count=6):
    """Return labels with boxes of many sizes, all inside the image, class ids 0, 1, ..."""
    sides = rng.uniform(0.02, 0.6, (count, 2))
    corners = rng.random((count, 2)) * (1 - sides)
    return np.column_stack([np.arange(count), corners, corners + sides]).astype(np.float32)


def pixels(labels):
    return labels[:, 1:].astype(np.float64) * SIDES


# --- Mapping


@pytest.mark.parametrize("mapping", [Mapping(), Mapping((2.0, 0.5), (-0.3, 0.1)), Mapping((-1.0, 3.0), (1.0, -2.0))])
def test_the_inverse_takes_boxes_back(mapping, dtype):
    boxes = random_labels(np.random.default_rng(0))[:, 1:].astype(dtype)
    back = mapping.inverse().apply(mapping.apply(boxes))
    assert back.dtype == dtype
    np.testing.assert_allclose(back, boxes, rtol=0, atol=1e-6 if dtype == "float32" else 1e-14)


def test_two_mappings_in_one_are_the_two_one_after_the_other():
    boxes = random_labels(np.random.default_rng(0))[:, 1:].astype("float64")
    first, second = Mapping((2.0, -0.5), (-0.3, 0.1)), Mapping((-1.5, 3.0), (1.0, -2.0))
    np.testing.assert_allclose(first.then(second).apply(boxes), second.apply(first.apply(boxes)), rtol=0, atol=1e-14)


# --- Against torchvision


def tv_boxes(labels):
    import torch
    from torchvision.tv_tensors import BoundingBoxes

    return BoundingBoxes(torch.from_numpy(pixels(labels)), format="XYXY", canvas_size=(HEIGHT, WIDTH))


def tv_image(picture):
    import torch
    from torchvision.tv_tensors import Image as TvImage

    return TvImage(torch.from_numpy(np.array(picture).transpose(2, 0, 1)))


def tv_labels(boxes, class_ids):
    """Return what SanitizeBoundingBoxes leaves of boxes, as labels of ours."""
    from torchvision.transforms.v2.functional import clamp_bounding_boxes, sanitize_bounding_boxes

    boxes, kept = sanitize_bounding_boxes(clamp_bounding_boxes(boxes), min_size=1e-9, min_area=1e-12)
    height, width = boxes.canvas_size
    return np.column_stack([class_ids[kept.numpy()], boxes.numpy() / (width, height, width, height)])


@pytest.mark.backend("torch")
def test_flip_is_torchvisions():
    from torchvision.transforms.v2 import functional

    picture, labels = random_picture(), random_labels(np.random.default_rng(0))
    flipped, mapping = flip(picture)
    np.testing.assert_array_equal(flipped, functional.horizontal_flip(tv_image(picture)).numpy().transpose(1, 2, 0))
    expected = tv_labels(functional.horizontal_flip(tv_boxes(labels)), labels[:, 0])
    np.testing.assert_allclose(map_labels(labels, mapping), expected, rtol=0, atol=1e-7)


@pytest.mark.backend("torch")
def test_crop_and_resize_are_torchvisions():
    import torch
    from torchvision.transforms.v2 import RandomIoUCrop, functional

    rng = np.random.default_rng(0)
    picture, crop = random_picture(), RandomIoUCrop()
    dropped = 0
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for _ in range(60):
            labels = random_labels(rng)
            flat = [tv_image(picture), tv_boxes(labels)]
            chosen = crop.make_params(flat)
            theirs, their_boxes = (functional.resize(crop.transform(x, chosen), [64, 64]) for x in flat)
            left, top = chosen.get("left", 0), chosen.get("top", 0)
            window = Window(left, top, left + chosen.get("width", WIDTH), top + chosen.get("height", HEIGHT))
            seen, mapping = view(picture, window, 64)
            np.testing.assert_allclose(seen, theirs.numpy().transpose(1, 2, 0), rtol=0, atol=1)
            expected = tv_labels(their_boxes, labels[:, 0])
            np.testing.assert_allclose(map_labels(labels, mapping), expected, rtol=0, atol=1e-6)
            dropped += len(labels) - len(expected)
    assert dropped > 60


@pytest.mark.backend("torch")
@pytest.mark.parametrize(("left", "top"), [(0, 0), (17, 30), (80, 120)])
def test_expand_is_torchvisions_padding(left, top):
    from torchvision.transforms.v2 import functional

    picture, labels = random_picture(), random_labels(np.random.default_rng(left))
    padding = [left, top, 200 - WIDTH - left, 200 - HEIGHT - top]
    seen, mapping = view(picture, Window(-left, -top, 200 - left, 200 - top), 200)
    expected = functional.pad(tv_image(picture), padding, fill=[float(value) for value in FILL])
    np.testing.assert_array_equal(seen, expected.numpy().transpose(1, 2, 0))
    theirs = tv_labels(functional.pad(tv_boxes(labels), padding), labels[:, 0])
    np.testing.assert_allclose(map_labels(labels, mapping), theirs, rtol=0, atol=1e-7)


# --- Against MXNet


def mx_crop(**options):
    from mxnet.image.detection import DetRandomCropAug

    return DetRandomCropAug(area_range=(0.05, 3.0), **options)  # as CreateDetAugmenter has it


@pytest.mark.backend("mxnet")
def test_flip_is_mxnets():
    import mxnet as mx

    picture, labels = random_picture(), random_labels(np.random.default_rng(0))
    augmenter = mx.image.DetHorizontalFlipAug(1.0)
    theirs, their_labels = augmenter(mx.nd.from_numpy(np.array(picture)), labels.copy())
    flipped, mapping = flip(picture)
    np.testing.assert_array_equal(flipped, theirs.asnumpy())
    np.testing.assert_allclose(map_labels(labels, mapping), their_labels, rtol=0, atol=1e-7)


@pytest.mark.backend("mxnet")
@pytest.mark.parametrize("min_object_covered", [0.1, 0.95])
def test_the_labels_of_an_object_crop_are_mxnets(min_object_covered):
    augmenter = mx_crop(min_object_covered=min_object_covered, max_attempts=200)
    rng, picture = np.random.default_rng(0), random_picture()
    random.seed(0)
    crops = dropped = 0
    for _ in range(100):
        labels = random_labels(rng, 3)
        proposal = augmenter._random_crop_proposal(labels, HEIGHT, WIDTH)
        if proposal:
            left, top, width, height, expected = proposal
            _, mapping = view(picture, Window(left, top, left + width, top + height), 64)
            mapped = map_labels(labels, mapping, geometry.OBJECT_CROP_KEPT)
            np.testing.assert_allclose(mapped, expected, rtol=0, atol=1e-6)
            crops, dropped = crops + 1, dropped + len(labels) - len(expected)
    assert crops > 50
    assert dropped > 30


@pytest.mark.backend("mxnet")
@pytest.mark.parametrize("min_object_covered", [0.1, 0.5, 0.95])
def test_mxnet_accepts_every_object_crop(min_object_covered):
    augmenter = mx_crop(min_object_covered=min_object_covered)
    rng, cropped = np.random.default_rng(0), 0
    for _ in range(100):
        labels = random_labels(rng, 2)
        window = object_crop(WHOLE, pixels(labels), min_object_covered, 50, rng)
        if window != WHOLE:
            assert augmenter._check_satisfy_constraints(labels, *window, WIDTH, HEIGHT)
            assert (
                augmenter._update_labels(labels, (*window[:2], window.width, window.height), HEIGHT, WIDTH) is not None
            )
            assert window.width * window.height > 0.045 * WIDTH * HEIGHT  # 0.05, except for whole pixels
            assert (window.width + 0.5) / window.height > 0.74
            assert (window.width - 0.5) / window.height < 1.34
            cropped += 1
    assert cropped > 70


@pytest.mark.backend("mxnet")
def test_object_crops_are_spread_as_mxnets_are():
    labels = np.array([[0, 0.4, 0.5, 0.55, 0.7]], np.float32)
    augmenter = mx_crop(min_object_covered=0.95, max_attempts=200)
    random.seed(0)
    theirs = [augmenter._random_crop_proposal(labels, HEIGHT, WIDTH)[:4] for _ in range(1500)]
    rng = np.random.default_rng(0)
    windows = [object_crop(WHOLE, pixels(labels), 0.95, 200, rng) for _ in range(1500)]
    ours = [(w.left, w.top, w.width, w.height) for w in windows]
    np.testing.assert_allclose(np.mean(ours, axis=0), np.mean(theirs, axis=0), rtol=0, atol=1.5)
    np.testing.assert_allclose(np.std(ours, axis=0), np.std(theirs, axis=0), rtol=0, atol=1.5)


# --- Windows


@pytest.mark.parametrize("overlap", [0.1, 0.3, 0.5, 0.7])
def test_an_iou_crop_overlaps_an_object_in_view_by_what_was_drawn(overlap, monkeypatch):
    monkeypatch.setattr(geometry, "IOU_CROP_OVERLAPS", (overlap,))
    rng, sizes, cropped = np.random.default_rng(0), [], 0
    for _ in range(100):
        boxes = pixels(random_labels(rng))
        window = iou_crop(WHOLE, boxes, rng)
        if window == WHOLE:
            continue
        cropped += 1
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        visible = ((centres > window[:2]) & (centres < window[2:])).all(axis=1)
        assert box_iou(np.array([window], float), boxes[visible]).max() >= overlap
        assert 0 <= window.left < window.right <= WIDTH
        assert 0 <= window.top < window.bottom <= HEIGHT
        sizes.append((window.width / WIDTH, window.height / HEIGHT))
    width, height = np.transpose(sizes)
    assert cropped > 10
    assert (width * height > 0.08).all()
    assert (width / height > 0.47).all()
    assert (width / height < 2.1).all()


def test_an_iou_crop_leaves_a_seventh_of_the_pictures_whole():
    # Every overlap can be had with an object as large as the image, of IoU above 0.9 seldom: those are drawn again.
    rng = np.random.default_rng(0)
    boxes = np.array([[30.0, 20.0, 90.0, 60.0]])
    whole = sum(iou_crop(WHOLE, boxes, rng) == WHOLE for _ in range(1000)) / 1000
    assert 1 / 7 - 0.03 < whole < 1 / 6 + 0.03


def test_without_objects_nothing_is_cropped():
    rng, nothing = np.random.default_rng(0), np.zeros((0, 4))
    for _ in range(20):
        assert iou_crop(WHOLE, nothing, rng) == WHOLE
        assert object_crop(WHOLE, nothing, 0.95, 200, rng) == WHOLE


def test_an_object_crop_that_cannot_be_had_leaves_the_picture_whole():
    boxes = np.array([[x, 0.0, x + 4, HEIGHT] for x in range(WIDTH - 3)])  # every smaller crop cuts one of them
    assert object_crop(WHOLE, boxes, 0.95, 200, np.random.default_rng(0)) == WHOLE


def test_an_expanded_window_holds_the_picture_anywhere_in_it():
    rng = np.random.default_rng(0)
    windows = [expand_window(WHOLE, 4.0, rng) for _ in range(5000)]
    for window in windows:
        assert window.left <= 0 < WIDTH <= window.right <= 4 * WIDTH
        assert window.top <= 0 < HEIGHT <= window.bottom <= 4 * HEIGHT
        assert abs(window.width / WIDTH - window.height / HEIGHT) < 0.02
    ratios = np.array([window.width / WIDTH for window in windows])
    places = np.array([-w.left / (w.width - WIDTH) for w in windows if w.width > 1.1 * WIDTH])
    np.testing.assert_allclose([ratios.mean(), places.mean()], [2.5, 0.5], rtol=0, atol=0.1)
    assert ratios.min() < 1.1 < 3.9 < ratios.max()


def test_a_shifted_window_keeps_its_size_and_its_limit():
    rng = np.random.default_rng(0)
    windows = [shift_window(WHOLE, 0.1, rng) for _ in range(500)]
    assert {(window.width, window.height) for window in windows} == {(WIDTH, HEIGHT)}
    assert {window.left for window in windows} == set(range(-12, 13))
    assert {window.top for window in windows} == set(range(-8, 9))


# --- view


def test_the_whole_window_is_the_resized_picture():
    picture = random_picture()
    for size in (64, 80, 120, 256):
        seen, mapping = view(picture, WHOLE, size)
        np.testing.assert_array_equal(seen, resize_image(np.array(picture), size))
        np.testing.assert_allclose([*mapping.scale, *mapping.shift], [1, 1, 0, 0], rtol=0, atol=1e-15)


def test_the_mapping_is_that_of_the_pixels_as_drawn():
    picture = Image.new("RGB", (50, 70), (255, 255, 255))
    for left, top, size in itertools.product((-37, -1, 0, 13), (-53, 0, 20), (31, 64)):
        window = Window(left, top, left + 133, top + 91)
        seen, mapping = view(picture, window, size)
        rows, columns = np.nonzero((np.array(seen) == 255).all(axis=2))
        drawn = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / size
        np.testing.assert_allclose(mapping.apply(np.array([0.0, 0, 1, 1])).clip(0, 1), drawn, rtol=0, atol=1e-12)
        exact = (np.array([0, 0, 50, 70]) - (left, top) * 2) / (133, 91, 133, 91)
        np.testing.assert_allclose(drawn, exact.clip(0, 1), rtol=0, atol=0.5 / size)


def test_a_window_beside_the_picture_is_refused():
    with pytest.raises(ValueError, match="shows nothing of an image of 120 x 80 pixels"):
        view(random_picture(), Window(120, 0, 200, 80), 64)


# --- map_labels


def test_a_box_is_kept_if_its_centre_is_in_view_and_cut_off_at_the_edge():
    labels = np.array([[3, 0.1, 0.1, 0.7, 0.3], [1, 0.3, 0.1, 0.8, 0.3], [2, 0.5, 0.1, 0.5, 0.3]], np.float32)
    left_half = Mapping((2.0, 1.0), (0.0, 0.0))
    np.testing.assert_allclose(map_labels(labels, left_half), [[3, 0.2, 0.1, 1.0, 0.3]], rtol=0, atol=1e-7)
    most = map_labels(labels, left_half, 0.39)  # of the second, 0.2 / 0.5 is in view
    np.testing.assert_allclose(most, [[3, 0.2, 0.1, 1, 0.3], [1, 0.6, 0.1, 1, 0.3]], rtol=0, atol=1e-7)
    assert map_labels(labels[1:], left_half).shape == (0, 5)
    assert map_labels(np.zeros((0, 5), np.float32), left_half).shape == (0, 5)


def test_a_box_too_thin_for_float32_is_dropped():
    labels = np.array([[0, 0.5, 0.1, np.nextafter(np.float32(0.5), np.float32(1)), 0.3]], np.float32)
    assert len(map_labels(labels, Mapping())) == 1
    assert len(map_labels(labels, Mapping((0.01, 1.0), (0.9, 0.0)))) == 0
