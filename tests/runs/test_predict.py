"""What `predict` does with files: batches, bounded memory, lines as it goes, and going on where it stopped."""

import errno
import json
import os
import shutil
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from ssd_common.checkpoints.checkpoint import Checkpoint
from ssd_common.config import BOOK, Config, ModelConfig, PredictConfig, RunConfig
from ssd_common.data.transforms import read_image
from ssd_common.errors import InputError
from ssd_common.runs import detections_file
from ssd_common.runs import predict as runs_predict
from ssd_common.runs.predict import detect_in_files, find_pictures, predict_files
from ssd_common.weights import initial_weights

MODEL = ModelConfig(class_names=("cat", "dog"), image_size=64)
WEIGHTS = initial_weights(MODEL, BOOK.train)


class Fake:
    """A backend that finds in each image one object whose score is the image's red, and notes its batches."""

    def __init__(self, name="torch"):
        self.name, self.batches = name, []
        self.data = SimpleNamespace(get_device=lambda name: name)
        self.weights = SimpleNamespace(make_net=lambda *arguments: "net")
        self.predict = SimpleNamespace(predict=self._predict)

    def _predict(self, net, images, model_config, predict_config, batch_size, device):
        self.batches.append(len(images))
        return [np.array([[1, image[0, 0, 0] / 255, 0.25, 0.5, 0.75, 1]], np.float32) for image in images]


@pytest.fixture
def images(tmp_path):
    """Return a function that makes so many images, each of its own red."""

    def make(count, size=(20, 10), folder="in"):
        (tmp_path / folder).mkdir(exist_ok=True)
        paths = [tmp_path / folder / f"{i:03}.png" for i in range(count)]
        for i, path in enumerate(paths):
            Image.new("RGB", size, (i % 128 + 128, 0, 0)).save(path)
        return paths

    return make


def run(paths, out, backend=None, threshold=0.5, **changes):
    weights = changes.pop("weights", WEIGHTS)
    checkpoint = Checkpoint(weights, RunConfig(Config(**{"model": MODEL} | changes)))
    return predict_files(backend or Fake(), checkpoint, paths, out, threshold, "cpu")


def lines(out):
    return [json.loads(line) for line in (out / "detections.jsonl").read_text().splitlines()]


# Batches


def test_images_are_predicted_in_batches_and_come_in_their_order(images, tmp_path):
    backend, paths = Fake(), images(70)
    found = list(run(paths, tmp_path / "out", backend))
    assert backend.batches[:3] == [1, 32, 32]  # nobody waits for 32 images before the first is shown
    assert sum(backend.batches) == 70
    assert [path for path, _ in found] == paths
    assert [objects[0]["score"] for _, objects in found] == [np.float32((i + 128) / 255) for i in range(70)]


def test_large_images_make_smaller_batches(images, tmp_path, monkeypatch):
    backend, paths = Fake(), images(10)
    monkeypatch.setattr(runs_predict, "BATCH_BYTES", 3 * 20 * 10 * 3)
    assert len(list(run(paths, tmp_path / "out", backend))) == 10
    assert backend.batches[:4] == [1, 3, 3, 3]


def test_no_more_than_a_batch_of_images_is_in_memory(images, tmp_path):
    paths = images(160, size=(100, 100))
    tracemalloc.start()
    try:
        for _ in run(paths, tmp_path / "out"):
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    one = 100 * 100 * 3
    assert 32 * one < peak < 80 * one


def test_a_box_that_is_not_finite_is_refused_because_json_has_no_such_number(images, tmp_path):
    backend, paths, out = Fake(), images(3), tmp_path / "out"

    def overflow(net, images, *_):
        return [np.array([[1, 0.9, -np.inf, 0, np.inf, 1]], np.float32) for _ in images]

    backend.predict.predict = overflow
    with pytest.raises(InputError, match=rf"^{paths[0]}: a detected box is not finite \(-inf, 0\.0, inf, 10\.0\); the"):
        next(run(paths, out, backend))
    assert not out.exists()


