"""The synthetic dataset draws the same images from the same seed, and its labels are the boxes of what it drew."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ssd_common.data.dataset import Dataset, Example
from ssd_common.data.synthetic import scenes as synthetic
from ssd_common.data.synthetic.background import SURFACES, fractal, region
from ssd_common.data.synthetic.fruit import BYSTANDERS, FRUITS
from ssd_common.data.synthetic.scenes import Options, Picture, SyntheticDataset, free_place, make_picture, tight_boxes
from ssd_common.data.synthetic.solids import Mesh, draw, light, pose, visible
from ssd_common.errors import InputError

THREE_CLASSES = ("banana", "apple", "orange")
PIXEL = 1 / 256


def examples(data: Dataset) -> list[Example]:
    return [data[i] for i in range(len(data))]


def bounding_box(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The tight box of a mask as Pillow finds it, as fractions of the image."""
    left, top, right, bottom = Image.fromarray(mask.astype(np.uint8)).getbbox() or (0, 0, 0, 0)
    height, width = mask.shape
    return np.array([left / width, top / height, right / width, bottom / height])


@pytest.fixture(scope="module")
def bananas() -> list[Example]:
    """The first 250 images of the default training set."""
    return examples(SyntheticDataset("train", num_images=250, cache_bytes=0))


@pytest.fixture(scope="module")
def crowds() -> list[Picture]:
    """80 images of up to four objects of three classes."""
    data = SyntheticDataset("train", classes=THREE_CLASSES, max_objects=4, image_size=128, num_images=80)
    return [data.picture(i) for i in range(len(data))]


# --- the contract of a dataset


def test_the_default_splits_have_the_sizes_of_the_books_set() -> None:
    assert len(SyntheticDataset("train")) == 1000
    assert len(SyntheticDataset("val")) == 100


def test_the_name_and_the_classes_are_those_asked_for() -> None:
    data = SyntheticDataset("val", classes=("orange", "banana"))
    assert data.name == "synthetic:val"
    assert data.class_names == ("orange", "banana")


def test_an_example_is_a_uint8_picture_and_float32_labels(bananas: list[Example]) -> None:
    assert len(bananas) == 250
    for image, labels, _ in bananas:
        assert image.shape == (256, 256, 3)
        assert image.dtype == np.uint8
        assert labels.shape == (1, 5)
        assert labels.dtype == np.float32


@pytest.mark.parametrize("index", [3, 1000, -1])
def test_an_index_out_of_range_is_an_index_error(index: int) -> None:
    with pytest.raises(IndexError, match=rf"synthetic:val: index {index} is out of range, the dataset has 3 images"):
        SyntheticDataset("val", num_images=3)[index]


def test_iteration_ends_after_the_last_picture() -> None:
    data = SyntheticDataset("val", num_images=3, image_size=32)
    assert len(list(data)) == 3  # type: ignore[call-overload]  # by __getitem__ alone, which mypy does not know


# --- the same seed, the same images


def test_a_picture_is_the_same_whatever_was_read_before() -> None:
    forwards = SyntheticDataset("train", num_images=6, cache_bytes=0)
    backwards = SyntheticDataset("train", num_images=6, cache_bytes=0)
    first = [forwards[i] for i in range(6)]
    last = [backwards[i] for i in reversed(range(6))][::-1]
    for (image, labels, _), (other_image, other_labels, _) in zip(first, last, strict=True):
        np.testing.assert_array_equal(image, other_image)
        np.testing.assert_array_equal(labels, other_labels)


def test_a_picture_does_not_depend_on_how_many_there_are() -> None:
    np.testing.assert_array_equal(SyntheticDataset(num_images=3)[2][0], SyntheticDataset(num_images=700)[2][0])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (SyntheticDataset("train", seed=0).picture(0), SyntheticDataset("train", seed=1).picture(0)),
        (SyntheticDataset("train").picture(0), SyntheticDataset("val").picture(0)),
        (SyntheticDataset("train").picture(0), SyntheticDataset("train").picture(1)),
    ],
    ids=["seed", "split", "index"],
)
def test_another_seed_split_or_index_is_another_picture(one: Picture, other: Picture) -> None:
    assert np.mean(one.image != other.image) > 0.5


