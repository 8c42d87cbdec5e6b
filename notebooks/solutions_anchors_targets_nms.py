# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Solutions: anchors, targets, non-maximum suppression
#
# These are answers to the questions at the end of [anchors_targets_nms](anchors_targets_nms.ipynb). Try each question
# yourself first. Every number below is computed and checked. **Time**: 1 minute to run.

# %%
import itertools

import numpy as np

from ssd_common.anchors import anchor_grid, multibox_prior
from ssd_common.boxes import box_iou
from ssd_common.config import BOOK
from ssd_common.detection import nms
from ssd_common.figures import save_box_panels
from ssd_common.figures.boxes import Boxes
from ssd_common.targets import assign_anchor_to_bbox, multibox_target
from ssd_common.teaching import draw_dog_and_cat, show_figure

np.set_printoptions(precision=3, suppress=True)

# %% [markdown]
# ## 1. Two squares shifted along both axes
#
# Let the shift be $d$, as a fraction of the side. The intersection is $(1-d)^2$ and the union is $2 - (1-d)^2$. Their
# ratio is 0.5 where $(1-d)^2 = 2/3$, so $d = 1 - \sqrt{2/3} \approx 0.18$. Along one axis it was a third.

# %%
shift = 1 - np.sqrt(2 / 3)
square = np.array([[0.0, 0.0, 1.0, 1.0]])
print(f"d = {shift:.4f}, IoU {box_iou(square, square + shift).item():.4f}")
np.testing.assert_allclose(box_iou(square, square + shift), 0.5)

# %% [markdown]
# ## 2. Which four anchors?
#
# The pairs with the first size or the first ratio: $(s_1, 1)$, $(s_2, 1)$, $(s_1, 2)$ and $(s_1, 0.5)$. The pairs
# $(s_2, 2)$ and $(s_2, 0.5)$ are left out.

# %%
used = multibox_prior(np.empty((1, 1)), [0.4, 0.7], [1, 2, 0.5])[0]
left_out = multibox_prior(np.empty((1, 1)), [0.7], [2, 0.5])[0]
panels = {
    "used": [Boxes(used, ["s1, 1", "s2, 1", "s1, 2", "s1, 0.5"])],
    "left out": [Boxes(left_out, ["s2, 2", "s2, 0.5"])],
}
show_figure(save_box_panels, draw_dog_and_cat(), panels, columns=2, caption="Anchors of sizes 0.4 and 0.7 at one unit.")
assert len(used) == 4

# %% [markdown]
# ## 3. A claim that takes an anchor away
#
# Anchor 1 overlaps box A more than box B, so the threshold gives it to A. But A claims anchor 0, which fits even
# better. The best anchor that is left for B is anchor 1: B claims it. This is good for B, which would have no anchor
# at all. A still has anchor 0.

# %%
two_boxes = np.array([[0.1, 0.1, 0.5, 0.5], [0.2, 0.1, 0.6, 0.5]])
anchors = np.array(
    [[0.1, 0.1, 0.5, 0.5], [0.14, 0.1, 0.54, 0.5], [0.7, 0.7, 0.8, 0.8], [0, 0, 0.05, 0.05], [0.9, 0, 1, 1]]
)
jaccard = box_iou(anchors, two_boxes)
print(jaccard)
by_threshold = np.where(jaccard.max(axis=1) >= 0.5, jaccard.argmax(axis=1), -1)
print("by the threshold:", by_threshold, " after the claims:", assign_anchor_to_bbox(two_boxes, anchors))
assert by_threshold[1] == 0
assert assign_anchor_to_bbox(two_boxes, anchors)[1] == 1

# %% [markdown]
# ## 4. Greedy is not optimal
#
# Greedy takes 0.9 first, and only 0.1 is left for the second box: 1.0 in total. The other assignment has 0.8 + 0.8 =
# 1.6. (`scipy.optimize.linear_sum_assignment` finds the best assignment of large matrices.)

# %%
overlaps = np.array([[0.9, 0.8], [0.8, 0.1]])  # two anchors, two boxes
totals = {order: overlaps[[0, 1], order].sum() for order in itertools.permutations(range(2))}
print(totals)
assert totals[0, 1] < totals[1, 0]

# %% [markdown]
# ## 5. Soft-NMS
#
# Instead of dropping a box, multiply its score by $\exp(-\mathrm{IoU}^2/\sigma)$. In the dog's lap, the cat keeps a
# score of $0.7\,\exp(-0.875^2/0.5) = 0.15$: it is found at a low score threshold. With the hard rule it is lost.


# %%
def soft_nms(boxes, scores, sigma=0.5, min_score=0.01):
    """Return the indices of the boxes in order of their final scores, and these scores."""
    scores, left, keep, final = scores.copy(), np.arange(len(scores)), [], []
    while len(left):
        best = left[scores[left].argmax()]
        if scores[best] < min_score:
            break
        keep.append(best)
        final.append(scores[best])
        left = left[left != best]
        scores[left] *= np.exp(-(box_iou(boxes[[best]], boxes[left])[0] ** 2) / sigma)
    return np.array(keep, int), np.array(final)


# %%
lap = np.array([[0.1, 0.1, 0.5, 0.9], [0.1, 0.1, 0.5, 0.8]])
kept, final = soft_nms(lap, np.array([0.8, 0.7]))
print("hard rule keeps", nms(lap, np.array([0.8, 0.7]), 0.5), "; Soft-NMS keeps", kept, "with scores", final)
np.testing.assert_allclose(final, [0.8, 0.7 * np.exp(-(0.875**2) / 0.5)])
assert nms(lap, np.array([0.8, 0.7]), 0.5).tolist() == [0]

# %% [markdown]
# To use it in `multibox_detection` of the notebook, let the function replace `score` by the final scores as well.
#
# ## 6. Anchors fitted to a dataset

# %%
import dataclasses

from ssd_common.data.anchor_fit import box_shapes, fit_anchors
from ssd_common.data.synthetic import SyntheticDataset

data = SyntheticDataset("train", num_images=64)
labels = [data[i].labels for i in range(len(data))]
fitted = dataclasses.replace(BOOK.model, anchors=fit_anchors(box_shapes(labels), BOOK.model))
fewest = {}
for name, model_config in {"the book's anchors": BOOK.model, "fitted anchors": fitted}.items():
    grid = anchor_grid(model_config)
    counts = [(multibox_target(grid, boxes[None])[2] > 0).sum() / len(boxes) for boxes in labels]
    fewest[name] = min(counts)
    print(f"{name}: {np.mean(counts):.1f} anchors for each object, at least {fewest[name]:.0f}")
assert fewest["fitted anchors"] > fewest["the book's anchors"]

# %% [markdown]
# The mean hardly changes on this set. The objects that had the fewest anchors gain most.
