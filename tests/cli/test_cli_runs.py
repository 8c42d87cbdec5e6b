"""The command line at work: train, go on in the other framework, measure, predict."""

import contextlib
import io
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from ssd_common.backends import BACKENDS
from ssd_common.checkpoints.checkpoint import load_checkpoint
from ssd_common.cli import main
from ssd_common.config import LossConfig, PredictConfig, TrainConfig, read_run_config
from ssd_common.config.augment import AUGMENTATIONS
from ssd_common.data import load_dataset
from ssd_common.data.synthetic import scenes as synthetic
from ssd_common.data.transforms import read_image
from ssd_common.figures import detections
from ssd_common.runs import compare
from ssd_common.runs.folder import COLUMNS, read_rows

CONFIG = """
[model]
image_size = 64
[train]
batch_size = 4
lr = 0.03125
momentum = 0.5
seed = 3
"""
EXACT = [name for name in COLUMNS if name not in ("examples_per_second", "data_seconds")]
LOSSES = ("loss", "cls_loss", "bbox_loss", "bbox_mae")  # not the class error, which is a count
BOTH = pytest.mark.backend("torch", "mxnet")


def tinyssd(*arguments):
    """Run a command line that must succeed, and return what it prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.raises(SystemExit) as done:
        main([str(argument) for argument in arguments])
    assert done.value.code == 0
    return printed.getvalue()


@pytest.fixture(scope="module", autouse=True)
def _few_validation_pictures():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(synthetic.SPLITS, "val", 6)
        patch.setattr(detections, "PICTURES_SHOWN", 2)
        patch.setattr(compare, "SCENES", 2)
        yield


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    """Return the folder of a run of so many epochs, trained when first asked for, and what it printed."""
    base = tmp_path_factory.mktemp("runs")
    (base / "tiny.toml").write_text(CONFIG)
    done = {}

    def trained(backend, epochs):
        if (backend, epochs) not in done:
            path = base / f"{backend}-{epochs}"
            flags = ["--config", base / "tiny.toml", "--limit", 6, "--epochs", epochs, "--device", "cpu", "--out", path]
            done[backend, epochs] = SimpleNamespace(path=path, printed=tinyssd("train", "--backend", backend, *flags))
        return done[backend, epochs]

    return trained


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder with two images of different shapes, and other files."""
    path = tmp_path_factory.mktemp("pictures")
    data = load_dataset("synthetic", "train")
    for i, (name, size) in enumerate({"wide.png": (300, 200), "tall.PNG": (150, 250)}.items()):
        Image.fromarray(data[i].image).resize(size).save(path / name)
    (path / "notes.txt").write_text("no image")
    (path / "manual.pdf").write_bytes(b"%PDF-1.4 no image")
    return path


def same_rows(ours, theirs, rtol):
    assert len(ours) == len(theirs)
    for row, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose([row[n] for n in EXACT], [other[n] for n in EXACT], rtol=rtol)


# train


def test_training_fills_a_run_folder(backend, train):
    run = train(backend.name, 1)
    files = sorted(file.relative_to(run.path).as_posix() for file in run.path.rglob("*") if file.is_file())
    assert files == [
        "config.toml",
        "log.txt",
        "results.csv",
        "results.png",
        "val_detections.png",
        "weights/best.safetensors",
        "weights/last.safetensors",
    ]
    (row,) = read_rows(run.path / "results.csv")
    assert np.isfinite([row[name] for name in COLUMNS]).all()
    assert row["epoch"] == 1
    assert row["loss"] == pytest.approx(row["cls_loss"] + row["bbox_loss"])
    for name in ("results.png", "val_detections.png"):
        assert np.ptp(read_image(run.path / name)) > 100  # something is drawn
    assert (run.path / "log.txt").read_text() == run.printed
    assert run.printed.splitlines()[-1] == f"wrote {run.path}"


