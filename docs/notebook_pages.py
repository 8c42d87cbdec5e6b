"""The pages made from executed notebooks: of a pair one page, its prose once and what differs in tabs."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64decode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pages import KEYS, PageFolder, fenced, github_repository, in_order, tabs, toctree
from sphinx.errors import SphinxError

ROOT = Path(__file__).parent.parent
EXECUTED = ROOT / "build" / "notebooks"
READING_ORDER = ("chapter", "anchors_targets_nms", "exercises", "toyssd_pikachu", "side_by_side")
"""A notebook that is not named here comes last."""

TABLE, TABLE_END = "% table of notebooks", "% end of the table"
"""Comments around the table, which the start page includes."""

Cell = dict[str, Any]
Output = dict[str, Any]


def write(docs: Path) -> None:
    """Write a page for each notebook or pair of notebooks, and the page that lists them."""
    sources = {path.stem for path in (ROOT / "notebooks").glob("*.py")}
    pages = PageFolder(docs / "notebooks")
    names = in_order({re.sub(f"_({'|'.join(KEYS.values())})$", "", name) for name in sources}, READING_ORDER)
    rows, solutions = list[str](), list[str]()
    for name in names:
        if name in sources:
            notebooks, page = [read(name)], f"{name}.ipynb"
            pages.write(page, single_page(notebooks[0], files_of([name])))
        else:
            notebooks, page = [read(f"{name}_{key}") for key in KEYS.values()], f"{name}.md"
            links = files_of([f"{name}_{key}" for key in KEYS.values()])
            pages.write(page, pair_page([notebook["cells"] for notebook in notebooks], pages, links))
        (solutions if name.startswith("solutions") else rows).append(table_row(page, notebooks[0]["cells"][0]))
    index = [
        "# Notebooks",
        "The notebooks contain the code that they explain. Run them in Jupyter, change a cell and run it again. Their "
        "outputs on these pages come from `make notebooks`, with small images and few steps. Two notebooks that differ "
        "only in the framework are one page, with tabs where they differ.",
        f"{TABLE}\n\n| notebook | what it teaches | read | run |\n|---|---|---|---|\n" + "\n".join(rows),
        f"{TABLE_END}\n\n## Solutions",
        "| notebook | what it answers | run |\n|---|---|---|\n" + "\n".join(solutions),
        toctree(names),
    ]
    pages.write("index.md", "\n\n".join(index))
    pages.finish()


def table_row(page: str, first: Cell) -> str:
    """Return the row of a notebook in the table: its page, the first sentence of its first cell, and its times."""
    paragraph = " ".join(text(first["source"]).split("\n\n")[1].split())
    sentence = re.split(r"(?<=[.!?]) (?=[A-Z])", paragraph)[0]
    source = " ".join(text(first["source"]).split())
    times = re.search(r"\*\*Time\*\*: (?:(\d+ minutes) to read, )?(?:about )?(\d+ minutes?) to run", source)
    if times is None:
        raise SphinxError(f"{page}: its first cell does not say how long it takes to run")
    return f"| [](./{page}) | {sentence} | " + " | ".join(time for time in times.groups() if time) + " |"


def files_of(names: Sequence[str]) -> str:
    """Return links to the executed notebooks: to download them, and to open them where the repository is known."""
    links = []
    for name in names:
        links.append(f"{{download}}`{name}.ipynb <../../build/notebooks/{name}.ipynb>`")
        if repository := github_repository():
            colab = f"https://colab.research.google.com/github/{repository}/blob/main/notebooks/{name}.ipynb"
            links.append(f"[open in Colab]({colab})")
    return f"Download: {' · '.join(links)}"


def read(name: str) -> dict[str, Any]:
    """Return an executed notebook."""
    path = EXECUTED / f"{name}.ipynb"
    notebook = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"cells": [{}]}
    if not any(cell.get("execution_count") for cell in notebook["cells"]):
        raise SphinxError(f"{path} is missing or was not executed: make notebooks")
    for cell in code_cells(notebook):
        cell["outputs"] = merged(cell["outputs"])
    return notebook


def code_cells(notebook: dict[str, Any]) -> list[Cell]:
    """Return the cells of code."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def merged(outputs: Sequence[Output]) -> list[Output]:
    """Return the outputs of a cell with what was printed in a row in one piece."""
    whole: list[Output] = []
    for output in outputs:
        stream = output["output_type"] == "stream" and output["name"]
        if stream and whole and whole[-1].get("name") == stream:
            output = {**output, "text": text(whole.pop()["text"]) + text(output["text"])}
        whole.append(output)
    return whole


