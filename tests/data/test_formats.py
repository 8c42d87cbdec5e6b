"""Each format is read as others read it, and whatever is wrong in it is named or refused in one line."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssd_common.data import DataSource, load_dataset, parse_spec
from ssd_common.data.annotated import describe_skipped
from ssd_common.errors import InputError
from tests.data.data_cases import noise, voc_object, voc_xml, write_coco, write_voc, write_yolo

CAT, DOG = voc_object("cat", 1, 2, 21, 17), voc_object("dog", 0, 0, 40, 30)


def labels_of(spec: str, split: str = "train") -> list[list[list[float]]]:
    """All the labels of a dataset, the corners in pixels of an image of 40 x 30."""
    scale = [1, 40, 30, 40, 30]
    return [(labels * scale).round(4).tolist() for _, labels, _ in load_dataset(spec, split)]


# --- what is right


def test_voc_is_read(tmp_path: Path) -> None:
    write_voc(tmp_path / "v", {"one": voc_xml(CAT + DOG), "two": voc_xml("")}, {"train": "two\none\n", "val": "one\n"})
    data = load_dataset(f"voc:{tmp_path / 'v'}")
    assert data.name == f"voc:{tmp_path / 'v'}:train"
    assert data.class_names == ("cat", "dog")
    assert labels_of(data.name) == [[], [[0, 1, 2, 21, 17], [1, 0, 0, 40, 30]]]
    image, labels, _ = data[1]
    assert (image.shape, image.dtype, labels.dtype) == ((30, 40, 3), np.uint8, np.float32)
    np.testing.assert_array_equal(image, np.asarray(Image.open(tmp_path / "v" / "JPEGImages" / "one.jpg")))
    assert len(load_dataset(f"voc:{tmp_path / 'v'}", "val")) == 1


def test_the_real_voc_set_is_what_its_xml_says(data_dir: Path) -> None:
    folder = data_dir / "voc" / "bccd"
    data = load_dataset(f"voc:{folder}", "test")
    assert data.class_names == ("Platelets", "RBC", "WBC")
    stems = (folder / "ImageSets" / "Main" / "test.txt").read_text().split()
    assert len(data) == len(stems) == 72
    for index in (0, 35, 71):
        text = (folder / "Annotations" / f"{stems[index]}.xml").read_text()
        pattern = r"<name>(\w+)</name>.*?<xmin>(\d+)</xmin>\s*<ymin>(\d+)</ymin>\s*<xmax>(\d+)</xmax>\s*<ymax>(\d+)<"
        expected = [
            [data.class_names.index(name), *map(int, corners)]
            for name, *corners in re.findall(pattern, text, re.DOTALL)
        ]
        np.testing.assert_allclose(data[index][1] * [1, 640, 480, 640, 480], expected, atol=1e-4)


def test_voc_without_lists_is_one_split_that_has_any_name(tmp_path: Path) -> None:
    folder = write_voc(tmp_path / "v", {"one": voc_xml(CAT), "two": voc_xml(DOG)})
    shutil.rmtree(folder / "ImageSets")
    assert DataSource(f"voc:{folder}").separate_splits() == (None,)
    assert len(load_dataset(f"voc:{folder}", "val")) == 2
    assert load_dataset(f"voc:{folder}", "val").name == f"voc:{folder}"


def test_the_lists_of_voc_may_have_the_flags_of_a_class_and_names_with_spaces(tmp_path: Path) -> None:
    lists = {"train": "one 1\nthe other 1\n", "cat_train": "one  1\nthe other 1  -1\n", "val": "one\n", "trainval": ""}
    folder = write_voc(tmp_path / "v", {"one": voc_xml(CAT), "the other 1": voc_xml(DOG)}, lists)
    for split in ("train", "cat_train"):
        assert labels_of(f"voc:{folder}", split) == [[[0, 1, 2, 21, 17]], [[1, 0, 0, 40, 30]]]
    assert DataSource(f"voc:{folder}").separate_splits() == ("train", "val")


def test_notes_beside_the_pictures_of_voc_are_no_pictures(tmp_path: Path) -> None:
    folder = write_voc(tmp_path / "v", {"one": voc_xml(CAT)})
    for name in ("one.json", "one.aaa", "Thumbs.db", ".hidden"):
        (folder / "JPEGImages" / name).write_text("a note")
    assert labels_of(f"voc:{folder}") == [[[0, 1, 2, 21, 17]]]


def test_the_classes_of_voc_are_those_of_all_splits_or_of_classes_txt(tmp_path: Path) -> None:
    folder = write_voc(tmp_path / "v", {"one": voc_xml(DOG), "two": voc_xml(CAT)}, {"train": "one\n", "val": "two\n"})
    assert (
        load_dataset(f"voc:{folder}").class_names == load_dataset(f"voc:{folder}", "val").class_names == ("cat", "dog")
    )
    (folder / "classes.txt").write_text("dog\nzebra\n\ncat\n")
    assert load_dataset(f"voc:{folder}").class_names == ("dog", "zebra", "cat")
    assert labels_of(f"voc:{folder}") == [[[0, 0, 0, 40, 30]]]


def test_coco_counts_its_categories_in_the_order_of_their_ids(tmp_path: Path) -> None:
    spec = write_coco(tmp_path)
    data = load_dataset(spec)
    assert data.class_names == ("cat", "dog", "zebra")
    assert labels_of(spec) == [[[0, 1, 2, 21, 17], [1, 0, 0, 40, 30]], []]
    assert data.name == spec
    assert load_dataset(spec, "val").name == spec  # there is no other split


def test_yolo_is_read(tmp_path: Path) -> None:
    folder = write_yolo(tmp_path / "y", {"one": "0 0.275 0.316666666666667 0.5 0.5\n\n1 0.5 0.5 1 1\n", "two": None})
    assert load_dataset(f"yolo:{folder}").class_names == ("cat", "dog", "zebra")
    assert labels_of(f"yolo:{folder}") == [[[0, 1, 2, 21, 17], [1, 0, 0, 40, 30]], []]


@pytest.mark.parametrize("line", ["2\t0.5\t0.5\t1\t1", "  2 0.5 0.5 1 1"])
def test_the_columns_of_yolo_may_be_apart_in_any_way(tmp_path: Path, line: str) -> None:
    folder = write_yolo(tmp_path / "y", {"one": line}, names=None)
    assert load_dataset(f"yolo:{folder}").class_names == ("class 0", "class 1", "class 2")
    assert labels_of(f"yolo:{folder}") == [[[2, 0, 0, 40, 30]]]


def test_a_polygon_of_yolo_is_the_box_around_it(tmp_path: Path) -> None:
    triangle, diamond = "0 0.025 0.5 0.525 0.1 0.3 0.6", "1 0.5 0 1 0.5 0.5 1 0 0.5"
    folder = write_yolo(tmp_path / "y", {"one": f"{triangle}\n{diamond}\n"})
    assert labels_of(f"yolo:{folder}") == [[[0, 1, 3, 21, 18], [1, 0, 0, 40, 30]]]


def test_the_layout_of_roboflow_is_read_too(tmp_path: Path) -> None:
    ours = write_yolo(tmp_path / "y", {"one": "0 0.5 0.5 1 1\n", "two": None})
    theirs = tmp_path / "r"
    for split in ("train", "valid", "test"):
        for part in ("images", "labels"):
            shutil.copytree(ours / part / "train", theirs / split / part)
    (theirs / "valid" / "labels" / "one.txt").write_text("2 0.5 0.5 1 1\n")
    (theirs / "test" / "labels" / "one.txt").write_text("4 0.5 0.5 1 1\n")
    (theirs / "raw" / "images").mkdir(parents=True)
    assert DataSource(f"yolo:{theirs}").separate_splits() == ("test", "train", "val")
    assert load_dataset(f"yolo:{theirs}").class_names == tuple(f"class {i}" for i in range(5))
    (theirs / "data.yaml").write_bytes((ours / "data.yaml").read_bytes())
    assert labels_of(f"yolo:{theirs}") == [[[0, 0, 0, 40, 30]], []]
    assert labels_of(f"yolo:{theirs}", "val") == [[[2, 0, 0, 40, 30]], []]
    with pytest.raises(InputError, match=f"{theirs}: no split 'valid'; the splits are test, train, val"):
        load_dataset(f"yolo:{theirs}:valid")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("names:\n  0: cat\n  1: a dog\n", ("cat", "a dog")),
        ("names: ['cat', 7]\n", ("cat", "7")),
        (None, ("class 0", "class 1", "class 2")),
    ],
)
def test_the_classes_of_yolo_are_named_in_its_yaml_or_numbered(
    tmp_path: Path, names: str | None, expected: tuple[str, ...]
) -> None:
    folder = write_yolo(tmp_path / "y", {"one": "2 0.5 0.5 1 1\n"}, names)
    assert load_dataset(f"yolo:{folder}").class_names == expected


def test_difficult_objects_and_crowds_are_no_labels_but_ignored(tmp_path: Path) -> None:
    hard = voc_object("dog", 10, 15, 20, 30, more="<difficult>1</difficult>")
    folder = write_voc(tmp_path / "v", {"one": voc_xml(CAT + hard), "two": voc_xml(DOG)})
    voc, coco = load_dataset(f"voc:{folder}"), load_dataset(write_coco(tmp_path / "c"), limit=2)
    for data, index, expected in (
        (voc, 0, [[1, 0.25, 0.5, 0.5, 1]]),
        (voc, 1, np.empty((0, 5))),
        (coco, 1, [[0, 0.1375, 0.20833333, 0.3875, 0.54166667]]),
        (load_dataset("synthetic"), 0, np.empty((0, 5))),
    ):
        found = data[index].ignored
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert labels_of(f"voc:{folder}")[0] == [[0, 1, 2, 21, 17]]
    assert voc.skipped() == (0, 3)


# --- sizes, orientation, kinds of images


def test_boxes_are_parts_of_the_picture_whatever_the_annotation_says_its_size_is(tmp_path: Path) -> None:
    folder = write_voc(tmp_path / "v", {"one": voc_xml(DOG, size=(4000, 3000))})
    np.testing.assert_array_equal(load_dataset(f"voc:{folder}")[0][1], [[0, 0, 0, 1, 1]])


def test_boxes_refer_to_the_upright_picture(tmp_path: Path) -> None:
    folder = write_voc(
        tmp_path / "v", {"one": voc_xml(voc_object("cat", 0, 0, 15, 40, more="<difficult>1</difficult>"))}
    )
    exif = Image.Exif()
    exif[0x0112] = 6
    noise(40, 30).save(folder / "JPEGImages" / "one.jpg", exif=exif)  # lies on its side, is shown as 30 x 40
    data = load_dataset(f"voc:{folder}")
    assert data[0][0].shape == (40, 30, 3)
    np.testing.assert_array_equal(data[0].ignored, [[0, 0, 0, 0.5, 1]])


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "I;16"])
def test_a_picture_of_any_kind_and_with_a_wrong_extension_becomes_rgb(tmp_path: Path, mode: str) -> None:
    folder = write_voc(tmp_path / "v", {"one": voc_xml(DOG)})
    image = noise(40, 30).convert("L" if mode == "I;16" else mode)
    image = Image.fromarray(np.asarray(image).astype(np.uint16) << 8) if mode == "I;16" else image
    image.save(folder / "JPEGImages" / "one.jpg", "PNG")
    image, labels, _ = load_dataset(f"voc:{folder}")[0]
    assert (image.shape, image.dtype) == ((30, 40, 3), np.uint8)
    np.testing.assert_array_equal(labels, [[0, 0, 0, 1, 1]])


# --- objects that are wrong are left out and counted


def test_bad_objects_are_skipped_counted_and_told(tmp_path: Path) -> None:
    bad = [
        voc_object("cat", 5, 5, 5, 9),  # zero area
        voc_object("cat", 9, 5, 5, 9),  # inverted
        voc_object("cat", 5, 5, 99, 9),  # outside
        voc_object("cat", 40, 5, 41, 9),  # within a pixel of the image, and nothing of it inside
        voc_object("cat", 5, "NaN", 9, 9),
        voc_object("cat", 5, "five", 9, 9),
        voc_object("cat", 1, 2, 21, 17),  # the first one again
        voc_object("", 1, 2, 21, 17),
        "<object><name>cat</name></object>",
    ]
    folder = write_voc(tmp_path / "v", {"one": voc_xml(CAT + "".join(bad)), "two": voc_xml(DOG)})
    data = load_dataset(f"voc:{folder}")
    assert describe_skipped(data) == ""
    for _ in range(2):  # each object is counted once, however often it is read
        assert labels_of(f"voc:{folder}") == [[[0, 1, 2, 21, 17]], [[1, 0, 0, 40, 30]]]
        assert [len(labels) for _, labels, _ in data] == [1, 1]
    assert data.skipped() == (9, 11)
    line = f"{data.name}: skipped 9 of 11 boxes: run tinyssd data check"
    assert describe_skipped(data).startswith(line)
    assert describe_skipped(load_dataset("synthetic")) == ""


def test_a_corner_a_pixel_outside_is_cut_off(tmp_path: Path) -> None:
    folder = write_voc(tmp_path / "v", {"one": voc_xml(voc_object("cat", -1, 3, 41, 31))})
    np.testing.assert_allclose(load_dataset(f"voc:{folder}")[0][1], [[0, 0, 0.1, 1, 1]])


def test_a_crowd_with_a_bad_box_is_not_ignored_but_wrong(tmp_path: Path) -> None:
    crowd = {"id": 1, "image_id": 7, "category_id": 3, "bbox": [5, 5, 0, 5], "iscrowd": 1}
    data = load_dataset(write_coco(tmp_path, annotations=[crowd]))
    assert len(data[0].ignored) == len(data[0].labels) == 0
    assert data.skipped() == (1, 1)


# --- files that are wrong are refused in one line

LOL = '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;&b;&b;">]>'


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"Annotations/one.xml": "<annotation><object>"}, ["Annotations/one.xml: unreadable annotation", "no element"]),
        ({"Annotations/one.xml": f"{LOL}<annotation>&c;</annotation>"}, ["Annotations/one.xml", "document type a"]),
        ({"Annotations/one.xml": '<?xml version="1.0" encoding="klingon"?><a/>'}, ["one.xml", "unknown encoding"]),
        ({"Annotations/one.xml": "<html></html>"}, ["one.xml", "it is a web page: download the file again"]),
        ({"ImageSets/Main/train.txt": "one\nnone\n"}, ["Annotations/none.xml: missing", "listed in split train"]),
        (
            {"ImageSets/Main/train.txt": "one\ntwo\none 1\n"},
            ["train.txt: line 3: one: duplicate image, first in line 1"],
        ),
        ({"ImageSets/Main/train.txt": "\n"}, ["has no images"]),
        ({"ImageSets/Main/train.txt": b"\xff\xfe\x00"}, ["train.txt", "not a readable list"]),
        ({"JPEGImages/one.png": "a second one"}, ["JPEGImages/one.png: duplicate image, one.jpg has the same name"]),
        ({"JPEGImages/one.jpg": None}, ["JPEGImages/one.jpg: missing image, Annotations/one.xml is there"]),
        ({"classes.txt": ""}, ["classes.txt", "no class names"]),
        ({"classes.txt": "cat\ncat\n"}, ["classes.txt", "'cat' is given twice"]),
        ({"ImageSets/Main/train.txt": None, "ImageSets/Main/a.txt": ""}, ["no split 'train'", "the splits are a"]),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else None,
)
def test_a_voc_folder_that_is_wrong_is_refused(
    tmp_path: Path, files: dict[str, str | bytes | None], words: list[str]
) -> None:
    folder = write_voc(tmp_path / "v", {"one": voc_xml(CAT), "two": voc_xml(DOG)})
    for name, content in files.items():
        if content is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(f"voc:{folder}", words)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_bomb_of_entities_is_refused_before_it_goes_off(tmp_path: Path, encoding: str) -> None:
    entities = '<!ENTITY a0 "bang">' + "".join(f'<!ENTITY a{i + 1} "{f"&a{i};" * 10}">' for i in range(12))
    folder = write_voc(tmp_path / "v", {"one": voc_xml(CAT)})
    text = f"<!DOCTYPE bomb [{entities}]><annotation><object><name>&a12;</name></object></annotation>"
    (folder / "Annotations" / "one.xml").write_bytes(text.encode(encoding))
    refused(f"voc:{folder}", ["one.xml", "document type bomb"])


IMAGES = [{"id": 7, "file_name": "one.jpg"}]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", ["boxes.json: not a readable JSON file"]),
        ("[" * 100_000, ["boxes.json: not a readable JSON file"]),
        (b"\xff\xfe\x00", ["boxes.json: not a readable JSON file"]),
        ("[1, 2]", ["boxes.json: a list, not a COCO dataset"]),
        ({"images": [], "categories": []}, ["boxes.json: no 'annotations'"]),
        ({"images": {}, "annotations": [], "categories": []}, ["'images' is a dict, not a list"]),
        ({"images": [], "annotations": [[1]], "categories": []}, ["annotations: item 1 is [1]"]),
        ({"images": IMAGES, "annotations": [], "categories": []}, ["categories: no class names"]),
        ({"images": IMAGES, "annotations": [], "categories": [{"id": 1}]}, ['category {"id": 1} needs']),
        (
            {"images": IMAGES, "annotations": [], "categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]},
            ["an id is given twice"],
        ),
        (
            {"images": IMAGES * 2, "annotations": [], "categories": [{"id": 1, "name": "a"}]},
            ["image 2: id 7: duplicate"],
        ),
        ({"images": [{"id": 7}], "annotations": [], "categories": [{"id": 1, "name": "a"}]}, ["no id or no file_name"]),
        ({"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}]}, ["has no images"]),
    ],
    ids=lambda value: value[0][:40] if isinstance(value, list) else "",
)
def test_a_json_file_that_is_not_coco_is_refused(tmp_path: Path, content: object, words: list[str]) -> None:
    spec = write_coco(tmp_path)
    text = content if isinstance(content, (str, bytes)) else json.dumps(content)
    (tmp_path / "boxes.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    refused(spec, words)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ("names: {1: cat}\n", ["data.yaml: its 'names' are a table that is not of names from 0 on"]),
        ("train: images/train\n", ["data.yaml: no 'names'"]),
        ("- cat\n", ["data.yaml: no 'names'"]),
        ("names: [cat, cat]\n", ["data.yaml: names: class name 'cat' is given twice"]),
        ("names: [\n", ["data.yaml: not a readable YAML file"]),
        ("names: !!python/object/apply:os.getcwd []\n", ["data.yaml: names: no class names"]),
        ("names:\n  0:cat\n  1:dog\n", ["its 'names' are the text '0:cat 1:dog'", "'  0: cat'"]),
        ("names: [a, [b]]\n", ["its 'names' are a list that is not of names"]),
        ("[" * 1000, ["not a readable YAML file (nested more than 100 deep)"]),
    ],
)
def test_a_yaml_file_without_class_names_is_refused(tmp_path: Path, names: str, words: list[str]) -> None:
    refused(f"yolo:{write_yolo(tmp_path / 'y', {'one': ''}, names)}", words)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("voc:none", ["none: no such folder"]),
        ("voc:.", ["no folder Annotations in it"]),
        ("yolo:none", ["none: no such folder"]),
        ("yolo:.", ["no folder images/SPLIT in it"]),
        ("coco:none,none.json", ["none: no such folder", "none.json"]),
        ("coco:none.json", ["coco:IMAGES,FILE.json"]),
        ("rec:none.rec", ["none.rec: no such file"]),
        ("voc:", ["'voc:' names no path; write voc:DIR"]),
        ("voc", ["'voc' names no path; write voc:DIR"]),
        ("vox:none", ["unknown dataset 'vox'", "voc:DIR"]),
        ("bananas:test", ["bananas: no split 'test'; the splits are train, val"]),
    ],
)
def test_a_data_set_that_is_not_there_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(spec, words)


def refused(spec: str, words: list[str]) -> None:
    with pytest.raises(InputError) as refusal:
        load_dataset(spec)
    message = str(refusal.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_a_picture_that_is_not_there_or_damaged_is_named_when_it_is_read(tmp_path: Path) -> None:
    data = load_dataset(write_coco(tmp_path))
    (tmp_path / "pictures" / "one.jpg").unlink()
    (tmp_path / "pictures" / "two.jpg").write_text("no image")
    with pytest.raises(InputError, match=r"pictures/one\.jpg: cannot read the image \(No such file"):
        data[0]
    with pytest.raises(InputError, match=r"pictures/two\.jpg: not an image"):
        data[1]


# --- names of datasets


@pytest.mark.parametrize(
    ("spec", "path", "split"),
    [
        ("voc:DIR", "DIR", None),
        ("voc:DIR:val", "DIR", "val"),
        ("voc:/a/b c/DIR:train", "/a/b c/DIR", "train"),
        ("voc:a:b/c", "a:b/c", None),
        ("voc:a:b/c:val", "a:b/c", "val"),
        (r"voc:C:\images", r"C:\images", None),
        (r"voc:C:\images:val", r"C:\images", "val"),
        ("voc:there:is", "there:is", None),  # a folder of this name is there
        ("voc:there:is:val", "there:is", "val"),
        ("coco:images,boxes.json:val", "images,boxes.json", "val"),
        ("rec:a:b.rec", "a:b.rec", None),  # and a file of this name
        ("pikachu:val", "", "val"),
        ("yolo:DIR:..", "DIR:..", None),
    ],
)
def test_the_last_colon_begins_a_split_unless_it_belongs_to_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, path: str, split: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there:is").mkdir()
    (tmp_path / "a:b.rec").touch()
    parsed = parse_spec(spec)
    assert (parsed.kind, parsed.path, parsed.split) == (spec.partition(":")[0], path, split)
    assert parsed.of_split(split) == spec


def test_paths_may_have_spaces_colons_and_commas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "my, own: set"
    write_coco(folder)
    write_voc(folder / "voc: old", {"one": voc_xml(CAT)})
    assert len(load_dataset(f"coco:{folder}/pictures,{folder}/boxes.json")) == 2
    assert len(load_dataset(f"voc:{folder}/voc: old:train")) == 1
    monkeypatch.chdir(folder)
    assert len(load_dataset("coco:pictures,boxes.json:val")) == 2
    assert load_dataset("voc:voc: old").name == "voc:voc: old:train"