def test_the_configuration_of_a_run_is_all_that_was_asked_for(backend, train):
    run = train(backend.name, 1)
    settings = read_run_config(run.path / "config.toml")
    checkpoint = load_checkpoint(run.path / "weights" / "last.safetensors")
    assert (settings.data, settings.limit) == ("synthetic", 6)
    assert settings.config.train == checkpoint.config.train
    assert settings.config.model == checkpoint.config.model
    train_config = checkpoint.config.train
    assert (train_config.epochs, train_config.lr, train_config.momentum, train_config.seed) == (1, 0.03125, 0.5, 3)
    assert (checkpoint.config.model.image_size, checkpoint.config.model.class_names) == (64, ("banana",))
    assert (checkpoint.epoch, checkpoint.step) == (1, 2)  # 6 images are batches of 4 and 2
    assert load_checkpoint(run.path / "weights" / "best.safetensors").epoch == 1


@pytest.mark.backend("torch")
def test_the_configuration_of_a_run_starts_another_one_alike(train, tmp_path):
    run = train("torch", 1)
    flags = ["--config", run.path / "config.toml", "--limit", 6, "--device", "cpu", "--out", tmp_path / "again"]
    tinyssd("train", *flags)
    same_rows(read_rows(tmp_path / "again" / "results.csv"), read_rows(run.path / "results.csv"), rtol=0)


@BOTH
def test_both_frameworks_learn_the_same(train):
    ours, theirs = (read_rows(train(name, 2).path / "results.csv") for name in BACKENDS)
    for row, other in zip(ours, theirs, strict=True):
        for name in LOSSES:
            np.testing.assert_allclose(row[name], other[name], rtol=0.02, err_msg=name)


# train --resume


def test_a_resumed_run_is_the_run_that_was_never_stopped(backend, train, tmp_path):
    whole = train(backend.name, 2)
    shutil.copytree(train(backend.name, 1).path, tmp_path / "run")
    tinyssd("train", "--backend", backend.name, "--resume", tmp_path / "run", "--epochs", 2, "--device", "cpu")
    same_rows(read_rows(tmp_path / "run" / "results.csv"), read_rows(whole.path / "results.csv"), rtol=0)
    ours, theirs = (load_checkpoint(path / "weights" / "last.safetensors") for path in (tmp_path / "run", whole.path))
    assert (ours.epoch, ours.step, ours.config) == (theirs.epoch, theirs.step, theirs.config)
    for kind in ("weights", "velocity"):
        for name, value in getattr(theirs, kind).items():
            np.testing.assert_array_equal(getattr(ours, kind)[name], value, err_msg=f"{kind} {name}")


def test_a_run_goes_on_in_its_own_framework_unless_told_otherwise(backend, train, tmp_path):
    shutil.copytree(train(backend.name, 1).path, tmp_path / "run")
    printed = tinyssd("train", "--resume", tmp_path / "run", "--epochs", 2, "--device", "cpu")
    assert printed.startswith(f"{backend.name}: ")
    assert f'backend = "{backend.name}"' in (tmp_path / "run" / "config.toml").read_text()


@pytest.mark.backend("torch")
def test_a_run_of_no_epoch_goes_on(tmp_path):
    (tmp_path / "tiny.toml").write_text(CONFIG)
    flags = ["--config", tmp_path / "tiny.toml", "--limit", 6, "--device", "cpu", "--out", tmp_path / "run"]
    tinyssd("train", *flags, "--epochs", 0)
    tinyssd("train", "--resume", tmp_path / "run", "--epochs", 1, "--device", "cpu")
    assert [row["epoch"] for row in read_rows(tmp_path / "run" / "results.csv")] == [1]


@BOTH
@pytest.mark.parametrize(("first", "second"), [("torch", "mxnet"), ("mxnet", "torch")])
def test_a_run_goes_on_in_the_other_framework(first, second, train, tmp_path):
    begun, whole = train(first, 1), train(first, 2)
    shutil.copytree(begun.path, tmp_path / "run")
    printed = tinyssd("train", "--backend", second, "--resume", tmp_path / "run", "--epochs", 2, "--device", "cpu")
    rows, expected = (read_rows(path / "results.csv") for path in (tmp_path / "run", whole.path))
    same_rows(rows[:1], expected[:1], rtol=0)
    for name in LOSSES:
        np.testing.assert_allclose(rows[1][name], expected[1][name], rtol=0.02, err_msg=name)
    assert load_checkpoint(tmp_path / "run" / "weights" / "last.safetensors").epoch == 2
    assert f'backend = "{second}"' in (tmp_path / "run" / "config.toml").read_text()
    assert (tmp_path / "run" / "log.txt").read_text() == begun.printed + printed


