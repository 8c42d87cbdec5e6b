"""Where the book's functions fail or are wrong: what they return, and what ours return instead.

Every answer of `book_defects.DEFECTS` is computed here by the code that it is about, so a defect that the book fixes
fails, and so does one of ours.
"""

import dataclasses
import types
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from ssd_common import boxes, detection, metrics, targets
from ssd_common.backends import load_backend
from ssd_common.config import ModelConfig, PredictConfig, TrainConfig
from ssd_common.data.annotated import AnnotatedDataset
from ssd_common.data.formats.recordio import RecordWriter
from ssd_common.data.formats.records import ImageRecord, pack_image_record, read_record_set
from ssd_common.weights import initial_weights
from tests.book_defects import DEFECTS, page

BATCH_SIZE = 4
SMALL = ModelConfig(image_size=64)
TRAIN = TrainConfig(lr=0.25, weight_decay=0.0)  # no weight decay: a step is the gradient


class Clock:
    """Time that passes when it is told to."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def small_batch(backend, num_pictures):
    """Return the same image and label so many times, on the device."""
    image = np.random.default_rng(0).uniform(0, 255, (1, 3, 64, 64)).astype(np.float32)
    label = np.array([[[0, 0.2, 0.2, 0.5, 0.5]]], np.float32)
    return [backend.data.to_device(np.repeat(array, num_pictures, axis=0)) for array in (image, label)]


def small_net(backend):
    return backend.weights.make_net(SMALL, initial_weights(SMALL, TRAIN))


def has_graph(backend, array):
    if backend.name == "torch":
        return array.requires_grad
    import mxnet

    try:
        array.backward()
    except mxnet.MXNetError:
        return False
    return True


class Book:
    """The book's functions, in one framework."""

    def __init__(self, module, backend, folder):
        self.module, self.backend, self.folder = module, backend, folder

    def _run(self, function, *arrays):
        return self.backend.data.to_numpy(function(*(self.backend.data.to_device(array) for array in arrays)))

    def box_iou(self, boxes1, boxes2):
        return self._run(self.module.box_iou, boxes1, boxes2)

    def assigned(self, overlaps):
        d = self.backend.data.to_device
        anchors, truth = d(overlaps), d(np.zeros((overlaps.shape[1], 4), np.float32))  # only their number matters
        device = anchors.device if self.backend.name == "torch" else anchors.ctx
        with mock.patch.object(self.module, "box_iou", return_value=d(overlaps.copy())):
            return self.backend.data.to_numpy(self.module.assign_anchor_to_bbox(truth, anchors, device))

    def multibox_target(self, anchors, labels):
        d, n = self.backend.data.to_device, self.backend.data.to_numpy
        return [n(array) for array in self.module.multibox_target(d(anchors), d(labels))]

    def nms(self, boxes, scores, iou_threshold):
        return self._run(lambda *arrays: self.module.nms(*arrays, iou_threshold), boxes, scores)

    def multibox_detection(self, cls_probs, offset_preds, anchors):
        return self._run(self.module.multibox_detection, cls_probs, offset_preds, anchors)

    def predict(self, cls_probs, offset_preds, anchors):
        d, n = self.backend.data.to_device, self.backend.data.to_numpy
        detections = self.module.multibox_detection(d(cls_probs), d(offset_preds), d(anchors))
        objects = np.flatnonzero(n(detections)[0, :, 0] != -1).tolist()
        return n(detections[0, objects])

    def prediction_has_graph(self):
        net, (X, _) = small_net(self.backend), small_batch(self.backend, 1)
        if self.backend.name == "torch":
            net.eval()
        anchors, cls_preds, bbox_preds = net(X)
        few = (
            cls_preds[:, :8].swapaxes(1, 2),
            bbox_preds[:, :32],
            anchors[:, :8],
        )  # of 340 anchors MXNet's takes seconds
        return has_graph(self.backend, self.module.multibox_detection(*few))

    def read(self, pictures):
        folder = self.folder / "bananas_train"
        (folder / "images").mkdir(parents=True)
        lines = ["img_name,label,xmin,ymin,xmax,ymax"]
        for picture in pictures:
            (folder / "images" / picture.name).write_bytes(picture.content)
            lines += [",".join(map(str, (picture.name, *row))) for row in picture.objects or [[""] * 5]]
        (folder / "label.csv").write_text("\n".join(lines))
        with mock.patch.object(self.module, "download_extract", return_value=str(self.folder)):
            images, labels = self.module.read_data_bananas()
        images = [self.backend.data.to_numpy(image) for image in images]
        if self.backend.name == "torch":
            images = [image.transpose(1, 2, 0) for image in images]
        return list(zip(images, self.backend.data.to_numpy(labels), strict=True))

    def step(self, num_pictures):
        """Network, targets and loss are ours, which are the book's; what is done with the loss is the chapter's."""
        net, (X, Y) = small_net(self.backend), small_batch(self.backend, num_pictures)
        trainer = self.backend.train.make_trainer(net, TRAIN)
        before = self.backend.weights.get_weights(net)
        if self.backend.name == "torch":
            net.train()
            self._loss(*net(X), Y).mean().backward()
            trainer.step()
        else:
            from mxnet import autograd

            with autograd.record():
                loss = self._loss(*net(X), Y)
            loss.backward()
            trainer.step(BATCH_SIZE)
        return distance(before, self.backend.weights.get_weights(net))

    def _loss(self, anchors, cls_preds, bbox_preds, Y):
        bbox_labels, bbox_masks, cls_labels = self.backend.targets.multibox_target(anchors, Y)
        return self.backend.losses.calc_loss(cls_preds, cls_labels, bbox_preds, bbox_labels, bbox_masks)

    def metrics(self, anchors, labels):
        offsets, mask, classes = self.multibox_target(anchors, labels)
        return f"class error {np.mean(classes != 0):.1e}, bbox mae {np.abs(offsets * mask).mean():.1e}"

    def examples_per_second(self, batches):
        clock = Clock()
        with mock.patch.object(self.module, "time", types.SimpleNamespace(time=clock)):
            timer = self.module.Timer()
            for _, seconds in batches:
                timer.start()
                clock.now += seconds
            return sum(size for size, _ in batches) / timer.stop()


