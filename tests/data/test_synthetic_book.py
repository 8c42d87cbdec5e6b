"""The set made in the book's way: a few bananas, one on each image, turned, scaled and pasted; its boxes are tight."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ssd_common.cli import main
from ssd_common.config import read_run_config
from ssd_common.data import load_dataset
from ssd_common.data.dataset import Example
from ssd_common.data.synthetic import BookDataset, book, scenes
from ssd_common.data.synthetic.scenes import OPAQUE
from ssd_common.errors import InputError


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    """The first 120 training images."""
    data = BookDataset(num_images=120, cache_bytes=0)
    return [data[i] for i in range(len(data))]


def test_it_has_the_sizes_and_the_class_of_the_books_set() -> None:
    for split, count in (("train", 1000), ("val", 100)):
        data = load_dataset(f"synthetic-book:{split}")
        assert (data.name, len(data), data.class_names) == (f"synthetic-book:{split}", count, ("banana",))


def test_each_image_has_one_banana(examples: list[Example]) -> None:
    for image, labels, _ in examples:
        assert (image.shape, image.dtype) == ((256, 256, 3), np.uint8)
        assert (labels.shape, labels.dtype) == ((1, 5), np.float32)
        assert labels[0, 0] == 0


@pytest.mark.parametrize("image_size", [64, 128, 256])
def test_both_sides_of_each_box_are_12_to_29_percent_of_the_image(image_size: int) -> None:
    data = BookDataset(image_size=image_size, num_images=60)
    boxes = np.concatenate([data[i].labels[:, 1:] for i in range(len(data))])
    sides = boxes[:, 2:] - boxes[:, :2]
    assert sides.min() >= 0.12
    assert sides.max() <= 0.29
    assert sides.std() > 0.02
    assert boxes.min() >= 0
    assert boxes.max() <= 1


def test_the_boxes_are_all_over_the_image(examples: list[Example]) -> None:
    boxes = np.concatenate([labels[:, 1:] for _, labels, _ in examples])
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    quadrants = np.bincount((centers[:, 0] > 0.5) * 2 + (centers[:, 1] > 0.5), minlength=4)
    assert quadrants.min() > 15  # of 120


def test_the_boxes_are_tight_around_the_pixels_of_the_bananas(monkeypatch: pytest.MonkeyPatch) -> None:
    """How much of a black and of a white background shows through says how opaque each pixel of the banana is."""

    def images(grey: int) -> list[Example]:
        monkeypatch.setattr(book, "background", lambda rng, size: Image.new("RGB", (size, size), (grey, grey, grey)))
        data = BookDataset(num_images=40, cache_bytes=0)
        return [data[i] for i in range(len(data))]

    for (dark, labels, _), (bright, _, _) in zip(images(0), images(255), strict=True):
        opacity = 255 - (bright.astype(int) - dark).max(axis=2)
        box = Image.fromarray(((opacity >= OPAQUE) * 255).astype(np.uint8)).getbbox()
        np.testing.assert_array_equal(labels[0, 1:] * 256, box)
        assert opacity[0, 0] == 0  # nothing else lies about, and there is no shadow


def test_both_splits_show_the_same_few_bananas_on_other_images() -> None:
    train, val = BookDataset("train"), BookDataset("val")
    assert len(train.bananas) == book.NUM_BANANAS
    for mine, other in zip(train.bananas, val.bananas, strict=True):
        np.testing.assert_array_equal(mine.corners, other.corners)
        np.testing.assert_array_equal(mine.colours, other.colours)
    assert np.mean(train[0].image != val[0].image) > 0.5


def test_a_banana_is_turned_and_scaled_and_not_changed() -> None:
    """The same quadrilaterals, turned back, have the same form; their colours do not depend on the angle."""
    mesh = BookDataset().bananas[0]
    turned = book.turn(mesh, 1.0)
    np.testing.assert_array_equal(turned.colours, mesh.colours)
    np.testing.assert_allclose(book.turn(turned, -1.0).corners, mesh.corners, rtol=0, atol=1e-12)
    assert distances(turned.corners) == pytest.approx(distances(mesh.corners))


def distances(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """The distance of each corner from the first one."""
    points = corners.reshape(-1, 3)
    return np.linalg.norm(points - points[0], axis=1)


def test_the_same_seed_makes_the_same_images_and_another_one_others() -> None:
    one, same, other = (BookDataset(num_images=3, seed=seed, image_size=64) for seed in (0, 0, 1))
    for i in reversed(range(3)):
        np.testing.assert_array_equal(one[i].image, same[i].image)
        np.testing.assert_array_equal(one[i].labels, same[i].labels)
        assert np.mean(one[i].image != other[i].image) > 0.5
    assert not np.array_equal(one.bananas[0].corners, other.bananas[0].corners)


def test_its_errors_have_its_own_name() -> None:
    with pytest.raises(InputError, match="synthetic-book: unknown split 'test'; the splits are train, val"):
        BookDataset("test")
    with pytest.raises(InputError, match="synthetic-book: image_size must be at least 32 pixels, got 8"):
        BookDataset(image_size=8)


@pytest.mark.backend("torch", "mxnet")
def test_every_command_takes_it_and_trains_each_edition_from_its_own_initial_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scenes, "SPLITS", {"train": 2, "val": 2})

    def said(command: str) -> str:
        with pytest.raises(SystemExit) as done:
            main(command.split())
        printed = capsys.readouterr()
        assert done.value.code == 0, printed.err
        return printed.out

    assert said("data check synthetic-book").startswith("synthetic-book: 4 images, 4 good objects (banana 4)\n")
    said(f"data show synthetic-book --out {tmp_path / 'sheet.png'}")
    small = "--data synthetic-book --image-size 64 --epochs 1"
    for backend, init in (("torch", "torch"), ("mxnet", "xavier")):
        folder = tmp_path / backend
        printed = said(f"train --backend {backend} {small} --out {folder}")
        assert "\nconfiguration: book, with model.image_size = 64, train.epochs = 1\n" in printed
        assert read_run_config(folder / "config.toml").config.train.init == init
        printed = said(f"eval --backend {backend} --weights {folder / 'weights' / 'last.safetensors'}")
        assert printed.startswith(f"synthetic-book:val, 2 images, 2 objects, {backend}\n")
    printed = said(f"train --backend torch --init xavier {small} --out {tmp_path / 'xavier'}")
    assert "train.init = xavier" in printed
