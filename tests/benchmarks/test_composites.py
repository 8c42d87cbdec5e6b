"""Bananas laid on photographs: the dataset that `benchmarks/composites.py` writes is read back as it was painted."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw

from ssd_common.data import load_dataset

GREY, RED = (90, 90, 90), (255, 0, 0)


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.composites", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def photographs(tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    Image.new("RGB", (400, 300), GREY).save(folder / "wall.png")
    return folder


def test_the_boxes_are_those_of_the_cutouts(tmp_path, photographs):
    cutout = Image.new("RGBA", (90, 60))
    ImageDraw.Draw(cutout).ellipse((10, 10, 80, 50), fill=RED)
    cutout.save(tmp_path / "banana.png")
    done = run(photographs, tmp_path / "out", "--bananas", tmp_path / "banana.png", "--pictures", 6)
    assert done.returncode == 0, done.stderr
    data = load_dataset(f"coco:{tmp_path}/out/images,{tmp_path}/out/labels.json", "train")
    assert (len(data), data.class_names) == (6, ("banana",))
    places = set()
    for image, labels, _ in (data[i] for i in range(len(data))):
        red = image[..., 0].astype(int) - image[..., 1] > 80  # half of the colour, at the soft edge
        y, x = np.nonzero(red)
        seen = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1]) / 256
        np.testing.assert_allclose(labels[0, 1:], seen, rtol=0, atol=1.01 / 256)
        assert min(labels[0, 3:] - labels[0, 1:3]) > 0.11
        assert max(labels[0, 3:] - labels[0, 1:3]) < 0.295
        places.add(tuple(labels[0].tolist()))
    assert len(places) == 6


def test_without_cutouts_bananas_are_rendered(tmp_path, photographs):
    done = run(photographs, tmp_path / "out", "--pictures", 3)
    assert done.returncode == 0, done.stderr
    data = load_dataset(f"coco:{tmp_path}/out/images,{tmp_path}/out/labels.json", "train")
    for image, labels, _ in (data[i] for i in range(len(data))):
        left, top, right, bottom = np.round(labels[0, 1:] * 256).astype(int)
        inside = image[top:bottom, left:right].astype(int)
        assert (np.abs(inside - GREY).max(axis=-1) > 30).mean() > 0.2


@pytest.mark.parametrize("missing", ["photographs", "bananas"])
def test_a_missing_file_is_one_line(tmp_path, photographs, missing):
    nothing = tmp_path / "nothing"
    arguments = (nothing,) if missing == "photographs" else (photographs,)
    done = run(*arguments, tmp_path / "out", *(["--bananas", nothing] if missing == "bananas" else []))
    assert done.returncode == 1
    assert done.stderr.startswith("composites: ")
    assert str(nothing) in done.stderr
    assert done.stderr.count("\n") == 1
