"""The pages made from source: each file of the two backends side by side, and the API of `ssd_common`."""

from __future__ import annotations

import ast
from pathlib import Path

from pages import KEYS, WITHOUT_CONTENTS, PageFolder, fenced, in_order, tabs, toctree

from ssd_common.teaching.side_by_side import (
    STYLE,
    aligned_rows,
    code_lines,
    docstring,
    equal_share,
    framework_words,
    parts,
    to_html,
    without_docstring,
)

ROOT = Path(__file__).parent.parent
READING_ORDER = (
    "boxes",
    "anchors",
    "targets",
    "detection",
    "greedy",
    "model",
    "losses",
    "data",
    "train",
    "evaluate",
    "predict",
    "weights",
    "options",
    "export",
)
"""The chapter's; a file that is not named here comes last."""


def write(docs: Path) -> None:
    """Write the pages."""
    write_side_by_side(PageFolder(docs / "side_by_side"))
    write_api(PageFolder(docs / "api"))


def write_side_by_side(pages: PageFolder) -> None:
    """Write a page for each file of the two backends, and the page that lists them."""
    names = in_order(
        (path.stem for path in (ROOT / "ssd_mxnet").glob("[!_]*.py") if (ROOT / "ssd_torch" / path.name).is_file()),
        READING_ORDER,
    )
    rows = []
    for name in names:
        sources = [(ROOT / f"ssd_{key}" / f"{name}.py").read_text(encoding="utf-8") for key in KEYS.values()]
        lines = max(len(code_lines(source)) for source in sources)
        words = summary(ROOT / "ssd_torch" / f"{name}.py")
        rows.append(f"| [](./{name}.md) | {words} | {lines} | {equal_share(*sources):.0%} |")
    index = [
        "# Side by side",
        "`ssd_torch` and `ssd_mxnet` have the same files, with the same public names in the same order, the same "
        "parameters and defaults; a test holds them to it. Each page shows a file of both: every function with its "
        "lines aligned, then by itself in tabs, with the numpy reference where there is one.",
        "A line on a tinted ground differs; the words that make it differ are marked, and <b>underlined</b> are names "
        "that come from a framework. Choosing PyTorch or MXNet in any tab chooses it on every page.",
        "| file | what | lines of code | equal |\n|---|---|---:|---:|\n" + "\n".join(rows),
        "*Equal* counts code lines, without docstrings and comments; words with the same meaning, `torch` and `np` or "
        "`dim` and `axis`, count as equal.",
        toctree(names),
    ]
    pages.write("index.md", "\n\n".join(index))
    for name in names:
        pages.write(f"{name}.md", module_page(name))
    pages.write("aligned.css", STYLE)
    pages.finish()


def words_of(path: Path) -> str:
    """Return a module's docstring, which is Markdown."""
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def summary(path: Path) -> str:
    """Return the first line of a module's docstring."""
    return words_of(path).partition("\n")[0]


def module_page(name: str) -> str:
    """Return the page of one file of the two backends."""
    files = {title: ROOT / f"ssd_{key}" / f"{name}.py" for title, key in KEYS.items()}
    if (ROOT / "ssd_common" / f"{name}.py").is_file():
        files["NumPy"] = ROOT / "ssd_common" / f"{name}.py"
    sources = {title: path.read_text(encoding="utf-8") for title, path in files.items()}
    found = {title: parts(source) for title, source in sources.items()}
    names = [public for public in dict.fromkeys([*found["PyTorch"], *found["MXNet"]]) if public]
    words = framework_words(sources["PyTorch"]), framework_words(sources["MXNet"])

    def aligned(public: str) -> str:
        left, right = (found[title].get(public, "") for title in KEYS)
        if docstring(left) == docstring(right):
            left, right = without_docstring(left), without_docstring(right)
        return fenced(to_html(aligned_rows(left, right), words=words), "{raw} html")

    lines = [WITHOUT_CONTENTS, f"# {name}.py", words_of(files["PyTorch"])]
    lines += [" · ".join(f"[`{public}`](#{public.lower()})" for public in names), aligned("")]
    for public in names:
        own = {title: found[title][public] for title in found if public in found[title]}
        panels = {}
        for title, source in own.items():
            line = sources[title][: sources[title].index(source)].count("\n") + 1
            caption = f"{files[title].relative_to(ROOT).as_posix()}, line {line}"
            panels[title] = fenced(source, "{code-block} python", caption=caption)
        lines += [f"## {public}", documentation(name, public, own), aligned(public), tabs(panels)]
    return "\n\n".join(lines)


def documentation(name: str, public: str, sources: dict[str, str]) -> str:
    """Return signature and docstring of a public name, once where those of the two frameworks are the same."""
    panels, facts = {}, set()
    for title in (title for title in KEYS if title in sources):
        node = ast.parse(sources[title]).body[0]
        kind = "autoclass" if isinstance(node, ast.ClassDef) else "autofunction"
        panels[title] = fenced(f".. {kind}:: ssd_{KEYS[title]}.{name}.{public}", "{eval-rst}")
        facts.add((docstring(sources[title]), ast.unparse(node.args) if isinstance(node, ast.FunctionDef) else ""))
    return panels["PyTorch"] if len(facts) == 1 else tabs(panels)


def write_api(pages: PageFolder) -> None:
    """Write a page for each module of `ssd_common`, and the page that lists them."""
    paths = [path for path in (ROOT / "ssd_common").rglob("*.py") if "cli" not in path.parts]
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}
    names = sorted(modules)
    index = [
        "# API",
        "`ssd_common` is the neutral half: numpy, data, reports; it imports no framework. What the backends have is "
        "documented where it stands [side by side](../side_by_side/index.md).",
        "| module | what |\n|---|---|\n" + "\n".join(f"| [{n}](./{n}.md) | {summary(modules[n])} |" for n in names),
        toctree([f"{name.removeprefix('ssd_common.')} <{name}>" for name in names]),
    ]
    pages.write("index.md", "\n\n".join(index))
    for name in names:
        documented = fenced(f".. automodule:: {name}\n   :members:", "{eval-rst}")
        pages.write(f"{name}.md", f"# {name}\n\n{words_of(modules[name])}\n\n{documented}")
    pages.finish()
