"""Two sources side by side: their lines aligned, the words that differ and the frameworks' own words marked.

The site makes a page of every file of the two backends with it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from html import escape
from itertools import zip_longest
from typing import NamedTuple

from pygments import lex
from pygments.lexers import PythonLexer
from pygments.token import STANDARD_TYPES

from ssd_common.errors import InputError
from ssd_common.teaching.source import code_lines

STYLE = """
.side-by-side { overflow-x: auto; }
.side-by-side table { border-collapse: collapse; min-width: 44rem; table-layout: fixed; width: 100%; }
.side-by-side th, .side-by-side td { padding: 0 .5em; text-align: left; vertical-align: top; width: 50%; }
.side-by-side td { font: .8em/1.5 monospace; overflow-wrap: anywhere; white-space: pre-wrap; }
.side-by-side td { padding-left: calc(.5em + 1ch * var(--hang)); text-indent: calc(-1ch * var(--hang)); }
.side-by-side td + td { border-left: 1px solid #8886; }
.side-by-side .why { font: .8em/1.4 sans-serif; padding-left: .5em; text-indent: 0; white-space: normal; width: 22%; }
.side-by-side .differs { background: #8882; }
.side-by-side mark { background: #f5a62355; border-radius: 2px; color: inherit; }
.side-by-side b { text-decoration: underline; }
"""
"""What `to_html` needs to be seen as two columns, on a light ground and on a dark one."""

SAME_WORDS = {
    "PyTorch": "MXNet",
    "torch": "np",
    "F": "np",
    "npx": "np",
    "dim": "axis",
    "keepdim": "keepdims",
    "cat": "concatenate",
    "amax": "max",
    "clamp": "clip",
    "numel()": "size",
    "permute": "transpose",
    "to": "astype",
    "long()": "astype(np.int64)",
    "nonzero(as_tuple=True)": "nonzero()",
    "device": "ctx",
    "Conv2d": "Conv2D",
    "BatchNorm2d": "BatchNorm",
    "MaxPool2d": "MaxPool2D",
    "ReLU()": 'Activation("relu")',
    "Sequential": "HybridSequential",
    "append": "add",
    "Module": "Block",
    "import torch": "from mxnet import np",
    "from torch import nn": "from mxnet.gluon import nn",
    "AdaptiveMaxPool2d((1, 1))": "GlobalMaxPool2D()",
    "torch.cuda.device_count()": "np.num_gpus()",
    'torch.device("cpu")': "cpu()",
    'torch.device("cuda", number)': "gpu(number)",
    "detach().cpu().numpy()": "asnumpy()",
    "torch.no_grad()": "autograd.pause()",
}
"""Words of PyTorch, and those of MXNet with the same meaning: a line that differs in no others counts as equal."""

_ALIKE = 0.5  # of all words of two lines, how many must be the same for the lines to stand on one row
_WORD = re.compile(r"\w+|\s+|[^\w\s]")
_SAME = re.compile(
    "|".join(rf"\b{re.escape(word)}" + r"\b" * word[-1].isalnum() for word in sorted(SAME_WORDS, key=len, reverse=True))
)

Span = tuple[int, int]


class Row(NamedTuple):
    """A line of each source, None where there is none, and the (start, end) of what the other line does not have."""

    left: str | None
    right: str | None
    left_spans: tuple[Span, ...] = ()
    right_spans: tuple[Span, ...] = ()

    @property
    def same(self) -> bool:
        """Whether the two lines are equal."""
        return self.left == self.right


def aligned_rows(left: str, right: str) -> list[Row]:
    """Return the lines of two sources in pairs, in order, so that as many words as possible stand beside themselves.

    Lines that have nothing alike between two such pairs share rows as they come.

    Args:
        left: source code.
        right: source code.
    """
    a, b = left.splitlines(), right.splitlines()
    rows, i, j = [], 0, 0
    for m, n in [*_pairs(a, b), (len(a), len(b))]:
        rows += [_row(x, y, alike=False) for x, y in zip_longest(a[i:m], b[j:n])]
        rows += [_row(x, y, alike=True) for x, y in zip(a[m : m + 1], b[n : n + 1], strict=True)]
        i, j = m + 1, n + 1
    return rows


def equal_share(left: str, right: str) -> float:
    """Return the share of the code lines of two sources that are equal: of each line and its equal one, both count.

    Words of `SAME_WORDS` and white space do not count; the order of the lines does.

    Args:
        left: source code with PyTorch's words.
        right: source code with MXNet's.
    """
    a, b = [[_neutral(line) for line in code_lines(source)] for source in (left, right)]
    matched = sum(block.size for block in SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks())
    return 2 * matched / (len(a) + len(b)) if a or b else 1.0


def _neutral(line: str) -> str:
    """Return a line of either framework in the words of MXNet."""
    line = " ".join(line.split())
    return _SAME.sub(lambda found: SAME_WORDS[found[0]], line)


def find_row(rows: Sequence[Row], piece: str) -> int:
    """Return the place of the row that differs and has this piece of code on either side.

    Args:
        rows: as `aligned_rows` returns them.
        piece: of one line.

    Raises:
        InputError: no row that differs has it, or several have.
    """
    found = [i for i, row in enumerate(rows) if not row.same and any(piece in (line or "") for line in row[:2])]
    if len(found) != 1:
        raise InputError(f"{piece!r:.80} is in {len(found)} rows that differ: name a piece of a single one")
    return found[0]


def to_html(
    rows: Sequence[Row],
    titles: tuple[str, str] = ("PyTorch", "MXNet"),
    words: tuple[Collection[str], Collection[str]] = ((), ()),
    notes: Mapping[int, str] | None = None,
) -> str:
    """Return aligned rows as an HTML table of two columns, to be shown with `STYLE`; syntax has Pygments' classes.

    Args:
        rows: as `aligned_rows` returns them.
        titles: of the two columns.
        words: of the two columns, the words that are set in bold; see `source.framework_words`.
        notes: why a row differs, by its place: a third column, if there are any. `code` may be in backticks.
    """
    left = _cells([(row.left, row.left_spans) for row in rows], words[0])
    right = _cells([(row.right, row.right_spans) for row in rows], words[1])
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in titles)
    third = [""] * len(rows)
    if notes:
        head += '<th scope="col" class="why">Why this line differs</th>'
        third = [f'<td class="why">{_note(notes.get(i, ""))}</td>' for i in range(len(rows))]
    body = "".join(
        f'<tr class="{"same" if row.same else "differs"}">{x}{y}{z}</tr>\n'
        for row, x, y, z in zip(rows, left, right, third, strict=True)
    )
    table = f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>"
    return f'<div class="side-by-side highlight" tabindex="0">{table}</div>'


def _note(text: str) -> str:
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))


def _pairs(a: Sequence[str], b: Sequence[str]) -> list[tuple[int, int]]:
    """Return the places (in a, in b) of the lines that stand on one row: those with the most words in common."""
    words_a, words_b = [_words(line) for line in a], [_words(line) for line in b]
    gain = [[_common(x, y) for y in words_b] for x in words_a]
    best = [[0.0] * (len(b) + 1) for _ in range(len(a) + 1)]  # best[i][j]: of a[i:] and b[j:]
    for i in reversed(range(len(a))):
        for j in reversed(range(len(b))):
            best[i][j] = max(best[i + 1][j], best[i][j + 1], best[i + 1][j + 1] + gain[i][j])
    pairs, i, j = [], 0, 0
    while i < len(a) and j < len(b):
        if gain[i][j] and best[i][j] == best[i + 1][j + 1] + gain[i][j]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1
    return pairs


def _words(line: str) -> list[str]:
    return [word for word in _WORD.findall(line) if not word.isspace()]


def _common(a: list[str], b: list[str]) -> float:
    """How many words two lines share; 0 for lines that are not alike."""
    if a == b:
        return len(a) + 0.1  # two empty lines are a pair, too
    if a[:1] in (["def"], ["class"]) and a[:2] != b[:2]:
        return 0.0
    if min(len(a), len(b)) < _ALIKE * (len(a) + len(b)) / 2:
        return 0.0
    shared = sum(block.size for block in SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks())
    return shared if 2 * shared >= _ALIKE * (len(a) + len(b)) else 0.0


def _row(left: str | None, right: str | None, *, alike: bool) -> Row:
    if left == right:
        return Row(left, right)
    if not alike:
        return Row(left, right, _whole(left), _whole(right))
    a, b = _WORD.findall(left or ""), _WORD.findall(right or "")
    opcodes = SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
    changed = [opcode for opcode in opcodes if opcode[0] != "equal"]
    return Row(left, right, _spans(a, [c[1:3] for c in changed]), _spans(b, [c[3:5] for c in changed]))


def _whole(line: str | None) -> tuple[Span, ...]:
    """The span of a line without its indentation."""
    stripped = (line or "").strip()
    return ((len(line) - len(line.lstrip()), len(line)),) if line and stripped else ()


def _spans(words: Sequence[str], ranges: Sequence[tuple[int, int]]) -> tuple[Span, ...]:
    """Turn ranges of words into ranges of characters, without the white space at their ends."""
    spans = []
    for i, j in ranges:
        text, start = "".join(words[i:j]), len("".join(words[:i]))
        first = start + len(text) - len(text.lstrip())
        spans.append((first, first + len(text.strip())))
    return tuple((start, end) for start, end in spans if start < end)


def _cells(lines: Sequence[tuple[str | None, Sequence[Span]]], words: Collection[str]) -> Iterator[str]:
    """Yield the cell of each line: syntax in the classes of Pygments, spans in `<mark>`, the words in `<b>`."""
    source = "\n".join(line for line, _ in lines if line is not None)
    tokens = _token_lines(source)
    for line, spans in lines:
        if line is None:
            yield "<td></td>"
        else:
            hang = len(line) - len(line.lstrip()) + 4  # of what does not fit: indented more than the line
            yield f'<td style="--hang: {hang}">{_cell(next(tokens), spans, words)}</td>'


def _token_lines(source: str) -> Iterator[list[tuple[str, str]]]:
    """Yield the tokens of each line as (class, text)."""
    line: list[tuple[str, str]] = []
    for kind, text in lex(source, PythonLexer(stripnl=False, ensurenl=False)):
        first, *more = text.split("\n")
        line.append((STANDARD_TYPES.get(kind, ""), first))
        for piece in more:
            yield line
            line = [(STANDARD_TYPES.get(kind, ""), piece)]
    yield line


def _cell(tokens: Sequence[tuple[str, str]], spans: Sequence[Span], words: Collection[str]) -> str:
    marked, place, html = False, 0, []
    for kind, text in tokens:
        cuts = sorted(
            {0, len(text), *(edge - place for span in spans for edge in span if 0 < edge - place < len(text))}
        )
        for start, end in zip(cuts[:-1], cuts[1:], strict=True):
            inside = any(first <= place + start < last for first, last in spans)
            if inside != marked:
                html.append("<mark>" if inside else "</mark>")
                marked = inside
            piece = escape(text[start:end])
            piece = f"<b>{piece}</b>" if text in words and kind.startswith("n") else piece
            html.append(f'<span class="{kind}">{piece}</span>' if kind else piece)
        place += len(text)
    return "".join(html) + ("</mark>" if marked else "")
