"""What the pages that a build makes have in common: their folder, and the Markdown of fences, lists and tabs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import tomllib

KEYS = {"PyTorch": "torch", "MXNet": "mxnet"}
"""Titles of the frameworks, and what stands in the address of a page: `?framework=mxnet`."""
WITHOUT_CONTENTS = "---\nhtml_theme.sidebar_secondary.remove: true\n---"
"""The first lines of a page that needs the width of the table of contents beside it."""


def repository_url() -> str:
    """Return the address of the repository, which `pyproject.toml` names."""
    pyproject = Path(__file__).parent.parent / "pyproject.toml"
    return str(tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["urls"]["Source"])


def github_repository() -> str:
    """Return owner and name of the repository on GitHub; "" if it is elsewhere, as the placeholder is."""
    match = re.match(r"https://github\.com/([\w.-]+/[\w.-]+?)(?:\.git)?/?$", repository_url())
    return match[1] if match else ""


class PageFolder:
    """A folder that a build fills: files are written only where they have changed, others removed in the end.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._written = path, set[Path]()
        path.mkdir(exist_ok=True)

    def write(self, name: str, content: str | bytes) -> None:
        """Write one file; Sphinx reads again what is newer than its page."""
        path = self.path / name
        content = content.encode() if isinstance(content, str) else content
        if not path.is_file() or path.read_bytes() != content:
            path.write_bytes(content)
        self._written.add(path)

    def finish(self) -> None:
        """Remove the files that an earlier build wrote and this one did not."""
        for path in set(self.path.iterdir()) - self._written:
            path.unlink()


def fenced(text: str, kind: str = "", **options: object) -> str:
    """Return text in a fence of Markdown that is longer than any in it; with a kind, a directive of its options."""
    fence = "```"
    while fence in text:
        fence += "`"
    lines = [f":{name.replace('_', '-')}: {value}" for name, value in options.items()]
    return "\n".join([fence + kind, *lines, text.rstrip("\n"), fence, ""])


def in_order(names: Iterable[str], first: Sequence[str]) -> list[str]:
    """Return names in an order, and those that are not in it behind, by the alphabet."""
    return sorted(names, key=lambda name: (first.index(name) if name in first else len(first), name))


def toctree(names: list[str]) -> str:
    """Return a list of pages, to be read in this order."""
    return fenced("\n" + "\n".join(names), "{toctree}", maxdepth=1)


def tabs(panels: dict[str, str]) -> str:
    """Return a set of tabs: title and Markdown of each. Choosing a framework's tab chooses it everywhere."""
    lines = ["::::::{tab-set}", ":sync-group: framework", ""]
    for title, content in panels.items():
        sync = [f":sync: {KEYS[title]}"] if title in KEYS else []
        lines += [f":::::{{tab-item}} {title}", *sync, "", content, ":::::", ""]
    return "\n".join([*lines, "::::::", ""])
