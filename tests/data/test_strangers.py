"""Datasets as people, tools and other systems leave them: read as they were meant or told, never silently wrong."""

from __future__ import annotations

import io
import shutil
import struct
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssd_common.cli import main
from ssd_common.data import DataSource, load_dataset
from ssd_common.data.annotated import describe_skipped
from ssd_common.data.check import Check, check_data
from ssd_common.data.convert import convert_data
from ssd_common.data.formats.objects import check_objects, pixel_boxes
from ssd_common.data.formats.recordio import RecordWriter
from ssd_common.data.formats.records import ImageRecord, pack_image_record
from ssd_common.data.transforms import image_size, read_image
from ssd_common.errors import InputError
from tests.data.data_cases import noise, png, voc_object, voc_xml, write_coco, write_voc, write_yolo

CAT, DOG = voc_object("cat", 1, 2, 21, 17), voc_object("dog", 0, 0, 40, 30)
LINE = "0 0.5 0.5 0.5 0.5\n"


def told(check: Check) -> list[str]:
    """The kinds of what is wrong, sorted."""
    return sorted(problem.kind for problem in check.problems)


def good(spec: str) -> int:
    """How many good objects a dataset has in which nothing is wrong."""
    check = check_data(spec)
    assert check.problems == []
    return sum(check.objects.values())


# --- What lies about


def test_hidden_files_are_nothing_in_any_format(tmp_path: Path) -> None:
    yolo = write_yolo(tmp_path / "y", {"one": LINE, "two": LINE})
    voc = write_voc(tmp_path / "v", {"one": voc_xml(CAT), "two": voc_xml(CAT)})
    for path in (*yolo.rglob("*.*"), *voc.rglob("*.*")):
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\26\7")
    for folder in (yolo, voc):
        shutil.copytree(folder, folder / "__MACOSX")
    for folder in (yolo / "images", yolo / "labels", voc / "ImageSets" / "Main"):
        (folder / ".hidden").mkdir()
    assert good(f"yolo:{yolo}") == good(f"voc:{voc}") == 2
    shutil.rmtree(voc / "ImageSets")
    assert good(f"voc:{voc}") == 2
    assert DataSource(f"yolo:{yolo}").splits == ("train",)


def test_what_is_no_label_of_a_picture_makes_no_class(tmp_path: Path) -> None:
    folder = write_yolo(tmp_path / "y", {"one": LINE}, names=None)
    (folder / "labels/train/classes.txt").write_text("5\n10\n50\n")
    assert good(f"yolo:{folder}") == 1
    (folder / "labels/train/README.txt").write_text("2020 was a good year\n")
    assert told(check_data(f"yolo:{folder}")) == ["missing image"]
    assert load_dataset(f"yolo:{folder}").class_names == ("class 0",)


def test_a_picture_may_be_called_classes(tmp_path: Path) -> None:
    folder = write_voc(tmp_path / "v", {"classes": voc_xml(CAT), "a": voc_xml(CAT)})
    convert_data(f"voc:{folder}", f"yolo:{tmp_path / 'y'}")
    assert good(f"yolo:{tmp_path / 'y'}") == 2


# --- Annotations that lie elsewhere


def test_annotations_are_found_in_any_case_and_in_folders_below(tmp_path: Path) -> None:
    yolo = write_yolo(tmp_path / "y", {"one": LINE, "two": LINE})
    (yolo / "labels/train/one.txt").rename(yolo / "labels/train/one.TXT")
    noise(40, 30).save(yolo / "images/train/two.png", "JPEG")
    (yolo / "images/train/two.png").rename(yolo / "images/train/two.jfif")
    assert good(f"yolo:{yolo}") == 2
    (yolo / "images/train").rename(yolo / "images/val")
    (yolo / "labels/train").rename(yolo / "labels/valid")
    assert good(f"yolo:{yolo}:val") == 2
    voc = write_voc(tmp_path / "v", {"one": voc_xml(CAT), "two": voc_xml(CAT)}, {"train": "one\ncamera/two\n"})
    (voc / "Annotations/one.xml").rename(voc / "Annotations/one.XML")
    for name in ("Annotations/{}two.xml", "JPEGImages/{}two.jpg"):
        (voc / name.format("camera/")).parent.mkdir()
        (voc / name.format("")).rename(voc / name.format("camera/"))
    assert good(f"voc:{voc}") == 2