@pytest.mark.backend("torch")
def test_an_augmented_run_goes_on_as_augmented_and_evaluates_pictures_as_they_are(train, tmp_path):
    plain, flags = train("torch", 1), ["--config", train("torch", 1).path / "config.toml", "--limit", 6]
    for name, epochs in (("whole", 2), ("stopped", 1)):
        tinyssd("train", *flags, "--augment", "ssd", "--epochs", epochs, "--device", "cpu", "--out", tmp_path / name)
    tinyssd("train", "--resume", tmp_path / "stopped", "--epochs", 2, "--device", "cpu")
    rows, resumed = (read_rows(tmp_path / name / "results.csv") for name in ("whole", "stopped"))
    same_rows(resumed, rows, rtol=0)
    for name in ("whole", "stopped"):
        assert read_run_config(tmp_path / name / "config.toml").config.train.augment == AUGMENTATIONS["ssd"]
    assert rows[0]["loss"] != read_rows(plain.path / "results.csv")[0]["loss"]
    weights = tmp_path / "whole" / "weights" / "last.safetensors"
    tinyssd("eval", "--weights", weights, "--device", "cpu", "--json", tmp_path / "m.json")
    measured = json.loads((tmp_path / "m.json").read_text())
    np.testing.assert_allclose(measured["bbox_mae"], rows[1]["val_bbox_mae"], rtol=1e-5)


@pytest.mark.backend("torch")
def test_another_rate_starts_a_new_run_from_the_last_weights(train, tmp_path):
    old = train("torch", 1)
    before = {path: path.read_bytes() for path in old.path.rglob("*") if path.is_file()}
    flags = ["--lr", 0.01, "--epochs", 0, "--device", "cpu", "--out", tmp_path / "new"]
    printed = tinyssd("train", "--resume", old.path, *flags)
    assert f"a new run from the weights of {old.path}, with train.lr = 0.01" in printed.splitlines()
    assert {path: path.read_bytes() for path in old.path.rglob("*") if path.is_file()} == before
    new, last = (load_checkpoint(path / "weights" / "last.safetensors") for path in (tmp_path / "new", old.path))
    assert (new.config.train.lr, new.config.train.momentum, new.run.limit, new.epoch) == (0.01, 0.5, 6, 0)
    for name, value in last.weights.items():
        np.testing.assert_array_equal(new.weights[name], value, err_msg=name)


@pytest.mark.backend("torch")
def test_the_same_rate_changes_nothing_and_other_threads_are_told(train, tmp_path, monkeypatch):
    run = shutil.copytree(train("torch", 1).path, tmp_path / "run")
    threads = read_run_config(run / "config.toml").threads
    assert threads >= 1
    monkeypatch.setenv("OMP_NUM_THREADS", str(threads + 1))
    printed = tinyssd("train", "--resume", run, "--epochs", 2, "--lr", 0.03125, "--device", "cpu")
    assert f"trained with {threads} threads before, now with {threads + 1}: the numbers are rounded" in printed
    assert load_checkpoint(run / "weights" / "last.safetensors").epoch == 2


@pytest.mark.backend("torch")
def test_a_finished_run_without_its_images_makes_them_again(train, tmp_path):
    run, images = shutil.copytree(train("torch", 1).path, tmp_path / "run"), ("results.png", "val_detections.png")
    drawn = [(run / name).read_bytes() for name in images]
    table, weights = ((run / name).read_bytes() for name in ("results.csv", "weights/last.safetensors"))
    (run / images[1]).unlink()
    tinyssd("train", "--resume", run, "--device", "cpu")
    assert [(run / name).read_bytes() for name in images] == drawn
    assert (run / "results.csv").read_bytes() == table
    assert (run / "weights" / "last.safetensors").read_bytes() == weights


# eval


