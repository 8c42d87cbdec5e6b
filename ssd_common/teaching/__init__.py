"""What only a notebook or the site shows: source, two frameworks side by side, figures with captions, checks."""

from ssd_common.teaching.check_same import DiffersError, check_same
from ssd_common.teaching.dog_and_cat import draw_dog_and_cat
from ssd_common.teaching.notebook import LiveTraining, show_figure, show_side_by_side, show_source, show_table

__all__ = [
    "DiffersError", "LiveTraining", "check_same", "draw_dog_and_cat", "show_figure", "show_side_by_side", "show_source",
    "show_table",
]  # fmt: skip
