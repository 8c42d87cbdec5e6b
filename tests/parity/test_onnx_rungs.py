"""Rungs 14 and 15: the ONNX file of each framework, in ONNX Runtime, against the framework."""

import copy
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from ssd_common.backends import load_backend
from ssd_common.checkpoints.convert import load_weights
from ssd_common.data import load_dataset
from ssd_common.data.sampling import in_order
from ssd_common.parity import LAST_ONNX_RUNG, NUM_RUNGS, LazyBatches, Subject, climb, parse_rungs
from ssd_common.parity import onnx as onnx_rungs
from ssd_common.parity.onnx import (
    ONNX_RUNGS,
    Witness,
    measure_file,
    output_difference,
    row_difference,
    share_kept_otherwise,
    shown_otherwise,
)
from ssd_common.parity.report import COLUMNS, ladder_cells, ladder_columns, ladder_table, verdict_text
from ssd_common.parity.report_html import write_html
from tests.onnx_files import onnx_cases
from tests.parity.report_cases import LADDER, full_report

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

NUMBERS = {"torch": 14, "mxnet": 15}


@pytest.fixture
def exported_once(monkeypatch):
    """Exports of the cases' weights are those that other tests have made already."""
    monkeypatch.setattr(onnx_rungs, "make_graph", lambda backend, checkpoint: onnx_cases.graph(backend.name))


def subject(dtype="float64"):
    """Return the small detector of two classes, and two batches of random images."""
    pictures = [(onnx_cases.images(batch), np.full((batch, 1, 5), -1.0)) for batch in (3, 2)]
    checkpoint = onnx_cases.CHECKPOINT
    return Subject(checkpoint.config, checkpoint.weights, (), dtype, trained=checkpoint.weights, pictures=pictures)


def climbed(name, dtype="float64"):
    return list(climb(subject(dtype), {name: load_backend(name)}, [NUMBERS[name]]))


@pytest.mark.usefixtures("exported_once")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_file_of_a_framework_returns_and_keeps_the_same(backend, dtype):
    rows = climbed(backend.name, dtype)
    assert [row.passed for row in rows] == [True] * 4, rows
    assert {row.dtype for row in rows} == {"float32"}
    assert {row.reference for row in rows} == {f"{backend.name} float32"}
    for row in rows:
        assert row.errors[backend.name] is None
        assert row.errors["onnx"] is not None


def transposed_weight(graph):
    """Transpose a weight in the file."""
    from onnx import numpy_helper

    (tensor,) = [tensor for tensor in graph.graph.initializer if tensor.name == "blk_1.3.weight"]
    values = numpy_helper.to_array(tensor).transpose(1, 0, 2, 3)
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), tensor.name))


def shifted_anchors(graph):
    """Move the anchors, by way of the node that adds up their corners, or of the numbers in which they stand."""
    from onnx import helper, numpy_helper

    for node in graph.graph.node:
        node.output[:] = ["still" if name == "anchors" else name for name in node.output]
    for tensor in graph.graph.initializer:
        tensor.name = "still" if tensor.name == "anchors" else tensor.name
    graph.graph.initializer.append(numpy_helper.from_array(np.float32(1e-3), "shift"))
    graph.graph.node.append(helper.make_node("Add", ["still", "shift"], ["anchors"]))


def no_suppression(graph):
    """Do nothing to the graph: the error is in the detection that is appended."""


@pytest.mark.parametrize(
    ("plant", "what"),
    [(transposed_weight, "outputs"), (shifted_anchors, "outputs"), (no_suppression, "kept")],
)
def test_an_error_planted_in_the_file_fails_its_rung(monkeypatch, backend, plant, what):
    planted = copy.deepcopy(onnx_cases.graph(backend.name))
    plant(planted)
    monkeypatch.setattr(onnx_rungs, "make_graph", lambda *_: planted)
    if plant is no_suppression:

        def encode(graph, backend, checkpoint, **flags):
            return original(graph, backend, onnx_cases.other_thresholds(nms_threshold=1.0), **flags)

        original = onnx_rungs.encode_onnx
        monkeypatch.setattr(onnx_rungs, "encode_onnx", encode)
    failed = [row.name for row in climbed(backend.name) if not row.passed]
    assert f"{backend.name}'s file: {what}" in failed
    if plant is no_suppression:
        assert f"{backend.name}'s file: outputs" not in failed


# The distances by themselves.

ROWS = np.array([[0, 0.9, 0.1, 0.1, 0.4, 0.4], [1, 0.8, 0.1, 0.1, 0.4, 0.4], [0, 0.3, 0.6, 0.6, 0.9, 0.9]])
OUTPUTS = [[np.zeros((1, 2, 4)), np.full((1, 2, 2), 8.0), np.ones((1, 8))]]


def side(rows=ROWS, outputs=OUTPUTS):
    return Witness(outputs, [rows])


def test_equal_sides_have_no_distance():
    for distance in (output_difference, shown_otherwise, share_kept_otherwise, row_difference):
        np.testing.assert_equal(distance(side(), side()), 0)