def single_page(notebook: dict[str, Any], links: str) -> str:
    """Return a notebook for `myst_nb`: links are the site's, checks are folded, outputs bring no style."""
    for cell in notebook["cells"]:
        cell["source"] = linked(text(cell["source"])) if cell["cell_type"] == "markdown" else cell["source"]
    for output in (output for cell in code_cells(notebook) for output in cell["outputs"]):
        if "text/html" in output.get("data", {}):
            output["data"]["text/html"] = without_style(text(output["data"]["text/html"]))
    for cell in code_cells(notebook):
        cell["metadata"] = {"tags": ["hide-input"]} if is_check(cell) else {}
    first, *others = notebook["cells"]
    download = {"cell_type": "markdown", "id": "download", "metadata": {}, "source": links}
    return json.dumps({**notebook, "cells": [first, download, *others]})


def is_check(cell: Cell) -> bool:
    """Whether a cell has assertions for tests, which Jupyter folds."""
    return "check" in cell["metadata"].get("tags", ())


def pair_page(cells: list[list[Cell]], pages: PageFolder, links: str) -> str:
    """Return the page of a pair of notebooks, PyTorch's and MXNet's cells, which differ only in the framework."""
    lines: list[str] = []
    for number, pair in enumerate(zip(*cells, strict=True)):
        if number == 1:
            lines.append(links)
        sources = [text(cell["source"]) for cell in pair]
        if pair[0]["cell_type"] == "markdown":
            lines += prose(*map(linked, sources))
        else:
            codes = [fenced(source, "{code-block} python") for source in sources]
            if is_check(pair[0]):
                lines.append(f":::::::{{dropdown}} Checks for the tests\n\n{once_or_tabs(*codes)}\n:::::::")
                codes = ["", ""]
            outputs = ["\n\n".join(output_text(output, pages) for output in cell["outputs"]) for cell in pair]
            outputs = [f"::::{{div}} cell-output\n\n{output}\n\n::::" if output else "" for output in outputs]
            if codes[0] != codes[1] and outputs[0] != outputs[1]:
                codes, outputs = [f"{code}\n\n{output}" for code, output in zip(codes, outputs, strict=True)], ["", ""]
            lines += [once_or_tabs(*codes), once_or_tabs(*outputs)]
    return "\n\n".join(lines)


def once_or_tabs(*contents: str) -> str:
    """Return what the two frameworks share, or else tabs."""
    return contents[0] if contents[0] == contents[1] else tabs(dict(zip(KEYS, contents, strict=True)))


def prose(*cells: str) -> list[str]:
    """Return the blocks of two cells of text: what they share once; a heading names both frameworks."""
    blocks = [re.split(r"\n\n+", cell) for cell in cells]
    if len(blocks[0]) != len(blocks[1]) or any(block.count("```") % 2 for block in blocks[0]):
        return [once_or_tabs(*cells)]
    names = " and ".join(KEYS)
    return [
        one.replace("PyTorch", names) if one.startswith("#") and one != other else once_or_tabs(one, other)
        for one, other in zip(*blocks, strict=True)
    ]


def output_text(output: Output, pages: PageFolder) -> str:
    """Return an output as Markdown; an image becomes a file."""
    if output["output_type"] == "stream":
        return fenced(text(output["text"]), "{code-block} text")
    data = output["data"]
    if "image/png" in data:
        picture = b64decode(text(data["image/png"]))
        name = f"{hashlib.sha256(picture).hexdigest()[:16]}.png"
        pages.write(name, picture)
        caption = output["metadata"].get("image/png", {}).get("alt", "")
        return fenced("", f"{{image}} {name}", alt=caption.replace("\n", " "))
    if "text/markdown" in data:
        return text(data["text/markdown"])
    html = text(data.get("text/html", ""))
    if html and 'class="highlight"' not in html:
        return fenced(without_style(html), "{raw} html")
    return fenced(text(data["text/plain"]), "{code-block} python" if html else "{code-block} text")


def text(lines: str | list[str]) -> str:
    """Return a text of a notebook's file, where it may be a list of lines."""
    return lines if isinstance(lines, str) else "".join(lines)


def without_style(html: str) -> str:
    """Return HTML without style sheets: they would hold for the whole page."""
    return re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL)


def linked(markdown: str) -> str:
    """Return the text of a notebook with links to other files turned into links to their pages."""
    return re.sub(r"\]\((?![a-z]+:|#)([^)#\s]+)", lambda match: f"]({page_of(match[1])}", markdown)


def page_of(link: str) -> str:
    """Return the page of a file, from the page of a notebook that links it."""
    name = link.rpartition("/")[2]
    if name.endswith(".ipynb"):
        paired = re.sub(r"_(torch|mxnet)\.ipynb$", ".md", name)
        return paired if paired != name else name
    if match := re.fullmatch(r"\.\./ssd_(?:torch|mxnet)/(\w+)\.py", link):
        return f"../side_by_side/{match[1]}.md"
    if match := re.fullmatch(r"\.\./(ssd_common/[\w/]+)\.py", link):
        return f"../api/{match[1].replace('/', '.')}.md"
    if match := re.fullmatch(r"\.\./docs/(.+)", link):
        return f"../{match[1]}"
    raise SphinxError(f"a notebook links {link}, which has no page on the site")