class Ours:
    """Our functions: those of a backend, or the reference."""

    def __init__(self, backend, folder):
        self.backend, self.folder = backend, folder
        self.boxes, self.targets, self.detection = (
            (backend.boxes, backend.targets, backend.detection) if backend else (boxes, targets, detection)
        )

    def _device(self, array):
        return self.backend.data.to_device(array) if self.backend else array

    def _numpy(self, array):
        return self.backend.data.to_numpy(array) if self.backend else array

    def box_iou(self, boxes1, boxes2):
        return self._numpy(self.boxes.box_iou(self._device(boxes1), self._device(boxes2)))

    def assigned(self, overlaps):
        anchors = self._device(overlaps)
        truth = self._device(np.zeros((1, overlaps.shape[1], 4), np.float32))  # only their number matters

        def given(boxes, anchors):  # the reference asks image by image
            return self._device(np.ascontiguousarray(overlaps.T if boxes.ndim == 2 else overlaps.T[None]))

        with mock.patch.object(self.targets, "box_iou", given):
            return self._numpy(self.targets.assign_anchor_to_bbox(truth, anchors))[0]

    def multibox_target(self, anchors, labels):
        return [
            self._numpy(array) for array in self.targets.multibox_target(self._device(anchors), self._device(labels))
        ]

    def nms(self, boxes, scores, iou_threshold):
        return self._numpy(self.detection.nms(self._device(boxes), self._device(scores), iou_threshold))

    def multibox_detection(self, cls_probs, offset_preds, anchors):
        arrays = (self._device(array) for array in (cls_probs, offset_preds, anchors))
        return self._numpy(self.detection.multibox_detection(*arrays))

    def predict(self, cls_probs, offset_preds, anchors):
        if not self.backend:
            options = dataclasses.asdict(PredictConfig())
            rows = detection.multibox_detection(cls_probs, offset_preds, anchors, **options)[0]
            return rows[rows[:, 0] >= 0]
        with np.errstate(divide="ignore"):
            logits = np.log(cls_probs.transpose(0, 2, 1))
        return self.backend.predict.detect(self._device(anchors), self._device(logits), self._device(offset_preds))[0]

    def prediction_has_graph(self):
        net, (X, _) = small_net(self.backend), small_batch(self.backend, 1)
        return any(has_graph(self.backend, array) for array in self.backend.predict.forward(net, X))

    def read(self, pictures):
        path = self.folder / "pictures.rec"
        with RecordWriter(path) as writer:
            for picture in pictures:
                rows = [[row[0], *(np.array(row[1:]) / 256)] for row in picture.objects]
                label = np.array([2, 5, *np.ravel(rows)], np.float32)
                writer.write(pack_image_record(ImageRecord(label, 0, 0, picture.content)))
        return list(AnnotatedDataset(read_record_set(path, "records", ("a", "b", "c", "d"))))

    def step(self, num_pictures):
        net, (X, Y) = small_net(self.backend), small_batch(self.backend, num_pictures)
        before = self.backend.weights.get_weights(net)
        self.backend.train.train_step(net, self.backend.train.make_trainer(net, TRAIN), X, Y)
        return distance(before, self.backend.weights.get_weights(net))

    def metrics(self, anchors, labels):
        b, (offsets, mask, classes) = self.backend, self.multibox_target(anchors, labels)
        cls_preds = np.tile(np.array([1, 0], np.float32), (*classes.shape, 1))
        arrays = (cls_preds, classes, np.zeros_like(offsets), offsets, mask)
        cls_preds, classes, bbox_preds, offsets, mask = (self._device(array) for array in arrays)
        terms = b.losses.loss_terms(cls_preds, classes, bbox_preds, offsets, mask)
        meter = metrics.EpochMeter()
        meter.add(b.evaluate.batch_metrics(*terms, cls_preds, classes, bbox_preds, offsets, mask))
        m = meter.summary()
        return (
            f"class error {m['class_error']:.1e} (baseline {m['baseline_class_error']:.1e}), "
            f"bbox mae {m['bbox_mae']:.1e} (baseline {m['baseline_bbox_mae']:.1e})"
        )

    def examples_per_second(self, batches):
        meter = metrics.EpochMeter()
        sums = dict.fromkeys(
            ("cls_loss", "bbox_loss", "correct", "positives", "anchors", "abs_error", "abs_offsets", "offsets"), 1.0
        )
        clock = Clock()
        with mock.patch.object(metrics, "time", types.SimpleNamespace(perf_counter=clock)):
            for size, seconds in meter.time_data(batches):
                clock.now += seconds
                meter.add({"examples": size, **sums})
        return meter.summary()["examples_per_second"]


