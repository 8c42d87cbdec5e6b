"""Anchors fitted to a dataset: k-means on IoU, which block serves which box, and how well they fit."""

import dataclasses
import itertools

import numpy as np
import pytest

from ssd_common.anchors import anchor_grid
from ssd_common.boxes import box_iou
from ssd_common.config import BOOK, IMPROVED, AnchorConfig, ModelConfig
from ssd_common.data import load_dataset
from ssd_common.data.anchor_fit import (
    best_overlaps,
    block_of,
    box_shapes,
    fit_anchors,
    kmeans,
    shape_iou,
    smallest_size,
)
from ssd_common.errors import InputError


def labels_of(shapes, centers=0.5):
    """Return one image for each shape, with a box of that shape around its center."""
    half = np.asarray(shapes) / 2
    corners = np.concatenate((centers - half, centers + half), axis=1)
    return [np.array([[0, *box]], np.float32) for box in corners]


def random_shapes(seed, n=200, low=0.05, high=0.6):
    rng = np.random.default_rng(seed)
    return np.exp(rng.uniform(np.log(low), np.log(high), (n, 2)))


# Shapes and clusters.


def test_the_iou_of_shapes_is_that_of_boxes_with_one_center():
    first, second = random_shapes(0, 5), random_shapes(1, 7)
    corners = [np.concatenate((0.5 - shapes / 2, 0.5 + shapes / 2), axis=1) for shapes in (first, second)]
    np.testing.assert_allclose(shape_iou(first, second), box_iou(*corners), rtol=1e-12)


def test_boxes_without_area_and_padding_have_no_shape():
    rows = np.array([[0, 0.1, 0.2, 0.3, 0.6], [-1, -1, -1, -1, -1], [0, 0.5, 0.5, 0.5, 0.9], [0, 0.6, 0.1, 0.2, 0.3]])
    np.testing.assert_allclose(box_shapes([rows, np.zeros((0, 5))]), [[0.2, 0.4]], rtol=1e-12)
    assert box_shapes([]).shape == (0, 2)


def test_clusters_that_lie_apart_are_found():
    rng = np.random.default_rng(0)
    true = np.array([[0.1, 0.1], [0.2, 0.6], [0.5, 0.3]])
    shapes = np.concatenate([center * rng.uniform(0.95, 1.05, (50, 2)) for center in true])
    np.testing.assert_allclose(kmeans(rng.permutation(shapes), 3), true, rtol=0.02)


def test_small_boxes_count_as_much_as_large_ones():
    """By Euclid's distance the four small ones, at most 0.04 apart, would be one cluster, and 0.5 and 0.6 two."""
    sides = np.array([0.01, 0.012, 0.04, 0.048, 0.5, 0.6])
    np.testing.assert_allclose(kmeans(np.stack((sides, sides), axis=1), 3)[:, 0], [0.011, 0.044, 0.55])


def test_a_center_is_the_mean_of_the_shapes_that_are_closest_to_it():
    shapes = random_shapes(2)
    centers = kmeans(shapes, 5)
    nearest = shape_iou(shapes, centers).argmax(axis=1)
    for i, center in enumerate(centers):
        np.testing.assert_allclose(center, shapes[nearest == i].mean(axis=0), rtol=1e-12)


def test_there_are_no_more_clusters_than_shapes():
    np.testing.assert_allclose(kmeans(np.array([[0.3, 0.2]] * 5), 4), [[0.3, 0.2]])


# Which block serves which box.


@pytest.mark.parametrize("units", [1, 3, 4, 5, 8, 16, 32])
def test_the_smallest_size_of_a_map_is_the_smallest_that_it_never_misses(units):
    """Squares of that size anywhere in the image, against anchors of the same size on the map."""
    size = smallest_size(units)
    for side, reached in ((size * 1.001, True), (size * 0.99, False)):
        middle = (np.arange(units) + 0.5) / units
        anchors = np.array([[x - side / 2, y - side / 2, x + side / 2, y + side / 2] for x in middle for y in middle])
        corner = np.linspace(0, 1 - side, 2001)  # along the diagonal, on which the worst places are
        boxes = np.stack((corner, corner, corner + side, corner + side), axis=1)
        assert (box_iou(boxes, anchors).max(axis=1).min() >= 0.5) == reached


def test_a_map_of_two_by_two_may_miss_any_box():
    """A box in the middle of the image is a quarter of it off all four anchors."""
    assert smallest_size(2) > 1


def test_a_box_goes_to_the_coarsest_map_that_never_misses_it():
    sizes = np.array([0.01, 0.08, 0.09, 0.16, 0.18, 0.33, 0.35, 0.67, 0.69, 0.74, 1.0])
    blocks = block_of(np.stack((sizes * 2, sizes / 2), axis=1), ModelConfig())
    np.testing.assert_array_equal(blocks, [0, 0, 0, 0, 1, 1, 2, 2, 3, 4, 4])


# Fitted anchors.


