"""A dataset converted to any format and back is the same dataset, and others read it as we do."""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ssd_common.cli import main
from ssd_common.data import DataSource
from ssd_common.data.convert import convert_data
from ssd_common.data.formats.annotations import Picture
from ssd_common.data.formats.coco import read_coco
from ssd_common.data.formats.coco import write_coco as write_coco_set
from ssd_common.data.formats.objects import check_objects, pixel_boxes
from ssd_common.data.formats.records import read_record_set, write_record_set
from ssd_common.data.formats.voc import VocFolder
from ssd_common.data.formats.voc import write_voc as write_voc_set
from ssd_common.data.formats.yolo import YoloFolder, write_yolo
from ssd_common.data.transforms import image_size
from ssd_common.errors import InputError
from tests.data.data_cases import CLASSES, PICTURES, noise, png, voc_object, voc_xml, write_coco, write_voc

FORMATS = ("voc", "coco", "yolo", "rec")
"""Of each split: the digest of each image, and the class, the corners in pixels and the mark of each object."""
Content = dict[str, list[tuple[int, list[float], bool]]]


def target(kind: str, folder: Path, name: str = "out") -> str:
    paths = {"coco": f"{folder / name},{folder / name}.json", "rec": f"{folder / name}.rec"}
    return f"{kind}:{paths.get(kind, folder / name)}"


def content(spec: str, split: str | None = None) -> tuple[tuple[str, ...], Content]:
    """The classes of a split, and its good objects: class, corners in pixels and mark, by the digest of the image."""
    source = DataSource(spec)
    data = source.read(split or source.separate_splits()[0])
    assert not data.problems
    pictures: Content = {}
    for index in range(len(data.annotations)):
        annotation = data.annotations[index]
        image = annotation.image.read_bytes() if isinstance(annotation.image, Path) else annotation.image
        height, width = image_size(image)
        good, _, _ = check_objects(annotation, height, width)
        boxes = pixel_boxes(annotation, height, width)[good].tolist()
        rows = zip(annotation.class_ids[good].tolist(), boxes, annotation.ignored[good].tolist(), strict=True)
        pictures[hashlib.sha256(image).hexdigest()] = list(rows)
    return data.class_names, pictures


def without_ignored(pictures: Content) -> Content:
    return {key: [row for row in rows if not row[2]] for key, rows in pictures.items()}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> str:
    """A VOC folder of three classes, three shapes of images, fractions of pixels, a difficult object, no objects."""
    annotations = {
        stem: voc_xml(
            "".join(
                voc_object(CLASSES[class_id], *box, more=f"<difficult>{int(ignored)}</difficult>")
                for class_id, box, ignored in picture.objects
            )
        )
        for stem, picture in PICTURES.items()
    }
    folder = write_voc(tmp_path_factory.mktemp("made") / "v", annotations)
    for i, (stem, picture) in enumerate(PICTURES.items()):
        noise(picture.width, picture.height, i).save(folder / "JPEGImages" / f"{stem}.jpg")
    return f"voc:{folder}"


@pytest.fixture(scope="module")
def slice_of_bccd(data_dir: Path, tmp_path_factory) -> str:
    """Sixteen of the real images, as they are."""
    source, folder = data_dir / "voc" / "bccd", tmp_path_factory.mktemp("bccd") / "v"
    stems = (source / "ImageSets" / "Main" / "train.txt").read_text().split()[::13]
    for part in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / part).mkdir(parents=True)
    for stem in stems:
        shutil.copy(source / "Annotations" / f"{stem}.xml", folder / "Annotations")
        shutil.copy(source / "JPEGImages" / f"{stem}.jpg", folder / "JPEGImages")
    (folder / "ImageSets" / "Main" / "train.txt").write_text("\n".join(stems))
    return f"voc:{folder}"