def distance(before, after):
    return np.sqrt(sum(((after[name] - before[name]) ** 2).sum() for name in before if "running" not in name))


def cases():
    """Every defect with every implementation that has an answer: whose it is, in which framework."""
    for defect in DEFECTS:
        for who, framework in [
            ("book", "torch"),
            ("book", "mxnet"),
            ("ours", None),
            ("ours", "torch"),
            ("ours", "mxnet"),
        ]:
            if framework or defect.has_reference:
                marks = [pytest.mark.backend(framework)] if framework else []
                yield pytest.param(defect, who, framework, id=f"{defect.key}-{who}-{framework or 'numpy'}", marks=marks)


@pytest.mark.parametrize(("defect", "who", "framework"), list(cases()))
def test_the_answer_is_the_one_on_the_page(defect, who, framework, request, tmp_path):
    backend = load_backend(framework) if framework else None
    if who == "ours":
        assert defect.answer(Ours(backend, tmp_path)) == defect.ours
        return
    book = Book(request.getfixturevalue(f"d2l_{framework}"), backend, tmp_path)
    try:
        answer = defect.answer(book)
    except Exception as error:
        answer = f"raises {type(error).__name__}"
    assert answer == getattr(defect, framework)


def test_a_row_is_a_defect_of_one_edition_at_least():
    for defect in DEFECTS:
        assert {defect.torch, defect.mxnet} != {defect.ours}, defect.key


def test_no_two_rows_have_the_same_key():
    keys = [defect.key for defect in DEFECTS]
    assert len(set(keys)) == len(keys)


def test_the_page_is_the_one_that_the_rows_make():
    path = Path(__file__).parents[1] / "docs" / "book_defects.md"
    assert path.read_text(encoding="utf-8") == page(), "python -m tests.book_defects > docs/book_defects.md"