def test_eval_measures_what_training_measured(backend, train, tmp_path):
    run = train(backend.name, 2)
    weights = run.path / "weights" / "last.safetensors"
    printed = tinyssd("eval", "--weights", weights, "--backend", backend.name, "--json", tmp_path / "m.json")
    metrics = json.loads((tmp_path / "m.json").read_text())
    assert (metrics["data"], metrics["backend"]) == ("synthetic:val", backend.name)
    row = read_rows(run.path / "results.csv")[-1]
    for name in ("class_error", "bbox_mae", "ap50", "ap"):
        np.testing.assert_allclose(metrics[name], row[f"val_{name}"], rtol=1e-5, atol=1e-9, err_msg=name)
    assert 0 < metrics["baseline_class_error"] < 1
    assert printed.splitlines()[0] == f"synthetic:val, 6 images, {metrics['objects']} objects, {backend.name}"
    assert printed.splitlines()[-1] == f"wrote {tmp_path / 'm.json'}"


@BOTH
def test_both_frameworks_measure_the_same_weights_alike(train, tmp_path):
    weights = train("torch", 1).path / "weights" / "last.safetensors"
    found = {}
    for name in BACKENDS:
        flags = ["--data", "synthetic:train", "--limit", 5, "--json", tmp_path / name]
        tinyssd("eval", "--weights", weights, "--backend", name, *flags)
        found[name] = json.loads((tmp_path / name).read_text())
    assert found["torch"]["data"] == "synthetic:train"
    for name in ("class_error", "bbox_mae", "ap50", "ap", "cls_loss", "bbox_loss", "voc07", "voc12"):
        np.testing.assert_allclose(found["torch"][name], found["mxnet"][name], rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.backend("torch")
def test_eval_writes_its_pictures_and_metrics_into_a_folder(train, tmp_path):
    weights, out = train("torch", 1).path / "weights" / "last.safetensors", tmp_path / "new" / "folder"
    printed = tinyssd("eval", "--weights", weights, "--limit", 3, "--out", out, "--json", tmp_path / "m.json")
    assert sorted(path.name for path in out.iterdir()) == ["metrics.json", "precision_recall.png", "worst_errors.png"]
    assert (out / "metrics.json").read_bytes() == (tmp_path / "m.json").read_bytes()
    for name in ("precision_recall.png", "worst_errors.png"):
        assert np.ptp(read_image(out / name)) > 100  # something is drawn
    names = "precision_recall.png, worst_errors.png, metrics.json"
    assert printed.splitlines()[-1] == f"wrote {out}: {names}; {tmp_path / 'm.json'}"


@pytest.mark.backend("torch")
def test_eval_counts_the_sizes_of_objects_in_pixels_of_the_original_picture(train, tmp_path, monkeypatch):
    """The network sees the images at 64 x 64, where no object is large."""
    data = load_dataset("synthetic:val")
    boxes = np.concatenate([data[i].labels[:, 1:] for i in range(len(data))])
    areas = np.prod((boxes[:, 2:] - boxes[:, :2]) * data[0].image.shape[1::-1], axis=1)
    expected = [(areas <= 32**2).any(), ((areas >= 32**2) & (areas <= 96**2)).any(), (areas >= 96**2).any()]
    assert sum(expected) >= 1
    assert expected != [(areas / 16 <= 32**2).any(), (areas / 16 >= 32**2).any(), False]
    tinyssd("eval", "--weights", train("torch", 1).path / "weights" / "last.safetensors", "--json", tmp_path / "m")
    metrics = json.loads((tmp_path / "m").read_text())
    assert [metrics[f"ap_{size}"] is not None for size in ("small", "medium", "large")] == expected


# predict

WRITTEN = {"detections.json", "detections.jsonl", "tall.png", "wide.png"}


def predict(backend, run, pictures, out, threshold):
    """Return the rows of `detections.json`."""
    weights = run.path / "weights" / "last.safetensors"
    flags = ["--weights", weights, "--backend", backend, "--score-threshold", threshold, "--out", out]
    printed = tinyssd("predict", *pictures, *flags)
    assert printed.splitlines()[-1].startswith(f"wrote {out}: ")
    return json.loads((out / "detections.json").read_text())


@BOTH
def test_both_frameworks_detect_the_same(train, pictures, tmp_path):
    ours, theirs = (predict(name, train("torch", 2), [pictures], tmp_path / name, 0.2) for name in BACKENDS)
    assert len(ours) > 4
    assert len(ours) == len(theirs)
    for row, other in zip(ours, theirs, strict=True):
        assert all(row[key] == other[key] for key in ("image", "label", "class_id"))
        numbers, others = ([found["score"], *found["box"].values()] for found in (row, other))
        np.testing.assert_allclose(numbers, others, rtol=0, atol=1e-3)


def test_detections_are_written_in_pixels_of_the_picture(backend, train, pictures, tmp_path):
    run, wide = train(backend.name, 1), pictures / "wide.png"
    rows = predict(backend.name, run, [wide], tmp_path, 0.3)
    assert len(rows) > 2
    checkpoint = load_checkpoint(run.path / "weights" / "last.safetensors")
    net = backend.weights.make_net(checkpoint.config.model, checkpoint.weights)
    (expected,) = backend.predict.predict(net, [read_image(wide)], checkpoint.config.model, PredictConfig())
    expected = expected[expected[:, 1] >= 0.3]
    for row, (class_id, score, *corners) in zip(rows, expected, strict=True):
        assert set(row) == {"image", "label", "class_id", "score", "box"}
        assert (row["image"], row["label"], row["class_id"]) == (str(wide), "banana", 0)
        assert class_id == 0
        assert list(row["box"]) == ["xmin", "ymin", "xmax", "ymax"]
        np.testing.assert_allclose(row["score"], score, rtol=1e-5)
        np.testing.assert_allclose(list(row["box"].values()), np.multiply(corners, [300, 200, 300, 200]), rtol=1e-5)
    scores = [row["score"] for row in rows]
    assert scores == sorted(scores, reverse=True)


def test_each_picture_of_a_folder_is_drawn_at_its_own_size(backend, train, pictures, tmp_path):
    rows = predict(backend.name, train(backend.name, 1), [pictures], tmp_path, 0.3)
    assert {file.name for file in tmp_path.iterdir()} == WRITTEN
    for name, size in (("wide.png", (300, 200)), ("tall.png", (150, 250))):
        with Image.open(tmp_path / name) as drawn:
            assert drawn.size == size
    assert {row["image"] for row in rows} <= {str(pictures / "wide.png"), str(pictures / "tall.PNG")}
    assert not np.array_equal(read_image(tmp_path / "wide.png"), read_image(pictures / "wide.png"))


@pytest.mark.backend("torch")
def test_a_picture_that_cannot_be_read_keeps_no_other_from_being_written(train, pictures, tmp_path, capsys):
    shutil.copytree(pictures, tmp_path / "in")
    (tmp_path / "in" / "bad.png").write_text("no image")
    (tmp_path / "in" / "folder.png").mkdir()
    weights, out = train("torch", 1).path / "weights" / "last.safetensors", tmp_path / "out"
    with pytest.raises(SystemExit) as done:
        main(["predict", str(tmp_path / "in"), "--weights", str(weights), "--out", str(out)])
    assert done.value.code == 2
    assert {file.name for file in out.iterdir()} == WRITTEN
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"tinyssd: {tmp_path / 'in' / 'bad.png'}: not an image")
    assert line.endswith(f"; 1 of 3 images could not be read, the others are in {out}")


