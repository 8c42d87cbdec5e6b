"""The figures of the lessons: what is drawn lies where it should, and the numbers beside it are the reference's."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image

from ssd_common.errors import InputError
from ssd_common.figures.boxes import Boxes, Matrix, save_box_panels, save_overlap_matrices, save_overlaps
from ssd_common.teaching.dog_and_cat import BOXES, draw_dog_and_cat

GREY = np.full((100, 200, 3), 128, np.uint8)


def shown(figure):
    """Return the axes that hold something."""
    return [axes for axes in figure.axes if axes.get_title()]


def test_the_drawn_dog_and_the_drawn_cat_fill_their_boxes():
    image = draw_dog_and_cat()
    height, width = image.shape[:2]
    assert (image.shape, image.dtype) == ((561, 728, 3), np.uint8)
    empty = np.repeat(image[:, :1], width, axis=1)  # the wall and the floor
    y, x = np.nonzero((image != empty).any(axis=-1))
    middle = (BOXES[0, 2] + BOXES[1, 0]) / 2 * width
    for box, here in ((BOXES[0], x < middle), (BOXES[1], x >= middle)):
        found = [
            x[here].min() / width,
            y[here].min() / height,
            (x[here].max() + 1) / width,
            (y[here].max() + 1) / height,
        ]
        np.testing.assert_allclose(found, box, rtol=0, atol=0.003)  # two pixels


def test_each_panel_shows_its_boxes_in_pixels_with_labels_and_room_for_those_beyond_the_picture(figures):
    panels = {
        "one": [Boxes([[0.25, 0.5, 0.75, 1.0]], ["dog"], "#0072B2")],
        "two": [Boxes([[-0.1, 0.2, 0.5, 1.2], [0, 0, 1, 1]], colors="black", dashed=True), Boxes([])],
        "none": [],
    }
    save_box_panels("unused", GREY, panels, columns=2)
    one, two, none = shown(figures[0])
    corners = [path.get_extents().extents for path in one.collections[0].get_paths()]
    np.testing.assert_allclose(corners, [[50, 50, 150, 100]])
    assert to_hex(one.collections[0].get_edgecolor()[0]) == "#0072b2"
    assert [text.get_text() for text in one.texts] == ["dog"]
    assert one.collections[0].get_linestyle() != two.collections[0].get_linestyle()
    assert len(two.collections[0].get_paths()) == 2
    for axes in (one, two, none):
        np.testing.assert_allclose([*axes.get_xlim(), *axes.get_ylim()], [-20, 200, 120, 0])


def test_overlaps_have_their_numbers_beside_them(figures):
    pairs = {
        "half": ([0.1, 0.1, 0.6, 0.6], [0.35, 0.1, 0.85, 0.6]),
        "apart": ([0.1, 0.1, 0.4, 0.4], [0.5, 0.5, 0.9, 0.9]),
    }
    save_overlaps("unused", pairs)
    half, apart = shown(figures[0])
    assert half.texts[0].get_text() == "intersection 0.125\nunion 0.375\nIoU 0.333"
    assert apart.texts[0].get_text() == "intersection 0.000\nunion 0.250\nIoU 0.000"
    np.testing.assert_allclose(half.patches[0].get_bbox().extents, [0.35, 0.1, 0.6, 0.6])
    assert not apart.patches


def test_a_matrix_frames_what_is_picked_and_crosses_out_what_is_taken(figures):
    overlaps = np.array([[0.1, 0.9], [0.3, -1]])
    save_overlap_matrices("unused", {"step": Matrix(overlaps, [(0, 1)])}, ["a", "b"], ["dog", "cat"])
    (axes,) = shown(figures[0])
    assert [text.get_text() for text in axes.texts] == ["0.10", "0.90", "0.30", "×"]
    assert [text.get_weight() for text in axes.texts] == ["normal", "bold", "normal", "normal"]
    (frame,) = axes.patches
    np.testing.assert_allclose((frame.get_x() + frame.get_width() / 2, frame.get_y() + frame.get_height() / 2), (1, 0))


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(InputError, match="at least one panel"):
        save_box_panels("unused", GREY, {})
    with pytest.raises(InputError, match=r"step: overlaps of shape \(1, 2\), but names of 2 rows and 2 columns"):
        save_overlap_matrices("unused", {"step": Matrix([[0.1, 0.2]])}, ["a", "b"], ["dog", "cat"])


def test_the_figures_are_png_files_and_the_same_every_time(tmp_path):
    makers = [
        lambda path: save_box_panels(path, GREY, {"a": [Boxes(BOXES)], "b": []}),
        lambda path: save_overlaps(path, {"a": tuple(BOXES)}),
        lambda path: save_overlap_matrices(path, {"a": Matrix(np.eye(2))}, "ab", "cd"),
    ]
    for number, save in enumerate(makers):
        contents = []
        for name in ("one.png", "two.png"):
            save(tmp_path / f"{number}" / name)
            contents.append((tmp_path / f"{number}" / name).read_bytes())
            with Image.open(tmp_path / f"{number}" / name) as picture:
                picture.load()
                assert picture.format == "PNG"
        assert contents[0] == contents[1]
