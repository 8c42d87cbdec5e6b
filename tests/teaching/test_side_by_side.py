"""Two sources are laid side by side line by line; nothing of them is lost, and what differs is marked."""

import difflib
import re
from functools import cache
from html import unescape
from pathlib import Path

import pytest

from ssd_common.teaching.side_by_side import STYLE, Row, aligned_rows, equal_share, to_html
from ssd_common.teaching.source import code_lines, docstring, framework_words, parts, without_docstring

ROOT = Path(__file__).parents[2]
FILES = sorted(path.name for path in (ROOT / "ssd_mxnet").glob("*.py") if (ROOT / "ssd_torch" / path.name).is_file())

TORCH = """def area(boxes):
    boxes = boxes.clamp(min=0)

    return torch.sum(boxes, dim=-1)
"""
MXNET = """def area(boxes):
    with autograd.pause():
        boxes = boxes.clip(0)

    return np.sum(boxes, axis=-1)
"""


def sources(name):
    return [(ROOT / package / name).read_text(encoding="utf-8") for package in ("ssd_torch", "ssd_mxnet")]


@cache
def rows_of(name):
    return aligned_rows(*sources(name))


def marked(line, spans):
    return [line[start:end] for start, end in spans]


def test_lines_with_the_same_words_share_a_row_and_the_words_that_differ_are_marked():
    rows = aligned_rows(TORCH, MXNET)
    assert [(row.left, row.right) for row in rows] == [
        ("def area(boxes):", "def area(boxes):"),
        (None, "    with autograd.pause():"),
        ("    boxes = boxes.clamp(min=0)", "        boxes = boxes.clip(0)"),
        ("", ""),
        ("    return torch.sum(boxes, dim=-1)", "    return np.sum(boxes, axis=-1)"),
    ]
    assert [row.same for row in rows] == [True, False, False, True, False]
    assert marked(rows[1].right, rows[1].right_spans) == ["with autograd.pause():"]
    assert marked(rows[2].right, rows[2].right_spans) == ["clip"]  # its indentation differs, too: that is seen
    assert marked(rows[4].left, rows[4].left_spans) == ["torch", "dim"]
    assert marked(rows[4].right, rows[4].right_spans) == ["np", "axis"]


def test_definitions_of_other_names_are_not_taken_for_each_other():
    rows = aligned_rows("def _a(x):\n    return x\n", "def _b(x):\n    return 1\n\n\ndef _a(x):\n    return x\n")
    assert ("def _a(x):", "def _a(x):") in [(row.left, row.right) for row in rows]


@pytest.mark.parametrize("name", FILES)
def test_no_line_of_the_two_backends_is_lost_or_moved(name):
    left, right = sources(name)
    rows = rows_of(name)
    assert [row.left for row in rows if row.left is not None] == left.splitlines()
    assert [row.right for row in rows if row.right is not None] == right.splitlines()


@pytest.mark.parametrize("name", FILES)
def test_at_least_as_much_is_paired_as_the_diff_of_the_standard_library_pairs(name):
    left, right = sources(name)
    lines = left.splitlines()
    diff = difflib.SequenceMatcher(None, lines, right.splitlines(), autojunk=False)
    theirs = sum(len("".join(lines[block.a : block.a + block.size])) for block in diff.get_matching_blocks())
    ours = sum(
        len(row.left) - sum(end - start for start, end in row.left_spans)
        for row in rows_of(name)
        if row.left is not None and row.right is not None
    )
    assert ours >= theirs


@pytest.mark.parametrize("name", FILES)
def test_the_parts_of_a_file_are_the_whole_file(name):
    for source in sources(name):
        assert "".join(parts(source).values()) == source


PARTS = '''"""A module."""

LIMIT = 1


# why
@cached
def first():
    return _helper()


def _helper():
    return LIMIT


class Second:
    pass
'''


def test_a_part_has_the_comments_and_decorators_above_it_and_the_private_definitions_below():
    found = parts(PARTS)
    assert list(found) == ["", "first", "Second"]
    assert found["first"].startswith("# why\n@cached\ndef first():")
    assert "def _helper():" in found["first"]


def test_without_its_docstring_a_part_is_the_same_code():
    part = parts(sources("boxes.py")[0])["box_iou"]
    assert without_docstring(part).startswith("def box_iou(boxes1, boxes2):\n    area1, left1")
    assert docstring(part).startswith("Return the intersection over union of every pair of boxes.\n\nReturns:")
    assert without_docstring(PARTS) == PARTS.partition("\n\n")[2]
    assert docstring(PARTS) == "A module."
    assert (docstring("X = 1\n"), without_docstring("X = 1\n")) == ("", "X = 1\n")


def test_framework_words_are_the_names_that_are_imported_from_a_framework():
    source = "import os\nimport torch.nn as layers\nfrom torch.nn import functional as F\nfrom .boxes import box_iou\n"
    assert framework_words(source) == {"layers", "F"}
    assert framework_words("import mxnet.gluon\nfrom mxnet import np\nimport numpy\n") == {"mxnet", "np"}


@pytest.mark.parametrize("name", FILES)
def test_the_table_shows_the_text_of_both_files_and_nothing_else(name):
    left, right = sources(name)
    html = to_html(rows_of(name), words=(framework_words(left), framework_words(right)))
    cells = [unescape(re.sub(r"<[^>]+>", "", cell)) for cell in re.findall(r"<td.*?>(.*?)</td>", html)]
    assert [cell for cell in cells[::2] if cell] == [line for line in left.splitlines() if line]
    assert [cell for cell in cells[1::2] if cell] == [line for line in right.splitlines() if line]


def test_the_table_marks_what_differs_and_the_frameworks_words():
    html = to_html(aligned_rows(TORCH, MXNET), words=({"torch"}, {"np"}))
    assert '<mark><span class="n"><b>torch</b></span></mark>' in html
    assert html.count("<mark>") == html.count("</mark>") > 4
    assert html.count('<tr class="same">') == 2


def test_what_looks_like_html_is_shown_as_it_stands():
    html = to_html([Row('x = "<b>&"', None)], titles=("<left>", "right"))
    assert "&lt;b&gt;&amp;" in html
    assert "&lt;left&gt;" in html


def test_the_look_loads_nothing():
    assert not re.search(r"url\(|@import", STYLE)


def test_code_lines_have_no_docstrings_comments_or_blank_lines():
    assert code_lines(PARTS + "\n# end\n") == [
        "LIMIT = 1",
        "@cached",
        "def first():",
        "    return _helper()",
        "def _helper():",
        "    return LIMIT",
        "class Second:",
        "    pass",
    ]
    assert code_lines('"""Doc."""\nx = "# no comment"  # a comment\n') == ['x = "# no comment"']


def test_equal_lines_are_counted_on_both_sides_and_words_with_the_same_meaning_are_equal():
    assert equal_share(TORCH, TORCH) == 1
    assert equal_share(TORCH, MXNET) == 2 * 2 / (3 + 4)  # def and return; not what pause() surrounds: `min=` differs
    assert equal_share("x = torch.cat(a, dim=1)\n", "x = np.concatenate(a, axis=1)\n") == 1
    assert equal_share("x = 1\ny = 2\n", "y = 2\nx = 1\n") == 0.5, "the order counts"
    assert equal_share("x = 1\n", "y = 1\n") == 0
