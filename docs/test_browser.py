"""The pages "Try it" and "Anchors and matching": the package's own answers, keyboard, speed, nothing sent."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import SITE
from PIL import Image

from ssd_common.anchors import anchor_grid
from ssd_common.boxes import box_iou
from ssd_common.config import AnchorConfig, ModelConfig
from ssd_common.data.transforms import read_image, resize_image
from ssd_common.targets import assign_anchor_to_bbox

FILES = SITE.parent / "browser"
PREDICTED = FILES / "expected"
has_detector = pytest.mark.skipif(
    not (FILES / "made").is_file(), reason="this build has no detector: the npm registry was out of reach"
)
FIRST = "() => Number(document.getElementById('detector').dataset.firstDetection)"
KEPT = """() => detector.result.kept.map(({ box, score, classId }) => [classId, score, ...box])"""
RESIZE = """async ({ address, size }) => {
  const { resize } = await import('/_static/browser/resize.js');
  const { readImage } = await import('/_static/browser/stage.js');
  const image = await readImage(address);
  const context = new OffscreenCanvas(image.width, image.height).getContext('2d');
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, image.width, image.height);
  return [...resize(data, image.width, image.height, ...size)];
}"""


def open_detector(visitor):
    """Return the page "Try it" after its first detection."""
    page = visitor.open("try_it.html")
    page.wait_for_function(FIRST, timeout=60_000)
    return page


def set_slider(page, part, value):
    """Move a slider, and return how long the page took to act, in milliseconds."""
    return page.evaluate(
        """([part, value]) => {
          const slider = document.querySelector(`[data-part=${part}]`), start = performance.now();
          slider.value = value;
          slider.dispatchEvent(new Event('input'));
          document.body.getBoundingClientRect();
          return performance.now() - start;
        }""",
        [part, value],
    )


@has_detector
def test_both_exports_find_the_boxes_that_predict_finds(visit):
    page = open_detector(visit())
    set_slider(page, "score", 0.1)
    for backend in ("torch", "mxnet"):
        page.check(f"input[value={backend}]")
        rows = json.loads((PREDICTED / backend / "detections.json").read_text(encoding="utf-8"))
        names = sorted({row["image"] for row in rows})
        assert len(names) == 9
        for name in names:
            path = FILES / name.partition("browser/")[2]
            page.set_input_files("[data-part=file]", path)
            page.wait_for_function("name => detector.dataset.image === name", arg=path.name)
            height, width = read_image(path).shape[:2]
            kept = np.array(page.evaluate(KEPT)) * (1, 1, width, height, width, height)
            expected = [row for row in rows if row["image"] == name]
            boxes = [[row["box"][side] for side in ("xmin", "ymin", "xmax", "ymax")] for row in expected]
            assert kept[:, 0].tolist() == [row["class_id"] for row in expected], name
            np.testing.assert_allclose(kept[:, 1], [row["score"] for row in expected], rtol=0, atol=1e-3)
            np.testing.assert_allclose(kept[:, 2:], boxes, rtol=0, atol=1)


@pytest.mark.parametrize("size", [(256, 256), (90, 301), (300, 40), (60, 50)])
def test_an_image_is_resized_as_pillow_does_it(size, visit):
    page = visit().open("matching.html")
    address = "/_static/detector/scene-1.png"
    found = np.reshape(page.evaluate(RESIZE, {"address": address, "size": size}), (size[1], size[0], 4))[..., :3]
    image = np.array(Image.open(FILES / "static" / "detector" / "scene-1.png"))
    rows_first = resize_image(resize_image(image, (256, size[0])), size[::-1])
    np.testing.assert_array_equal(found, rows_first)
    # Since version 13 Pillow begins with the columns of some images, and rounds differently in between.
    assert np.abs(found.astype(int) - resize_image(image, size[::-1])).max() <= 1


@has_detector
def test_what_was_dropped_names_the_box_that_suppressed_it_and_both_are_shown(visit):
    page = open_detector(visit())
    page.check("input[value=dropped]")
    dropped = page.evaluate("() => detector.result.dropped.map(b => [b.box, b.by.box, b.by.score - b.score, b.iou])")
    assert len(dropped) > 5
    for box, by, more, iou in dropped:
        np.testing.assert_allclose(box_iou(np.array([box]), np.array([by]))[0, 0], iou, rtol=1e-9)
        assert iou > 0.5
        assert more >= 0
    assert page.locator("rect.by").count() == 0
    page.locator("rect.dropped").last.dispatch_event("pointerover", {"bubbles": True})
    assert page.locator("rect.by").count() == 1
    assert "Dropped: banana" in page.inner_text("[data-part=why]")
    set_slider(page, "nms", 1)
    assert page.inner_text("[data-part=status]").endswith(" 0 dropped by NMS.")


@has_detector
def test_the_detector_is_used_by_keyboard(visit):
    page = open_detector(visit())
    page.locator("[data-part=scenes] button").nth(3).focus()
    page.keyboard.press("Enter")
    page.wait_for_function("detector.dataset.image === 'Scene 4'")
    page.get_by_label("Score from").focus()
    page.keyboard.press("Home")
    assert page.inner_text("[data-part=score-value]") == "0.01"
    page.locator("input[value=kept]").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.locator("[data-part=list]").focus()
    page.keyboard.press("ArrowDown")
    assert page.locator("rect.by").count() == 1


@has_detector
def test_after_it_has_loaded_the_detector_needs_no_network_and_acts_at_once(visit):
    visitor = visit(375, "dark")
    page = open_detector(visitor)
    page.context.set_offline(True)
    page.set_input_files("[data-part=file]", PREDICTED / "wide.png")
    page.wait_for_function("detector.dataset.image === 'wide.png'")
    page.check("input[value=dropped]")
    times = [set_slider(page, part, value) for value in (0.01, 0.3, 0.7) for part in ("score", "nms") for _ in "123"]
    assert min(times[:3]) < 100
    assert np.median(times) < 100
    assert page.evaluate("document.documentElement.scrollWidth") == 375


@has_detector
def test_the_first_detection_is_there_after_less_than_3_seconds_of_work(visit):
    visitor = visit()
    tools = visitor.page.context.new_cdp_session(visitor.page)
    tools.send("Performance.enable", {"timeDomain": "threadTicks"})  # of the thread, whatever else the computer does
    open_detector(visitor)
    times = {row["name"]: row["value"] for row in tools.send("Performance.getMetrics")["metrics"]}
    assert 0.05 < times["TaskDuration"] < 3


@has_detector
def test_a_file_that_is_no_image_is_refused_in_one_line(visit, tmp_path):
    page = open_detector(visit())
    (tmp_path / "notes.txt").write_text("no image", encoding="utf-8")
    page.set_input_files("[data-part=file]", tmp_path / "notes.txt")
    page.get_by_text("cannot read notes.txt as an image").wait_for()


def open_matching(visitor):
    """Return the page "Anchors and matching" when it can be used."""
    page = visitor.open("matching.html")
    page.wait_for_selector("[data-ready]")
    return page


def check_matching(page, model_config, threshold):
    """Compare what the page computed with the numpy reference, and return the page's answer."""
    found = page.evaluate("() => matching.result")
    anchors = anchor_grid(model_config, "float64")[0]
    boxes = np.array(found["boxes"])
    np.testing.assert_array_equal(found["anchors"], anchors)
    np.testing.assert_allclose(found["overlaps"], box_iou(boxes, anchors), rtol=1e-15)
    assigned = assign_anchor_to_bbox(boxes, anchors, threshold)
    np.testing.assert_array_equal(found["assigned"], assigned)
    close = box_iou(boxes, anchors).max(axis=0) >= threshold
    reasons = np.array(found["why"])
    assert set(np.flatnonzero(reasons == "threshold")) <= set(np.flatnonzero(close))
    assert set(np.flatnonzero((assigned >= 0) & ~close)) <= set(np.flatnonzero(reasons == "claimed"))
    return found