def test_an_image_that_cannot_be_read_does_not_spoil_its_batch(images, tmp_path):
    backend, paths = Fake(), images(5)
    paths[2].write_bytes(b"no image")
    found, out = run(paths, tmp_path / "out", backend), tmp_path / "out"
    assert [next(found)[0] for _ in range(4)] == [*paths[:2], *paths[3:]]
    with pytest.raises(InputError, match=rf"^{paths[2]}: not an image.*; 1 of 5 images could not be read, the others"):
        next(found)
    assert backend.batches[:2] == [1, 3]
    assert len(json.loads((out / "detections.json").read_text())) == 4
    shutil.copy(paths[3], paths[2])  # what was wrong is put right
    assert [path for path, _ in run(paths, out)] == [paths[2]]
    assert [row["image"] for row in json.loads((out / "detections.json").read_text())] == [str(path) for path in paths]


def test_an_image_that_could_not_be_drawn_is_predicted_again(images, tmp_path, monkeypatch):
    paths, out, write = images(3), tmp_path / "out", Path.write_bytes

    def on_a_full_disk(path, content):
        write(path, content[:20] if path.stem == paths[1].stem else content)
        if path.stem == paths[1].stem:
            raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", on_a_full_disk)
    with pytest.raises(OSError, match="No space left"):
        list(run(paths, out))
    monkeypatch.undo()
    assert [path for path, _ in run(paths, out)] == paths[1:]
    assert (out / f"{paths[1].stem}.png").stat().st_size > 20


def test_images_in_batches_have_the_detections_that_they_have_alone(backend, images):
    rng = np.random.default_rng(0)
    paths = images(5)
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (70, 90, 3)).astype(np.uint8)).save(path)
    net = backend.weights.make_net(MODEL, {**WEIGHTS, **trained_statistics()})
    config = PredictConfig(pos_threshold=0.2)
    found = list(detect_in_files(backend, net, paths, MODEL, config, on_unreadable=pytest.fail, batch_size=3))
    assert [path for path, _, _ in found] == paths
    for path, image, rows in found:
        np.testing.assert_array_equal(image, read_image(path))
        (alone,) = backend.predict.predict(net, [image], MODEL, config)
        assert len(rows) > 0
        np.testing.assert_allclose(rows, alone, rtol=1e-3, atol=1e-4)


def trained_statistics():
    """Return running variances large enough for images of 0…255: initial ones would let the boxes overflow."""
    return {name: np.full_like(value, 1e4) for name, value in WEIGHTS.items() if name.endswith("running_var")}


# The lines


def test_what_is_found_is_a_line_as_soon_as_it_is_found(images, tmp_path):
    paths, out = images(3), tmp_path / "out"
    found = run(paths, out)
    for count in (1, 2, 3):
        path, objects = next(found)
        header, *rows = lines(out)
        assert len(rows) == count
        assert (rows[-1]["image"], rows[-1]["objects"], rows[-1]["drawn"]) == (str(path), objects, path.name)
        assert (out / path.name).is_file()
    assert not (out / "detections.json").exists()
    assert next(found, None) is None
    assert (header["backend"], header["score_threshold"]) == ("torch", 0.5)
    expected = [item for row in rows for item in row["objects"]]
    assert (out / "detections.json").read_text() == json.dumps(expected, indent=1) + "\n"


def test_no_object_in_any_image_is_an_empty_list(images, tmp_path):
    assert [objects for _, objects in run(images(2), tmp_path / "out", threshold=1)] == [[], []]
    assert json.loads((tmp_path / "out" / "detections.json").read_text()) == []


