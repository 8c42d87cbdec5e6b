"""What lies in the place of a dataset's files, or is written in another way: told in one line that helps."""

from __future__ import annotations

import codecs
import io
import shutil
import time
from pathlib import Path

import pytest
from rich.console import Console

from ssd_common.cli import main
from ssd_common.data.check import check_data
from ssd_common.data.convert import convert_data
from ssd_common.data.transforms import read_image
from ssd_common.errors import InputError
from ssd_common.output.console import print_lines
from tests.data.data_cases import png, voc_object, voc_xml, write_coco, write_voc, write_yolo

LINE = "0 0.5 0.5 0.5 0.5\n"
CAT = voc_object("cat", 1, 2, 21, 17)
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab\nsize 12345\n"
PAGE = b"\n<!DOCTYPE html>\n<html><title>404</title></html>"
STAND_INS = [
    pytest.param(POINTER, "a Git LFS pointer: run git lfs pull", id="pointer"),
    pytest.param(PAGE, "a web page: download the file again", id="page"),
    pytest.param(b"PK\3\4" + bytes(99), "a zip archive: unpack it", id="zip"),
    pytest.param(b"\x1f\x8b\x08" + bytes(99), "a gzip archive: unpack it", id="gzip"),
]


def told(spec: str) -> list[str]:
    """What `data check` says of a dataset that has one problem and its consequences."""
    return [str(problem) for problem in check_data(spec).problems]


@pytest.mark.parametrize(("content", "words"), STAND_INS)
def test_what_is_found_in_the_place_of_a_file_is_named_in_every_format(
    content: bytes, words: str, tmp_path: Path
) -> None:
    yolo = write_yolo(tmp_path / "y", {"one": LINE})
    voc = write_voc(tmp_path / "v", {"one": voc_xml(CAT)})
    coco = write_coco(tmp_path / "c")
    for file in ("y/labels/train/one.txt", "v/Annotations/one.xml", "c/boxes.json", "r.rec"):
        (tmp_path / file).write_bytes(content)
    for spec in (f"yolo:{yolo}", f"voc:{voc}", coco, f"rec:{tmp_path / 'r.rec'}"):
        assert words in told(spec)[0]
    (yolo / "labels/train/one.txt").write_text(LINE)
    (yolo / "images/train/one.png").write_bytes(content)
    assert f"unreadable image, not an image that can be read, but {words}" in told(f"yolo:{yolo}")[0]
    (yolo / "data.yaml").write_bytes(content)
    with pytest.raises(InputError, match=words):
        check_data(f"yolo:{yolo}")


def test_an_image_of_a_telephone_that_is_called_jpg_is_to_be_converted() -> None:
    with pytest.raises(InputError, match=r"x: not an image that can be read, but one in HEIC.*: convert it to JPEG"):
        read_image(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), "x")


def test_a_set_without_any_good_object_is_told_in_few_lines(tmp_path: Path, capsys) -> None:
    images = [{"id": i, "file_name": f"train/{i}.jpg"} for i in range(300)]
    spec = write_coco(tmp_path / "c", images=images, annotations=[])
    assert run("data", "check", spec, "--json", str(tmp_path / "report.json")) == 1
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith("boxes.json: image 1: train/0.jpg: missing image, there is no such file in ")
    assert first.endswith(" (and 299 more like it)")
    assert [line.rpartition(": ")[2] for line in rest[:2]] == [
        "0 images, 0 good objects (cat 0, dog 0, zebra 0)",
        "300 missing image",
    ]
    assert (tmp_path / "report.json").read_text().count('"missing image') == 300


def test_where_some_objects_are_good_each_problem_has_its_line(tmp_path: Path, capsys) -> None:
    folder = write_voc(tmp_path / "v", {"one": voc_xml(CAT)}, {"train": "one\n" + "".join(f"{i}\n" for i in range(20))})
    assert run("data", "check", f"voc:{folder}") == 1
    assert sum("missing annotation" in line for line in capsys.readouterr().out.splitlines()) == 20 + 1


# --- Where the files are


@pytest.mark.parametrize("kind", ["voc", "yolo"])
def test_a_dataset_one_folder_further_down_is_found_for_the_user(kind: str, tmp_path: Path) -> None:
    inside = tmp_path / "up" / "set"
    write_voc(inside, {"one": voc_xml(CAT)}) if kind == "voc" else write_yolo(inside, {"one": LINE})
    with pytest.raises(InputError, match=f"; {inside} has them: name that folder$"):
        check_data(f"{kind}:{tmp_path / 'up'}")


def test_a_dataset_that_is_still_packed_is_to_be_unpacked(tmp_path: Path) -> None:
    (tmp_path / "cells.tar.gz").write_bytes(b"")
    coco = write_coco(tmp_path / "c")
    shutil.rmtree(tmp_path / "c" / "pictures")
    (tmp_path / "c" / "pictures.zip").write_bytes(b"")
    for spec, file in (
        (f"voc:{tmp_path}/cells", "cells.tar.gz"),
        (f"yolo:{tmp_path}/cells", "cells.tar.gz"),
        (coco, "pictures.zip"),
    ):
        with pytest.raises(InputError, match=rf"no such folder; .*; unpack \S*/{file}$"):
            check_data(spec)