def packaged_model(change=None):
    """Return the configuration of the page's model; `change` replaces the sizes of the second map."""
    table = json.loads((FILES / "static" / "detector" / "model.json").read_text(encoding="utf-8"))["anchors"]
    sizes = [tuple(row) for row in table["sizes"]]
    sizes[1] = change or sizes[1]
    return ModelConfig(anchors=AnchorConfig(tuple(sizes), tuple(tuple(row) for row in table["ratios"])))


def test_matching_is_that_of_the_numpy_reference(visit):
    page = open_matching(visit())
    check_matching(page, packaged_model(), 0.5)
    page.click("[data-part=add]")
    page.click("[data-part=add]")
    found = check_matching(page, packaged_model(), 0.5)
    assert len(found["boxes"]) == 3
    set_slider(page, "threshold", 0.9)
    found = check_matching(page, packaged_model(), 0.9)
    assert "claimed" in found["why"]
    page.get_by_label("Size 1").evaluate("slider => { slider.value = 0.33; slider.dispatchEvent(new Event('input')); }")
    check_matching(page, packaged_model((0.33, 0.28)), 0.9)


def test_boxes_that_compete_are_matched_as_by_the_numpy_reference(visit):
    page = open_matching(visit())
    rng = np.random.default_rng(0)
    model = packaged_model()
    anchors = anchor_grid(model, "float64")[0]
    for _ in range(10):
        corner = rng.uniform(0.2, 0.4, (4, 2)).round(2)  # close together, and some are equal
        boxes = np.concatenate((corner, corner + rng.uniform(0.1, 0.4, (4, 2)).round(1)), axis=1)
        found = page.evaluate(
            """async boxes => (await import('/_static/browser/boxes.js'))
              .assignAnchors(boxes, matching.result.anchors, 0.5).assigned""",
            boxes.tolist(),
        )
        np.testing.assert_array_equal(found, assign_anchor_to_bbox(boxes, anchors, 0.5))


def test_a_box_is_dragged_stretched_and_moved_by_keyboard(visit):
    page = open_matching(visit(375, "dark"))
    start = np.array(page.evaluate("() => matching.result.boxes[0]"))
    area = page.locator("svg[data-part=boxes]")
    area.scroll_into_view_if_needed()
    frame = area.bounding_box()
    place = [frame[key] for key in ("x", "y")] + (start[:2] + start[2:]) / 2 * frame["width"]
    page.mouse.move(*place)
    page.mouse.down()
    page.mouse.move(*(place + 0.1 * frame["width"]), steps=4)
    page.mouse.up()
    dragged = np.array(page.evaluate("() => matching.result.boxes[0]"))
    np.testing.assert_allclose(dragged, start + 0.1, atol=0.01)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowDown")
    moved = np.array(page.evaluate("() => matching.result.boxes[0]"))
    np.testing.assert_allclose((moved - dragged) * 256, (-1, 0, -1, 1), atol=1e-9)
    check_matching(page, packaged_model(), 0.5)
    assert page.evaluate("document.documentElement.scrollWidth") == 375
