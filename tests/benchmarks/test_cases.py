"""The benchmark's cases: the book's side computes what ours does, and the rest that is measured is what it says."""

import json
import sys

import numpy as np
import pytest
from rich.console import Console

from benchmarks import cases, extras, processes
from benchmarks.__main__ import run_benchmark
from benchmarks.cases import CASES, GOALS, NUMPY_CASES
from benchmarks.inputs import PREDICTIONS, TRAIN_FOLDER, Inputs, Sizes
from benchmarks.instrument import Case
from benchmarks.sides import Sides, load_book
from ssd_common.backends import BACKENDS
from ssd_common.config import BOOK, ModelConfig
from ssd_common.data import load_dataset
from ssd_common.data.transforms import read_image
from ssd_common.errors import InputError
from ssd_common.weights import initial_weights

SMALL = Sizes(image_size=64, batch=4, files=2, epoch=36, warm_up_steps=12)
NAMES = ("train_step_fp32", "train_step_bf16", "targets_1", "targets_20", "detection_1", "detection_32")
NAMES += ("predict_files", "epoch")


@pytest.fixture
def inputs(tmp_path):
    return Inputs(tmp_path, SMALL)


@pytest.fixture
def sides(backend, book, inputs):
    """The two sides in each backend; `book` skips where the book's package is not installed."""
    return Sides(backend, load_book(backend.name), inputs)


# The cases


def test_the_names_of_the_cases_are_fixed():
    assert tuple(CASES) == NAMES
    assert set(NUMPY_CASES) == {"targets_20"}
    of_both = {(name, backend) for name in ("train_step_fp32", "epoch", "predict_files") for backend in BACKENDS}
    assert set(GOALS) == of_both | {("train_step_bf16", "torch")}


def check(case, name):
    """Compare the two sides as `measure` does, without timing them."""
    assert case.name == name
    case.compare(case.ours(), case.peer())


def test_a_training_step_is_the_book_s(sides):
    check(cases.train_step(sides, "fp32"), "train_step_fp32")


def test_a_training_step_in_lower_precision_is_the_book_s_roughly(sides):
    try:
        cases.check_precision(sides.b, "bf16")
    except cases.SkippedCaseError:
        with pytest.raises(cases.SkippedCaseError, match="bf16"):
            cases.train_step(sides, "bf16")
    else:
        check(cases.train_step(sides, "bf16"), "train_step_bf16")


@pytest.mark.parametrize("num_objects", [1, 20])
def test_targets_are_the_book_s(sides, num_objects):
    check(cases.multibox_targets(sides, num_objects), f"targets_{num_objects}")
    case = cases.numpy_targets(sides, num_objects)
    assert case.backend == "numpy"
    check(case, f"targets_{num_objects}")


def test_detections_are_the_book_s(sides):
    case = cases.detection(sides, 1)
    check(case, "detection_1")
    trained, untrained = ((rows[0, :, 0] >= 0).sum() for rows in case.ours())
    assert 1 <= trained <= 5
    assert untrained > 20


@pytest.mark.slow
def test_predictions_of_files_are_the_book_s(sides):
    check(cases.predict_files(sides), "predict_files")


@pytest.mark.slow
def test_an_epoch_learns_as_the_book_s(sides):
    case = cases.epoch(sides)
    assert "tinyssd trains in" in case.note
    check(case, "epoch")


def test_the_book_s_network_is_plain(sides):
    net = sides.book.make_net(sides.inputs.model, sides.inputs.weights)
    if sides.b.name == "torch":
        assert all(p.is_contiguous() and str(p.dtype) == "torch.float32" for p in net.parameters())
    else:
        blocks = [net]
        for block in blocks:
            blocks += block._children.values()
        assert len(blocks) > 40
        assert not any(getattr(block, "_active", False) for block in blocks)  # hybridized


def test_both_sides_read_the_banana_folder_alike(backend, book, tmp_path, monkeypatch):
    inputs = Inputs(tmp_path, Sizes(batch=1, files=1, epoch=2))
    data = load_dataset("bananas", data_dir=inputs.banana_folder)
    monkeypatch.setattr(book, "download_extract", lambda name: (inputs.banana_folder / TRAIN_FOLDER).parent)
    images, labels = book.read_data_bananas()
    assert len(images) == len(data) == 2
    for i, (image, label, _) in enumerate(data):
        theirs = backend.data.to_numpy(images[i])
        np.testing.assert_array_equal(image, theirs.transpose(1, 2, 0) if backend.name == "torch" else theirs)
        np.testing.assert_array_equal(label, backend.data.to_numpy(labels[i]).astype(np.float32))
        np.testing.assert_array_equal(image, inputs.pictures[i].image)
        np.testing.assert_array_equal(label, inputs.pictures[i].labels)


# What they work on


def test_labels_are_boxes_inside_the_picture(inputs):
    labels = inputs.labels(20)
    assert labels.shape == (4, 20, 5)
    assert (labels[..., 0] == 0).all()
    assert (labels[..., 1:] >= 0).all()
    assert (labels[..., 1:] <= 1).all()
    assert (labels[..., 3:] - labels[..., 1:3] > 0.09).all()


@pytest.mark.parametrize("kind", PREDICTIONS)
def test_no_two_scores_of_a_picture_are_the_same(kind, tmp_path):
    probs, offsets = Inputs(tmp_path, Sizes()).predictions(kind, 2)
    assert probs.shape == (2, 2, 5444)
    assert offsets.shape == (2, 5444 * 4)
    np.testing.assert_allclose(probs.sum(axis=1), 1, rtol=1e-6)
    for scores in probs[:, 1]:
        assert len(np.unique(scores)) == 5444
        assert kind == "untrained" or ((scores > 0.9).sum(), (scores > 0.005).sum()) == (5, 5)


