"""Sphinx builds the site with this; `make docs` calls it. Neither framework is imported."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from textwrap import indent
from typing import Any

from docutils.nodes import SkipNode
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.config import Config

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS), str(DOCS.parent)]

import notebook_pages  # noqa: E402
import pages  # noqa: E402
import source_pages  # noqa: E402
import text_pages  # noqa: E402

project = "tinyssd"
copyright = "the authors of tinyssd, Apache-2.0"
extensions = ["myst_nb", "sphinx_design", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

# A warning ends the build. The types in signatures are not all pages of this site: numpy's and Python's are elsewhere.
nitpicky = True
nitpick_ignore_regex = [("py:.*", ".*")]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # `make notebooks` runs them
nb_render_markdown_format = "myst"  # tables, too
nb_code_prompt_show = nb_code_prompt_hide = "Checks for the tests"
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # would be fetched from elsewhere

autodoc_mock_imports = ["d2l", "mxnet", "torch", "torchvision"]
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
add_module_names = False
maximum_signature_line_length = 100
toc_object_entries = False

html_theme = "sphinx_book_theme"
html_title = "tinyssd"
html_static_path = ["_static", "side_by_side/aligned.css", "../build/browser/static"]
html_css_files = ["aligned.css", "site.css"]
html_favicon = html_logo = "_static/logo.svg"
html_copy_source = html_use_index = html_domain_indices = False
html_context = {"default_mode": "auto"}
html_theme_options = {
    "footer_content_items": ["copyright"],
    "logo": {"text": "tinyssd"},
    "navbar_persistent": [],
    "show_navbar_depth": 1,
    "use_download_button": False,  # of a page's source; each notebook has links of its own
}
if pages.github_repository():  # the theme refuses the placeholder
    html_theme_options |= {"repository_url": pages.repository_url(), "use_repository_button": True}
html_math_renderer = "mathml"  # math is in the page: no script is loaded for it


def visit_math(translator: Any, node: Any) -> None:
    """Write inline math as MathML."""
    translator.body.append(convert(node.astext()))
    raise SkipNode


def visit_math_block(translator: Any, node: Any) -> None:
    """Write an equation as MathML, in a box of its own that scrolls."""
    equation = convert(node.astext(), display="block")
    translator.body.append(f'<div class="equation" tabindex="0">{equation}</div>')
    raise SkipNode


def process_docstring(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Turn the code in docstrings, which are Markdown, into reStructuredText's; a module's is on its page already."""

    def literal(match: re.Match[str]) -> str:
        return f"``{match[1]}``" + ("\\ " if match[2] else "") + match[2]

    text = re.sub(r"`([^`]+)`(\w?)", literal, "\n".join(lines))
    text = re.sub(r":\n\n(?= {4})", "::\n\n", text)  # what is indented is code
    text = re.sub(r"(?:^\|.*\n?)+", lambda table: "::\n\n" + indent(table[0], "    "), text, flags=re.MULTILINE)
    lines[:] = [] if what == "module" else text.split("\n")


def process_signature(*event: Any) -> tuple[str | None, str | None]:
    """Return a signature and its return type with numpy's arrays in short."""
    long = r"~numpy\.ndarray\[tuple\[~typing\.Any, \.\.\.\], ~numpy\.dtype\[(.*?)\]\]"
    signature, returned = (part and re.sub(long, r"NDArray[\1]", part) for part in event[-2:])
    return signature, returned


def write_pages(app: Sphinx, config: Config) -> None:
    """Write the pages that are made from source code, notebooks and reports, before Sphinx looks for its files."""
    for made in (source_pages, notebook_pages, text_pages):
        made.write(DOCS)


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    if (DOCS.parent / "build" / "browser" / "made").is_file():
        app.tags.add("detector")  # that the page "Try it" has what it needs
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    app.connect("config-inited", write_pages)
    app.connect("autodoc-process-signature", process_signature)
    app.connect("autodoc-process-docstring", process_docstring, priority=400)  # before napoleon's
