"""The parity ladder: what is compared between numpy, PyTorch and MXNet, rung by rung, and the report on it."""

from ssd_common.parity.ladder import LADDER, LAST_ONNX_RUNG, NUM_RUNGS, climb, foundations, parse_rungs
from ssd_common.parity.report_html import write_html
from ssd_common.parity.rungs import LazyBatches, Row, Rung, Subject

__all__ = [
    "LADDER",
    "LAST_ONNX_RUNG",
    "NUM_RUNGS",
    "LazyBatches",
    "Row",
    "Rung",
    "Subject",
    "climb",
    "foundations",
    "parse_rungs",
    "write_html",
]