def test_the_cache_returns_what_was_made_even_after_a_caller_overwrote_its_copy() -> None:
    cached, made = SyntheticDataset(num_images=1), SyntheticDataset(num_images=1, cache_bytes=0)
    for data in (cached, made):
        image, labels, _ = data[0]
        image[:], labels[:] = 0, -1
    np.testing.assert_array_equal(cached[0][0], made[0][0])
    np.testing.assert_array_equal(cached[0][1], made[0][1])
    assert cached[0][0].any()


# --- the labels are the boxes of what is seen


def test_each_box_is_the_tight_box_of_the_pixels_that_its_object_owns(crowds: list[Picture]) -> None:
    for picture in crowds:
        labels = tight_boxes(picture.owner, picture.class_ids)
        expected = [bounding_box(picture.owner == k) for k in range(1, len(picture.class_ids) + 1)]
        np.testing.assert_allclose(labels[:, 1:], np.array(expected), rtol=0, atol=1e-7)
        np.testing.assert_array_equal(labels[:, 0], picture.class_ids)


def test_objects_own_the_pixels_on_which_they_are_painted(monkeypatch: pytest.MonkeyPatch) -> None:
    """With magenta cards for fruit, in grey scenes and without a camera, the image itself shows the boxes."""
    alpha = np.zeros((30, 40), np.uint8)
    alpha[3:28, 5:33] = 127  # seen through more than half: not yet the object
    alpha[6:25, 8:30] = 255
    card = np.full((30, 40, 4), (255, 0, 255, 0), np.uint8)
    card[..., 3] = alpha
    monkeypatch.setattr(synthetic, "fruit", lambda rng, kind, options: Image.fromarray(card))
    monkeypatch.setattr(synthetic, "other_thing", lambda rng, options: Image.new("RGBA", (9, 9), (0, 255, 0, 255)))
    monkeypatch.setattr(synthetic, "scene", lambda rng, size: Image.new("RGB", (size, size), (90, 90, 90)))
    monkeypatch.setattr(synthetic, "photograph", lambda rng, image, max_contrast: image)
    for seed in range(20):
        picture = make_picture(np.random.default_rng(seed), Options())
        magenta = (picture.image == (255, 0, 255)).all(axis=2)
        assert magenta.sum() == 19 * 22
        np.testing.assert_array_equal(picture.owner == 1, magenta)
        labels = tight_boxes(picture.owner, picture.class_ids)
        np.testing.assert_allclose(labels[0, 1:], bounding_box(magenta), rtol=0, atol=1e-7)


def test_a_covered_pixel_belongs_to_the_later_object_and_a_covered_object_has_no_label() -> None:
    owner = np.zeros((8, 16), np.int32)
    owner[2:6, 4:12] = 3
    owner[7, 15] = 1
    labels = tight_boxes(owner, np.array([2, 0, 1]))
    np.testing.assert_array_equal(labels, np.array([[2, 15 / 16, 7 / 8, 1, 1], [1, 4 / 16, 2 / 8, 12 / 16, 6 / 8]]))


def test_a_picture_without_objects_has_an_empty_array_of_labels() -> None:
    labels = tight_boxes(np.zeros((8, 8), np.int32), np.zeros(0, np.int64))
    assert labels.shape == (0, 5)
    assert labels.dtype == np.float32


# --- the book's distribution: one banana, 12 to 29 % of the image


def test_the_boxes_are_12_to_29_percent_of_the_picture_and_20_on_average(bananas: list[Example]) -> None:
    boxes = np.concatenate([labels[:, 1:] for _, labels, _ in bananas])
    sides = boxes[:, 2:] - boxes[:, :2]
    # A tip or a stem finer than a pixel may not reach the half opacity that counts.
    assert sides.min() >= 0.12 - 1.5 * PIXEL
    assert sides.max() <= 0.29 + 0.5 * PIXEL
    np.testing.assert_allclose(sides.mean(), 0.20, atol=0.015)
    assert sides.std() > 0.03


