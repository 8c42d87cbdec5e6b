"""Training, evaluation and the verbs below `data`, as a user of an own dataset runs them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from rich.console import Console

from ssd_common.cli import main
from ssd_common.cli.flags import splits
from ssd_common.config import Config, ModelConfig, RunConfig, TrainConfig, read_run_config
from ssd_common.data import formats, load_dataset
from ssd_common.data.specs import validation_spec
from ssd_common.data.transforms import read_image
from ssd_common.runs.folder import RunFolder
from tests.data.data_cases import noise, voc_object, voc_xml, write_coco, write_voc, write_yolo

CAT, DOG = voc_object("cat", 1, 2, 21, 17), voc_object("dog", 0, 0, 40, 30)
BAD = voc_object("dog", 3, 3, 3, 9)
LISTS = {"train": "one\ntwo\n", "val": "three\n", "test": "three\nfour\n"}


def tinyssd(*arguments: object) -> int:
    with pytest.raises(SystemExit) as done:
        main([str(argument) for argument in arguments])
    return int(str(done.value.code))


@pytest.fixture
def voc(tmp_path: Path) -> str:
    """Four images of two classes, one of them with a bad box and one with a difficult object."""
    hard = voc_object("dog", 1, 1, 9, 9, more="<difficult>1</difficult>")
    xml = {"one": CAT + BAD, "two": DOG, "three": CAT + hard, "four": BAD + BAD}
    return f"voc:{write_voc(tmp_path / 'my set: 1', {stem: voc_xml(text) for stem, text in xml.items()}, LISTS)}"


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A configuration for an image of 64 pixels, one epoch."""
    run = RunFolder(tmp_path / "tiny", Console(quiet=True))
    model, train = ModelConfig(image_size=64), TrainConfig(epochs=1, batch_size=2, lr=0.01)
    run.write_config(RunConfig(Config(model, train), data="synthetic"))
    run.close()
    return tmp_path / "tiny" / "config.toml"


@pytest.mark.backend("torch")
def test_a_run_does_not_go_on_with_other_classes(voc: str, tiny: Path, tmp_path: Path, capsys) -> None:
    """A class that came to the folder since would move the ids of the others."""
    out = tmp_path / "run"
    assert tinyssd("train", "--data", voc, "--config", tiny, "--out", out, "--device", "cpu") == 0
    before = (out / "weights" / "last.safetensors").read_bytes()
    (tmp_path / "my set: 1" / "Annotations" / "one.xml").write_text(voc_xml(CAT + voc_object("ape", 0, 0, 9, 9)))
    capsys.readouterr()
    assert tinyssd("train", "--resume", out, "--epochs", 2, "--device", "cpu") == 2
    assert capsys.readouterr().err == (
        f"tinyssd: {out}: its classes are cat, dog; those of dataset {voc}:train are ape, cat, dog\n"
    )
    assert (out / "weights" / "last.safetensors").read_bytes() == before


@pytest.mark.backend("torch")
def test_the_limit_of_a_configuration_is_one_of_its_own_data_set(voc: str, tiny: Path, tmp_path: Path) -> None:
    config = tmp_path / "limited.toml"
    config.write_text(tiny.read_text().replace("limit = 0", "limit = 1"))
    assert tinyssd("train", "--data", voc, "--config", config, "--out", tmp_path / "run", "--device", "cpu") == 0
    assert read_run_config(tmp_path / "run" / "config.toml").limit == 0


@pytest.mark.backend("torch")
def test_pictures_without_any_good_box_are_not_trained_on(tiny: Path, tmp_path: Path, capsys) -> None:
    spec = f"voc:{write_voc(tmp_path / 'v', {stem: voc_xml(BAD) for stem in ('one', 'two')}, LISTS)}"
    for split in ("train", "val", "test"):
        (tmp_path / "v" / "ImageSets" / "Main" / f"{split}.txt").write_text("one\ntwo\n")
    assert tinyssd("train", "--data", spec, "--config", tiny, "--out", tmp_path / "run", "--device", "cpu") == 2
    assert capsys.readouterr().err == (
        f"tinyssd: {spec}:train: no good box to learn from; tinyssd data check says what is wrong\n"
    )


