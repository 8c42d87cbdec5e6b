"""What annotation tools write in several ways: read in each that is clear, and told in each that is not."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from ssd_common.data import load_dataset
from ssd_common.data.check import check_data
from ssd_common.errors import InputError
from tests.data.data_cases import voc_object, voc_xml, write_coco, write_voc, write_yolo

CAT = voc_object("cat", 1, 2, 21, 17)
BOX = "<bndbox><xmin>2</xmin><ymin>3</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
LINE = "0 0.5 0.5 0.5 0.5\n"
COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


def told(spec: str) -> tuple[int, int, list[str]]:
    """How many good objects a dataset has, how many of them are to be ignored, and what is wrong, as kinds, sorted."""
    check = check_data(spec)
    return sum(check.objects.values()), check.ignored, sorted(problem.kind for problem in check.problems)


# --- Pascal VOC


CAPITALS = CAT.replace("object>", "Object>").replace("xmin", "XMin")
TWO_BOXES = CAT.replace("</object>", f"{BOX}</object>")
TWO_NAMES = f"<object><name>cat</name><name>dog</name>{BOX}</object>"
PART = f"<object><name>cat</name><part>{BOX}</part></object>"
PART_AND_BOX = f"<object><name>cat</name><part>{BOX}</part>{BOX}</object>"
FIVE_SIDES = CAT.replace("<ymax>17</ymax>", "<ymax>17</ymax><ymax>19</ymax>")
THREE_SIDES = CAT.replace("<ymax>17</ymax>", "")


@pytest.mark.parametrize(
    ("objects", "good", "kinds"),
    [
        pytest.param(CAPITALS, 1, [], id="capitals"),
        pytest.param(CAT + TWO_BOXES, 1, ["more than one bndbox"], id="boxes"),
        pytest.param(CAT + TWO_NAMES, 1, ["more than one name"], id="names"),
        pytest.param(CAT + PART, 1, ["no bndbox"], id="a part"),
        pytest.param(CAT + PART_AND_BOX, 2, [], id="a part and a box"),
        pytest.param(CAT + THREE_SIDES, 1, ["missing number"], id="three sides"),
        pytest.param(CAT + FIVE_SIDES, 1, ["more than one ymax"], id="five sides"),
        pytest.param(CAT + voc_object("cat", "1,5", 2, 9, 9), 1, ["not a number"], id="decimal comma"),
        pytest.param(voc_object("cat", "1.5", "2e0", 9.25, " 9 "), 1, [], id="floats"),
        pytest.param(CAT + voc_object("cat", "1_5", 2, 29, 9), 1, ["not a number"], id="an underscore"),
        pytest.param(f"<objects>{CAT}</objects>", 1, [], id="within objects"),
    ],
)
def test_an_object_of_an_xml_is_read_or_told(tmp_path: Path, objects: str, good: int, kinds: list[str]) -> None:
    assert told(f"voc:{write_voc(tmp_path / 'v', {'one': voc_xml(objects)})}") == (good, 0, kinds)


@pytest.mark.parametrize("root", ["<annotation>", "<Annotation>", '<annotation xmlns="http://x.org/a">'])
def test_an_xml_begins_with_annotation_however_that_is_written(tmp_path: Path, root: str) -> None:
    xml = f"{root}{CAT}</{root[1:11]}>"
    assert told(f"voc:{write_voc(tmp_path / 'v', {'one': xml})}") == (1, 0, [])


@pytest.mark.parametrize(
    ("text", "ignored", "kinds"),
    [("1", 1, []), (" True ", 1, []), ("yes", 1, []), ("0", 0, []), ("", 0, []), ("Unspecified", 0, []), ("no", 0, [])]
    + [("2", 0, ["neither 0 nor 1"]), ("hard", 0, ["neither 0 nor 1"])],
)
def test_a_mark_is_yes_or_no_or_told(tmp_path: Path, text: str, ignored: int, kinds: list[str]) -> None:
    xml = voc_xml(CAT + voc_object("cat", 2, 2, 9, 9, more=f"<difficult>{text}</difficult>"))
    assert told(f"voc:{write_voc(tmp_path / 'v', {'one': xml})}") == (2 - len(kinds), ignored, kinds)
    annotations = [
        {"id": i, "image_id": 7, "category_id": 3, "bbox": [i, 2, 9, 9], "iscrowd": crowd}
        for i, crowd in enumerate((0, text))
    ]
    spec = write_coco(tmp_path / "c", annotations=annotations)
    assert told(spec) == (2 - len(kinds), ignored, kinds)


def test_a_list_that_lies_elsewhere_is_told(tmp_path: Path) -> None:
    folder = write_voc(tmp_path / "v", {"one": voc_xml(CAT)})
    (folder / "ImageSets/Main/train.txt").rename(folder / "ImageSets/train.txt")
    assert told(f"voc:{folder}") == (1, 0, ["unused list"])


@pytest.mark.parametrize(("width", "kinds"), [("40.0", []), (" 41 ", ["wrong image size"]), ("wide", []), ("inf", [])])
def test_a_size_may_be_a_fraction(tmp_path: Path, width: str, kinds: list[str]) -> None:
    xml = voc_xml(CAT).replace("<width>40<", f"<width>{width}<")
    assert told(f"voc:{write_voc(tmp_path / 'v', {'one': xml})}") == (1, 0, kinds)


@pytest.mark.parametrize("declaration", ["", '<?xml version="1.0" encoding="UTF-8"?>'])
def test_an_xml_that_is_not_utf_8_is_told_in_words(tmp_path: Path, declaration: str) -> None:
    folder = write_voc(tmp_path / "v", {"one": voc_xml(CAT)})
    start = f"{declaration}<annotation><object><name>"
    (folder / "Annotations/one.xml").write_bytes(f"{start}é</name></object></annotation>".encode("latin-1"))
    problem = check_data(f"voc:{folder}").problems[0]
    assert problem.reason == f"unreadable annotation, byte {len(start) + 1} is not UTF-8: save the file as UTF-8"


@pytest.mark.parametrize("text", ["one\r\ntwo\r\n", "\ufeffone\ntwo", "one\rtwo\r", "two 1\none -1\n"])
def test_a_list_has_lines_of_any_system(tmp_path: Path, text: str) -> None:
    folder = write_voc(tmp_path / "v", {"one": voc_xml(CAT), "two": voc_xml(CAT)})
    (folder / "ImageSets/Main/train.txt").write_bytes(text.encode())
    assert told(f"voc:{folder}") == (2, 0, [])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
def test_a_text_file_may_be_in_the_utf_16_of_windows(tmp_path: Path, encoding: str) -> None:
    voc = write_voc(tmp_path / "v", {"one": voc_xml(voc_object("é", 1, 2, 21, 17))})
    yolo = write_yolo(tmp_path / "y", {"one": LINE})
    mark = "\ufeff" if encoding == "utf-16-be" else ""  # the others write it
    for path, text in {
        voc / "ImageSets/Main/train.txt": "one\r\n",
        voc / "classes.txt": "é\r\n",
        yolo / "labels/train/one.txt": "0 0.5 0.5 0.5 0.5\r\n",
        yolo / "data.yaml": "names: [é]\r\n",
    }.items():
        path.write_bytes(f"{mark}{text}".encode(encoding))
    for spec in (f"voc:{voc}", f"yolo:{yolo}"):
        assert told(spec) == (1, 0, [])
        assert load_dataset(spec).class_names == ("é",)
    (yolo / "data.yaml").unlink()
    (yolo / "labels/train/one.txt").write_bytes(f"{mark}2 0.5 0.5 0.5 0.5".encode(encoding))
    assert load_dataset(f"yolo:{yolo}").class_names == ("class 0", "class 1", "class 2")


# --- Names of classes, in every format


def test_a_class_name_in_two_unicode_forms_is_one_class(tmp_path: Path) -> None:
    objects = voc_object(COMPOSED, 1, 2, 9, 9) + voc_object(DECOMPOSED, 2, 2, 9, 9)
    voc = write_voc(tmp_path / "v", {"one": voc_xml(objects)})
    coco = write_coco(tmp_path / "c", categories=[{"id": 3, "name": COMPOSED}, {"id": 18, "name": DECOMPOSED}])
    for spec in (f"voc:{voc}", coco):
        assert load_dataset(spec).class_names == (COMPOSED,)
    (voc / "classes.txt").write_text(f"{COMPOSED}\n{DECOMPOSED}\n")
    yolo = write_yolo(tmp_path / "y", {"one": LINE}, f"names: [{COMPOSED}, {DECOMPOSED}]\n")
    for spec in (f"voc:{voc}", f"yolo:{yolo}"):
        with pytest.raises(InputError, match="is given twice; name each once"):
            load_dataset(spec)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("names: {0: cat, 0: dog}\n", "not of names from 0 on, each once"),
        ("names: [cat]\nnames: [dog]\n", "'names' is given twice"),
        ("names: [cat, cat]\n", "class name 'cat' is given twice"),
        ("names: [cat, dog]\nnc: 3\n", "nc is 3, but 'names' has 2: correct one of them"),
        ("names: [cat, dog]\nnc: 3.0\n", "nc is 3.0, but 'names' has 2: correct one of them"),
        ("names: [cat, dog]\nnc: two\n", "nc is two, but 'names' has 2: correct one of them"),
        ("names:\n  - light: red\n  - dog\n", "a list that is not of names: a name with a colon needs quotation marks"),
        ("base: &n [cat, dog]\nnames: *n\n", r"its 'names' are the text '\*n'"),
        ("names: {1: cat, 2: dog}\n", "a table from 0 on"),
        ("names:\n", "its 'names' are empty"),
        ("names: cat\n", "its 'names' are the text 'cat'"),
        ("names: [[cat], [dog]]\n", "a list that is not of names"),
        ("nc: 2\n", "no 'names' in it"),
        ("", "no 'names' in it"),
        ("names:\n\t- cat\n", "not a readable YAML file"),
        ("names: [cat]\nkpt_shape: 17\n", r"kpt_shape is not two whole numbers: write it as \[17, 3\]"),
    ],
)
def test_a_yaml_without_clear_names_is_refused_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    folder = write_yolo(tmp_path / "y", {"one": LINE}, text)
    with pytest.raises(InputError, match=words) as refusal:
        load_dataset(f"yolo:{folder}")
    assert str(refusal.value).startswith(f"{folder / 'data.yaml'}: ")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("count", ["2", "2.0", "02", "'2'", "", "2  # two"])
def test_a_number_of_classes_may_be_written_in_several_ways(tmp_path: Path, count: str) -> None:
    folder = write_yolo(tmp_path / "y", {"one": LINE}, f"names: [cat, dog]\nnc: {count}\n")
    assert load_dataset(f"yolo:{folder}").class_names == ("cat", "dog")


# --- YOLO


def test_a_file_in_the_place_of_a_folder_is_told(tmp_path: Path) -> None:
    folder = write_yolo(tmp_path / "y", {"one": LINE})
    with pytest.raises(InputError, match=r"data.yaml: a file, not the folder of a dataset"):
        load_dataset(f"yolo:{folder / 'data.yaml'}")


@pytest.mark.parametrize(
    ("text", "good", "kinds"),
    [
        pytest.param("0.0 0.5 0.5 0.5 0.5\r\n1. 0.5 0.5 0.2 0.2\r\n", 2, [], id="whole numbers as 1.0"),
        pytest.param("1.000000e+00 5e-01 5e-01 5e-01 5e-01\n+0 .5 .5 .2 .2\n", 2, [], id="as numpy.savetxt writes"),
        pytest.param(LINE + "1.5 0.5 0.5 0.5 0.5\n", 1, ["unknown class"], id="class 1.5"),
        pytest.param(LINE + "1e99 0.5 0.5 0.5 0.5\n", 1, ["unknown class"], id="class 1e99"),
        pytest.param(LINE + "3 0.5 0.5 0.5 0.5\n-1 0.5 0.5 0.5 0.5\n", 1, ["unknown class"] * 2, id="beyond the names"),
        pytest.param(LINE + "cat 0.5 0.5 0.5 0.5\n٠ 0.5 0.5 0.2 0.2\n", 1, ["unknown class"] * 2, id="no number"),
        pytest.param(LINE + "0 0,5 0,5 0,5 0,5\n", 1, ["not a number"], id="decimal comma"),
        pytest.param(LINE + "0,0.5,0.5,0.2,0.2\n0; .5; .5; .2; .2\n", 1, ["a comma or a semicolon"] * 2, id="commas"),
        pytest.param(LINE + "0 0_5 0.5 0.5 0.5\n", 1, ["not a number"], id="an underscore"),
        pytest.param(LINE + "0 20 15 10 10\n", 1, ["outside the image"], id="pixels"),
        pytest.param(LINE + "0 0.5 0.5 0.2 0.2 0.9\n", 1, ["wrong number of values"], id="a confidence"),
        pytest.param(LINE + "0 nan .5 .5 .5\n0 .5 .5 -.5 .5\n", 1, ["inverted", "not a finite number"], id="no box"),
        pytest.param("\ufeff0 0.1 0.1 0.4 0.1 0.4 0.4 0.1 0.4\n\n", 1, [], id="four corners"),
        pytest.param(LINE + "0 -0.1 0.1 1.4 0.1 0.4 0.4\n", 1, ["outside the image"], id="polygon outside"),
    ],
)
def test_a_label_is_read_or_told(tmp_path: Path, text: str, good: int, kinds: list[str]) -> None:
    folder = write_yolo(tmp_path / "y", {"one": None})
    (folder / "labels/train/one.txt").write_bytes(text.encode())
    assert told(f"yolo:{folder}") == (good, 0, kinds)


@pytest.mark.parametrize(
    ("paths", "kinds"),
    [
        ("path: ../datasets/y\ntrain: images/train\nval: images/train\n", []),
        ("path: /data/images\ntrain: train/\n", []),
        ("train: [images/train]\n", []),
        ("train: C:\\data\\images\\train\n", []),
        ("train: null\nval: ~\ntest:\n", []),
        ("train: train.txt\n", ["unused path"]),
        ("train: [images/train, images/more]\n", ["unused path"]),
    ],
)
def test_a_path_in_the_yaml_that_is_not_where_images_are_read_is_told(tmp_path: Path, paths: str, kinds: list) -> None:
    folder = write_yolo(tmp_path / "y", {"one": LINE}, f"{paths}names: [cat]\n")
    assert told(f"yolo:{folder}") == (1, 0, kinds)


def test_a_yaml_of_another_name_is_told(tmp_path: Path) -> None:
    folder = write_yolo(tmp_path / "y", {"one": LINE}, None)
    (folder / "dataset.yml").write_text("names: [cat]\n")
    assert told(f"yolo:{folder}") == (1, 0, ["unused file"])


# --- COCO


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"image_id": True}, "missing image"),
        ({"image_id": 7.5}, "missing image"),
        ({"image_id": 10**30}, "missing image"),
        ({"category_id": 10**30}, "unknown class"),
        ({"category_id": None}, "unknown class"),
        ({"bbox": None}, "no box"),
        ({"bbox": "1,2,20,15"}, "no box"),
        ({"bbox": [1, 2, 3]}, "wrong number of values"),
        ({"bbox": [1, 2, -3, 4]}, "inverted"),
        ({"bbox": [1, 2, float("inf"), 4]}, "not a finite number"),
        ({"bbox": [1, 2, 10**400, 4]}, "not a number"),
        ({"bbox": [True, 2, 3, 4]}, "not a number"),
        ({"bbox": [1, None, 3, 4]}, "missing number"),
        ({"bbox": [20, 15, 39, 29]}, "outside the image"),
        ({"iscrowd": [1]}, "neither 0 nor 1"),
    ],
)
def test_an_annotation_that_is_not_clear_is_told(tmp_path: Path, changes: dict[str, object], kind: str) -> None:
    good = {"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 2, 20, 15]}
    spec = write_coco(tmp_path, annotations=[good, {"id": 2, **good, **changes}])
    assert told(spec) == (1, 0, [kind])


def test_an_image_that_is_there_under_two_names_is_told(tmp_path: Path) -> None:
    images = [
        {"id": 7, "file_name": "one.jpg"},
        {"id": 9, "file_name": "./one.jpg"},
        {"id": 8, "file_name": ".\\one.jpg"},
    ]
    problems = check_data(write_coco(tmp_path, images=images, annotations=[])).problems
    assert [problem.reason for problem in problems[:2]] == ["duplicate image, the same as image 1"] * 2


def test_a_field_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    spec = write_coco(tmp_path)
    text = (tmp_path / "boxes.json").read_text()
    (tmp_path / "boxes.json").write_text(f'{text[:-1]}, "annotations": []}}')
    with pytest.raises(InputError, match=r"boxes.json: not a readable JSON file \('annotations' is given twice\)"):
        load_dataset(spec)


def test_a_size_may_be_written_as_text(tmp_path: Path) -> None:
    images = [{"id": 7, "file_name": "one.jpg", "width": "30", "height": 40.0}]
    spec = write_coco(tmp_path, images=images, annotations=[])
    assert "wrong image size" in told(spec)[2]


# --- Nothing


def test_a_dataset_without_images_is_told(tmp_path: Path) -> None:
    coco = write_coco(tmp_path / "c", images=[], annotations=[])
    voc = write_voc(tmp_path / "v", {})
    yolo = write_yolo(tmp_path / "y", {})
    for spec in (coco, f"voc:{voc}", f"yolo:{yolo}"):
        assert told(spec) == (0, 0, ["no image"])
        with pytest.raises(InputError, match="has no images: check the path and the split"):
            load_dataset(spec)
