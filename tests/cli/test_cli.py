"""The command line: help, and one line that says what is wrong with any bad input; `test_cli_runs.py` has the rest."""

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from safetensors.numpy import save_file

from ssd_common import backends
from ssd_common.backends import BACKENDS
from ssd_common.checkpoints.checkpoint import Checkpoint
from ssd_common.cli import main
from ssd_common.config import IMPROVED, Config, ModelConfig, PredictConfig, RunConfig, TrainConfig, read_run_config
from ssd_common.data import load_dataset
from ssd_common.data.anchor_fit import box_shapes, fit_anchors
from ssd_common.data.specs import DATASETS
from ssd_common.errors import InputError
from ssd_common.runs.folder import COLUMNS, RunFolder
from ssd_common.weights import initial_weights

ROOT = Path(__file__).resolve().parents[2]
VERBS = ("train", "eval", "predict", "compare", "convert", "data", "info")


def tinyssd(arguments):
    """Return the exit code of a command line; words are separated by spaces."""
    with pytest.raises(SystemExit) as done:
        main(arguments.split())
    return done.value.code


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with one of everything: weights good and bad, pictures good and bad, a finished run, configurations."""
    path = tmp_path_factory.mktemp("cli")
    preset = Config(ModelConfig(image_size=64), TrainConfig(epochs=1))
    weights = initial_weights(preset.model, preset.train)
    run = RunFolder(path / "finished", Console(quiet=True))
    run.write_config(RunConfig(preset, data="synthetic", limit=4))
    run.record(dict.fromkeys(COLUMNS, 0.5) | {"epoch": 1})
    run.save(Checkpoint(weights, RunConfig(preset, data="synthetic"), epoch=1, step=1), best=True)
    run.close()

    payload = (path / "finished" / "weights" / "last.safetensors").read_bytes()
    flipped = bytearray(payload)
    flipped[-1000] ^= 1
    (path / "good.safetensors").write_bytes(payload)
    (path / "flipped.safetensors").write_bytes(flipped)
    (path / "truncated.safetensors").write_bytes(payload[:-1000])
    (path / "text.safetensors").write_text("these are no weights")
    save_file({"conv1.weight": np.zeros((2, 3), np.float32)}, path / "other.safetensors", {"format": "pt"})

    Image.effect_noise((60, 40), 50).save(path / "good.png")
    (path / "broken.png").write_bytes((path / "good.png").read_bytes()[:1000])
    (path / "text.png").write_text("this is no picture")
    (path / "empty").mkdir()
    (path / "file").write_text("")

    for name, text in {
        "unknown": "[train]\nlearning_rate = 0.1\n",
        "section": "[optimiser]\nlr = 0.1\n",
        "number": "train = 3\n",
        "type": '[train]\nlr = "fast"\n',
        "size": "[model]\nimage_size = 100\n",
        "mean": "[model]\nmean = [1.0, 2.0]\n",
        "nan": "[model]\nmean = [nan, 1.0, 2.0]\n",
        "flag": "limit = true\n",
        "preset": 'preset = "improvd"\n',
        "magnitude": "[train]\ninit_magnitude = -1.0\n",
        "backend": 'backend = "jax"\n',
        "toml": "[train\n",
    }.items():
        (path / f"{name}.toml").write_text(text)
    return path


# Help, and wrong usage, which tyro reports in a box of its own.


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_help_that_says_what_it_does(verb, capsys):
    assert tinyssd(f"{verb} --help") == 0
    out, err = capsys.readouterr()
    assert f"usage: tinyssd {verb}" in out
    assert err == ""


def test_the_help_of_the_program_names_every_verb(capsys):
    assert tinyssd("--help") == 0
    out = capsys.readouterr().out
    assert all(verb in out for verb in VERBS)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", ["train, eval, predict, compare, convert, info, data"]),
        ("trian", ["trian", "train, eval, predict, compare, convert, info, data"]),
        ("train --epoch 3", ["--epoch,", "Perhaps you meant", "--epochs INT"]),
        ("train --batchsize 3", ["--batchsize", "Perhaps you meant", "--batch-size INT"]),
        ("eval --weigths good.safetensors", ["--weigths", "--weights FILE"]),
        ("predict good.png --weights good.safetensors --threshold 0.5", ["--threshold", "--score-threshold"]),
        ("compare --checks", ["--check"]),
        ("info --verbose", ["--verbose"]),
        ("train --epochs", ["Missing value for argument '--epochs'"]),
        ("train --epochs three", ["--epochs", "three"]),
        ("train --init he", ["'he'", "--init", "'xavier'", "'torch'"]),
        ("compare --dtype float16", ["'float16'", "--dtype", "'float64'", "'float32'"]),
        ("eval", ["--weights FILE"]),
    ],
)
def test_wrong_usage_is_refused_with_what_would_be_right(arguments, words, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")  # so that no word is broken
    assert tinyssd(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    for word in words:
        assert word in err


# Bad input: one line.

BAD_INPUT = [
    ("train --data banana", ["unknown data set 'banana'", "synthetic, pikachu"]),
    ("train --data synthetic:val", ["synthetic:val", "name the data set alone"]),
    ("train --backend jax", ["unknown backend 'jax'", "torch, mxnet"]),
    ("train --preset paper", ["unknown preset 'paper'", "book, straight-dope, improved"]),
    ("train --augment blur", ["unknown augmentation 'blur'", "none, flip, jitter, ssd, straight-dope"]),
    ("train --limit 0", ["limit must be at least 1, got 0"]),
    ("train --epochs -1", ["epochs must be at least 0, got -1"]),
    ("train --batch-size 0", ["batch-size must be at least 1, got 0"]),
    ("train --lr nan", ["lr must be a positive number, got nan"]),
    ("train --momentum 1", ["momentum must be at least 0 and below 1, got 1.0"]),
    ("train --seed -1", ["seed must be at least 0, got -1"]),
    ("train --image-size 300", ["the image size must be a multiple of 64, got 300"]),
    ("train --image-size 320 --weights good.safetensors", ["--image-size cannot be changed with --weights"]),
    ("train --init torch --weights good.safetensors", ["--init draws the initial weights", "--weights reads"]),
    ("train --negatives-per-positive -1", ["negatives-per-positive must not be negative, got -1"]),
    ("train --cls-loss focal --alpha 0", ["alpha must be a positive number, got 0.0"]),
    ("train --cls-loss focal --gamma -1", ["gamma must not be negative, got -1.0"]),
    ("train --bbox-loss smooth_l1 --sigma nan", ["sigma must be a positive number, got nan"]),
    ("train --bbox-weight inf", ["bbox-weight must not be negative, got inf"]),
    ("train --gamma 1", ["--alpha and --gamma belong to the focal loss", "--cls-loss focal"]),
    ("train --sigma 1", ["--sigma belongs to the smooth L1 loss", "--bbox-loss smooth_l1"]),
    ("train --config none.toml", ["none.toml: no such configuration file"]),
    ("train --config unknown.toml", ["unknown.toml", "unknown setting 'learning_rate'", "epochs, batch_size, lr"]),
    (
        "train --config section.toml",
        ["section.toml", "unknown setting 'optimiser'", "data, val_data, limit, based_on, model, train"],
    ),
    ("train --config number.toml", ["number.toml", "train"]),
    ("train --config type.toml", ["type.toml", "lr must be of type float, got 'fast'"]),
    ("train --config size.toml", ["size.toml", "the image size must be a multiple of 64, got 100"]),
    ("train --config mean.toml", ["mean.toml", "mean", "3", "[1.0, 2.0]"]),
    ("train --config nan.toml", ["nan.toml", "mean must be three finite numbers, got (nan, 1.0, 2.0)"]),
    ("train --config flag.toml", ["flag.toml", "limit must be of type int, got True"]),
    ("train --config preset.toml", ["preset.toml", "unknown preset 'improvd'", "book, straight-dope, improved"]),
    ("train --config magnitude.toml", ["magnitude.toml", "init-magnitude must be a positive number, got -1.0"]),
    ("train --config backend.toml", ["backend.toml", "unknown backend 'jax'; the backends are torch, mxnet"]),
    ("convert good.safetensors new.params --class-names cat,cat", ["--class-names", "'cat' is given twice"]),
    ("train --config toml.toml", ["toml.toml: not a readable TOML file"]),
    ("train --config empty", ["empty: not a readable TOML file"]),
    ("train --resume finished", ["finished: all 1 epochs are trained; ask for more with --epochs"]),
    ("train --resume finished --epochs 1", ["finished: all 1 epochs are trained; ask for more with --epochs"]),
    ("train --resume finished --epochs 2 --lr 0.1", ["--lr cannot be changed with --resume"]),
    ("train --resume finished --epochs 2 --augment none", ["--augment cannot be changed with --resume"]),
    ("train --resume finished --epochs 2 --batch-size 3", ["--batch-size cannot be changed with --resume"]),
    ("train --resume finished --schedule cosine", ["--schedule cannot be changed with --resume"]),
    ("train --resume finished --cls-weight 2", ["--cls-weight cannot be changed with --resume"]),
    ("train --resume finished --data pikachu", ["--data cannot be changed with --resume"]),
    ("train --resume empty", ["empty", "no such configuration file"]),
    ("train --resume none", ["none", "no such configuration file"]),
    ("train --data pikachu", ["pikachu/train.rec", "--data-dir or TINYSSD_DATA"]),
    ("train --data pikachu --data-dir empty", ["pikachu/train.rec", "empty", "--data-dir or TINYSSD_DATA"]),
    ("eval --weights none.safetensors", ["none.safetensors: no such weights file"]),
    ("eval --weights empty", ["empty: no such weights file"]),
    ("predict good.png --weights good.safetensors --out .", ["--out .", "good.png", "name another folder"]),
    ("compare --steps 1", ["--steps 1", "rung 12"]),
    ("compare --json file/report.json", ["--json", "file is a file"]),
    ("convert text.safetensors out.pt", ["text.safetensors: not a weights file"]),
    ("convert good.safetensors out.onnx", ["out.onnx", ".safetensors", ".params", ".pt"]),
    ("convert good.safetensors out.pt --preset book", ["good.safetensors", "carries its own"]),
    ("convert missing.params out.pt", ["missing.params", "no such"]),
    ("eval --weights text.safetensors", ["text.safetensors: not a weights file"]),
    ("eval --weights truncated.safetensors", ["truncated.safetensors: not a readable safetensors file"]),
    ("eval --weights flipped.safetensors", ["flipped.safetensors: the sha256 does not match"]),
    ("eval --weights other.safetensors", ["other.safetensors: not the weights of a TinySSD", "conv1.weight"]),
    ("eval --weights good.safetensors --data synthetic:test", ["no split 'test'", "train, val"]),
    ("eval --weights good.safetensors --backend tensorflow", ["unknown backend 'tensorflow'", "torch, mxnet"]),
    ("eval --weights good.safetensors --limit 0", ["limit must be at least 1, got 0"]),
    ("eval --weights good.safetensors --out file", ["--out file: file is a file; name a folder"]),
    ("eval --weights good.safetensors --json file/m.json", ["--json", "file is a file"]),
    ("predict --weights good.safetensors", ["predict needs pictures: name files or folders"]),
    ("predict none.png --weights good.safetensors", ["none.png: no such image or folder"]),
    ("predict empty --weights good.safetensors", ["empty: no images in this folder"]),
    ("predict good.png --weights none.safetensors", ["none.safetensors: no such weights file"]),
    ("predict good.png --weights good.safetensors --out file", ["file is a file; name a folder"]),
    ("predict good.png --weights good.safetensors --score-threshold 2", ["--score-threshold", "0 and 1, got 2.0"]),
    ("compare --rungs ²", ["--rungs ²", "such as 3 or 7-11"]),
    ("compare --rungs 0-3", ["--rungs 0-3", "1 to 13"]),
    ("compare --rungs 5-14", ["--rungs 5-14", "1 to 13"]),
    ("compare --rungs 13 --epochs 0", ["--rungs 13", "needs trained weights"]),
    ("compare --rungs 3-1", ["--rungs 3-1", "1 to 13"]),
    ("compare --rungs first", ["--rungs first", "3 or 7-11"]),
    ("compare --json empty", ["--json empty: a folder; name a file"]),
    ("compare --html empty", ["--html empty: a folder; name a file"]),
    ("compare --steps 0", ["--steps must be at least 1, got 0"]),
    ("compare --data banana", ["unknown data set 'banana'", "synthetic, pikachu"]),
    ("compare --image-size 100", ["the image size must be a multiple of 64, got 100"]),
    ("compare --image-size 320 --weights good.safetensors", ["--image-size cannot be changed with --weights"]),
    ("data anchors banana", ["unknown data set 'banana'", "synthetic, pikachu"]),
    ("data anchors synthetic --preset paper", ["unknown preset 'paper'", "book, straight-dope, improved"]),
    ("data anchors synthetic --image-size 100", ["the image size must be a multiple of 64, got 100"]),
    ("data anchors synthetic --out empty", ["--out empty: a folder; name a file"]),
]
NEEDS_TORCH = [
    ("train --out file", ["file is a file; name a folder"]),
    ("train --out file/below", ["file is a file; name a folder"]),
    ("train --out finished", ["finished", "there is a run in this folder", "--resume"]),
    ("train --weights none.safetensors", ["none.safetensors: no such weights file"]),
    ("train --weights flipped.safetensors", ["flipped.safetensors: the sha256 does not match", "another copy"]),
    ("train --limit 4 --device tpu", ["unknown device 'tpu'", "auto, cpu, gpu, or gpu:1"]),
    ("train --limit 4 --device gpu:²", ["unknown device 'gpu:²'"]),
    ("train --limit 4 --device gpu:99", ["device 'gpu:99' is not there", "--device cpu"]),
    ("train --limit 4 --out /proc/none/run", ["/proc/none"]),
    ("eval --weights good.safetensors --limit 2 --device cpu:1", ["unknown device 'cpu:1'"]),
    ("eval --weights good.safetensors --limit 2 --json empty", ["empty"]),
    ("predict text.png --weights good.safetensors", ["text.png: not a picture in one of the formats", "PNG"]),
    ("predict broken.png --weights good.safetensors", ["broken.png: cannot read the picture"]),
]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [pytest.param(*case, id=case[0]) for case in BAD_INPUT]
    + [pytest.param(*case, id=case[0], marks=pytest.mark.backend("torch")) for case in NEEDS_TORCH],
)
def test_bad_input_is_one_line_and_leaves_nothing_behind(arguments, words, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.delenv("TINYSSD_DATA", raising=False)
    before = sorted(folder.rglob("*"))
    assert tinyssd(arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith("tinyssd: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    for word in words:
        assert word in err
    assert sorted(folder.rglob("*")) == before


def run_main(arguments, cwd, *, packages="", **how):
    """Run a command line in a fresh interpreter in which the folder `packages` comes before what is installed."""
    command = [sys.executable, "-W", "ignore", "-c", "from ssd_common.cli import main; main()", *arguments.split()]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(packages), str(ROOT)])}
    options = {"capture_output": True, "text": True, "timeout": 120, "check": False, **how}
    return subprocess.run(command, cwd=cwd, env=environment, **options)


@pytest.mark.parametrize(
    ("framework", "error", "words"),
    [
        (
            "torch",
            "ModuleNotFoundError('No module named torch', name='torch')",
            ["backend 'torch' needs the package torch, which is missing: pip install 'tinyssd[torch]'"],
        ),
        (
            "mxnet",
            "ModuleNotFoundError('No module named mxnet', name='mxnet')",
            ["backend 'mxnet' needs the package mxnet, which is missing: pip install --no-deps mxnet==1.9.1"],
        ),
        (
            "mxnet",
            "ModuleNotFoundError('No module named requests.exceptions', name='requests.exceptions')",
            ["backend 'mxnet' needs the package requests, which is missing: pip install requests"],
        ),
        (
            "mxnet",
            "OSError('libquadmath.so.0: cannot open shared object file: No such file or directory')",
            ["needs the system library libquadmath.so.0: apt-get install libquadmath0"],
        ),
        (
            "torch",
            "ImportError('libcudart.so.13: cannot open shared object file: No such file or directory')",
            ["(libcudart.so.13: cannot open shared object file", "): pip install --force-reinstall torch torchvision"],
        ),
        (
            "torch",
            "RuntimeError('operator torchvision::nms does not exist')",
            ["(operator torchvision::nms does not exist): pip install --force-reinstall torch torchvision"],
        ),
        (
            "mxnet",
            "AttributeError('module numpy\\nhas no attribute bool')",
            ["(module numpy has no attribute bool): pip install --force-reinstall --no-deps mxnet==1.9.1"],
        ),
    ],
    ids=[
        "no torch",
        "no mxnet",
        "no requests",
        "no libquadmath",
        "no libcudart",
        "torch and torchvision",
        "broken mxnet",
    ],
)
def test_a_framework_that_is_not_there_is_one_line_that_says_how_to_install_it(framework, error, words, tmp_path):
    (tmp_path / "packages" / framework).mkdir(parents=True)
    (tmp_path / "packages" / framework / "__init__.py").write_text(f"raise {error}\n")
    done = run_main(f"train --limit 1 --backend {framework}", tmp_path, packages=tmp_path / "packages")
    assert done.returncode == 2
    assert done.stderr.startswith("tinyssd: ")
    assert done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr
    assert os.listdir(tmp_path) == ["packages"]


def test_on_a_python_that_was_not_tested_the_line_names_those_that_were(monkeypatch):
    def fail(*_):
        raise ModuleNotFoundError("No module named 'imp'", name="imp")

    monkeypatch.setattr(backends.importlib, "import_module", fail)
    monkeypatch.setattr(backends.sys, "version_info", (3, 15, 1))
    with pytest.raises(InputError, match=r"Python 3\.10 to 3\.13 were tested, and this is .*: python3\.13 -m venv"):
        backends.load_backend("mxnet")


def test_info_says_what_is_missing_and_goes_on(tmp_path):
    for framework in ("torch", "mxnet"):
        (tmp_path / framework).mkdir()
        (tmp_path / framework / "__init__.py").write_text(f"raise ModuleNotFoundError(name={framework!r})\n")
    done = run_main("info", tmp_path, packages=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("which is missing: pip install") == 2
    assert "in all: 5444" in done.stdout


def test_debug_shows_the_traceback_of_bad_input(tmp_path):
    done = run_main("train --data banana --debug", tmp_path)
    assert "Traceback (most recent call last)" in done.stderr
    assert "InputError: unknown data set 'banana'" in done.stderr
    assert done.returncode == 2


@pytest.mark.skipif(sys.platform != "linux", reason="a limit on the address space is Linux's")
@pytest.mark.parametrize("backend", [pytest.param(name, marks=pytest.mark.backend(name)) for name in BACKENDS])
def test_too_little_memory_is_one_line(backend, tmp_path):
    import resource

    limit = 6_000_000_000  # the first convolution's output alone has 4.3 GB
    done = run_main(
        f"train --backend {backend} --limit 64 --batch-size 64 --image-size 1024 --epochs 1",
        tmp_path,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith("tinyssd: out of memory; a smaller --batch-size")
    assert "Traceback" not in done.stderr


def test_a_defect_of_the_program_keeps_its_traceback(monkeypatch):
    def fail(_):
        raise RuntimeError("a shape does not fit")

    monkeypatch.setattr(backends, "load_backend", fail)
    with pytest.raises(RuntimeError, match="a shape does not fit"):
        main(["train", "--limit", "1"])


# What needs no training.


def test_info_shows_the_size_of_the_books_model(capsys):
    assert tinyssd("info") == 0
    out = capsys.readouterr().out
    assert "in all: 5444" in out
    assert "1,010,376" in out
    assert "scale 0: 32 x 32 x 4 = 4096" in out


class Other:
    """A data set of another class, or of no pictures."""

    name, class_names = "other:val", ("banana",)

    def __init__(self, *class_names):
        self.class_names = class_names or self.class_names

    def __len__(self):
        return 0


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Other(), "data set other:val has no pictures; there is nothing to measure"),
        (Other("dog", "cat"), "good.safetensors knows banana; data set other:val has dog, cat"),
    ],
)
def test_eval_refuses_what_it_cannot_measure(data, message, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.setattr("ssd_common.data.load_dataset", lambda *_, **__: data)
    assert tinyssd("eval --weights good.safetensors --out out") == 2
    assert capsys.readouterr().err == f"tinyssd: {message}\n"
    assert not (folder / "out").exists()


def test_data_anchors_writes_a_configuration_with_anchors_that_fit_better(tmp_path, capsys):
    file = tmp_path / "fitted.toml"
    assert tinyssd(f"data anchors synthetic --limit 30 --preset improved --image-size 320 --out {file}") == 0
    out = capsys.readouterr().out
    recall = dict(re.findall(r"^  (\w+) +mean IoU [\d.]+, recall at IoU 0.5 ([\d.]+), with \d+ anchors$", out, re.M))
    assert list(recall) == ["improved", "fitted"]
    assert float(recall["fitted"]) >= float(recall["improved"])
    assert out.splitlines()[-1] == f"wrote {file}; to use it: tinyssd train --config {file}"
    settings = read_run_config(file)
    labels = [example.labels for example in load_dataset("synthetic", limit=30)]
    wider = dataclasses.replace(IMPROVED.model, image_size=320)
    fitted = dataclasses.replace(wider, anchors=fit_anchors(box_shapes(labels), wider))
    assert settings == RunConfig(dataclasses.replace(IMPROVED, model=fitted), "improved", data="synthetic")
    assert f"with {fitted.num_anchors} anchors" in out


def test_a_configuration_that_names_a_preset_has_what_it_does_not_say_from_there(tmp_path):
    (tmp_path / "a.toml").write_text('based_on = "improved"\n[predict]\nnms_threshold = 0.3\n')
    run_config = read_run_config(tmp_path / "a.toml")
    assert (run_config.based_on, run_config.config.model, run_config.config.train) == (
        "improved",
        IMPROVED.model,
        IMPROVED.train,
    )
    assert run_config.config.predict == PredictConfig(nms_threshold=0.3)


def test_anchors_of_one_split_are_used_with_another_one_to_validate_on(tmp_path, capsys):
    assert tinyssd(f"data anchors synthetic:val --limit 9 --out {tmp_path / 'a.toml'}") == 0
    used = f"tinyssd train --config {tmp_path / 'a.toml'} --val-data SPEC"
    assert capsys.readouterr().out.splitlines()[-1].endswith(f"to use it: {used}")
    assert read_run_config(tmp_path / "a.toml").data == "synthetic:val"


def test_data_lists_every_data_set(capsys):
    for arguments in ("data", "data list"):
        assert tinyssd(arguments) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[0] for line in lines] == list(DATASETS)