def test_a_yolo_folder_without_splits_is_told_how_to_make_one(tmp_path: Path) -> None:
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    (tmp_path / "images" / "one.png").write_bytes(png(40, 30))
    with pytest.raises(
        InputError, match=r"no folder images/SPLIT in it; .*: move the files in images to images/train, and"
    ):
        check_data(f"yolo:{tmp_path}")


def test_an_image_that_is_named_from_the_folder_above_names_that_folder(tmp_path: Path) -> None:
    spec = write_coco(tmp_path / "c", images=[{"id": 7, "file_name": "pictures/one.jpg"}], annotations=[])
    assert told(spec)[0].endswith(f"but in {tmp_path / 'c'}: name that folder")


def test_a_list_of_paths_is_told_what_a_list_has(tmp_path: Path) -> None:
    folder = write_voc(tmp_path / "v", {"one": voc_xml(CAT)}, {"train": "JPEGImages/one.jpg\n"})
    assert told(f"voc:{folder}")[0].endswith("listed in split train; a list has names such as one")


def test_annotations_of_another_format_among_the_labels_are_told(tmp_path: Path) -> None:
    folder = write_yolo(tmp_path / "y", {"one": LINE, "two": None, "three": None})
    for name in ("two.xml", "three.json", "notes.json"):
        (folder / "labels/train" / name).write_text("")
    assert told(f"yolo:{folder}") == [
        "labels/train/three.json: unused annotations, labels are read from .txt files, 2 files"
    ]


@pytest.mark.parametrize("place", ["", "labels", "labels/train"])
def test_class_names_beside_the_labels_that_are_others_are_told(place: str, tmp_path: Path) -> None:
    folder = write_yolo(tmp_path / "y", {"one": LINE})
    names = folder / place / "classes.txt"
    names.write_text("dog\ncat\nzebra\n")
    assert told(f"yolo:{folder}") == [
        f"{names.relative_to(folder)}: other class names, than in data.yaml, which is used"
    ]
    names.write_text("cat\ndog\nzebra\n")
    assert told(f"yolo:{folder}") == []


# --- What is in them


def test_utf_16_without_its_mark_is_no_text(tmp_path: Path) -> None:
    folder = write_yolo(tmp_path / "y", {"one": ""})
    (folder / "labels/train/one.txt").write_bytes(LINE.encode("utf-16-le"))
    assert "character 2 is a zero, which no text has: save the file as UTF-8" in told(f"yolo:{folder}")[0]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("0 20 15 10 10", "outside the image, which is 40 x 30; are these pixels, where fractions belong?"),
        ("0 0,5 0,5 0,25 0,25", "not a number, write it with a point"),
        ("0, 0.5, 0.5, 0.25, 0.25", "a comma or a semicolon, spaces alone separate the numbers of a line"),
        ("0 \N{ARABIC-INDIC DIGIT ZERO}.5 0.5 0.5 0.5", "not a number"),
    ],
)
def test_a_line_in_another_way_is_told_which(line: str, words: str, tmp_path: Path) -> None:
    assert told(f"yolo:{write_yolo(tmp_path / 'y', {'one': line})}")[0].endswith(words)


def test_a_line_ends_where_editors_end_it(tmp_path: Path) -> None:
    folder = write_yolo(tmp_path / "y", {"one": ""})
    text = "0\v0.5\f0.5 0.5\x1c0.5\r1 0.5 0.5 0.5\N{LINE SEPARATOR}0.5\r\n"
    (folder / "labels/train/one.txt").write_bytes(text.encode())
    check = check_data(f"yolo:{folder}")
    assert (check.problems, sum(check.objects.values())) == ([], 2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: &a cat\nnames: [*a, dog]\n", r"an alias, such as \*a, is to be written out"),
        ("names: [cat]\n---\nnames: [dog]\n", "more than one document, the second begins in line 2"),
    ],
)
def test_a_data_yaml_that_would_be_read_in_part_is_refused(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        check_data(f"yolo:{write_yolo(tmp_path / 'y', {'one': LINE}, text)}")


@pytest.mark.parametrize("declared", ["utf-16", "iso-8859-1", "windows-1252", "us-ascii"])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_utf_8_is_read_whatever_the_xml_declares(declared: str, mark: bytes, tmp_path: Path) -> None:
    folder = write_voc(tmp_path / "v", {"one": ""})
    text = f'<?xml version="1.0" encoding="{declared}"?>\n{voc_xml(voc_object("Käse 猫", 1, 2, 21, 17))}'
    (folder / "Annotations/one.xml").write_bytes(mark + text.encode())
    check = check_data(f"voc:{folder}")
    assert (check.problems, check.objects) == ([], {"Käse 猫": 1})


@pytest.mark.parametrize("encoding", ["iso-8859-1", "windows-1252"])
def test_an_xml_in_the_encoding_that_it_declares_is_read(encoding: str, tmp_path: Path) -> None:
    folder = write_voc(tmp_path / "v", {"one": ""})
    text = f'<?xml version="1.0" encoding="{encoding}"?>{voc_xml(voc_object("Käse", 1, 2, 21, 17))}'
    (folder / "Annotations/one.xml").write_bytes(text.encode(encoding))
    assert check_data(f"voc:{folder}").objects == {"Käse": 1}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'<?xml version="1.0" encoding="rot13"?><a/>', "unknown encoding rot13: save the file as UTF-8"),
        (b'<?xml version="1.0" encoding="gb2312"?>\xff', "byte 40 is not gb2312: save the file as UTF-8"),
        (b" \n", "the file is empty"),
    ],
)
def test_an_xml_that_cannot_be_decoded_is_told_in_words(content: bytes, words: str, tmp_path: Path) -> None:
    folder = write_voc(tmp_path / "v", {"one": ""})
    (folder / "Annotations/one.xml").write_bytes(content)
    assert told(f"voc:{folder}")[0] == f"Annotations/one.xml: unreadable annotation, {words}"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b" ", "it is empty): export it again"),
        (b'{"a": "\xe9"}', "byte 8 is not UTF-8): save the file as UTF-8"),
        (b'{"a": ' + b"9" * 5000 + b"}", "a number has thousands of digits): export it again"),
    ],
)
def test_a_json_file_that_cannot_be_read_is_told_in_words(content: bytes, words: str, tmp_path: Path) -> None:
    spec = write_coco(tmp_path / "c")
    (tmp_path / "c/boxes.json").write_bytes(content)
    assert told(spec)[0].endswith(f"not a readable JSON file ({words}")