@pytest.mark.parametrize(("first", "second"), list(itertools.product(FORMATS, repeat=2)))
@pytest.mark.parametrize("which", ["made", "slice_of_bccd"])
def test_there_and_back_through_any_two_formats_returns_the_same(
    which: str, first: str, second: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    source = request.getfixturevalue(which)
    classes, before = content(source)
    one, two, back = target(first, tmp_path, "1"), target(second, tmp_path, "2"), target("voc", tmp_path, "3")
    convert_data(source, one)
    convert_data(one, two)
    convert_data(two, back)
    expected = without_ignored(before) if "yolo" in (first, second) else before
    for spec in (two, back):
        assert content(spec) == (classes, expected)
    assert sum(map(len, expected.values())) >= 3


sizes = st.integers(1, 4000)


@settings(max_examples=60, deadline=None)
@given(width=sizes, height=sizes, fractions=st.lists(st.tuples(*[st.integers(0, 10**4)] * 4), max_size=3))
def test_any_box_with_two_decimals_is_exact_after_any_format(
    tmp_path_factory, width: int, height: int, fractions: list[tuple[int, int, int, int]]
) -> None:
    boxes = (np.array(fractions).reshape(-1, 4) / 1e4 * [width, height, width, height]).round(2)
    boxes = np.unique(
        np.concatenate([np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], 1), axis=0
    )
    boxes = boxes[(boxes[:, 2:] > boxes[:, :2]).all(axis=1)]
    nobody = np.zeros(len(boxes), bool)
    picture = Picture("a.png", png(1, 1), height, width, np.arange(len(boxes)) % 3, boxes, nobody)
    folder = tmp_path_factory.mktemp("property")
    write_voc_set(folder / "v", "train", CLASSES, [picture])
    write_yolo(folder / "y", "train", CLASSES, [picture])
    write_coco_set(folder / "c", folder / "c.json", CLASSES, [picture])
    write_record_set(folder / "r.rec", CLASSES, [picture])
    for data in (
        VocFolder(folder / "v").read("train", "voc"),
        YoloFolder(folder / "y").read("train", "yolo"),
        read_coco(folder / "c", folder / "c.json", "coco"),
        read_record_set(folder / "r.rec", "rec"),
    ):
        found = pixel_boxes(data.annotations[0], height, width)
        np.testing.assert_array_equal(found, boxes, err_msg=data.name)
        np.testing.assert_array_equal(data.annotations[0].class_ids, picture.class_ids)


def test_labels_of_records_are_the_same_bits_after_any_format(data_dir: Path, tmp_path: Path) -> None:
    source = f"rec:{data_dir / 'pikachu' / 'val.rec'}"
    for kind in FORMATS:
        convert_data(source, target(kind, tmp_path, kind))
        convert_data(target(kind, tmp_path, kind), target("rec", tmp_path, f"back-from-{kind}"))
        ours = DataSource(target("rec", tmp_path, f"back-from-{kind}")).read(None).annotations
        theirs = DataSource(source).read(None).annotations
        assert len(ours) == len(theirs) == 100
        for index in range(100):
            np.testing.assert_array_equal(ours[index].boxes, theirs[index].boxes)
            assert ours[index].image == theirs[index].image


# --- read by others


def test_pycocotools_reads_what_we_wrote(made: str, tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    convert_data(made, target("coco", tmp_path))
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = COCO(str(tmp_path / "out.json"))
    assert [item["name"] for item in theirs.loadCats(theirs.getCatIds())] == list(CLASSES)
    pictures = {item["file_name"]: item for item in theirs.loadImgs(theirs.getImgIds())}
    assert set(pictures) == {f"{stem}.jpg" for stem in PICTURES}
    for stem, picture in PICTURES.items():
        image = pictures[f"{stem}.jpg"]
        assert (image["width"], image["height"]) == (picture.width, picture.height)
        found = [
            (item["category_id"] - 1, item["bbox"], bool(item["iscrowd"]))
            for item in theirs.loadAnns(theirs.getAnnIds(image["id"]))
        ]
        assert found == [
            (class_id, [box[0], box[1], box[2] - box[0], box[3] - box[1]], ignored)
            for class_id, box, ignored in picture.objects
        ]


@pytest.mark.backend("mxnet")
@pytest.mark.filterwarnings("ignore:Please use `csr_matrix`:DeprecationWarning")
def test_mxnet_reads_what_we_wrote(slice_of_bccd: str, tmp_path: Path) -> None:
    import mxnet as mx

    convert_data(slice_of_bccd, target("rec", tmp_path))
    path = tmp_path / "out.rec"
    count = len(DataSource(slice_of_bccd).read("train").annotations)
    iterator = mx.image.ImageDetIter(
        batch_size=count, data_shape=(3, 480, 640), path_imgrec=str(path), path_imgidx=str(path.with_suffix(".idx"))
    )
    rows = next(iterator).label[0].asnumpy()  # (images, most objects, 6), rows of -1 where there are fewer
    for row, objects in zip(rows, content(slice_of_bccd)[1].values(), strict=True):
        expected = [[class_id, *np.array(box) / [640, 480, 640, 480], ignored] for class_id, box, ignored in objects]
        np.testing.assert_array_equal(row[row[:, 0] >= 0], np.array(expected, np.float32))


# --- files


def test_all_splits_are_converted_each_picture_into_its_own(tmp_path: Path) -> None:
    annotations = {stem: voc_xml(voc_object("cat", 1, 2, 3, 4)) for stem in "abc"}
    lists = {"train": "a\n", "val": "b\n", "test": "c\n", "trainval": "a\nb\n", "cat_train": "a 1\n"}
    folder = write_voc(tmp_path / "v", annotations, lists)
    done = convert_data(f"voc:{folder}", f"yolo:{tmp_path / 'y'}")
    assert (done.pictures, done.objects) == (3, 3)
    found = sorted(path.relative_to(tmp_path / "y").as_posix() for path in (tmp_path / "y").rglob("*.*"))
    names = [f"{part}.{suffix}" for part in ("test/c", "train/a", "val/b") for suffix in ("jpg", "txt")]
    assert found == sorted(["data.yaml"] + [f"{'images' if 'jpg' in name else 'labels'}/{name}" for name in names])
    assert (tmp_path / "y" / "images" / "val" / "b.jpg").read_bytes() == (folder / "JPEGImages" / "b.jpg").read_bytes()


def test_pictures_of_one_name_get_names_of_their_own_and_none_leaves_the_folder(tmp_path: Path) -> None:
    source = write_coco(tmp_path)
    names = ["a/one.jpg", "b/one.jpg", "../one.JPG", "../../b_one.png"]
    for name in names:
        path = tmp_path / "pictures" / "x" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(8, 8))
    listed = json.loads((tmp_path / "boxes.json").read_text())
    listed["images"] = [{"id": i, "file_name": f"x/{name}"} for i, name in enumerate(names)]
    (tmp_path / "boxes.json").write_text(json.dumps(listed | {"annotations": []}))
    before = sorted(tmp_path.rglob("*"))
    convert_data(source, f"voc:{tmp_path / 'v'}", allow_outside=True)
    found = sorted(path.name for path in (tmp_path / "v" / "JPEGImages").iterdir())
    assert found == ["b_one.png", "one.jpg", "x_b_one.jpg", "x_one.JPG"]
    assert sorted(path for path in tmp_path.rglob("*") if not path.is_relative_to(tmp_path / "v")) == before


def test_a_drawn_set_can_be_written_to_files(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ssd_common.data.synthetic.scenes.SPLITS", {"train": 2, "val": 1})
        convert_data("synthetic", target("yolo", tmp_path))
        before, after = content("synthetic", "val"), content(target("yolo", tmp_path), "val")
    assert before == after
    assert [len(rows) for rows in after[1].values()] == [1]


def test_a_split_is_added_where_one_is_named(made: str, tmp_path: Path) -> None:
    for kind in ("voc", "yolo"):
        spec = target(kind, tmp_path, kind)
        convert_data(made, f"{spec}:train")
        convert_data(made, f"{spec}:val")
        assert content(spec, "train") == content(spec, "val")


def test_what_is_not_kept_is_said(tmp_path: Path, capsys) -> None:
    more = "<difficult>1</difficult><truncated>1</truncated><pose>Left</pose><occluded>0</occluded>"
    bad = voc_object("cat", 5, 5, 5, 5)
    folder = write_voc(tmp_path / "v", {"one": voc_xml(bad + voc_object("cat", 1, 2, 3, 4, more=more))})
    assert run("data", "convert", f"voc:{folder}", target("yolo", tmp_path)) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"left out 1 bad object: tinyssd data check voc:{folder} tells which",
        "not kept: pose, truncated, 1 difficult or crowd object, which the format cannot mark",
        f"wrote {target('yolo', tmp_path)}: 1 image, 0 objects",
    ]


@pytest.mark.parametrize("kind", FORMATS)
def test_nothing_is_written_over(made: str, kind: str, tmp_path: Path) -> None:
    spec = target(kind, tmp_path)
    convert_data(made, spec)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    with pytest.raises(InputError, match="is there already"):
        convert_data(made, spec)
    if kind in ("voc", "yolo"):
        with pytest.raises(InputError, match="has a split 'train'"):
            convert_data(made, f"{spec}:train")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before


@pytest.mark.parametrize("kind", FORMATS)
def test_a_conversion_that_is_stopped_leaves_nothing_of_itself(made: str, kind: str, tmp_path: Path) -> None:
    """Half of a set would pass for a whole one."""
    if kind in ("voc", "yolo"):  # a split beside it stays
        convert_data(made, f"{target(kind, tmp_path)}:train")
    before = {path: path.read_bytes() if path.is_file() else b"" for path in tmp_path.rglob("*")}
    asked = []

    def third(indices: Iterable[int]) -> Iterator[int]:
        for index in indices:
            asked.append(index)
            if len(asked) == len(PICTURES) + 3:  # the first round only plans
                raise KeyboardInterrupt
            yield index

    with pytest.raises(KeyboardInterrupt):
        convert_data(made, target(kind, tmp_path) + (":val" if before else ""), progress=third)
    assert {path: path.read_bytes() if path.is_file() else b"" for path in tmp_path.rglob("*")} == before


def test_the_classes_of_records_beside_the_new_ones_are_left_alone(made: str, tmp_path: Path) -> None:
    convert_data(made, target("rec", tmp_path, "first"))
    (tmp_path / "classes.txt").unlink()
    with pytest.raises(InputError, match=r"classes\.txt would name the classes of the other \.rec files, too"):
        convert_data(made, target("rec", tmp_path, "second"))
    assert not (tmp_path / "classes.txt").exists()


def test_what_else_a_data_yaml_says_stays_when_a_split_is_added(made: str, tmp_path: Path) -> None:
    spec = target("yolo", tmp_path)
    convert_data(made, f"{spec}:train")
    file = tmp_path / "out" / "data.yaml"
    file.write_text("license: CC0\n" + file.read_text())
    convert_data(made, f"{spec}:val")
    assert yaml.safe_load(file.read_text()) == {
        "license": "CC0",
        "train": "images/train",
        "val": "images/val",
        "names": dict(enumerate(CLASSES)),
    }


def test_a_split_with_other_classes_is_not_added(made: str, tmp_path: Path) -> None:
    other = write_voc(tmp_path / "other", {"one": voc_xml(voc_object("bird", 1, 2, 3, 4))})
    for kind in ("voc", "yolo", "rec"):
        convert_data(made, target(kind, tmp_path, kind))
        added = target("rec", tmp_path, "second") if kind == "rec" else f"{target(kind, tmp_path, kind)}:val"
        with pytest.raises(InputError, match="has the classes cat, dog, zebra; the source has bird"):
            convert_data(f"voc:{other}", added)
    with pytest.raises(InputError, match="has no class names"):
        convert_data(made, f"voc:{other}:val")


def test_what_cannot_be_converted_is_refused_before_anything_is_written(made: str, tmp_path: Path) -> None:
    lists = {"train": "a\n", "val": "b\n"}
    folder = write_voc(tmp_path / "v", {stem: voc_xml("") for stem in "ab"}, lists)
    for source, wanted, words in (
        (f"voc:{folder}", target("coco", tmp_path), "is one split, .* has train, val: name one of them"),
        (f"voc:{folder}", f"{target('yolo', tmp_path)}:train", "is one split"),
        (made, "pikachu", "'pikachu' cannot be written; write one of voc, yolo, coco, rec"),
    ):
        with pytest.raises(InputError, match=words):
            convert_data(source, wanted)
    (folder / "JPEGImages" / "b.jpg").write_text("no image")
    with pytest.raises(InputError, match=r"b\.jpg: not an image"):
        convert_data(f"voc:{folder}", target("yolo", tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["v"]


def run(*arguments: object) -> object:
    with pytest.raises(SystemExit) as done:
        main([str(argument) for argument in arguments])
    return done.value.code