def test_the_boxes_lie_inside_the_picture_and_all_over_it(bananas: list[Example]) -> None:
    boxes = np.concatenate([labels[:, 1:] for _, labels, _ in bananas])
    assert boxes.min() >= 0
    assert boxes.max() <= 1
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    quadrants = np.bincount((centers[:, 0] > 0.5) * 2 + (centers[:, 1] > 0.5), minlength=4)
    assert quadrants.min() > 40  # of 250


def test_bananas_are_yellower_than_what_surrounds_them() -> None:
    """Red and green above blue, in the middle of the range of images; the scenes have no such lean."""
    data = SyntheticDataset("val")
    pictures = [data.picture(i) for i in range(60)]
    yellowness = np.array(
        [[p.image[owned].mean(axis=0) @ (0.5, 0.5, -1) for p in pictures for owned in [p.owner == 1]]]
    )
    around = np.array([[p.image[p.owner == 0].mean(axis=0) @ (0.5, 0.5, -1) for p in pictures]])
    assert np.median(yellowness) > 60
    assert np.median(around) < 40


# --- options


def test_there_are_one_to_max_objects_objects_each_number_as_often(crowds: list[Picture]) -> None:
    counts = np.bincount([len(picture.class_ids) for picture in crowds], minlength=5)
    assert counts[0] == 0
    assert len(counts) == 5
    assert counts[1:].min() >= 10  # of 80, 20 expected


def test_every_class_is_drawn_as_often(crowds: list[Picture]) -> None:
    counts = np.bincount(np.concatenate([picture.class_ids for picture in crowds]), minlength=3)
    assert len(counts) == 3
    assert counts.min() > 0.25 * counts.sum()


def test_boxes_of_several_objects_overlap_little(crowds: list[Picture]) -> None:
    for picture in crowds:
        boxes = tight_boxes(picture.owner, picture.class_ids)[:, 1:]
        for i, box in enumerate(boxes):
            for other in boxes[i + 1 :]:
                sides = np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])
                areas = [np.prod(b[2:] - b[:2]) for b in (box, other)]
                # 10 % of the smaller cut-out, which is a pixel or two larger than what is seen of it.
                assert np.prod(np.maximum(sides, 0)) < 0.15 * min(areas)


def test_there_are_fewer_objects_where_there_is_no_room_for_more() -> None:
    data = SyntheticDataset(max_objects=40, size_range=(0.4, 0.6), image_size=64, num_images=5)
    counts = [len(labels) for _, labels, _ in examples(data)]
    assert min(counts) >= 1
    assert max(counts) < 10


def test_no_place_is_found_in_a_full_picture() -> None:
    assert free_place(np.random.default_rng(0), (10, 10), 20, [(0, 0, 20, 20)]) is None


@pytest.mark.parametrize("image_size", [32, 64, 101, 512])
def test_the_picture_scales_with_its_size(image_size: int) -> None:
    data = SyntheticDataset(image_size=image_size, num_images=12, classes=THREE_CLASSES)
    for image, labels, _ in examples(data):
        assert image.shape == (image_size, image_size, 3)
        sides = labels[:, 3:] - labels[:, 1:3]
        assert sides.min() >= 0.12 - 2.5 / image_size
        assert sides.max() <= 0.29 + 0.5 / image_size
        assert image.std() > 1


@pytest.mark.parametrize("size_range", [(0.3, 0.6), (0.2, 0.2), (0.05, 0.9)])
def test_the_longer_side_is_in_any_size_range(size_range: tuple[float, float]) -> None:
    for _, labels, _ in examples(SyntheticDataset(size_range=size_range, num_images=20)):
        longer = (labels[:, 3:] - labels[:, 1:3]).max()
        assert size_range[0] - 2.5 * PIXEL <= longer <= size_range[1] + 0.5 * PIXEL


