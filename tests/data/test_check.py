"""`tinyssd data check` finds what was put wrong, names it, and changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ssd_common.cli import main
from ssd_common.data.check import check_data
from ssd_common.data.formats.recordio import RecordWriter
from ssd_common.data.formats.records import ImageRecord, pack_image_record
from ssd_common.errors import InputError
from tests.data.data_cases import png, voc_object, voc_xml, write_coco, write_voc, write_yolo

CAT, DOG = voc_object("cat", 1, 2, 21, 17), voc_object("dog", 0, 0, 40, 30)


def problems_of(spec: str) -> set[tuple[str, str, str, str]]:
    """File, object, value and kind of everything that is wrong."""
    return {(p.file, p.object, p.value, p.kind) for p in check_data(spec).problems}


def test_everything_wrong_in_a_voc_folder_is_found(tmp_path: Path) -> None:
    objects = (
        CAT,
        voc_object("cat", 5, 6, 5, 9),
        voc_object("cat", 9, 5, 5, 9),
        voc_object("cat", 5, 5, 99, 9),
        voc_object("cat", 5, "NaN", 9, 9),
        voc_object("cat", 5, "five", 9, 9),
        CAT,
        "<object><name>cat</name></object>",
        voc_object("bird", 1, 1, 9, 9),
        voc_object("", 1, 1, 9, 9),
    )
    annotations = {"one": voc_xml("".join(objects)), "two": voc_xml(DOG, (64, 48)), "three": "<annotation>"}
    annotations |= {"four": voc_xml(DOG), "five": voc_xml(DOG), "six": voc_xml("")}
    lists = {"train": "one\ntwo\nthree\none\n", "val": "four\nfive\nsix\ntwo\nseven\n"}
    folder = write_voc(tmp_path / "v", annotations, lists)
    (folder / "classes.txt").write_text("cat\ndog\n")
    (folder / "JPEGImages" / "four.jpg").unlink()
    cut = (folder / "JPEGImages" / "five.jpg").read_bytes()[:-100]
    (folder / "JPEGImages" / "five.jpg").write_bytes(cut)
    (folder / "JPEGImages" / "six.png").write_bytes(png(40, 30))
    two, five = folder / "JPEGImages" / "two.jpg", folder / "JPEGImages" / "five.jpg"
    before = {path: path.read_bytes() for path in folder.rglob("*.*")}
    assert problems_of(f"voc:{folder}") == {
        ("Annotations/one.xml", "object 2", "(5, 6, 5, 9)", "zero area"),
        ("Annotations/one.xml", "object 3", "(9, 5, 5, 9)", "inverted"),
        ("Annotations/one.xml", "object 4", "(5, 5, 99, 9)", "outside the image"),
        ("Annotations/one.xml", "object 5", "ymin NaN", "not a finite number"),
        ("Annotations/one.xml", "object 6", "ymin 'five'", "not a number"),
        ("Annotations/one.xml", "object 7", "(1, 2, 21, 17)", "duplicate object"),
        ("Annotations/one.xml", "object 8", "cat", "no bndbox"),
        ("Annotations/one.xml", "object 9", "bird", "unknown class"),
        ("Annotations/one.xml", "object 10", "", "no class name"),
        ("Annotations/two.xml", "two.jpg", "64 x 48", "wrong image size"),
        ("Annotations/three.xml", "", "", "unreadable annotation"),
        ("ImageSets/Main/train.txt", "line 4", "one", "duplicate image"),
        ("JPEGImages/four.jpg", "", "", "missing image"),
        (str(five), "", "", "unreadable image"),
        ("JPEGImages/six.png", "", "", "duplicate image"),
        (str(two), "", f"voc:{folder}:val", "in two splits"),
        ("Annotations/seven.xml", "", "", "missing annotation"),
    }
    assert {path: path.read_bytes() for path in folder.rglob("*.*")} == before


def test_everything_wrong_in_a_coco_file_is_found(tmp_path: Path) -> None:
    def annotation(number: int, bbox: object, category_id: object = 3, image_id: object = 7) -> dict[str, object]:
        return {"id": number, "image_id": image_id, "category_id": category_id, "bbox": bbox}

    images = [
        {"id": 7, "file_name": "one.jpg", "width": 40, "height": 30},
        {"id": 9, "file_name": "two.jpg", "width": 30, "height": 40},
        {"id": 9, "file_name": "three.jpg"},
        {"id": 11, "file_name": "one.jpg"},
        {"id": 12, "file_name": "none.jpg"},
        {"file_name": "two.jpg"},
    ]
    annotations = [
        annotation(1, [1, 2, 20, 15]),
        annotation(2, [1, 2, 0, 15]),
        annotation(3, [9, 2, -5, 15]),
        annotation(4, [1, 2, 100, 15]),
        annotation(5, [1, 2, float("inf"), 15]),
        annotation(6, [1, 2, 3]),
        annotation(7, [1, 2, None, 3]),
        annotation(8, {"x": 1}),
        annotation(9, [1, 2, 3, 4], category_id=99),
        annotation(10, [1, 2, 3, 4], category_id=[3]),
        annotation(11, [1, 2, 3, 4], image_id=99),
        annotation(12, [1, 2, 3, 4], image_id={}),
        annotation(13, [1, 2, 20, 15]),
        annotation(2**64 - 1, [1, 2, -1, 5]),
    ]
    spec = write_coco(tmp_path, images=images, annotations=annotations)
    assert problems_of(spec) == {
        ("boxes.json", "image 3", "id 9", "duplicate image id"),
        ("boxes.json", "image 4", "one.jpg", "duplicate image"),
        ("boxes.json", "image 6", '{"file_name": "two.jpg"}', "no id or no file_name"),
        ("boxes.json", "two.jpg", "30 x 40", "wrong image size"),
        ("boxes.json", "image 5", "none.jpg", "missing image"),
        ("boxes.json", "annotation 2", "(1, 2, 1, 17)", "zero area"),
        ("boxes.json", "annotation 3", "(9, 2, 4, 17)", "inverted"),
        ("boxes.json", "annotation 4", "(1, 2, 101, 17)", "outside the image"),
        ("boxes.json", "annotation 5", "width inf", "not a finite number"),
        ("boxes.json", "annotation 6", "[1, 2, 3]", "wrong number of values"),
        ("boxes.json", "annotation 7", "width", "missing number"),
        ("boxes.json", "annotation 8", 'bbox {"x": 1}', "no box"),
        ("boxes.json", "annotation 9", "category_id 99", "unknown class"),
        ("boxes.json", "annotation 10", "category_id [3]", "unknown class"),
        ("boxes.json", "annotation 11", "image_id 99", "missing image"),
        ("boxes.json", "annotation 12", "image_id {}", "missing image"),
        ("boxes.json", "annotation 13", "(1, 2, 21, 17)", "duplicate object"),
        ("boxes.json", f"annotation {2**64 - 1}", "(1, 2, 0, 7)", "inverted"),
    }


def test_everything_wrong_in_a_yolo_folder_is_found(tmp_path: Path) -> None:
    lines = ["0 0.5 0.5 0.5 0.5", "3 0.5 0.5 0.1 0.1", "-1 0.5 0.5 0.1 0.1", "x 0.5 0.5 0.1 0.1", "1 0.5 0.5 0.1"]
    lines += [
        "1 0.9 0.5 0.5 0.1",
        "1 0.5 0.5 0 0.1",
        "1 0.5 0.5 nan 0.1",
        "1 0.1 0.1 0.2 0.1 0.2 0.2 0.3",
        "1 0.1 0.1 0.2 0.1 x 0.2",
        "1 0.1 0.1 0.2 0.1 0.1 0.1",
        "0 0.5 0.5 0.5 0.5",
    ]
    folder = write_yolo(tmp_path / "y", {"one": "\n".join(lines), "two": None})
    (folder / "labels" / "train" / "three.txt").write_text("")
    (folder / "images" / "train" / "two.jpg").write_bytes(png(40, 30))
    one = "labels/train/one.txt"
    assert problems_of(f"yolo:{folder}") == {
        (one, "line 2", "class 3", "unknown class"),
        (one, "line 3", "class -1", "unknown class"),
        (one, "line 4", "class x", "unknown class"),
        (one, "line 5", "['0.5', '0.5', '0.1']", "wrong number of values"),
        (one, "line 6", "(0.65, 0.45, 1.15, 0.55)", "outside the image"),
        (one, "line 7", "(0.5, 0.45, 0.5, 0.55)", "zero area"),
        (one, "line 8", "width nan", "not a finite number"),
        (one, "line 9", "['0.1', '0.1', '0.2', '0.1', '0.2', '0.2', '0.3']", "wrong number of values"),
        (one, "line 10", "x 'x'", "not a number"),
        (one, "line 11", "(0.1, 0.1, 0.2, 0.1)", "zero area"),
        (one, "line 12", "(0.25, 0.25, 0.75, 0.75)", "duplicate object"),
        (one, "line 11", "1 0.1 0.1 0.2 0.1 0.1 0.1", "six numbers"),
        ("labels/train/three.txt", "", "", "missing image"),
        ("images/train/two.png", "", "", "duplicate image"),
    }


@pytest.mark.parametrize("labels", ["Labels", "labels/training"])
def test_pictures_without_any_object_are_a_problem(tmp_path: Path, labels: str) -> None:
    folder = write_yolo(tmp_path / "y", {"one": "0 0.5 0.5 0.5 0.5", "two": "0 0.5 0.5 0.5 0.5"})
    (folder / "labels").rename(folder / "elsewhere")
    (folder / labels).parent.mkdir(exist_ok=True)
    (folder / "elsewhere" / "train").rename(folder / labels)
    why = {"Labels": ("images/train", "", "", "no labels")}
    why["labels/training"] = ("labels/training", "", "", "unused annotations")
    assert problems_of(f"yolo:{folder}") == {(f"yolo:{folder}", "", "", "no good object"), why[labels]}


def test_everything_wrong_in_records_is_found(tmp_path: Path) -> None:
    def record(label: list[float], image: bytes) -> bytes:
        return pack_image_record(ImageRecord(np.array(label, np.float32), 0, 0, image))

    good = [2, 5, 0, 0.25, 0.25, 0.75, 0.75]
    path = tmp_path / "a.rec"
    with RecordWriter(path) as writer:
        for payload in (
            record(good, png(40, 30)),
            record([*good, 5, 0, 0, 1, 1, 0, 0.5, 0.5, 0.5, 0.75], png(40, 30)),
            record(good, png(40, 30)[:-200]),
            record([1, 2], png(40, 30)),
        ):
            writer.write(payload)
    (tmp_path / "classes.txt").write_text("cat\n")
    assert problems_of(f"rec:{path}") == {
        (f"{path}: record 1", "object 2", "class id 5", "unknown class"),
        (f"{path}: record 1", "object 3", "(0.5, 0.5, 0.5, 0.75)", "zero area"),
        (f"{path}: record 2", "", "", "unreadable image"),
        (f"rec:{path}", "", "", "unreadable record"),
    }


def test_the_real_set_has_two_objects_without_area(data_dir: Path, tmp_path: Path, capsys) -> None:
    spec = f"voc:{data_dir / 'voc' / 'bccd'}"
    assert run("data", "check", spec, "--json", tmp_path / "check.json") == 1
    assert capsys.readouterr().out.splitlines() == [
        "Annotations/BloodImage_00343.xml: object 4: (181, 329, 181, 329): zero area",
        "Annotations/BloodImage_00338.xml: object 13: (504, 337, 504, 337): zero area",
        f"{spec}: 364 images, 4,886 good objects (Platelets 361, RBC 4,153, WBC 372)",
        "2 problems: 2 zero area",
        f"wrote {tmp_path / 'check.json'}",
    ]
    written = json.loads((tmp_path / "check.json").read_text())
    assert (written["data"], written["pictures"]) == (spec, 364)
    assert written["objects"] == {"Platelets": 361, "RBC": 4153, "WBC": 372}
    assert written["problems"][0] == {
        "file": "Annotations/BloodImage_00343.xml",
        "object": "object 4",
        "value": "(181, 329, 181, 329)",
        "reason": "zero area",
    }


def test_a_set_without_mistakes_passes_and_a_split_is_checked_alone(tmp_path: Path, capsys) -> None:
    bad = voc_xml(voc_object("cat", 5, 5, 5, 5))
    lists = {"train": "one\n", "val": "two\n"}
    folder = write_voc(tmp_path / "v", {"one": voc_xml(CAT + DOG), "two": bad}, lists)
    assert run("data", "check", f"voc:{folder}:train") == 0
    assert capsys.readouterr().out.splitlines() == [
        f"voc:{folder}:train: 1 image, 2 good objects (cat 1, dog 1)",
        "0 problems",
    ]
    assert run("data", "check", f"voc:{folder}") == 1
    assert "1 problem: 1 zero area" in capsys.readouterr().out


def test_a_file_that_cannot_be_read_is_a_problem_and_one_that_is_not_there_is_bad_usage(tmp_path: Path) -> None:
    spec = write_coco(tmp_path)
    (tmp_path / "boxes.json").write_text("[]")
    (problem,) = check_data(spec).problems
    assert problem.kind == "unreadable annotation"
    (tmp_path / "boxes.json").unlink()
    for missing in (spec, "voc:none", "rec:none.rec", "pikachu:test"):
        with pytest.raises(InputError):
            check_data(missing)


def run(*arguments: object) -> object:
    with pytest.raises(SystemExit) as done:
        main([str(argument) for argument in arguments])
    return done.value.code