def test_annotations_that_are_not_used_are_told(tmp_path: Path) -> None:
    folder = write_yolo(tmp_path / "y", {"one": LINE, "two": None})
    (folder / "images/train/two.txt").write_text(LINE)
    (folder / "labels/test").mkdir()
    assert told(check_data(f"yolo:{folder}")) == ["unused annotation", "unused annotations"]
    assert "doubtful 2 annotations" in describe_skipped(load_dataset(f"yolo:{folder}"))


def test_an_annotation_that_names_another_picture_of_the_set_is_told(tmp_path: Path) -> None:
    texts = {stem: voc_xml(f"<filename>{name}</filename>{CAT}") for stem, name in (("a", "b.jpg"), ("b", "x.jpg"))}
    folder = write_voc(tmp_path / "v", texts)
    (problem,) = check_data(f"voc:{folder}").problems
    assert (problem.file, problem.kind) == ("Annotations/a.xml", "another image")


def test_a_list_repeats_others_only_if_its_pictures_are_in_them(tmp_path: Path) -> None:
    annotations = {stem: voc_xml(CAT) for stem in "abcd"}
    lists = {"train": "a\n", "val": "b\n", "trainval": "a\nb\n", "night_val": "c\nd\n", "cat_val": "b 1\n"}
    folder = write_voc(tmp_path / "v", annotations, lists)
    assert DataSource(f"voc:{folder}").separate_splits() == ("night_val", "train", "val")
    assert good(f"voc:{folder}") == 4
    (folder / "ImageSets/Main/trainval.txt").write_text("a\nc\n")
    assert "trainval" in DataSource(f"voc:{folder}").separate_splits()


# --- Names


def test_a_name_is_found_in_either_unicode_form(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    voc = write_voc(tmp_path / "v", {decomposed: voc_xml(CAT)}, {"train": f"{composed}\n"})
    coco = write_coco(tmp_path / "c", images=[{"id": 7, "file_name": f"{composed}.jpg"}], annotations=[])
    noise(40, 30).save(tmp_path / "c" / "pictures" / f"{decomposed}.jpg")
    assert good(f"voc:{voc}") == 1
    assert [problem.kind for problem in check_data(coco).problems] == ["no good object"]


def test_names_that_are_not_utf_8_or_not_printable_are_escaped_and_converted(tmp_path: Path, capsys) -> None:
    folder = write_yolo(tmp_path / "y", {"one": LINE + "0 0.5 0.5 0 0.5\n"}, 'names: ["c\\e[31mt"]\n')
    for part in ("images/train/one.png", "labels/train/one.txt"):
        path = folder / part
        path.rename(path.with_name(f"caf\udce9\x1b[31m{path.suffix}"))
    assert run("data", "check", f"yolo:{folder}") == 1
    said = capsys.readouterr().out
    assert r"labels/train/caf\xe9\x1b[31m.txt: line 2" in said
    assert r"(c\x1b[31mt 1)" in said
    assert "\x1b" not in said
    for target in (f"voc:{tmp_path / 'v'}", f"coco:{tmp_path / 'c'},{tmp_path / 'c.json'}"):
        convert_data(f"yolo:{folder}", target)
        assert good(target) == 1
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["caf__[31m.png"]


@pytest.mark.parametrize("name", ["\ud800", "a\0b", "\x1b]0;gone\7"])
def test_a_class_name_of_any_letters_goes_through_every_format(tmp_path: Path, name: str) -> None:
    spec = write_coco(tmp_path, categories=[{"id": 3, "name": name}, {"id": 18, "name": "dog"}])
    shown = load_dataset(spec).class_names[0]
    assert shown.isprintable()
    for target in (f"voc:{tmp_path / 'v'}", f"yolo:{tmp_path / 'y'}", f"rec:{tmp_path / 'r' / 'a.rec'}"):
        convert_data(spec, target)
        assert load_dataset(target).class_names == (shown, "dog")


def test_an_error_shows_the_escapes_of_a_terminal(tmp_path: Path, capsys) -> None:
    assert run("data", "check", f"voc:{tmp_path}/\x1b[31mred") == 2
    assert "\x1b" not in capsys.readouterr().err


# --- The numbers of a file


def test_coco_takes_1_0_and_a_text_for_the_number_1(tmp_path: Path) -> None:
    annotations = [
        {"id": 1.0, "image_id": 7.0, "category_id": "3", "bbox": [1, 2, 20, 15], "iscrowd": "1"},
        {"id": "2", "image_id": "9", "category_id": 18.0, "bbox": [1, 2, 20, 15], "iscrowd": 0.0},
    ]
    check = check_data(write_coco(tmp_path, annotations=annotations))
    assert check.problems == []
    assert (check.objects, check.ignored) == ({"cat": 1, "dog": 1, "zebra": 0}, 1)


def test_categories_of_one_name_are_one_class(tmp_path: Path) -> None:
    spec = write_coco(tmp_path, categories=[{"id": 18, "name": "cat"}, {"id": 3, "name": "cat"}])
    assert check_data(spec).objects == {"cat": 3}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("names: [010, 1.10, 1.1, 12:30, 1_000, yes, 2001-99-99]\n", "010 1.10 1.1 12:30 1_000 yes 2001-99-99"),
        ("exported: 2024-02-30\nnames: {'0': a, '1': 0b_}\nd: !!int ''\n", "a 0b_"),
        ("names:\n  1: 07\n  0: a\n", "a 07"),
    ],
)
def test_names_in_yaml_are_taken_as_they_are_written(tmp_path: Path, text: str, names: str) -> None:
    folder = write_yolo(tmp_path / "y", {"one": LINE}, text)
    assert load_dataset(f"yolo:{folder}").class_names == tuple(names.split())


