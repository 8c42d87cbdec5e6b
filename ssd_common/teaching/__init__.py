"""What only a notebook or the site shows: source, two frameworks side by side, figures with captions."""

from ssd_common.teaching.dog_and_cat import draw_dog_and_cat
from ssd_common.teaching.notebook import LiveTraining, show_figure, show_side_by_side, show_source, show_table

__all__ = ["LiveTraining", "draw_dog_and_cat", "show_figure", "show_side_by_side", "show_source", "show_table"]
