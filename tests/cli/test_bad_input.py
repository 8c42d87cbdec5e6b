"""Bad input is one line, exit code 2, and nothing is left behind."""

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from safetensors.numpy import save_file

from ssd_common.checkpoints.checkpoint import Checkpoint
from ssd_common.config import Config, ModelConfig, RunConfig, TrainConfig
from ssd_common.runs.folder import COLUMNS, IMAGES, RunFolder
from ssd_common.weights import initial_weights
from tests.cli.program import tinyssd


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with one of everything: weights good and bad, images good and bad, a finished run, configurations."""
    path = tmp_path_factory.mktemp("cli")
    preset = Config(ModelConfig(image_size=64), TrainConfig(epochs=1))
    weights = initial_weights(preset.model, preset.train)
    run = RunFolder(path / "finished", Console(quiet=True))
    run.write_config(RunConfig(preset, data="synthetic", limit=4))
    run.record(dict.fromkeys(COLUMNS, 0.5) | {"epoch": 1})
    run.save(Checkpoint(weights, RunConfig(preset, data="synthetic"), epoch=1, step=1), best=True)
    for name in IMAGES:
        (run.path / name).write_text("drawn")
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
    (path / "text.png").write_text("this is no image")
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


BAD_INPUT = [
    ("train --data banana", ["unknown dataset 'banana'", "synthetic, synthetic-book, pikachu"]),
    ("train --data synthetic:val", ["synthetic:val", "name the dataset alone"]),
    ("train --backend jax", ["unknown backend 'jax'", "torch, mxnet"]),
    ("train --preset paper", ["unknown preset 'paper'", "book, straight-dope, improved"]),
    ("train --augment blur", ["unknown augmentation 'blur'", "none, flip, jitter, ssd, straight-dope"]),
    ("train --limit 0", ["limit must be at least 1, got 0"]),
    ("train --epochs -1", ["epochs must be at least 0, got -1"]),
    ("train --batch-size 0", ["batch-size must be at least 1, got 0"]),
    ("train --lr nan", ["lr must be a positive number, got nan"]),
    ("train --momentum 1", ["momentum must be at least 0 and below 1, got 1.0"]),
    ("train --seed -1", ["seed must be at least 0, got -1"]),
    ("train --image-size 300", ["the image size must be a multiple of 64 up to 8192, got 300"]),
    ("train --image-size 320 --weights good.safetensors", ["--image-size cannot be changed with --weights"]),
    ("train --init torch --weights good.safetensors", ["--init draws the initial weights", "--weights reads"]),
    ("train --lr 1e300", ["lr must be at most 1e+38, got 1e+300"]),
    ("train --negatives-per-positive -1", ["negatives-per-positive must not be negative, got -1"]),
    ("train --cls-loss focal --alpha 0", ["alpha must be a positive number, got 0.0"]),
    ("train --cls-loss focal --gamma -1", ["gamma must be a number of at least 0, got -1.0"]),
    ("train --bbox-loss smooth_l1 --sigma nan", ["sigma must be a positive number, got nan"]),
    ("train --bbox-weight inf", ["bbox-weight must be at most 1e+38, got inf"]),
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
    ("train --config size.toml", ["size.toml", "the image size must be a multiple of 64 up to 8192, got 100"]),
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
    ("train --resume finished --image-size 128", ["--image-size cannot be changed with --weights or --resume"]),
    ("train --resume finished --lr 0.3 --init torch", ["--init draws the initial weights", "--resume"]),
    ("train --resume finished --lr 0.3 --out finished", ["finished", "there is a run in this folder"]),
    ("train --resume finished --epochs 2 --out other", ["--out cannot be changed with --resume"]),
    ("train --save-every -1", ["--save-every must be a number of minutes, or 0 for never, got -1.0"]),
    ("train --save-every nan", ["--save-every must be a number of minutes, or 0 for never, got nan"]),
    ("train --resume finished --data pikachu", ["--data cannot be changed with --resume"]),
    ("train --resume empty", ["empty/config.toml: no such configuration file"]),
    ("train --resume none", ["none: no such folder; name the folder of a run"]),
    ("train --data pikachu", ["pikachu/train.rec", "--data-dir or TINYSSD_DATA"]),
    ("train --data pikachu --data-dir empty", ["pikachu/train.rec", "empty", "--data-dir or TINYSSD_DATA"]),
    ("eval --weights none.safetensors", ["none.safetensors: no such weights file"]),
    ("eval --weights empty", ["empty: a folder; name a file", "weights/best.safetensors"]),
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
    ("predict --weights good.safetensors", ["predict needs images: name files or folders"]),
    ("predict none.png --weights good.safetensors", ["none.png: no such image or folder"]),
    ("predict empty --weights good.safetensors", ["empty: no images in this folder"]),
    ("predict good.png --weights none.safetensors", ["none.safetensors: no such weights file"]),
    ("predict good.png --weights good.safetensors --out file", ["file is a file; name a folder"]),
    ("predict good.png --weights good.safetensors --score-threshold 2", ["--score-threshold", "0 and 1, got 2.0"]),
    ("compare --rungs ²", ["--rungs ²", "such as 3 or 7-11"]),
    ("compare --rungs 0-3", ["--rungs 0-3", "1 to 13"]),
    ("compare --rungs 5-14", ["--rungs 5-14", "1 to 13"]),
    ("compare --rungs 13 --epochs 0 --preset book", ["--rungs 13", "needs trained weights"]),
    ("compare --rungs 3-1", ["--rungs 3-1", "1 to 13"]),
    ("compare --rungs first", ["--rungs first", "3 or 7-11"]),
    ("compare --json empty", ["--json empty: a folder; name a file"]),
    ("compare --html empty", ["--html empty: a folder; name a file"]),
    ("compare --steps 0", ["--steps must be at least 1, got 0"]),
    ("compare --data banana", ["unknown dataset 'banana'", "synthetic, synthetic-book, pikachu"]),
    ("compare --image-size 100", ["the image size must be a multiple of 64 up to 8192, got 100"]),
    ("compare --image-size 320 --weights good.safetensors", ["--image-size cannot be changed with --weights"]),
    ("data anchors banana", ["unknown dataset 'banana'", "synthetic, synthetic-book, pikachu"]),
    ("data anchors synthetic --preset paper", ["unknown preset 'paper'", "book, straight-dope, improved"]),
    ("data anchors synthetic --image-size 100", ["the image size must be a multiple of 64 up to 8192, got 100"]),
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
    ("predict text.png --weights good.safetensors", ["text.png: not an image in one of the formats", "PNG"]),
    ("predict broken.png --weights good.safetensors", ["broken.png: cannot read the image"]),
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


class Other:
    """A dataset of another class, or of no images."""

    name, class_names = "other:val", ("banana",)

    def __init__(self, *class_names):
        self.class_names = class_names or self.class_names

    def __len__(self):
        return 0


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Other(), "dataset other:val has no images; there is nothing to measure"),
        (Other("dog", "cat"), "good.safetensors knows banana; dataset other:val has dog, cat"),
    ],
)
def test_eval_refuses_what_it_cannot_measure(data, message, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.setattr("ssd_common.data.load_dataset", lambda *_, **__: data)
    assert tinyssd("eval --weights good.safetensors --out out") == 2
    assert capsys.readouterr().err == f"tinyssd: {message}\n"
    assert not (folder / "out").exists()