@pytest.mark.parametrize(
    ("split", "options", "message"),
    [
        ("test", {}, "synthetic: unknown split 'test'; the splits are train, val"),
        ("val", {"classes": ("pear",)}, "must be some of banana, apple, orange, each once; got pear"),
        ("val", {"classes": ()}, "must be some of banana, apple, orange, each once; got none"),
        ("val", {"classes": ("apple", "apple")}, "each once; got apple, apple"),
        ("val", {"max_objects": 0}, "max_objects must be at least 1, got 0"),
        ("val", {"size_range": (0.3, 0.2)}, "two rising fractions of the image from 0.05 to 0.9, got (0.3, 0.2)"),
        ("val", {"size_range": (0.01, 0.2)}, "two rising fractions of the image from 0.05 to 0.9, got (0.01, 0.2)"),
        ("val", {"size_range": (0.5, 1.0)}, "two rising fractions of the image from 0.05 to 0.9, got (0.5, 1.0)"),
        ("val", {"size_range": (float("nan"), 0.2)}, "two rising fractions"),
        ("val", {"size_range": (0.2,)}, "two rising fractions"),
        ("val", {"image_size": 31}, "image_size must be at least 32 pixels, got 31"),
        ("val", {"num_images": 0}, "num_images must be at least 1, got 0"),
        ("val", {"seed": -1}, "seed must be at least 0, got -1"),
    ],
)
def test_an_option_out_of_its_range_is_refused_in_one_line(
    split: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        SyntheticDataset(split, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


# --- solids


@pytest.mark.parametrize("make", [*FRUITS.values(), *BYSTANDERS])
def test_a_solid_faces_outwards_and_fills_its_picture(make: Callable[[np.random.Generator], Mesh]) -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        mesh, (width, height) = pose(rng, make(rng), tilt=0.5, max_aspect=np.inf)
        seen = light(rng, visible(mesh))
        assert np.isfinite(seen.colours).all()
        assert 0.3 < len(seen.corners) / len(mesh.corners) < 0.7  # a closed surface: half of it faces the viewer
        picture = np.asarray(
            draw(seen, round(60 * width / max(width, height)), round(60 * height / max(width, height)))
        )
        assert bounding_box(picture[..., 3] > 0).tolist() == [0, 0, 1, 1]


def test_a_square_is_drawn_as_a_square_and_only_from_the_front() -> None:
    square = np.array([[[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]], float)
    red = Mesh(square, np.array([[1.0, 0, 0]]), 0)
    assert len(visible(red).corners) == 1
    assert len(visible(red._replace(corners=square[:, ::-1])).corners) == 0
    assert np.asarray(draw(red, 5, 7)).tolist() == np.full((7, 5, 4), (255, 0, 0, 255)).tolist()


def test_the_nearer_of_two_squares_hides_the_farther() -> None:
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], float)
    near, far = square + np.array([0, 0, 1]), square
    mesh = visible(Mesh(np.stack([near, far]), np.array([[0, 1.0, 0], [1.0, 0, 0]]), 0))
    np.testing.assert_array_equal(np.asarray(draw(mesh, 4, 4))[..., :3], np.full((4, 4, 3), (0, 255, 0)))


# --- scenes


@pytest.mark.parametrize("size", [5, 33, 100])
def test_materials_and_regions_have_the_size_asked_for(size: int) -> None:
    for seed in range(12):
        for make in SURFACES:
            image = make(np.random.default_rng(seed), size)
            assert (image.mode, image.size) == ("RGB", (size, size))
        mask = region(np.random.default_rng(seed), size)
        assert (mask.mode, mask.size) == ("L", (size, size))


def test_fractal_noise_has_the_falling_spectrum_of_photographs() -> None:
    """The power of photographs falls as the frequency to about -2; white noise would have 0."""
    fields = np.stack([fractal(np.random.default_rng(seed), 128, 0.5) for seed in range(8)])
    power = (np.abs(np.fft.fft2(fields - fields.mean(axis=(1, 2), keepdims=True))) ** 2).mean(axis=0)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(128, 1 / 128), np.fft.fftfreq(128, 1 / 128)))
    bands = [power[(frequency >= low) & (frequency < 2 * low)].mean() for low in (4, 8, 16, 32)]
    slope = np.polyfit(np.arange(4), np.log2(bands), 1)[0]
    assert -3.5 < slope < -1.5
