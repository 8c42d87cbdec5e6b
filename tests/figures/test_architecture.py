"""The figure of the network says what the configuration says, for any number of blocks."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from matplotlib.patches import Rectangle
from PIL import Image

from ssd_common.config import BOOK, AnchorConfig, ModelConfig
from ssd_common.drawing import BOX_COLORS
from ssd_common.figures import save_architecture
from ssd_common.figures.architecture import ANCHOR_COLORS, ROW, WIDTH
from ssd_common.weights import parameter_shapes

FOUR = AnchorConfig(((0.1,), (0.2, 0.3), (0.4, 0.5), (0.8, 0.9)), ((1.0,), (1.0, 2.0), (1.0, 2.0, 0.5), (1.0,)))
MODELS = {
    "book": BOOK.model,
    "two classes": dataclasses.replace(BOOK.model, class_names=("banana", "apple"), image_size=512),
    "four blocks": ModelConfig(image_size=64, anchors=FOUR),
}


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_every_block_has_its_shape_its_channels_and_its_anchors(figures, model):
    save_architecture("any.png", model)
    written = "\n".join(texts(figures[0]))
    assert f"3 × {model.image_size} × {model.image_size}" in written
    for i, units in enumerate(model.feature_map_sizes):
        per_unit, classes = model.anchors.per_unit(i), model.num_classes + 1
        assert f"{64 if i == 0 else 128} × {units} × {units}\n" in written
        assert f"classes: {per_unit} · {classes} = {per_unit * classes} channels" in written
        assert f"offsets: {per_unit} · 4 = {per_unit * 4} channels" in written
        assert f"{units} · {units} · {per_unit} = {units**2 * per_unit:,} anchors" in written
    assert f"anchors 1 × {model.num_anchors:,} × 4" in written
    assert f"class predictions n × {model.num_anchors:,} × {model.num_classes + 1}" in written
    assert f"offset predictions n × {4 * model.num_anchors:,}" in written


def test_the_channels_are_those_of_the_package(figures):
    save_architecture("any.png", BOOK.model)
    written = texts(figures[0])
    for i, units in enumerate(BOOK.model.feature_map_sizes):
        channels = parameter_shapes(BOOK.model)[f"cls_{i}.weight"][1]
        assert f"{channels} × {units} × {units}" in written
        outputs = [parameter_shapes(BOOK.model)[f"{kind}_{i}.weight"][0] for kind in ("cls", "bbox")]
        assert outputs == [8, 16]
    assert "classes: 4 · 2 = 8 channels" in written
    assert "offsets: 4 · 4 = 16 channels" in written


def test_the_anchors_have_their_size_on_the_image(figures):
    save_architecture("any.png", BOOK.model)
    patches = [p for p in figures[0].axes[0].patches if isinstance(p, Rectangle)]
    images = [p for p in patches if np.allclose(p.get_facecolor()[:3], 0xEE / 255)]
    assert len(images) == 5
    for i, image in enumerate(images):
        first = patches[patches.index(image) + 1]
        assert first.get_width() / image.get_width() == pytest.approx(BOOK.model.anchors.sizes[i][0])
        wide = patches[patches.index(image) + 3]
        assert wide.get_width() / wide.get_height() == pytest.approx(2)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_every_text_lies_on_the_figure_and_on_no_other_text(figures, model):
    save_architecture("any.png", model)
    figure = figures[0]
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts if text.get_text()]
    width, height = figure.canvas.get_width_height()
    for number, box in enumerate(boxes):
        assert 0 <= box.x0 < box.x1 <= width
        assert 0 <= box.y0 < box.y1 <= height
        assert not any(box.overlaps(other) for other in boxes[number + 1 :])


def test_it_is_a_png_that_can_be_read_at_half_its_width_and_its_colours_are_for_all(tmp_path):
    save_architecture(tmp_path / "figure.png", BOOK.model)
    with Image.open(tmp_path / "figure.png") as image:
        assert image.size == (round(100 * WIDTH), round(100 * (0.75 + 7 * ROW)))
    assert set(ANCHOR_COLORS) <= {*BOX_COLORS, "black"}


def test_the_figure_in_the_readme_is_that_of_the_book(tmp_path):
    """Another version of matplotlib moves some letters by a pixel or two, so means over 16 × 16 pixels are compared."""

    def tiles(path):
        return np.asarray(Image.open(path).convert("L").reduce(16), dtype=float)

    kept, distances = tiles(Path(__file__).parents[2] / "docs" / "architecture.png"), []
    for model in (MODELS["book"], dataclasses.replace(BOOK.model, class_names=("banana", "apple"))):
        save_architecture(tmp_path / "figure.png", model)
        distances.append(np.abs(tiles(tmp_path / "figure.png") - kept).max())
    assert distances[0] < 40 < distances[1]  # measured: 0 and 54, with matplotlib 3.11 27 and 54
