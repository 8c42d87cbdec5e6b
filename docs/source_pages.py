"""The pages made from source: each file of the two backends side by side, and the API of `ssd_common`."""

from __future__ import annotations

import ast
from pathlib import Path

import tomllib
from pages import KEYS, WITHOUT_CONTENTS, PageFolder, fenced, in_order, tabs, toctree

from ssd_common.teaching.side_by_side import STYLE, aligned_rows, equal_share, find_row, to_html
from ssd_common.teaching.source import code_lines, docstring, framework_words, parts, without_docstring

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
        "`ssd_torch` and `ssd_mxnet` have the same files, the same public names in the same order, and the same "
        "parameters and defaults. A test checks this. Each page shows one file of both packages: first every function "
        "with its lines aligned, then each version in a tab, with the numpy reference if there is one.",
        "A grey line differs, and the words that differ are marked. <b>Underlined</b> names come from a framework. The "
        "third column says why a line differs. A tab that you choose is chosen on every page.",
        "| file | what | lines of code | equal |\n|---|---|---:|---:|\n" + "\n".join(rows),
        "*Equal* counts lines of code, without docstrings and comments. Words with the same meaning, such as `torch` "
        "and `np` or `dim` and `axis`, count as equal.",
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
        rows = aligned_rows(left, right)
        notes = {find_row(rows, line): why for function, line, why in reasons(f"{name}.py") if function == public}
        return fenced(to_html(rows, words=words, notes=notes), "{raw} html")

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


def reasons(file: str) -> list[tuple[str, str, str]]:
    """Return function, piece of a line, and the reason why this line differs, of the rows of a file in `why.toml`."""
    rows = tomllib.loads((ROOT / "docs" / "why.toml").read_text(encoding="utf-8"))["why"]
    return [(row["function"], row["line"], row["why"]) for row in rows if row["file"] == file]


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
        "`ssd_common` contains everything that needs no framework: the numpy reference, data, checkpoints, reports. "
        "The pages [side by side](../side_by_side/index.md) document the functions of the two backends.",
        "| module | what |\n|---|---|\n" + "\n".join(f"| [{n}](./{n}.md) | {summary(modules[n])} |" for n in names),
        toctree([f"{name.removeprefix('ssd_common.')} <{name}>" for name in names]),
    ]
    pages.write("index.md", "\n\n".join(index))
    for name in names:
        # What a face lists is in the index under the file that defines it: a function and its file may share a name.
        options = "\n   :members:" + "\n   :no-index:" * (modules[name].name == "__init__.py")
        documented = fenced(f".. automodule:: {name}{options}", "{eval-rst}")
        pages.write(f"{name}.md", f"# {name}\n\n{words_of(modules[name])}\n\n{documented}")
    pages.finish()