@pytest.mark.parametrize("torn", [b"", b'{"image": "in/0', b'{"image": "x", "version": [1, 2], "drawn": "x.png", "obj'])
def test_a_prediction_that_was_stopped_goes_on(images, tmp_path, torn):
    paths, out = images(7), tmp_path / "out"
    stopped = run(paths, out)
    for _ in range(3):
        next(stopped)
    assert len(lines(out)) == 4
    stopped.close()
    with (out / "detections.jsonl").open("ab") as file:
        file.write(torn)  # it was killed in the middle of a line
    backend = Fake()
    assert [path for path, _ in run(paths, out, backend)] == paths[3:]
    assert sum(backend.batches) == 4
    assert list(run(paths, tmp_path / "whole"))
    for name in ("detections.jsonl", "detections.json", *(path.name for path in paths)):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_one_that_was_stopped_in_its_first_line_begins_anew(images, tmp_path):
    (path,), out = images(1), tmp_path / "out"
    list(run([path], out))
    whole = (out / "detections.jsonl").read_bytes()
    (out / "detections.jsonl").write_bytes(whole[:20])
    assert len(list(run([path], out))) == 1
    assert (out / "detections.jsonl").read_bytes() == whole


def test_what_is_done_is_not_done_again_and_what_has_changed_is(images, tmp_path):
    paths, out = images(4), tmp_path / "out"
    list(run(paths, out))
    assert list(run(paths, out)) == []
    Image.new("RGB", (20, 10), (255, 0, 0)).save(paths[1])
    os.utime(paths[1], ns=(0, 12345))
    (out / "002.png").unlink()
    again = dict(run(paths, out))
    assert list(again) == [paths[1], paths[2]]
    rows = json.loads((out / "detections.json").read_text())
    assert [row["image"] for row in rows] == [str(path) for path in paths]
    assert rows[1]["score"] == 1


def test_the_json_file_has_the_images_that_were_asked_for_in_their_order(images, tmp_path):
    paths, out = images(4), tmp_path / "out"
    list(run(paths[:2], out))
    list(run([paths[3], paths[0]], out))
    rows = json.loads((out / "detections.json").read_text())
    assert [row["image"] for row in rows] == [str(paths[3]), str(paths[0])]
    assert len(lines(out)) == 4


def test_images_of_one_name_are_drawn_under_two_names_in_whatever_order_they_come(images, tmp_path):
    first, second, third = (images(1, folder=name)[0] for name in "abc")
    out = tmp_path / "out"
    list(run([second], out))
    list(run([first, second, third], out))
    assert {row["image"]: row["drawn"] for row in lines(out)[1:]} == {
        str(second): "000.png",
        str(first): "000-2.png",
        str(third): "000-3.png",
    }


def test_names_that_differ_in_case_only_are_drawn_under_two_names(images, tmp_path):
    (first,), (second,) = images(1, folder="a"), images(1, folder="b")
    first, second = first.rename(first.with_name("Cat.png")), second.rename(second.with_name("cAT.png"))
    list(run([first, second], tmp_path / "out"))
    assert [row["drawn"] for row in lines(tmp_path / "out")[1:]] == ["Cat.png", "cAT-2.png"]


def test_a_prediction_into_the_folder_of_its_images_goes_on_as_well(images, tmp_path):
    paths = images(3)
    for path in paths:
        path.rename(path.with_suffix(".bmp"))
    paths = [path.with_suffix(".bmp") for path in paths]
    stopped = run(paths, paths[0].parent)
    next(stopped)
    stopped.close()
    assert [path for path, _ in run(paths, paths[0].parent)] == paths[1:]


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_an_image_is_not_drawn_over_through_a_link(images, tmp_path, link):
    (path,) = images(1)
    (tmp_path / "out").mkdir()
    link(path, tmp_path / "out" / path.name)
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"in/000\.png would be drawn over 000\.png there; name another folder"):
        list(run([path], tmp_path / "out"))
    assert path.read_bytes() == before


# What must agree


def test_a_second_prediction_into_the_folder_waits_for_the_first(images, tmp_path):
    paths, out = images(2), tmp_path / "out"
    first = run(paths, out)
    next(first)
    with pytest.raises(InputError, match=f"{out}: process {os.getpid()} .*is writing to this folder"):
        next(run(paths, out))
    assert len(list(first)) == 1
    assert list(run(paths, out)) == []
    assert not (out / ".lock").exists()


