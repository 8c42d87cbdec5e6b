"""Files that are there and not used, or used under another name: read where that is clear, told where it is not."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from ssd_common.cli import main
from ssd_common.data import DataSource, load_dataset
from ssd_common.data.check import check_data
from ssd_common.data.convert import convert_data
from ssd_common.data.formats.recordio import RecordWriter
from ssd_common.data.formats.records import ImageRecord, pack_image_record
from ssd_common.errors import InputError
from tests.data.data_cases import noise, png, voc_object, voc_xml, write_coco, write_voc, write_yolo

CAT = voc_object("cat", 1, 2, 21, 17)
LINE = "0 0.5 0.5 0.5 0.5\n"
BOX = [4, 5, 40, 30, 0, 0.1, 0.1, 0.5, 0.5]


def told(spec: str) -> list[tuple[str, str]]:
    """The file and the reason of everything that is wrong."""
    return [(problem.file, problem.reason) for problem in check_data(spec).problems]


def good(spec: str) -> int:
    """How many good objects a dataset has in which nothing is wrong."""
    check = check_data(spec)
    assert check.problems == []
    return sum(check.objects.values())


def write_records(path: Path, *labels: list[float]) -> Path:
    """A `.rec` file with its index, an image for each label."""
    with RecordWriter(path, path.with_suffix(".idx")) as writer:
        for i, label in enumerate(labels):
            writer.write(pack_image_record(ImageRecord(np.array(label, np.float32), i, 0, png(40, 30))))
    return path


# --- Images


def test_an_image_that_is_not_read_is_told_once(tmp_path: Path) -> None:
    folder = write_yolo(tmp_path / "y", {"one": LINE, "two": LINE, "three": None})
    for name, ending in (("two", "heic"), ("three", "AVIF")):
        path = folder / "images/train" / f"{name}.png"
        path.rename(path.with_suffix(f".{ending}"))
    assert told(f"yolo:{folder}") == [
        ("labels/train/two.txt", "missing image, images/train/two.heic is not read: convert it to JPEG or PNG"),
        ("images/train/three.AVIF", "unused image, convert it to JPEG or PNG"),
    ]


def test_an_image_beside_the_splits_is_told(tmp_path: Path) -> None:
    folder = write_yolo(tmp_path / "y", {"one": LINE})
    for stem in ("a", "b"):
        noise(40, 30).save(folder / "images" / f"{stem}.jpg")
    assert told(f"yolo:{folder}") == [("images/a.jpg", "unused images, they are in no split, 2 files")]


def test_an_image_without_annotation_is_told_where_no_list_names_the_images(tmp_path: Path) -> None:
    folder = write_voc(tmp_path / "v", {"one": voc_xml(CAT)})
    noise(40, 30).save(folder / "JPEGImages/two.jpg")
    assert good(f"voc:{folder}") == 1
    shutil.rmtree(folder / "ImageSets")
    assert told(f"voc:{folder}") == [("JPEGImages/two.jpg", "unused image, there is no Annotations/two.xml")]


def test_a_folder_of_voc_has_images(tmp_path: Path) -> None:
    folder = write_voc(tmp_path / "v", {"one": voc_xml(CAT)})
    (folder / "JPEGImages").rename(folder / "images")
    with pytest.raises(InputError, match="no folder JPEGImages in it"):
        DataSource(f"voc:{folder}")


def test_a_link_to_a_folder_is_followed_and_a_loop_is_not(tmp_path: Path) -> None:
    folder = write_yolo(tmp_path / "y", {"one": LINE})
    other = write_yolo(tmp_path / "other", {"two": LINE, "three": LINE})
    for part in ("images", "labels"):
        (folder / part / "train/camera").symlink_to(other / part / "train")
        (folder / part / "train/loop").symlink_to(folder / part)
        (other / part / "train/back").symlink_to(folder / part / "train")
    assert good(f"yolo:{folder}") == 3


# --- Labels


@pytest.mark.parametrize(("image", "labels"), [("one", "one.png"), ("One", "one"), ("one", "sub/one")])
def test_labels_of_an_image_that_is_called_differently_are_told_with_their_name(
    tmp_path: Path, image: str, labels: str
) -> None:
    folder = write_yolo(tmp_path / "y", {image: None, "two": LINE})
    (folder / "labels/train/sub").mkdir()
    (folder / "labels/train" / f"{labels}.txt").write_text(LINE)
    reason = f"missing image, {image}.png has its labels in {image}.txt"
    assert told(f"yolo:{folder}") == [(f"labels/train/{labels}.txt", reason)]


@pytest.mark.parametrize("labels", ["Labels/val", "annotations/val", None])
def test_a_split_without_labels_is_told(tmp_path: Path, labels: str | None) -> None:
    folder = write_yolo(tmp_path / "y", {"one": LINE})
    (folder / "images/val").mkdir()
    noise(40, 30, 5).save(folder / "images/val/two.png")
    if labels:
        (folder / labels).mkdir(parents=True)
        (folder / labels / "two.txt").write_text(LINE)
    assert told(f"yolo:{folder}") == [("images/val", "no labels, there is no folder labels/val")]


def test_a_split_of_roboflow_without_labels_is_a_split(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    for split, part in (("train", "labels"), ("valid", "Labels")):
        ours = write_yolo(tmp_path / split, {split: LINE})
        shutil.copytree(ours / "images/train", folder / split / "images")
        shutil.copytree(ours / "labels/train", folder / split / part)
    assert DataSource(f"yolo:{folder}").splits == ("train", "val")
    assert told(f"yolo:{folder}") == [("valid/images", "no labels, there is no folder valid/labels")]


def test_val_and_valid_of_roboflow_are_two_splits(tmp_path: Path) -> None:
    folder = tmp_path / "r"
    for split in ("train", "val", "valid"):
        ours = write_yolo(tmp_path / split, {split: LINE})
        shutil.copytree(ours / "images/train", folder / split / "images")
        shutil.copytree(ours / "labels/train", folder / split / "labels")
    assert DataSource(f"yolo:{folder}").splits == ("train", "val", "valid")


@pytest.mark.parametrize("name", ["classes.txt", "obj.names", "dataset.yaml"])
def test_names_of_classes_that_are_not_read_are_told_once_for_all_splits(tmp_path: Path, name: str) -> None:
    folder = write_yolo(tmp_path / "y", {"one": LINE}, None)
    for part in ("images", "labels"):
        (folder / part / "val").mkdir()
    noise(40, 30, 5).save(folder / "images/val/two.png")
    (folder / name).write_text("cat\n")
    assert told(f"yolo:{folder}") == [(name, "unused file, the names of the classes are read from data.yaml")]
    assert convert_data(f"yolo:{folder}", f"voc:{tmp_path / 'v'}").doubts == 1


@pytest.mark.parametrize(
    ("paths", "split"),
    [
        ("train: images/train\nval: images/val\n", "val"),
        ("train: images/train\nval: images/train\ntest: ../test/images\n", ""),
    ],
)
def test_a_path_in_the_yaml_to_no_folder_is_told(tmp_path: Path, paths: str, split: str) -> None:
    folder = write_yolo(tmp_path / "y", {"one": LINE}, f"{paths}names: [cat]\n")
    problems = [(problem.object, problem.kind) for problem in check_data(f"yolo:{folder}").problems]
    assert problems == ([(split, "unused path")] if split else [])


def test_two_annotations_of_an_image_are_told(tmp_path: Path) -> None:
    yolo = write_yolo(tmp_path / "y", {"one": LINE})
    voc = write_voc(tmp_path / "v", {"one": voc_xml(CAT)})
    for path in (yolo / "labels/train/one.txt", voc / "Annotations/one.xml"):
        shutil.copy(path, path.with_name(path.name.replace(path.suffix, path.suffix.upper())))
    assert told(f"yolo:{yolo}") == [("labels/train/one.txt", "duplicate annotation, one.TXT is read")]
    assert told(f"voc:{voc}") == [("Annotations/one.xml", "duplicate annotation, one.XML is read")]


# --- Lists and indices


@pytest.mark.parametrize("suffix", [".idx", ".lst"])
def test_a_list_in_the_place_of_the_records_is_told(tmp_path: Path, suffix: str) -> None:
    path = write_records(tmp_path / "a.rec", BOX)
    path.with_suffix(suffix).write_text("0\t0\n")
    with pytest.raises(InputError, match=rf"a\{suffix}: lists records and has none: name the file a\.rec"):
        load_dataset(f"rec:{path.with_suffix(suffix)}")


@pytest.mark.parametrize("text", ["one.jpg\nTWO.JPG\n", "one.xml 1\nTWO.xml -1\n"])
def test_a_list_may_have_extensions(tmp_path: Path, text: str) -> None:
    folder = write_voc(tmp_path / "v", {"one": voc_xml(CAT), "TWO": voc_xml(CAT)}, {"train": text})
    assert good(f"voc:{folder}") == 2


def test_an_annotation_of_an_image_that_is_called_differently_is_told_with_its_name(tmp_path: Path) -> None:
    folder = write_voc(tmp_path / "v", {"one.jpg": voc_xml(CAT), "two": voc_xml(CAT)})
    (folder / "JPEGImages/one.jpg.jpg").rename(folder / "JPEGImages/one.jpg")
    (folder / "JPEGImages/two.jpg").rename(folder / "JPEGImages/Two.jpg")
    assert told(f"voc:{folder}") == [
        ("JPEGImages/one.jpg.jpg", "missing image, Annotations/one.jpg.xml is there, and one.jpg"),
        ("JPEGImages/two.jpg", "missing image, Annotations/two.xml is there, and Two.jpg"),
    ]


@pytest.mark.parametrize("name", ["images/one.jpg", "/data/one%2Ejpg", "one.JPG", "one", "http://x.org/a/One.jpg?"])
def test_a_name_in_coco_that_is_nearly_that_of_a_file_is_told_with_the_file(tmp_path: Path, name: str) -> None:
    name = name.removesuffix("?")
    images = [{"id": 7, "file_name": name}, {"id": 9, "file_name": "two.jpg"}]
    spec = write_coco(tmp_path, images=images, annotations=[])
    (missing, _) = check_data(spec, allow_outside=True).problems
    assert missing.value == name
    assert missing.reason.endswith(f"there is no such file in {tmp_path / 'pictures'}, but one.jpg")


def test_a_link_that_leads_nowhere_is_told(tmp_path: Path) -> None:
    spec = write_coco(tmp_path, annotations=[])
    (tmp_path / "pictures/one.jpg").unlink()
    (tmp_path / "pictures/one.jpg").symlink_to("gone.jpg")
    assert told(spec)[0] == ("boxes.json", "missing image, it is a link that leads nowhere")


def test_annotations_of_an_image_without_a_name_are_not_told_as_well(tmp_path: Path) -> None:
    images = [{"id": 7, "coco_url": "http://x.org/one.jpg"}, {"id": 9, "file_name": "two.jpg"}]
    (problem,) = check_data(write_coco(tmp_path, images=images)).problems
    assert (problem.object, problem.kind) == ("image 1", "no id or no file_name")


@pytest.mark.parametrize("index", ["0\t0\n2\t{2}\n", "1\t{1}\n2\t{2}\n", "0\t0\n1\t0\n2\t{2}\n"])
def test_an_index_that_lacks_a_record_is_refused(tmp_path: Path, index: str) -> None:
    path = write_records(tmp_path / "a.rec", BOX, BOX, BOX)
    assert good(f"rec:{path}") == 3
    positions = [line.split()[1] for line in path.with_suffix(".idx").read_text().splitlines()]
    path.with_suffix(".idx").write_text(index.format(*positions))
    with pytest.raises(InputError, match=r"records, not all of .*: delete the \.idx, and the \.rec is read without it"):
        load_dataset(f"rec:{path}")


# --- Classes


def test_names_that_differ_in_case_only_are_told(tmp_path: Path) -> None:
    voc = write_voc(tmp_path / "v", {"one": voc_xml(CAT + voc_object("Cat ", 3, 3, 9, 9))})
    (problem,) = check_data(f"voc:{voc}").problems
    assert (problem.value, problem.kind) == ("Cat, cat", "class names alike")


def test_a_category_that_is_there_for_the_sake_of_others_is_told_if_it_has_no_object(tmp_path: Path) -> None:
    """Roboflow writes one above all others."""
    categories = [
        {"id": 0, "name": "animals", "supercategory": "none"},
        {"id": 3, "name": "cat", "supercategory": "animals"},
        {"id": 18, "name": "dog", "supercategory": "dog"},
        {"id": 20, "name": "zebra", "supercategory": ["animals"]},
    ]
    check = check_data(write_coco(tmp_path / "c", categories=categories))
    (problem,) = check.problems
    assert (problem.object, problem.value, problem.kind) == ("category 0", "animals", "category without objects")
    assert check.objects == {"animals": 0, "cat": 2, "dog": 1, "zebra": 0}
    categories[0]["id"], categories[1]["id"] = 3, 0
    assert good(write_coco(tmp_path / "d", categories=categories)) == 3


def test_a_class_id_that_makes_more_classes_than_there_are_objects_is_told(tmp_path: Path) -> None:
    yolo = write_yolo(tmp_path / "y", {"one": f"{LINE}9001 0.3 0.3 0.2 0.2\n"}, None)
    rec = write_records(tmp_path / "a.rec", [*BOX[:4], 9000, *BOX[5:]])
    for spec, highest in ((f"yolo:{yolo}", 9001), (f"rec:{rec}", 9000)):
        (problem,) = check_data(spec).problems
        assert (problem.value, problem.kind) == (f"class {highest}", "doubtful class")
    coco80 = write_yolo(tmp_path / "c", {"one": f"{LINE}79 0.3 0.3 0.2 0.2\n"}, None)
    assert good(f"yolo:{coco80}") == 2


# --- Paths


def test_the_home_folder_may_be_named_as_a_shell_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_voc(tmp_path / "v", {"one": voc_xml(CAT)})
    write_coco(tmp_path / "c")
    assert good("voc:~/v:train") == 1
    assert good("coco:~/c/pictures,~/c/boxes.json") == 3


def test_the_file_of_coco_may_be_written_into_the_folder_of_its_images(tmp_path: Path) -> None:
    spec = f"coco:{tmp_path / 'c'},{tmp_path / 'c' / 'boxes.json'}"
    convert_data(f"yolo:{write_yolo(tmp_path / 'y', {'one': LINE})}", spec)
    assert good(spec) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c", "y"]


@pytest.mark.filterwarnings("error")
def test_file_names_that_the_font_lacks_are_drawn_without_a_warning(tmp_path: Path, capsys) -> None:
    folder = write_yolo(tmp_path / "图", {"图1": LINE, "esc\x1b[31m": LINE})
    with pytest.raises(SystemExit) as done:
        main(["data", "show", f"yolo:{folder}", "--out", str(tmp_path / "a.png")])
    assert done.value.code == 0
    assert capsys.readouterr().err == ""
