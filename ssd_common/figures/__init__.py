"""Functions that write a PNG."""

from ssd_common.drawing import draw_detections
from ssd_common.figures.architecture import save_architecture
from ssd_common.figures.boxes import save_box_panels, save_overlap_matrices, save_overlaps
from ssd_common.figures.curves import (
    save_curve_differences,
    save_curves_by_start,
    save_step_losses,
    save_training_curves,
)  # fmt: skip
from ssd_common.figures.data_sheet import save_data_sheet
from ssd_common.figures.detections import save_anchor_plot, save_detection_grid, save_pictures, show_bboxes
from ssd_common.figures.evaluation import save_precision_recall, save_worst_mistakes
from ssd_common.figures.losses import save_loss_curves

__all__ = [
    "draw_detections", "save_anchor_plot", "save_architecture", "save_box_panels", "save_curve_differences",
    "save_curves_by_start", "save_data_sheet", "save_detection_grid", "save_loss_curves", "save_overlap_matrices",
    "save_overlaps", "save_pictures", "save_precision_recall", "save_step_losses", "save_training_curves",
    "save_worst_mistakes", "show_bboxes",
]  # fmt: skip
