"""Every sentence of docs/why.toml still explains a line that differs."""

import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from ssd_common.errors import InputError
from ssd_common.teaching.side_by_side import aligned_rows, find_row, to_html
from ssd_common.teaching.source import parts, without_docstring

ROOT = Path(__file__).parents[2]
WHY = tomllib.loads((ROOT / "docs" / "why.toml").read_text(encoding="utf-8"))["why"]
ROWS = aligned_rows("a = torch.cat(x)\nb = 1\nc = dim\n", "a = np.concatenate(x)\nb = 1\nc = axis\n")


def rows_of(file, function):
    sources = [(ROOT / package / file).read_text(encoding="utf-8") for package in ("ssd_torch", "ssd_mxnet")]
    return aligned_rows(*(without_docstring(parts(source)[function]) for source in sources))


def test_there_are_sentences_about_most_files():
    assert len(WHY) >= 20
    assert len({row["file"] for row in WHY}) >= 10


@pytest.mark.parametrize("row", WHY, ids=lambda row: f"{row['file']} {row['line'].strip()}")
def test_a_row_explains_one_differing_line_in_whole_sentences(row):
    assert set(row) == {"file", "function", "line", "why"}
    find_row(rows_of(row["file"], row["function"]), row["line"])
    assert row["why"].endswith(".")


def test_no_line_has_two_explanations():
    places = [
        (row["file"], row["function"], find_row(rows_of(row["file"], row["function"]), row["line"])) for row in WHY
    ]
    assert len(places) == len(set(places))


@pytest.mark.parametrize("piece", ["torch.stack", "b = 1", " = "])
def test_a_piece_of_no_differing_line_or_of_several_is_refused(piece):
    with pytest.raises(InputError, match="rows that differ"):
        find_row(ROWS, piece)


def test_notes_are_a_third_column_beside_their_lines():
    html = to_html(ROWS, notes={find_row(ROWS, "torch.cat"): "another <name> for `concatenate`."})
    assert html.count("<th") == 3 + 1  # three columns, and the head
    assert '<td class="why">another &lt;name&gt; for <code>concatenate</code>.</td></tr>' in html
    assert html.count('<td class="why"></td>') == 2
    assert 'class="why"' not in to_html(ROWS)