def test_of_two_predictions_that_begin_at_the_same_time_one_is_refused(images, tmp_path):
    paths, out = images(2), tmp_path / "out"

    class Slow(Fake):
        def _predict(self, *arguments):
            list(run(paths, out))  # the other process is done meanwhile
            return super()._predict(*arguments)

    with pytest.raises(InputError, match=r"detections\.jsonl: another prediction was faster; run this one again"):
        list(run(paths, out, Slow()))
    assert len(lines(out)) == 3
    assert list(run(paths, out)) == []


def test_what_a_prediction_that_was_killed_left_is_taken_away(images, tmp_path):
    paths, out = images(1), tmp_path / "out"
    list(run(paths, out))
    (out / ".detections.json.123.tmp").write_bytes(b"[")
    list(run(paths, out))
    assert sorted(path.name for path in out.iterdir()) == ["000.png", "detections.json", "detections.jsonl"]


@pytest.mark.parametrize("name", ["000.png", "detections.jsonl"])
def test_a_full_disk_names_the_file_that_could_not_be_written(images, tmp_path, monkeypatch, name):
    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    if name == "000.png":
        monkeypatch.setattr(Path, "write_bytes", full)
    else:
        monkeypatch.setattr(detections_file, "_line", lambda content: full(None, None))
    with pytest.raises(OSError, match="No space") as error:
        list(run(images(1), tmp_path / "out"))
    assert error.value.filename == str(tmp_path / "out" / name)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_an_image_is_not_drawn_into_a_pipe_or_a_folder(images, tmp_path, make):
    (tmp_path / "out").mkdir()
    make(tmp_path / "out" / "000.png")
    with pytest.raises(InputError, match=r"000\.png there is not a file"):
        list(run(images(1), tmp_path / "out"))


OTHER = {name: value + 1 for name, value in WEIGHTS.items()}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"threshold": 0.25}, "score_threshold 0.5, this prediction has 0.25"),
        ({"backend": Fake("mxnet")}, "backend torch, this prediction has mxnet"),
        ({"weights": OTHER}, "detector_sha256 [0-9a-f]{64}, this prediction has"),
        ({"predict": PredictConfig(nms_threshold=0.4)}, "detector_sha256"),
        ({"model": ModelConfig(class_names=("cat", "fox"), image_size=64)}, "detector_sha256"),
    ],
)
def test_detections_of_another_detector_are_not_continued(images, tmp_path, changes, message):
    paths, out = images(2), tmp_path / "out"
    list(run(paths[:1], out))
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(InputError, match=message) as raised:
        list(run(paths, out, **changes))
    assert str(raised.value).startswith(f"{out / 'detections.jsonl'}: ")
    assert "name another folder with --out" in str(raised.value)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.parametrize(
    "content",
    [b"mine", b"mine\n", b"[]\n", b"7\n", b'{"format": "other"}\n', b"\xff\xfe\n", b"[" * 100_000 + b"\n"],
)
def test_a_file_that_is_not_ours_is_left_alone(images, tmp_path, content):
    (tmp_path / "detections.jsonl").write_bytes(content)
    with pytest.raises(InputError, match="line 1 was not written by tinyssd predict; delete the file, or"):
        list(run(images(1), tmp_path))
    assert (tmp_path / "detections.jsonl").read_bytes() == content


@pytest.mark.parametrize(
    "line",
    [
        "{}",
        "7",
        "no json",
        '{"image": 1, "version": null, "drawn": "a", "objects": []}',
        '{"image": "a"}',
        '{"image": "a", "version": null, "drawn": "a", "objects": [5]}',
        '{"image": "a", "version": null, "drawn": "", "objects": []}',
        '{"image": "a", "version": null, "drawn": "../a.png", "objects": []}',
    ],
)
def test_a_line_that_is_not_ours_is_named(images, tmp_path, line):
    paths, out = images(1), tmp_path / "out"
    list(run(paths, out))
    with (out / "detections.jsonl").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(InputError, match=r"detections\.jsonl: line 3 was not written by tinyssd predict"):
        list(run(paths, out))