def test_a_path_that_is_not_utf_8_is_refused_before_a_folder_is_made(tmp_path: Path, capsys) -> None:
    assert tinyssd("train", "--data", "voc:caf\udce9", "--out", tmp_path / "run") == 2
    assert "the path is not UTF-8" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_data_set_of_ones_own_is_trained_on_resumed_and_evaluated(
    backend, voc: str, tiny: Path, tmp_path: Path, capsys
) -> None:
    out = tmp_path / "run"
    flags = ("--backend", backend.name, "--device", "cpu")
    assert tinyssd("train", "--data", voc, "--config", tiny, "--out", out, *flags) == 0
    lines = capsys.readouterr().out.splitlines()
    (skipped,) = (line for line in lines if "skipped" in line)
    assert skipped.endswith(f"{voc}:train: skipped 1 of 3 boxes: run tinyssd data check '{voc}:train'")
    assert any(f"{voc}:train has 2 images, {voc}:val 1" in line for line in lines)
    settings = read_run_config(out / "config.toml")
    assert (settings.data, settings.val_data) == (voc, "")
    assert settings.config.model.class_names == ("cat", "dog")

    assert tinyssd("train", "--resume", out, "--epochs", 2, *flags) == 0
    assert "skipped 1 of 3 boxes" in capsys.readouterr().out
    weights = out / "weights" / "last.safetensors"
    assert tinyssd("eval", "--weights", weights, *flags) == 0
    assert f"{voc}:val, 1 images" in capsys.readouterr().out
    assert tinyssd("eval", "--weights", weights, "--data", f"{voc}:test", *flags) == 0
    assert f"{voc}:test: skipped 2 of 4 boxes" in capsys.readouterr().out


@pytest.mark.backend("torch")
def test_the_validation_pictures_may_be_another_data_set(tiny: Path, tmp_path: Path, capsys) -> None:
    training = write_coco(tmp_path / "train")
    validation = f"yolo:{write_yolo(tmp_path / 'y', {'one': '0 0.5 0.5 0.5 0.5'})}:train"
    out = tmp_path / "run"
    flags = ("--config", tiny, "--device", "cpu", "--out", out)
    assert tinyssd("train", "--data", training, "--val-data", validation, *flags) == 0
    settings = read_run_config(out / "config.toml")
    assert (settings.data, settings.val_data) == (training, validation)
    assert tinyssd("train", "--resume", out, "--epochs", 2, "--device", "cpu") == 0
    assert f"{validation} 1" in capsys.readouterr().out
    assert tinyssd("eval", "--weights", out / "weights" / "last.safetensors") == 0
    assert f"{validation}, 1 " in capsys.readouterr().out