def test_the_order_of_detections_does_not_count_and_rounding_does_not():
    other = ROWS[[2, 0, 1]] + [0, 1e-7, 1e-6, 0, 0, 0]
    np.testing.assert_equal(share_kept_otherwise(side(other), side()), 0)
    np.testing.assert_allclose(row_difference(side(other), side()), 1e-6, rtol=1e-3)


@pytest.mark.parametrize(
    ("rows", "shown", "share"),
    [
        (ROWS[:2], 0, 1 / 3),  # the third is not drawn
        (ROWS[1:], 1, 1 / 3),
        (ROWS + [5, 0, 0, 0, 0, 0], 4, 2),  # another class: missing here, too many there
        (ROWS + [0, 0, 0, 0, 0, 0.01], 4, 2),  # another box
        (ROWS[[0, 0, 1, 2]], 1, 1 / 3),  # once too often
        (ROWS[:0], 2, 1),
    ],
)
def test_what_only_one_side_keeps_is_counted(rows, shown, share):
    np.testing.assert_equal(shown_otherwise(side(rows), side()), shown)
    np.testing.assert_allclose(share_kept_otherwise(side(rows), side()), share)


def test_where_nothing_is_detected_nothing_is_compared():
    assert np.isnan(share_kept_otherwise(side(ROWS[:0]), side(ROWS[:0])))


def test_outputs_are_compared_over_the_largest_of_their_kind():
    other = [[OUTPUTS[0][0], OUTPUTS[0][1] + 0.08, OUTPUTS[0][2]]]
    np.testing.assert_allclose(output_difference(side(outputs=other), side()), 0.01)
    other = [[OUTPUTS[0][0] + 0.5, OUTPUTS[0][1], OUTPUTS[0][2]]]
    np.testing.assert_allclose(output_difference(side(outputs=other), side()), 0.5)


# The report.


def rows_with_onnx():
    """Return a ladder with the rows of the files of both frameworks."""
    added = [
        dataclasses.replace(
            LADDER[0],
            rung=rung.number,
            name=rung.name,
            dtype="float32",
            errors={"numpy": None, "torch": None, "mxnet": None, "onnx": 4.3e-7},
            difference=None,
            reference=f"{rung.name[:5]} float32",
        )
        for rung in ONNX_RUNGS
    ]
    return [*LADDER, *added]


def test_the_rungs_are_numbered_on_from_the_ladder():
    assert [*dict.fromkeys(rung.number for rung in ONNX_RUNGS)] == [NUM_RUNGS + 1, LAST_ONNX_RUNG]
    assert parse_rungs("14-15", LAST_ONNX_RUNG) == range(14, 16)


def test_onnx_runtime_has_a_column_where_it_is_on_the_ladder():
    assert ladder_columns(LADDER) == COLUMNS
    columns = ladder_columns(rows_with_onnx())
    assert columns[columns.index("mxnet error") + 1] == "onnx error"
    cells = dict(zip(columns, ladder_cells(rows_with_onnx()[-1], columns), strict=True))
    assert (cells["torch error"], cells["mxnet error"], cells["onnx error"]) == ("–", "ref", "4.3e-07")
    cells = dict(zip(columns, ladder_cells(LADDER[0], columns), strict=True))
    assert cells["onnx error"] == "–"


@pytest.mark.parametrize("width", [80, 110])
def test_the_table_on_a_terminal_has_the_column(width):
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(ladder_table(rows_with_onnx(), width))
    assert "onnx" in capture.get()
    assert "4.3e-07" in capture.get()


def test_the_page_has_the_column(tmp_path):
    write_html(tmp_path / "with.html", full_report(rows_with_onnx()), {})
    write_html(tmp_path / "without.html", full_report(), {})
    with_onnx, without = ((tmp_path / f"{name}.html").read_text(encoding="utf-8") for name in ("with", "without"))
    assert '<th scope="col" class="number">onnx error</th>' in with_onnx
    assert "run by ONNX Runtime" in with_onnx
    assert "onnx" not in without.lower()
    assert verdict_text(full_report(rows_with_onnx())) == "All 15 rungs pass"


@pytest.mark.slow
@pytest.mark.backend("torch", "mxnet")
@pytest.mark.parametrize("name", ["torch", "mxnet"])
def test_on_100_real_images_the_same_boxes_of_the_same_classes_are_kept(data_dir, name):
    """The published weights, at a threshold where some 600 boxes of an image are kept."""
    checkpoint = load_weights(Path(data_dir, "pretrained", "ssd_pikachu-fbb7d872.params"))
    val = load_dataset("pikachu", "val", data_dir=data_dir)
    pictures = LazyBatches(val, in_order(100, 10), checkpoint.config.model)
    assert len(val) == 100
    made = Subject(checkpoint.config, checkpoint.weights, (), "float32", trained=checkpoint.weights, pictures=pictures)
    results = measure_file(name, made, {name: load_backend(name)})
    onnx, native = results.sides["onnx"], results.reference
    assert sum(map(len, native.detections)) > 50_000
    # Measured: outputs 2.2e-6 and 2.8e-6, all of 61,356 boxes the same, their rows 1.5e-6 and 2.2e-6 apart.
    assert output_difference(onnx, native) < 1e-5
    assert shown_otherwise(onnx, native) == 0
    assert share_kept_otherwise(onnx, native) < 1e-4
    assert row_difference(onnx, native) < 1e-5
