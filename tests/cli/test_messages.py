"""The text of errors: what is wrong, where, and what to do, on one line.

The commands and the lines stand in `messages.txt` as a user sees them, so that a change of one is seen, too.
"""

import gzip
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from ssd_common.checkpoints.checkpoint import Checkpoint, save_checkpoint
from ssd_common.checkpoints.params_file import write_params
from ssd_common.config import Config, ModelConfig, RunConfig, TrainConfig
from ssd_common.weights import initial_weights
from tests.cli.program import tinyssd
from tests.data.data_cases import noise, voc_object, voc_xml, write_coco, write_voc, write_yolo

CAT = voc_object("cat", 1, 2, 21, 17)
LINE = "0 0.5 0.5 0.5 0.5\n"


def make(folder):
    """Write one of everything that can be wrong into a folder."""
    for name, text in {
        "twice": "names: [cat, cat]\n",
        "gap": "names: {0: cat, 2: dog}\n",
        "text": "names: cat\n",
        "none": "nc: 2\n",
        "count": "names: [cat]\nnc: 2\n",
        "tab": "names:\n\t- cat\n",
        "keypoints": "names: [cat]\nkpt_shape: 17\n",
    }.items():
        write_yolo(folder / f"y-{name}", {"one": LINE}, text)
    write_yolo(folder / "y", {"one": LINE, "two": LINE})
    write_yolo(folder / "y-cut", {"one": LINE})
    image = folder / "y-cut/images/train/one.png"
    image.write_bytes(image.read_bytes()[:300])
    write_yolo(folder / "y-latin", {"one": LINE})
    (folder / "y-latin/labels/train/one.txt").write_bytes(b"0 0.5 0.5 0.5 0.5 \xe9\n")
    (folder / "y-flat/images").mkdir(parents=True)
    write_voc(folder / "v", {"one": voc_xml(CAT)})
    write_voc(folder / "v-twice", {"one": voc_xml(CAT)}, {"train": "one\none\n"})
    write_voc(folder / "v-list", {"one": voc_xml(CAT)}, {"train": "two\n"})
    write_voc(folder / "v-entity", {"one": f"<!DOCTYPE annotation>{voc_xml(CAT)}"})
    write_voc(folder / "v-html", {"one": "<xbel></xbel>"})
    write_voc(folder / "v-latin", {"one": voc_xml(CAT)})
    (folder / "v-latin/classes.txt").write_bytes(b"caf\xe9\n")
    write_voc(folder / "v-classes", {"one": voc_xml(CAT)})
    (folder / "v-classes/classes.txt").write_text("cat\ndog\ncat\n")
    write_voc(folder / "v-image", {"one": voc_xml(CAT)})
    (folder / "v-image/JPEGImages/one.jpg").unlink()
    write_voc(folder / "v-none", {})
    category = {"id": 3, "name": "cat"}
    for name, changes in {
        "outside": {"images": [{"id": 7, "file_name": "../one.jpg"}], "annotations": []},
        "missing": {"images": [{"id": 7, "file_name": "three.jpg"}], "annotations": []},
        "windows": {"images": [{"id": 7, "file_name": "C:\\one.jpg"}], "annotations": []},
        "same": {"images": [{"id": i, "file_name": "one.jpg"} for i in (7, 9)]},
        "id": {"categories": [category, {"id": "3", "name": "dog"}]},
        "unnamed": {"categories": [{"id": 3}]},
        "table": {"categories": {"3": "cat"}},
    }.items():
        write_coco(folder / f"c-{name}", **changes)
    write_coco(folder / "c")
    (folder / "c/cut.json").write_text('{"images": [')
    (folder / "c/results.json").write_text('[{"image_id": 7}]')
    (folder / "r").mkdir()
    (folder / "r/text.rec").write_text("this is no record file")
    (folder / "r/empty.rec").write_bytes(b"")

    preset = Config(ModelConfig(image_size=64), TrainConfig(epochs=1))
    weights = initial_weights(preset.model, preset.train)
    save_checkpoint(folder / "good.safetensors", Checkpoint(weights, RunConfig(preset, data="synthetic")))
    payload = bytearray((folder / "good.safetensors").read_bytes())
    payload[-1000] ^= 1
    (folder / "flipped.safetensors").write_bytes(payload)
    write_params(folder / "good.params", {"a": np.zeros(3, np.float32)})
    payload = bytearray((folder / "good.params").read_bytes())
    payload[60] ^= 1
    (folder / "flipped.params").write_bytes(payload)
    (folder / "cut.params").write_bytes(payload[:60])
    save_file({"conv1.weight": np.zeros((2, 3), np.float32)}, folder / "other.safetensors", {"format": "pt"})
    save_file(weights, folder / "plain.safetensors", {"format": "pt"})
    for name, change in {
        "int": {"cls_0.bias": np.zeros(8, np.int32)},
        "nan": {"cls_0.bias": np.full(8, np.nan, np.float32)},
        "shape": {"blk_1.0.bias": np.zeros(3, np.float32)},
        "extra": {"fc.weight": np.zeros(3, np.float32)},
        "variance": {"blk_1.1.running_var": np.full(128, -1, np.float32)},
    }.items():
        save_file(weights | change, folder / f"{name}.safetensors", {"format": "pt"})
    save_file({k: v for k, v in weights.items() if k != "cls_3.bias"}, folder / "missing.safetensors", {"format": "pt"})
    (folder / "pointer.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    (folder / "w.pkl").write_bytes(b"\x80\x04}\x94.")
    np.savez(folder / "w.npz", a=np.zeros(3))
    (folder / "w.gz").write_bytes(gzip.compress(b"w"))

    (folder / "in").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (folder / "in" / name).write_text("404")
    noise(60, 40).save(folder / "good.png")
    (folder / "cut.png").write_bytes((folder / "good.png").read_bytes()[:200])
    (folder / "empty.png").write_bytes(b"")
    os.mkfifo(folder / "pipe.png")
    (folder / "empty").mkdir()
    (folder / "file").write_text("")
    (folder / "deep.toml").write_text("a = " + "[" * 20_000)
    (folder / "lr.toml").write_text('[train]\nlr = "fast"\n')
    (folder / "list.toml").write_text("train = [1]\n")
    (folder / "out").mkdir()
    (folder / "out/detections.jsonl").write_text("these are no detections\n")
    (folder / "old").mkdir()
    settings = {"format": "tinyssd-detections-1", "backend": "mxnet", "score_threshold": 0.5, "detector_sha256": "0"}
    (folder / "old/detections.jsonl").write_text(f"{json.dumps(settings)}\n")


