"""The parity ladder: what is compared between numpy, PyTorch and MXNet, rung by rung, and the report on it."""

from ssd_common.parity.ladder import LADDER, NUM_RUNGS, add_up_in_one_order, climb, foundations, parse_rungs
from ssd_common.parity.report_html import write_html
from ssd_common.parity.rungs import Row, Rung, Subject

__all__ = [
    "LADDER",
    "NUM_RUNGS",
    "Row",
    "Rung",
    "Subject",
    "add_up_in_one_order",
    "climb",
    "foundations",
    "parse_rungs",
    "write_html",
]