@pytest.mark.backend("torch")
def test_the_same_command_goes_on_where_it_was_stopped(train, pictures, tmp_path):
    weights = train("torch", 1).path / "weights" / "last.safetensors"
    flags = ["--weights", weights, "--out", tmp_path]
    printed = tinyssd("predict", pictures / "tall.PNG", *flags)
    assert printed.splitlines()[-1] == f"wrote {tmp_path}: 1 image, detections.jsonl and detections.json"
    *found, last = tinyssd("predict", pictures, *flags).splitlines()
    assert [line.partition(": ")[0] for line in found] == [str(pictures / "wide.png")]
    assert last == f"wrote {tmp_path}: 2 images (1 of them earlier), detections.jsonl and detections.json"


@pytest.mark.backend("torch")
def test_a_file_beside_a_picture_is_not_drawn_over(train, pictures, tmp_path, capsys):
    shutil.copy(pictures / "wide.png", tmp_path / "a.bmp")
    (tmp_path / "a.png").write_bytes(b"mine")
    weights = train("torch", 1).path / "weights" / "last.safetensors"
    with pytest.raises(SystemExit) as done:
        main(["predict", str(tmp_path / "a.bmp"), "--weights", str(weights), "--out", str(tmp_path)])
    assert done.value.code == 2
    assert "a.png is there already, beside a.bmp; name another folder" in capsys.readouterr().err
    assert (tmp_path / "a.png").read_bytes() == b"mine"


