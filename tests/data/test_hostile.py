"""Files that are too much: pipes, names that lead elsewhere, megabytes for a loop, conversions killed half-way."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from ssd_common.cli import main
from ssd_common.data import DataSource, load_dataset
from ssd_common.data.check import Check, check_data
from ssd_common.data.convert import convert_data
from ssd_common.data.formats.recordio import RecordWriter
from ssd_common.data.formats.records import ImageRecord, pack_image_record
from ssd_common.errors import InputError
from tests.data.data_cases import noise, png, voc_object, voc_xml, write_coco, write_voc, write_yolo

CAT = voc_object("cat", 1, 2, 21, 17)
LINE = "0 0.5 0.5 0.5 0.5\n"


def told(check: Check) -> list[str]:
    """The kinds of what is wrong, sorted."""
    return sorted(problem.kind for problem in check.problems)


def good(spec: str) -> int:
    """How many good objects a dataset has in which nothing is wrong."""
    check = check_data(spec)
    assert check.problems == []
    return sum(check.objects.values())


# --- Files that are none, or not the dataset's


def test_a_pipe_is_never_waited_for(tmp_path: Path) -> None:
    voc = write_voc(tmp_path / "v", {"one": voc_xml(CAT)})
    yolo = write_yolo(tmp_path / "y", {"one": LINE})
    coco = write_coco(tmp_path / "c")
    for path, spec in (
        (voc / "classes.txt", f"voc:{voc}"),
        (voc / "ImageSets/Main/train.txt", f"voc:{voc}"),
        (voc / "Annotations/one.xml", f"voc:{voc}"),
        (yolo / "data.yaml", f"yolo:{yolo}"),
        (yolo / "labels/train/one.txt", f"yolo:{yolo}"),
        (tmp_path / "c/pictures/one.jpg", coco),
        (tmp_path / "c/boxes.json", coco),
    ):
        content = path.read_bytes() if path.exists() else None
        path.unlink(missing_ok=True)
        os.mkfifo(path)
        with pytest.raises(InputError):
            load_dataset(spec)
        path.unlink()
        if content is not None:
            path.write_bytes(content)
    (voc / "JPEGImages/one.jpg").unlink()
    os.mkfifo(voc / "JPEGImages/one.jpg")
    assert told(check_data(f"voc:{voc}")) == ["no good object", "unreadable image"]


@pytest.mark.parametrize("outside", ["../secret.jpg", "a/../../secret.jpg", "/absolute"])
def test_a_picture_outside_of_the_folder_is_read_only_when_it_is_said(tmp_path: Path, outside: str, capsys) -> None:
    name = outside.replace("/absolute", f"{tmp_path}/secret.jpg")
    spec = write_coco(tmp_path, images=[{"id": 7, "file_name": name}], annotations=[])
    noise(40, 30).save(tmp_path / "secret.jpg")
    target = f"voc:{tmp_path / 'v'}"
    assert run("data", "convert", spec, target) == 2
    assert "outside the folder of the images" in capsys.readouterr().err
    assert not (tmp_path / "v").exists()
    assert told(check_data(spec, allow_outside=True)) == ["no good object"]
    assert run("data", "convert", spec, target, "--allow-outside") == 0
    assert "copied 1 image from outside of the dataset's folder" in capsys.readouterr().out


# --- Conversions that end early


def test_a_picture_that_is_cut_short_is_found_before_anything_is_written(tmp_path: Path) -> None:
    folder = write_yolo(tmp_path / "y", {"one": LINE, "two": LINE})
    path = folder / "images/train/two.png"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"two\.png: cannot read the image"):
        convert_data(f"yolo:{folder}", f"coco:{tmp_path / 'new' / 'c'},{tmp_path / 'new' / 'c.json'}")
    assert [path.name for path in tmp_path.iterdir()] == ["y"]


@pytest.mark.parametrize("added", ["", ":val"])
@pytest.mark.parametrize("kind", ["voc", "yolo", "coco", "rec"])
def test_a_killed_conversion_is_no_data_set_and_can_be_run_again(tmp_path: Path, kind: str, added: str) -> None:
    spec = f"voc:{write_voc(tmp_path / 'source', {stem: voc_xml(CAT) for stem in 'abcd'})}"
    paths = {"coco": f"{tmp_path}/out,{tmp_path}/out.json", "rec": f"{tmp_path}/out.rec"}
    target = f"{kind}:{paths.get(kind, tmp_path / 'out')}"
    if added and kind in paths:
        added = ""
    if added:
        convert_data(spec, f"{target}:train")
    child = os.fork()
    if child == 0:
        asked = 0

        def progress(indices):
            nonlocal asked
            for index in indices:
                asked += 1
                if asked == 7:  # three of four images are written
                    os.kill(os.getpid(), 9)
                yield index

        convert_data(spec, target + added, progress=progress)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 9
    if added:
        assert DataSource(target).splits == ("train",)
        assert good(target) == 4
    else:
        with pytest.raises(InputError):
            load_dataset(target)
    convert_data(spec, target + added)
    assert len(load_dataset(target, "val" if added else "train")) == 4


def test_a_full_disk_is_one_line_that_names_the_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "a.jpg")

    spec = f"voc:{write_voc(tmp_path / 'v', {'a': voc_xml(CAT)})}"
    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(InputError, match=r"yolo:.*new/y: cannot be written \(No space left on device\): make room"):
        convert_data(spec, f"yolo:{tmp_path / 'new' / 'y'}")
    assert [path.name for path in tmp_path.iterdir()] == ["v"]


# --- Bounds


def megabyte(folder: Path, what: str) -> str:
    """A dataset one file of which has about a megabyte."""
    if what == "names":
        return f"yolo:{write_yolo(folder, {'one': LINE}, f'names: [{chr(44).join(map(str, range(120_000)))}]')}"
    if what == "brackets":
        return f"yolo:{write_yolo(folder, {'one': LINE}, '[' * 1_000_000)}"
    if what == "labels":
        return f"yolo:{write_yolo(folder, {'one': LINE * 55_000})}"
    if what == "categories":
        return write_coco(folder, categories=[{"id": i, "name": f"{i}"} for i in range(40_000)])
    if what == "classes":
        voc = write_voc(folder, {"one": voc_xml(CAT)})
        (voc / "classes.txt").write_text("".join(f"{i}\n" for i in range(150_000)))
        return f"voc:{voc}"
    if what == "fields":
        spec = write_coco(folder)
        (folder / "boxes.json").write_text("{" + ",".join(f'"{i}": 0' for i in (*range(90_000), 0)) + "}")
        return spec
    if what == "tags":
        return (
            f"voc:{write_voc(folder, {'one': '<annotation>' + '<a>' * 140_000 + '</a>' * 140_000 + '</annotation>'})}"
        )
    if what == "encoding":
        xml = f'<?xml version="1.0" encoding="punycode"?>{"a" * 500_000}-{"b" * 500_000}'
        return f"voc:{write_voc(folder, {'one': xml})}"
    folder.mkdir()
    with RecordWriter(folder / "a.rec") as writer:
        label = np.array([2, 5] + [9999, 0.1, 0.1, 0.5, 0.5] * 50_000, np.float32)
        writer.write(pack_image_record(ImageRecord(label, 0, 0, png(40, 30))))
    return f"rec:{folder / 'a.rec'}"


MEGABYTES = ["names", "brackets", "labels", "categories", "classes", "records", "fields", "tags", "encoding"]


@pytest.mark.parametrize("what", MEGABYTES)
def test_a_megabyte_is_read_in_seconds(tmp_path: Path, what: str) -> None:
    """Each took 20 seconds or more where a loop was quadratic, or was too deep for Python; now it takes one or two."""
    spec = megabyte(tmp_path / "set", what)
    start = time.process_time()
    try:
        check_data(spec)
    except InputError:
        pass  # refused is fine, too
    assert time.process_time() - start < 5


def test_a_message_is_short_and_on_one_line(tmp_path: Path) -> None:
    folder = write_yolo(tmp_path / "y", {"one": f"{'9' * 5000} 0.5 0.5 0.5 0.5\n0 {'x' * 5000} 0.5 0.5 0.5\n"})
    for problem in check_data(f"yolo:{folder}").problems:
        assert len(str(problem)) < 300
    content = {"images": [{"id": 7, "file_name": "one.jpg\n" + "x" * 5000}], "annotations": [], "categories": []}
    content["categories"] = [{"id": 1, "name": "cat"}]
    spec = write_coco(tmp_path / "c")
    (tmp_path / "c/boxes.json").write_text(json.dumps(content))
    for problem in check_data(spec).problems:
        assert "\n" not in str(problem)
        assert len(str(problem)) < 1000


def run(*arguments: object) -> object:
    with pytest.raises(SystemExit) as done:
        main([str(argument) for argument in arguments])
    return done.value.code
