"""Sphinx builds the slides with this; `make slides` calls it. Figures and code are those of the executed notebooks."""

from __future__ import annotations

import ast
import sys
from html import escape
from pathlib import Path
from typing import Any

import tomllib

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent)]

from notebook_pages import Cell, code_cells, read, text  # noqa: E402
from pages import KEYS, fenced  # noqa: E402
from sphinx.application import Sphinx  # noqa: E402
from sphinx.errors import SphinxError  # noqa: E402

from ssd_common.teaching.side_by_side import STYLE, aligned_rows, to_html  # noqa: E402

project = "A single shot multibox detector"
extensions = ["myst_parser", "sphinx_revealjs"]
revealjs_style_theme = "white"
revealjs_static_path = ["static"]
revealjs_css_files = ["pygments.css", "slides.css"]
revealjs_script_conf = {"slideNumber": "c/t", "hash": True, "width": 1280, "height": 720, "center": False}
WORDS = {"torch", "nn", "F"}, {"mxnet", "autograd", "nn", "np", "npx"}
"""Names that the notebooks import from the frameworks."""


def source_of(name: str, cells: list[Cell]) -> str:
    """Return the source of a function that a cell defines."""
    for source in (text(cell["source"]) for cell in cells):
        for node in ast.parse(source).body:
            if isinstance(node, ast.FunctionDef) and node.name == name:
                return str(ast.get_source_segment(source, node))
    raise SphinxError(f"slides.toml: no cell of the notebook defines {name}")


def figure_of(caption: str, cells: list[Cell]) -> str:
    """Return the only figure whose caption begins with these words, as HTML."""
    outputs = [output for cell in cells for output in cell["outputs"] if "image/png" in output.get("data", {})]
    found = [one for one in outputs if one["metadata"]["image/png"]["alt"].startswith(caption)]
    if len(found) != 1:
        raise SphinxError(f"slides.toml: {len(found)} figures have a caption that begins with {caption!r}")
    data = text(found[0]["data"]["image/png"]).replace("\n", "")
    return f'<img src="data:image/png;base64,{data}" alt="{escape(found[0]["metadata"]["image/png"]["alt"])}">'


def slide_body(slide: dict[str, Any], cells: dict[str, list[Cell]]) -> str:
    """Return the code and the figure of a slide as HTML: both frameworks beside each other where they differ."""
    codes = ["\n\n".join(source_of(name, of) for name in slide.get("code", ())) for of in cells.values()]
    html = to_html(aligned_rows(*codes), words=WORDS) if "code" in slide else ""
    if "figure" in slide:
        figures = {title: figure_of(slide["figure"].replace("PyTorch", title), of) for title, of in cells.items()}
        one, other = figures.values()
        shown = {"": one} if one == other else figures
        each = (f"<figure>{image}<figcaption>{title}</figcaption></figure>" for title, image in shown.items())
        html += f'<div class="figures">{"".join(each)}</div>'
    return html


def write_slides(app: Sphinx) -> None:
    """Write the slides as Markdown, a section each, before Sphinx looks for its files."""
    cells = {title: code_cells(read(f"chapter_{key}")) for title, key in KEYS.items()}
    lines = [fenced(f"<style>{STYLE}</style>", "{raw} html")]
    for slide in tomllib.loads((HERE / "slides.toml").read_text(encoding="utf-8"))["slide"]:
        lines += [f"{'##' if len(lines) > 1 else '#'} {slide['title']}", "\n".join(f"- {p}" for p in slide["points"])]
        lines.append(fenced(slide_body(slide, cells), "{raw} html"))
    (Path(app.srcdir) / "index.md").write_text("\n\n".join(lines), encoding="utf-8")


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("builder-inited", write_slides)