@pytest.mark.backend("torch")
def test_a_picture_without_objects_gives_an_empty_list(train, pictures, tmp_path):
    assert predict("torch", train("torch", 1), [pictures / "wide.png"], tmp_path, 1.0) == []
    assert np.array_equal(read_image(tmp_path / "wide.png"), read_image(pictures / "wide.png"))


# A larger input and fitted anchors: the number of anchors follows, and every verb takes the weights.


@BOTH
def test_a_larger_input_with_fitted_anchors_goes_through_every_verb_of_both_frameworks(pictures, tmp_path):
    config = tmp_path / "fitted.toml"
    sizes = ["--preset", "improved", "--image-size", 320]
    tinyssd("data", "anchors", "synthetic", "--limit", 12, *sizes, "--out", config)
    model = read_run_config(config).config.model
    assert model.image_size == 320
    assert len({model.anchors.per_unit(i) for i in range(5)}) > 1
    small = ["--limit", 3, "--batch-size", 2, "--epochs", 1, "--device", "cpu"]
    for name, other in (("torch", "mxnet"), ("mxnet", "torch")):
        run = tmp_path / name
        printed = tinyssd("train", "--config", config, "--backend", name, *small, "--out", run)
        assert f"{model.num_anchors} anchors" in printed
        weights = run / "weights" / "last.safetensors"
        assert load_checkpoint(weights).config.model == model
        assert "AP50" in tinyssd("eval", "--backend", other, "--weights", weights, "--limit", 2)
        out = tmp_path / f"{name}-out"
        flags = ["--backend", other, "--weights", weights, "--score-threshold", 0, "--out", out]
        tinyssd("predict", pictures / "wide.png", *flags)
        assert json.loads((out / "detections.json").read_text())


@BOTH
def test_compare_climbs_with_the_improved_preset_and_a_larger_input(tmp_path):
    report = tmp_path / "report.json"
    small = ["--limit", 2, "--epochs", 0, "--steps", 2, "--rungs", "7-11", "--dtype", "float32", "--json", report]
    flags = ["--preset", "improved", "--image-size", 320, "--out", tmp_path / "run"]
    printed = tinyssd("compare", "--check", *small, *flags)
    assert "every rung that was climbed passed" in printed
    assert json.loads(report.read_text())["config"]["model"]["image_size"] == 320


@pytest.mark.backend("torch")
def test_every_flag_of_the_exercises_is_in_the_weights_file(tmp_path):
    flags = "--schedule cosine --cls-loss focal --bbox-loss smooth_l1 --alpha 0.5 --gamma 1 --sigma 2"
    flags += " --negatives-per-positive 3 --cls-weight 2 --bbox-weight 0.5 --image-size 64 --momentum 0.5 --epochs 0"
    tinyssd("train", *flags.split(), "--limit", 1, "--out", tmp_path / "run")
    checkpoint = load_checkpoint(tmp_path / "run" / "weights" / "last.safetensors")
    loss = LossConfig("focal", "smooth_l1", 0.5, 1.0, 2.0, negatives_per_positive=3, cls_weight=2.0, bbox_weight=0.5)
    assert checkpoint.config.train == TrainConfig(epochs=0, schedule="cosine", momentum=0.5, init="torch", loss=loss)
    assert checkpoint.config.model.image_size == 64
    assert read_run_config(tmp_path / "run" / "config.toml").config.train == checkpoint.config.train