def test_each_annotation_is_read_once_for_both_splits(voc: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read, asked = formats.voc.read_document, []
    monkeypatch.setattr(formats.voc, "read_document", lambda path, file: asked.append(path.stem) or read(path, file))
    training, validation = splits(voc, None, None)
    assert (len(training), len(validation)) == (2, 1)
    assert sorted(asked) == ["four", "one", "three", "two"]


@pytest.mark.parametrize(
    ("trained_on", "expected"),
    [
        ("synthetic:train", "synthetic:val"),
        ("voc:a:b/c:train", "voc:a:b/c:val"),
        ("voc:DIR:trainval", None),  # val is part of it
        ("voc:DIR", "voc:DIR:val"),
        ("coco:a,b.json", None),
        ("coco:a,b.json:train", None),
        ("rec:a.rec:train", None),
    ],
)
def test_the_split_to_evaluate_on_is_one_that_was_not_trained_on(trained_on: str, expected: str | None) -> None:
    assert validation_spec(trained_on) == expected


def refusals(folder: Path) -> list[tuple[list[object], list[str]]]:
    """Command lines that cannot work, and words of the one line that says why."""
    one_list = write_voc(folder / "one list", {"one": voc_xml(CAT)}, {"train": "one\n", "test": "one\n"})
    birds = write_voc(folder / "birds", {"one": voc_xml(voc_object("bird", 1, 2, 3, 4))})
    coco, yolo = write_coco(folder / "c"), write_yolo(folder / "y", {"one": ""})
    (folder / "full").mkdir()
    (folder / "full" / "file").touch()
    return [
        (["train", "--data", coco], [f"--data {coco}: it is not divided into splits", "--val-data SPEC"]),
        (["train", "--data", f"voc:{one_list}"], ["its splits are test, train, and none is val", "--val-data SPEC"]),
        (["train", "--data", f"yolo:{yolo}"], ["its splits are train, and none is val"]),
        (["train", "--data", f"voc:{one_list}:test"], ["--val-data", "name the dataset alone"]),
        (
            ["train", "--data", coco, "--val-data", f"voc:{birds}:train"],
            ["has the classes cat, dog, zebra", "has bird"],
        ),
        (["train", "--data", coco, "--val-data", f"voc:{one_list}"], ["no split 'val'", "test, train"]),
        (["train", "--resume", folder, "--val-data", coco], ["--val-data cannot be changed with --resume"]),
        (["data", "check", "voc:none"], ["none: no such folder"]),
        (["data", "check", f"voc:{one_list}:val"], ["no split 'val'"]),
        (["data", "show", f"voc:{one_list}:val"], ["no split 'val'"]),
        (["data", "show", coco, "--count", "0"], ["--count must be at least 1"]),
        (["data", "show", coco, "--out", folder / "full"], ["--out", "a folder; name a file"]),
        (["data", "convert", f"voc:{one_list}:train", f"yolo:{folder / 'full'}"], ["full is there already"]),
        (["data", "convert", f"voc:{one_list}", f"rec:{folder / 'a.rec'}"], ["is one split", "test, train"]),
    ]


def test_what_cannot_work_is_one_line_and_writes_nothing(tmp_path: Path, capsys) -> None:
    for arguments, words in refusals(tmp_path):
        before = sorted(tmp_path.rglob("*"))
        assert tinyssd(*arguments) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1, error
        for word in words:
            assert word in error
        assert sorted(tmp_path.rglob("*")) == before


def test_fitted_anchors_are_written_with_the_classes_of_the_data(voc: str, tmp_path: Path) -> None:
    out = tmp_path / "fitted.toml"
    assert tinyssd("data", "anchors", f"{voc}:train", "--out", out) == 0
    settings = read_run_config(out)
    assert settings.data == voc
    assert settings.config.model.class_names == load_dataset(voc, "train").class_names != ("banana",)


def test_a_sheet_shows_the_pictures_with_their_boxes(voc: str, tmp_path: Path, capsys) -> None:
    assert tinyssd("data", "show", f"{voc}:test", "--out", tmp_path / "a.png") == 0
    assert capsys.readouterr().out == f"wrote {tmp_path / 'a.png'}: 2 of 2 images of {voc}:test\n"
    first = (tmp_path / "a.png").read_bytes()
    assert tinyssd("data", "show", f"{voc}:test", "--out", tmp_path / "b.png") == 0
    assert (tmp_path / "b.png").read_bytes() == first
    sheet = read_image(tmp_path / "a.png")
    pixels = sheet.reshape(-1, 3)
    orange, blue = (230, 159, 0), (86, 180, 233)  # of the classes cat and dog
    assert all((pixels == color).all(axis=1).sum() > 500 for color in (orange, blue))
    assert tinyssd("data", "show", f"{voc}:test", "--out", tmp_path / "c.png", "--count", 1) == 0
    assert read_image(tmp_path / "c.png").shape != sheet.shape


def test_a_set_without_objects_or_with_many_classes_is_shown_as_well(tmp_path: Path) -> None:
    spec = write_coco(tmp_path / "c", annotations=[])
    assert tinyssd("data", "show", spec, "--out", tmp_path / "none.png") == 0
    names = ", ".join(f"class number {i}" for i in range(30))
    lines = "\n".join(f"{i} 0.5 0.5 {0.03 * (i + 1):.2f} 0.5" for i in range(30))
    folder = write_yolo(tmp_path / "y", {"many": lines, "few": lines[:60]}, f"names: [{names}]\n")
    noise(20, 2000).save(folder / "images" / "train" / "few.png")  # a very tall image
    assert tinyssd("data", "show", f"yolo:{folder}", "--out", tmp_path / "many.png") == 0
    for name in ("none", "many"):
        height, width, _ = read_image(tmp_path / f"{name}.png").shape
        assert width == 1400
        assert 600 < height < 3000


def test_names_of_data_sets_are_printed_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    write_voc(tmp_path / "v", {"one": voc_xml(CAT)})
    monkeypatch.chdir(tmp_path)
    assert tinyssd("data", "check", "voc:v:train") == 0
    assert re.match(r"voc:v:train: 1 image, 1 good object \(cat 1\)\n", capsys.readouterr().out)