def test_a_coco_object_to_be_ignored_is_one_like_a_crowd(tmp_path: Path) -> None:
    item = {"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 2, 20, 15]}
    spec = write_coco(tmp_path / "c", annotations=[item, item | {"id": 2, "bbox": [5, 5, 9, 9], "ignore": 1}])
    check = check_data(spec)
    assert (check.problems, check.ignored) == ([], 1)


# --- What would take long


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("v/ImageSets/Main/train.txt", "x" + " " * 10**6 + "y", "missing annotation"),
        ("v/Annotations/one.xml", "<annotation>" + "<object>" * 50_000, "nested more than 100 deep"),
        ("y/labels/train/one.txt", "x\n" * 500_000, "more than 100,000 lines"),
    ],
    ids=["spaces", "depth", "lines"],
)
def test_a_megabyte_of_text_is_refused_soon(file: str, text: str, words: str, tmp_path: Path) -> None:
    specs = {"y": f"yolo:{write_yolo(tmp_path / 'y', {'one': LINE})}"}
    specs["v"] = f"voc:{write_voc(tmp_path / 'v', {'one': voc_xml(CAT)})}"
    (tmp_path / file).write_text(text)
    started = time.process_time()
    assert words in told(specs[file[0]])[0]
    assert time.process_time() - started < 2


def test_many_lines_are_printed_soon() -> None:
    file = io.StringIO()
    started = time.process_time()
    print_lines((f"line {i} [red]" for i in range(50_000)), Console(file=file, width=20))
    assert time.process_time() - started < 2
    assert file.getvalue() == "".join(f"line {i} [red]\n" for i in range(50_000))


# --- What conversions make of names


@pytest.mark.parametrize(
    "letter", ["\N{LINE SEPARATOR}", "\uffff", "\N{RIGHT-TO-LEFT OVERRIDE}", "\N{ZERO WIDTH SPACE}"]
)
def test_letters_that_break_lists_and_xml_are_replaced_or_escaped(letter: str, tmp_path: Path) -> None:
    spec = write_coco(tmp_path / "c", images=[{"id": 7, "file_name": f"o{letter}ne.png"}], annotations=[
        {"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 2, 20, 15]}
    ], categories=[{"id": 3, "name": f"c{letter}t"}])  # fmt: skip
    (tmp_path / "c/pictures" / f"o{letter}ne.png").write_bytes(png(40, 30))
    convert_data(spec, f"voc:{tmp_path / 'v'}")
    check = check_data(f"voc:{tmp_path / 'v'}")
    assert (check.problems, sum(check.objects.values())) == ([], 1)
    assert (tmp_path / "v/JPEGImages/o_ne.png").is_file()
    assert letter not in "".join(check.objects)


@pytest.mark.parametrize("split", ["kpt_shape", "names", "nc", "path"])
def test_a_split_is_not_called_as_something_else_in_data_yaml(split: str, tmp_path: Path) -> None:
    source = write_yolo(tmp_path / "y", {"one": LINE})
    with pytest.raises(InputError, match=f"a YOLO dataset has no split '{split}'"):
        convert_data(f"yolo:{source}:train", f"yolo:{tmp_path / 'out'}:{split}")
    assert [path.name for path in tmp_path.iterdir()] == ["y"]


def test_nothing_is_told_of_a_closed_console(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)
    assert run("data", "check", f"yolo:{write_yolo(tmp_path / 'y', {'one': LINE})}") == 0


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    return int(str(stopped.value.code))