def test_a_pipe_in_the_place_of_the_file_is_refused(images, tmp_path):
    os.mkfifo(tmp_path / "detections.jsonl")
    with pytest.raises(InputError, match="not a file; name another folder"):
        list(run(images(1), tmp_path))


def test_where_no_image_can_be_read_nothing_is_written(images, tmp_path):
    (path,) = images(1)
    path.write_bytes(b"no image")
    with pytest.raises(InputError, match=f"^{path}: not an image[^;]*$"):
        list(run([path], tmp_path / "out"))
    assert not (tmp_path / "out").exists()


# Finding images


def found(paths):
    return [Path(name) for name in find_pictures(paths)]


def test_images_of_the_current_folder_are_called_by_their_names(images, monkeypatch):
    paths = images(2)
    monkeypatch.chdir(paths[0].parent)
    assert find_pictures([Path(".")]) == find_pictures([Path(path.name) for path in paths]) == ["000.png", "001.png"]


def test_what_was_drawn_into_the_folder_of_the_images_is_no_image_of_it(images, tmp_path):
    paths = images(2)
    for path in paths:
        path.rename(path.with_suffix(".bmp"))
    folder = paths[0].parent
    before = find_pictures([folder], folder)
    list(run(before, folder))
    assert find_pictures([folder], folder) == before
    assert len(find_pictures([folder], tmp_path / "out")) == 4


def test_an_image_that_is_named_twice_is_found_once(images):
    paths = images(3)
    shutil.copy(paths[0], paths[0].with_name("notes.txt"))
    assert found([paths[1], paths[0].parent]) == [paths[1], paths[0], paths[2]]
    assert found([Path(f"{paths[0].parent}/./{paths[0].name}"), paths[0]]) == [paths[0]]


# What is in a folder


def test_hidden_files_of_a_folder_are_no_images_and_links_that_lead_nowhere_are_told(images, tmp_path):
    paths = images(1)
    folder = paths[0].parent
    for name in (".hidden.png", "._000.png"):
        shutil.copy(paths[0], folder / name)
    (folder / "__MACOSX").mkdir()
    assert found([folder]) == paths
    assert found([folder / ".hidden.png"]) == [folder / ".hidden.png"]  # it is what was asked for
    (folder / "gone.png").symlink_to("nowhere.png")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "folder.png").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe.png")
    assert found([folder]) == [*paths, *(folder / f"{name}.png" for name in ("gone", "loop", "pipe"))]
    with pytest.raises(
        InputError, match=r"gone\.png: .*No such file.*; 3 of 4 images could not be read, the others are"
    ):
        list(run(find_pictures([folder]), tmp_path / "out"))
    assert (tmp_path / "out" / "000.png").exists()


def test_an_image_of_a_telephone_in_a_folder_is_told_as_one_that_cannot_be_read(images, tmp_path):
    folder = images(1)[0].parent
    (folder / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(InputError, match=r"IMG_1\.HEIC: not an image .*; 1 of 2 images could not be read, the others"):
        list(run(find_pictures([folder]), tmp_path / "out"))
    assert (tmp_path / "out" / "000.png").exists()


def test_where_no_image_can_be_read_no_others_are_spoken_of(tmp_path):
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_text("no image")
    with pytest.raises(InputError, match=r"a\.jpg: not an image .*; 2 of 2 images could not be read$"):
        list(run(find_pictures([tmp_path]), tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_folder_of_folders_is_told(tmp_path):
    (tmp_path / "in" / "a.png").mkdir(parents=True)
    with pytest.raises(InputError, match="in: no images in this folder; the folders in it are not searched"):
        find_pictures([tmp_path / "in"])