@pytest.mark.parametrize(("shape", "points"), [("[2, 2]", "0.4 0.4 0.6 0.6"), ("[1, 3]", "0.4 0.4 2")])
def test_the_box_of_a_pose_is_the_one_in_front_of_its_keypoints(tmp_path: Path, shape: str, points: str) -> None:
    folder = write_yolo(tmp_path / "y", {"one": f"0 0.5 0.5 0.5 0.5 {points}"}, f"names: [cat]\nkpt_shape: {shape}\n")
    np.testing.assert_array_equal(load_dataset(f"yolo:{folder}")[0].labels, [[0, 0.25, 0.25, 0.75, 0.75]])
    assert convert_data(f"yolo:{folder}", f"voc:{tmp_path / 'v'}").lost == {"keypoints"}


def test_six_numbers_that_may_be_a_box_and_more_are_told(tmp_path: Path) -> None:
    lines = "0 0.5 0.5 0.4 0.4 0.9 1\n0 0.1 0.1 0.4 0.1 0.25 0.4\n"
    (problem,) = check_data(f"yolo:{write_yolo(tmp_path / 'y', {'one': lines})}").problems
    assert (problem.object, problem.kind) == ("line 1", "six numbers")


def test_fractions_where_pixels_belong_are_a_problem(tmp_path: Path) -> None:
    folder = write_voc(tmp_path / "v", {"one": voc_xml(voc_object("cat", 0.1, 0.2, 0.5, 0.9) + DOG)})
    assert told(check_data(f"voc:{folder}")) == ["smaller than a pixel"]
    assert len(load_dataset(f"voc:{folder}")[0].labels) == 1


def test_a_size_that_is_not_that_of_the_picture_is_told_where_boxes_are_used(tmp_path: Path, capsys) -> None:
    folder = write_voc(tmp_path / "v", {"one": voc_xml(CAT, (30, 40)), "two": voc_xml(CAT)})
    data = load_dataset(f"voc:{folder}")
    assert describe_skipped(data) == ""
    assert [len(example.labels) for example in data] == [1, 1]
    assert "the size in 1 annotation is not that of the image, so boxes may lie elsewhere" in describe_skipped(data)
    assert run("data", "convert", f"voc:{folder}", f"yolo:{tmp_path / 'y'}") == 0
    assert "the size in 1 annotation is not that of the image" in capsys.readouterr().out


def test_all_that_is_not_kept_is_said(tmp_path: Path) -> None:
    xml = voc_xml(f"{CAT}<segmented>1</segmented><source><database>own</database></source><segmented>0</segmented>")
    voc = write_voc(tmp_path / "v", {"one": xml})
    yolo = write_yolo(tmp_path / "y", {"one": "0 0.1 0.1 0.5 0.15 0.45 0.6 0.2 0.55\n"})
    coco = write_coco(tmp_path / "c", images=[{"id": 7, "file_name": "one.jpg", "license": 3}], annotations=[])
    with RecordWriter(tmp_path / "a.rec") as writer:
        label = np.array([2, 8, 0, 0.1, 0.1, 0.5, 0.5, 0, 7, 7], np.float32)
        writer.write(pack_image_record(ImageRecord(label, 0, 0, png(40, 30))))
    for i, (spec, lost) in enumerate(
        {
            f"voc:{voc}": {"segmented", "source"},
            f"yolo:{yolo}": {"polygons"},
            coco: {"license"},
            f"rec:{tmp_path / 'a.rec'}": {"further columns"},
        }.items()
    ):
        assert convert_data(spec, f"voc:{tmp_path / str(i)}").lost == lost


