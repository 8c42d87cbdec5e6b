"""Matching and suppression in batches are the reference's one by one, with which they share no code."""

import ast
from pathlib import Path

import numpy as np
import pytest

from ssd_common import boxes, detection, greedy, targets
from tests.reference.box_cases import WITHOUT_AREA, random_boxes


def overlaps(rng, num_boxes, num_anchors):
    """Return overlaps of which many are tied, and some boxes and anchors overlap nothing."""
    jaccard = rng.integers(0, rng.choice([2, 4, 11]), (num_boxes, num_anchors)) / 10
    return jaccard * (rng.random((num_boxes, 1)) < 0.9) * (rng.random(num_anchors) < 0.9)


@pytest.fixture(params=["numpy", pytest.param("torch", marks=pytest.mark.backend("torch"))])
def match(request):
    """Return `match` of the module that numpy and MXNet use, and PyTorch's, both for numpy arrays."""
    if request.param == "numpy":
        return greedy.match
    import torch

    from ssd_torch.greedy import match

    return lambda jaccard, threshold: match(torch.from_numpy(jaccard), threshold).numpy()


@pytest.mark.parametrize("seed", range(3))
def test_matching_in_rounds_is_the_one_by_one_rule_ties_included(seed, match, monkeypatch):
    rng = np.random.default_rng(seed)
    for _ in range(200):
        batch, num_boxes, num_anchors = rng.integers(1, [4, 9, 13])
        jaccard = np.stack([overlaps(rng, num_boxes, num_anchors) for _ in range(batch)])
        for image, assigned in zip(jaccard, match(jaccard, 0.5), strict=True):
            monkeypatch.setattr(targets, "box_iou", lambda *_, image=image: image.copy())
            reference = targets.assign_anchor_to_bbox(np.empty((num_boxes, 4)), np.empty((num_anchors, 4)))
            np.testing.assert_array_equal(assigned, reference)


@pytest.mark.parametrize("shape", [(2, 0, 7), (2, 3, 0), (0, 3, 7)])
def test_nothing_to_match_is_no_error(shape, match):
    assigned = match(np.zeros(shape), 0.5)
    np.testing.assert_array_equal(assigned, np.full((shape[0], shape[2]), -1))


@pytest.mark.parametrize("n", [0, 1, 60, 400])
@pytest.mark.parametrize("top_k", [None, 0, 10])
@pytest.mark.parametrize("by_class", [False, True])
def test_suppression_in_blocks_is_the_one_by_one_rule(n, top_k, by_class, dtype):
    rng = np.random.default_rng(n)
    corners = random_boxes([n, 1], 2, n).astype(dtype)
    corners[:, : n // 10] = rng.choice(np.array(list(WITHOUT_AREA.values()), dtype), (2, n // 10))
    scores = rng.integers(0, 50, (2, n)).astype(dtype)  # many are tied
    class_ids = rng.integers(0, 3, (2, n)) if by_class else None
    survives, order = greedy.suppress(corners, scores, 0.5, class_ids, top_k)
    for i in range(2):
        best = np.argsort(-scores[i], kind="stable")[:top_k]
        ids = None if class_ids is None else class_ids[i][best]
        kept = best[detection.nms(corners[i][best], scores[i][best], 0.5, class_ids=ids)]
        np.testing.assert_array_equal(order[i, : len(kept)], kept)
        np.testing.assert_array_equal(order[i, len(kept) :], np.setdiff1d(np.arange(n), kept))
        np.testing.assert_array_equal(np.flatnonzero(survives[i]), np.sort(kept))


def test_the_overlaps_of_suppression_are_the_reference_s_to_the_bit(dtype):
    some = np.concatenate((random_boxes(1, 50), list(WITHOUT_AREA.values()))).astype(dtype)
    sides = greedy._box_sides(some)
    np.testing.assert_array_equal(greedy._box_iou(sides, sides), boxes.box_iou(some, some))


def test_it_shares_no_function_with_the_reference():
    tree = ast.parse(Path(greedy.__file__).read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported == {"__future__", "numpy", "numpy.typing"}