@pytest.mark.parametrize("per_unit", [1, 2, 4, 6])
def test_boxes_of_few_shapes_get_anchors_of_just_these_shapes(per_unit):
    sizes, ratios = [0.1, 0.12, 0.16][: (per_unit + 1) // 2], [0.5, 1.0, 2.0, 3.0][: per_unit + 1 - (per_unit + 1) // 2]
    pairs = [(size, ratios[0]) for size in sizes] + [(sizes[0], ratio) for ratio in ratios[1:]]
    shapes = np.array([(size * ratio**0.5, size / ratio**0.5) for size, ratio in pairs * 3])
    anchors = AnchorConfig(((0.1,) * per_unit,) * 5, ((1.0,),) * 5)
    fitted = fit_anchors(shapes, ModelConfig(anchors=anchors))
    assert fitted.per_unit(0) == per_unit == len(pairs)
    found = ModelConfig(anchors=fitted)
    of_a_unit = anchor_grid(found, "float64")[0, :per_unit]
    np.testing.assert_allclose(
        shape_iou(shapes, of_a_unit[:, 2:] - of_a_unit[:, :2]).max(axis=1), np.ones(len(shapes)), atol=0.02
    )


def test_a_block_without_boxes_gets_one_anchor_of_its_smallest_size():
    fitted = fit_anchors(random_shapes(3, low=0.09, high=0.16), BOOK.model)
    assert [fitted.per_unit(i) for i in range(5)] == [4, 1, 1, 1, 1]
    assert fitted.sizes[1:] == ((0.17,), (0.341,), (0.681,), (0.732,))
    np.testing.assert_allclose([r for (r,) in fitted.ratios[1:]], np.ones(4), atol=0.1)


@pytest.mark.parametrize("image_size", [128, 256, 320])
@pytest.mark.parametrize("seed", range(3))
def test_fitted_anchors_overlap_the_boxes_more_than_the_book_s(seed, image_size):
    rng = np.random.default_rng(seed)
    size, ratio = rng.uniform(0.08, 0.3, (200, 1)), np.exp(rng.normal(0.5, 0.2, (200, 1)))
    shapes = size * np.concatenate((ratio**0.5, ratio**-0.5), axis=1)
    labels = labels_of(shapes, rng.uniform(shapes / 2, 1 - shapes / 2))
    book = dataclasses.replace(BOOK.model, image_size=image_size)
    fitted = dataclasses.replace(book, anchors=fit_anchors(box_shapes(labels), book))
    assert fitted.num_anchors <= book.num_anchors
    assert best_overlaps(labels, fitted).mean() > best_overlaps(labels, book).mean() + 0.05


def test_the_best_overlap_is_that_of_the_anchor_at_its_place():
    labels = [np.array([[0, 0.1, 0.2, 0.3, 0.6], [-1, -1, -1, -1, -1]]), np.array([[0, 0.0, 0.0, 0.02, 0.02]])]
    anchors = anchor_grid(BOOK.model, "float64")[0]
    expected = [box_iou(rows[:1, 1:], anchors).max() for rows in labels]
    np.testing.assert_allclose(best_overlaps(labels, BOOK.model), expected, rtol=1e-12)


def test_boxes_too_small_to_be_rounded_get_anchors_with_area():
    fitted = fit_anchors(box_shapes(labels_of(np.full((9, 2), 0.0004))), BOOK.model)
    assert fitted.sizes[0][0] == 0.001


def test_a_data_set_without_boxes_is_refused():
    with pytest.raises(InputError, match="^anchors cannot be fitted: the dataset has no box with an area$"):
        fit_anchors(np.zeros((0, 2)), BOOK.model)


def test_pikachu_is_out_of_reach_of_the_book_s_anchors_and_in_reach_of_fitted_ones(data_dir):
    """Its boxes are 7 to 16 % of the image wide, the book's smallest anchor is 20 %."""
    data = load_dataset("pikachu", "val", data_dir=data_dir)
    labels = [example.labels for example in data]
    fitted = dataclasses.replace(BOOK.model, anchors=fit_anchors(box_shapes(labels), BOOK.model))
    recall = {
        name: (best_overlaps(labels, model) >= 0.5).mean()
        for name, model in (("book", BOOK.model), ("improved", IMPROVED.model), ("fitted", fitted))
    }
    assert recall["book"] < 0.3
    assert recall["improved"] == recall["fitted"] == 1


def test_every_split_into_sizes_and_ratios_is_tried():
    """Boxes of one size and four ratios, and of four sizes and one ratio, are both met."""
    for values in itertools.product(([0.1, 0.115, 0.13, 0.15], [0.12]), ([1.0], [0.5, 0.8, 1.25, 2.0])):
        shapes = np.array([(size * ratio**0.5, size / ratio**0.5) for size, ratio in itertools.product(*values)])
        fitted = fit_anchors(shapes, BOOK.model)
        if len(values[0]) != len(values[1]):
            assert (sorted(fitted.sizes[0]), sorted(fitted.ratios[0])) == values
