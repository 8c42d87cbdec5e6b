"""What `eval` says: nothing is `nan`, every class has its row, and the images show what they claim."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from ssd_common.data import Example
from ssd_common.data.ground_truth import GroundTruth
from ssd_common.evaluation.average_precision import PrecisionRecall, coco_average_precision
from ssd_common.evaluation.mistakes import Mistake, find_mistakes
from ssd_common.figures import evaluation as evaluation_plots
from ssd_common.figures.evaluation import save_precision_recall, save_worst_mistakes
from ssd_common.runs.evaluate import COLUMNS, FILES, evaluation_tables, summarise, write_evaluation

METRICS = {"class_error": 0.0012, "bbox_mae": 0.0034, "baseline_class_error": 0.0056, "baseline_bbox_mae": 0.0078}
NO_DETECTION, NO_OBJECT = np.zeros((0, 6)), np.zeros((0, 5))
BOX, BESIDE = [0.1, 0.1, 0.5, 0.5], [0.3, 0.1, 0.7, 0.5]


class Pictures:
    """Images whose pixels are their index, with the given labels."""

    name, class_names = "images:val", ("cat", "dog [b]", "fox")

    def __init__(self, *labels, shape=(300, 400)):
        self.labels = [np.array(rows, np.float32).reshape(-1, 5) for rows in labels]
        self.shape = shape

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return Example(np.full((*self.shape, 3), index, np.uint8), self.labels[index])

    @property
    def truths(self):
        return [GroundTruth(rows, self.shape) for rows in self.labels]


PICTURES = Pictures([[0, *BOX]], [[1, *BOX], [0, 0.6, 0.6, 0.9, 0.9]], [])
DETECTIONS = [
    np.array([[0, 0.9, *BOX], [2, 0.8, 0.7, 0.7, 0.9, 0.9]]),
    np.array([[1, 0.7, *BESIDE], [0, 0.95, *BOX]]),
    np.array([[0, 0.6, *BOX]]),
]


def summary_of(pictures=PICTURES, detections=DETECTIONS):
    mistakes = find_mistakes(detections, pictures.truths)
    return summarise(METRICS, detections, pictures.truths, pictures.class_names, mistakes)


def printed(summary, width=110):
    file = io.StringIO()
    Console(file=file, width=width).print(evaluation_tables(summary))
    return file.getvalue()


def test_a_summary_has_each_class_and_the_mean_of_those_with_objects():
    summary = summary_of()
    cat, dog, fox = summary["classes"]
    assert [row["name"] for row in (cat, dog, fox)] == list(PICTURES.class_names)
    assert [row["objects"] for row in (cat, dog, fox)] == [2, 1, 0]
    assert (summary["pictures"], summary["objects"], summary["ignored"]) == (3, 3, 0)
    assert all(fox[key] is None for key in COLUMNS)
    per_class = coco_average_precision(DETECTIONS, PICTURES.truths, 3)
    for key in COLUMNS:
        if key.startswith("ap"):
            np.testing.assert_equal([cat[key], dog[key]], [None if np.isnan(v) else v for v in per_class[key][:2]])
        values = [row[key] for row in (cat, dog) if row[key] is not None]
        assert summary[key] == (pytest.approx(np.mean(values)) if values else None)
    assert METRICS.items() <= summary.items()
    kinds = {"false_positive": 2, "wrong_class": 1, "badly_placed": 1, "duplicate": 0, "missed": 1}
    assert summary["errors"] == {"score_threshold": 0.5, **kinds}


def test_the_table_has_a_row_for_each_class_and_says_what_there_is_nothing_of():
    text = printed(summary_of())
    rows = {line.split("  ")[0]: line for line in text.splitlines()}
    assert rows["fox"].split() == ["fox", "0", *["–"] * len(COLUMNS)]
    assert rows["dog [b]"].split()[:3] == ["dog", "[b]", "1"]
    assert rows["all (mean)"].split()[2] == "3"
    assert "–: there is no such object to find" in text
    assert "nan" not in text.lower()
    for words in ("1.20e-03   all background: 5.60e-03", "3.40e-03     zero offsets: 7.80e-03"):
        assert words in text
    assert "at score 0.5: false positive 2, wrong class 1, badly placed 1, duplicate 0, missed 1" in text


def test_the_only_class_needs_no_mean_and_what_is_there_no_excuse():
    pictures = Pictures(*[[[0, 0, 0, side, side]] for side in (0.05, 0.2, 0.9)])
    pictures.class_names = ("cat",)
    text = printed(summary_of(pictures, [np.insert(rows, 1, 0.9, axis=1) for rows in pictures.labels]))
    assert "all (mean)" not in text
    assert "no such object" not in text
    (row,) = (line for line in text.splitlines() if line.startswith("cat"))
    assert row.split() == ["cat", "3", *["1.000"] * len(COLUMNS)]


def test_a_data_set_without_objects_is_said_to_have_none():
    summary = summary_of(Pictures([], []), [NO_DETECTION] * 2)
    assert all(summary[key] is None for key in COLUMNS)
    assert "nan" not in printed(summary).lower()


def test_the_table_fits_a_terminal_of_80_columns():
    assert max(map(len, printed(summary_of(), width=80).splitlines())) <= 80
    assert "all (mean)" in printed(summary_of(), width=80)


def test_an_evaluation_is_three_files(tmp_path):
    mistakes = find_mistakes(DETECTIONS, PICTURES.truths)
    write_evaluation(tmp_path / "new", summary_of(), PICTURES, DETECTIONS, PICTURES.truths, mistakes)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(FILES)
    assert json.loads((tmp_path / "new" / "metrics.json").read_text()) == summary_of()
    for name in FILES[:2]:
        with Image.open(tmp_path / "new" / name) as picture:
            picture.load()
            assert picture.size[0] >= 1000


def test_the_same_evaluation_is_the_same_bytes(tmp_path):
    mistakes = find_mistakes(DETECTIONS, PICTURES.truths)
    for folder in ("one", "two"):
        write_evaluation(tmp_path / folder, summary_of(), PICTURES, DETECTIONS, PICTURES.truths, mistakes)
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


# The curves.


def curve_of(outcomes, num_objects, best=1.0):
    return PrecisionRecall(np.linspace(best, 0, len(outcomes)), np.cumsum(outcomes), num_objects)


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_the_area_below_the_line_is_the_average_precision_in_the_legend(tmp_path, figures):
    save_precision_recall(tmp_path / "x.png", [curve_of([1, 0, 1, 0, 0, 1], 4)], ["cat"])
    line = figures[0].axes[0].lines[0]
    assert line.get_drawstyle() == "steps-pre"
    recall, precision = line.get_data()
    area = (np.diff(recall) * precision[1:]).sum()  # each step has the height of its right end
    assert legend_of(figures[0]) == [f"cat: AP {area:.3f}, 4 objects", "at score 0.5"]


def test_the_dot_is_where_the_scores_fall_below_one_half(tmp_path, figures):
    scores = np.array([0.9, 0.8, 0.5, 0.4, 0.3])
    save_precision_recall(tmp_path / "x.png", [PrecisionRecall(scores, np.cumsum([1, 0, 1, 1, 1]), 5)], ["cat"])
    dot = next(line for line in figures[0].axes[0].lines if line.get_marker() == "o" and len(line.get_xdata()))
    np.testing.assert_allclose(dot.get_xydata(), [[2 / 5, 2 / 3]])


def test_classes_without_objects_or_detections_are_named_and_have_no_line(tmp_path, figures):
    curves = [curve_of([], 0), curve_of([0, 0], 0), curve_of([], 3)]
    save_precision_recall(tmp_path / "x.png", curves, ["cat", "dog", "fox"])
    expected = ["cat: no objects", "dog: no objects", "fox: AP 0.000, 3 objects", "at score 0.5"]
    assert legend_of(figures[0]) == expected
    assert all(np.ptp(line.get_xdata()) == 0 for line in figures[0].axes[0].lines if len(line.get_xdata()))


@pytest.mark.parametrize(("count", "named"), [(7, 7), (8, 8), (21, 21), (30, 21)])
def test_no_two_named_classes_look_alike_and_the_rarest_of_very_many_are_grey(count, named, tmp_path, figures):
    curves = [curve_of([1, 0, 1], 3 + i) for i in range(count)]
    save_precision_recall(tmp_path / "x.png", curves, [f"class {i}" for i in range(count)])
    lines = [line for line in figures[0].axes[0].lines if " objects" in line.get_label()]
    assert len({(line.get_color(), line.get_linestyle(), str(line._dash_pattern)) for line in lines}) == named
    legend = legend_of(figures[0])
    assert len(legend) == named + (named < count) + 1
    assert ("9 other classes" in legend) == (count == 30)
    assert legend[0].startswith(f"class {count - named}:")


# The worst mistakes.


def test_each_mistake_has_a_caption_with_its_kind_its_score_and_its_overlap(tmp_path, figures):
    save_worst_mistakes(tmp_path / "x.png", PICTURES, find_mistakes(DETECTIONS, PICTURES.truths))
    captions = [axes.get_title() for axes in figures[0].axes]
    assert [caption for caption in captions if caption] == [
        "false positive 1 of 2\nno. 0, score 0.80",
        "false positive 2 of 2\nno. 2, score 0.60",
        "wrong class 1 of 1: dog [b]\nno. 1, score 0.95, IoU 1.00",
        "badly placed 1 of 1\nno. 1, score 0.70, IoU 0.33",
        "missed 1 of 1: cat\nno. 1",
    ]
    labels = [text.get_text() for axes in figures[0].axes for text in axes.texts]
    assert labels == ["fox 0.80", "cat 0.60", "cat 0.95", "dog [b] 0.70"]


def test_an_object_that_is_missed_for_its_score_says_so_and_shows_the_object_alone(tmp_path, figures):
    unsure = [np.array([[0, 0.4, *BOX]])]
    save_worst_mistakes(tmp_path / "x.png", PICTURES, find_mistakes(unsure, PICTURES.truths[:1]))
    assert figures[0].axes[0].get_title() == "missed 1 of 1: cat\nno. 0, only 0.40, IoU 1.00"
    assert not figures[0].axes[0].texts


def test_a_picture_is_shown_around_the_mistake_with_the_boxes_where_they_were(tmp_path, monkeypatch):
    shown = {}

    def keep(path, images, detections, class_names, truths, titles, columns, threshold):
        shown.update(images=images, detections=detections, truths=truths)

    monkeypatch.setattr(evaluation_plots, "save_detection_grid", keep)
    data = Pictures([[0, 0.5, 0.5, 0.55, 0.6]], [[0, 0.9, 0.9, 1.0, 1.0]], shape=(1000, 2000))
    detected = np.array([0, 0.9, 0.5, 0.5, 0.56, 0.6])
    mistakes = [
        Mistake("badly placed", 0, detected, data.labels[0][0], 0.4),
        Mistake("missed", 1, None, data.labels[1][0], 0.0),
    ]
    save_worst_mistakes(tmp_path / "x.png", data, mistakes)
    (first, second), (box,), (object_at_edge,) = shown["images"], shown["detections"][0], shown["truths"][1]
    assert first.shape == (360, 360, 3)  # three times the longer side: 0.06 x 2000 pixels
    np.testing.assert_allclose((box[4:] - box[2:4]) * 360, [120, 100], atol=1e-9)
    np.testing.assert_allclose((box[4:] + box[2:4]) / 2, 0.5, atol=0.01)
    assert second.shape == (600, 600, 3)
    np.testing.assert_allclose(object_at_edge[1:], [1 - 200 / 600, 1 - 100 / 600, 1, 1], atol=1e-6)
    assert (first == 0).all()
    assert (second == 1).all()


def test_no_mistake_at_all_is_a_sentence(tmp_path, figures):
    save_worst_mistakes(tmp_path / "x.png", PICTURES, [])
    assert "every object is found" in figures[0].texts[0].get_text()