LINES = Path(__file__).with_name("messages.txt").read_text().splitlines()
MISTAKES = list(zip(LINES[::2], LINES[1::2], strict=True))
NEEDS_TORCH = (
    "predict in",
    "predict cut",
    "predict empty.png",
    "predict pipe",
    "predict file",
    "predict good.png --out",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("messages")
    make(path)
    return path


@pytest.mark.parametrize(
    ("command", "line"),
    [
        pytest.param(command.removeprefix("$ tinyssd "), line, marks=marks)
        for command, line in MISTAKES
        for marks in [[pytest.mark.backend("torch")] if command.startswith(NEEDS_TORCH, 10) else []]
    ],
)
def test_a_mistake_is_told_in_this_line(command, line, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.delenv("TINYSSD_DATA", raising=False)
    before = sorted(folder.rglob("*"))
    assert tinyssd(command) == 2
    assert capsys.readouterr().err == f"{line}\n"
    assert sorted(folder.rglob("*")) == before


def test_every_line_is_short_and_names_what_it_is_about():
    assert len({command for command, _ in MISTAKES}) == len(MISTAKES) > 80
    for command, line in MISTAKES:
        assert line.startswith("tinyssd: ")
        assert len(line) < 320
        words = re.split(r"[ :,/]", command)
        assert any(word in line for word in words[3:])  # a file, a folder or a value of the command