def test_the_files_have_varied_sizes_and_some_that_of_the_network(tmp_path):
    files = Inputs(tmp_path, Sizes(image_size=64, files=6)).files
    shapes = [read_image(path).shape[:2] for path in files]
    assert len(set(shapes)) == 5
    assert shapes[0] == shapes[5] == (64, 64)


# The run


def run(names, cases, **options):
    console = Console(width=110, quiet=True)
    report = run_benchmark(names, cases, 1, console, False, SMALL, **options)
    return json.loads(json.dumps(report))


@pytest.mark.backend("torch")
def test_a_run_measures_what_it_is_asked_for(d2l_torch):
    report = run(["numpy", "torch"], ["targets_20", "targets_1"])
    measured = [(case["name"], case["backend"]) for case in report["cases"]]
    assert measured == [("targets_20", "numpy"), ("targets_1", "torch"), ("targets_20", "torch")]
    assert all(case["ours_s"] > 0 and case["peer_s"] > 0 for case in report["cases"])
    assert [list(case) for case in report["cases"]] == [["name", "backend", "ours_s", "peer_s", "ratio", "spread"]] * 3
    assert report["pairs"] == 1
    assert report["skipped"] == report["void"] == []
    assert report["versions"]["d2l"] != "missing"
    assert report["machine"]["cores"] >= 1


@pytest.mark.backend("torch")
def test_a_case_that_cannot_be_measured_is_named_with_its_reason(d2l_torch, monkeypatch):
    def cannot(b, precision):
        raise cases.SkippedCaseError(f"no {precision} here")

    monkeypatch.setattr(cases, "check_precision", cannot)
    report = run(["torch"], ["train_step_bf16"])
    assert report["cases"] == []
    assert len(report["skipped"]) == 1
    assert report["skipped"][0] == "train_step_bf16, torch: skipped: no bf16 here"


@pytest.mark.backend("torch")
def test_a_case_whose_sides_differ_is_void_and_the_others_are_measured(d2l_torch, monkeypatch):
    def wrong(sides):
        return Case("targets_1", sides.b.name, lambda: 1, lambda: 2, np.testing.assert_equal)

    monkeypatch.setitem(CASES, "targets_1", wrong)
    report = run(["torch"], ["targets_1", "targets_20"])
    assert [case["name"] for case in report["cases"]] == ["targets_20"]
    assert len(report["void"]) == 1
    assert report["void"][0].startswith("targets_1, torch: the two sides differ: ")


@pytest.mark.parametrize(("backends", "cases", "message"), [(["jax"], None, "jax"), (["torch"], ["speed"], "speed")])
def test_a_name_that_is_not_known_is_refused(backends, cases, message):
    with pytest.raises(InputError, match=f"unknown .* '{message}'; the .* are "):
        run(backends, cases)


@pytest.mark.backend("torch")
def test_a_missing_book_is_one_line_that_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "benchmarks.book_torch", raising=False)
    monkeypatch.setitem(sys.modules, "d2l", None)
    with pytest.raises(InputError, match=r"d2l.*pip install --no-deps d2l==1\.0\.3"):
        load_book("torch")


# What is measured beside the cases


@pytest.mark.backend("torch")
@pytest.mark.parametrize("model", [BOOK.model, ModelConfig(class_names=("a", "b", "c"), image_size=128)])
def test_the_operations_are_those_that_pytorch_counts(model):
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from ssd_torch.weights import make_net

    net = make_net(model, initial_weights(model, BOOK.train))
    X = torch.zeros(1, 3, model.image_size, model.image_size)
    net.train(False)
    with FlopCounterMode(display=False) as forward:
        _, cls_preds, bbox_preds = net(X)
    with FlopCounterMode(display=False) as backward:
        (cls_preds.sum() + bbox_preds.sum()).backward()
    assert extras.network_flops(model) == (forward.get_total_flops(), backward.get_total_flops())


def test_targets_losses_and_metrics_are_a_share_of_a_step(sides, monkeypatch):
    assert 0 < extras.overhead_share(sides, pairs=1) < 1
    sums, measured = [], extras.measure

    def compared(case, pairs):
        sums.append((case.ours(), case.peer()[0]))
        return measured(case, pairs)

    monkeypatch.setattr(extras, "measure", compared)
    extras.overhead_share(sides, pairs=1)
    ((ours, (correct, anchors, abs_error, offsets)),) = sums
    assert [ours[name] for name in ("correct", "anchors", "offsets")] == [correct, anchors, offsets]
    assert ours["abs_error"] == pytest.approx(abs_error, rel=1e-4)


@pytest.mark.slow
def test_waiting_for_data_is_a_share_of_an_epoch(sides):
    assert 0 < extras.data_share(sides) < 1


@pytest.mark.parametrize("side", extras.SIDES)
def test_the_memory_of_a_step_is_that_of_a_new_process(backend, book, side):
    ballast = np.ones(2**27)  # 1 GiB that a new process must not be charged with
    memory = processes.run_peak_memory(backend.name, side, 64, 8)
    if sys.platform == "linux":
        assert 2**20 < memory < ballast.nbytes / 2
    else:
        assert memory is None


@pytest.mark.slow
def test_both_sides_of_a_cold_start_run(sides):
    result = processes.cold_start_predict(sides, pairs=1)
    assert (result.name, result.backend) == ("cold_start_predict", sides.b.name)


def test_the_first_of_many_images_is_waited_for(sides):
    assert processes.cold_start_first_image(sides, count=100, repeats=1) > 0