# --- Images


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["tif", "jpg"])
def test_a_picture_is_upright_with_its_size_in_every_format(tmp_path: Path, orientation: int, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    noise(40, 30).save(path, exif=exif)
    assert image_size(path) == read_image(path).shape[:2] == ((40, 30) if orientation > 4 else (30, 40))


def test_a_turned_picture_keeps_its_boxes_when_it_is_converted(tmp_path: Path) -> None:
    folder = write_voc(tmp_path / "v", {"one": voc_xml(voc_object("cat", 5, 10, 25, 35))})
    exif = Image.Exif()
    exif[0x0112] = 6
    (folder / "JPEGImages/one.jpg").unlink()
    noise(40, 30).save(folder / "JPEGImages/one.tif", exif=exif)
    convert_data(f"voc:{folder}", f"coco:{tmp_path / 'c'},{tmp_path / 'c.json'}")
    annotation = DataSource(f"coco:{tmp_path / 'c'},{tmp_path / 'c.json'}").read(None).annotations[0]
    assert annotation.header_size == (30, 40)
    assert pixel_boxes(annotation, 40, 30).tolist() == [[5, 10, 25, 35]]
    assert check_objects(annotation, 40, 30).problems == []


def exif_with_a_text_for_the_resolution(orientation: int) -> bytes:
    """A block of two entries; XResolution (282) must be a fraction, and is a text."""
    entries = struct.pack("<HHII", 0x0112, 3, 1, orientation) + struct.pack("<HHI4s", 282, 2, 3, b"72\0\0")
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entries + struct.pack("<I", 0)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")  # Pillow's, and all that is to be seen of it
def test_an_odd_field_of_the_exif_block_does_not_matter() -> None:
    file = io.BytesIO()
    noise(40, 30).save(file, "JPEG", exif=exif_with_a_text_for_the_resolution(6))
    assert read_image(file.getvalue()).shape == (40, 30, 3)
    file = io.BytesIO()
    noise(40, 30).save(file, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert read_image(file.getvalue()).shape == (30, 40, 3)


def test_pictures_of_10_and_12_bits_are_told(tmp_path: Path) -> None:
    folder = write_yolo(tmp_path / "y", dict.fromkeys(("ten", "twelve", "sixteen"), LINE))
    for stem, bits in (("ten", 10), ("twelve", 12), ("sixteen", 16)):
        pixels = np.linspace(0, 2**bits - 1, 1200).reshape(30, 40).astype(np.uint16)
        Image.fromarray(pixels).save(folder / "images/train" / f"{stem}.png")
    problems = check_data(f"yolo:{folder}").problems
    assert [(Path(p.file).stem, p.kind) for p in problems] == [("ten", "nearly black"), ("twelve", "nearly black")]


def test_a_small_file_of_many_pixels_is_refused_and_a_photograph_is_not(tmp_path: Path) -> None:
    Image.new("1", (6100, 6000)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="6100 x 6000 pixels, more than the 36000000 allowed"):
        read_image(tmp_path / "a.png")
    with (tmp_path / "a.png").open("ab") as file:
        file.write(bytes(400_000))  # as many bytes as a photograph of that size
    assert read_image(tmp_path / "a.png").shape == (6000, 6100, 3)


# --- Paths and encodings of other systems


def test_the_paths_of_windows_are_found_or_told(tmp_path: Path) -> None:
    images = [{"id": 7, "file_name": "pictures\\one.jpg"}, {"id": 9, "file_name": "..\\..\\media\\two.jpg"}]
    write_coco(tmp_path, images=images, annotations=[])
    missing, _ = check_data(f"coco:{tmp_path},{tmp_path / 'boxes.json'}").problems
    assert (missing.value, missing.kind) == ("..\\..\\media\\two.jpg", "missing image")
    assert "backslashes of Windows" in missing.reason


@pytest.mark.parametrize("encoding", ["gb2312", "big5", "shift_jis", "latin-1", "utf-8", "utf-16"])
def test_an_annotation_may_be_in_the_encoding_that_it_declares(tmp_path: Path, encoding: str) -> None:
    name = "café" if encoding == "latin-1" else "中"
    folder = write_voc(tmp_path / "v", {"one": voc_xml(CAT)})
    text = f'<?xml version="1.0" encoding="{encoding}"?>\n{voc_xml(voc_object(name, 1, 2, 9, 9))}'
    (folder / "Annotations/one.xml").write_bytes(text.encode(encoding))
    assert load_dataset(f"voc:{folder}").class_names == (name,)


def run(*arguments: object) -> object:
    with pytest.raises(SystemExit) as done:
        main([str(argument) for argument in arguments])
    return done.value.code
