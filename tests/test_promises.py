"""The page of promises is true of the repository: what it names is there, and can be run."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| ")][
    1:
]


def test_every_promise_has_a_test_a_figure_and_a_command():
    assert len(ROWS) >= 15
    for row in ROWS:
        assert len(row) == 4
        assert all(row)


def test_every_test_that_is_named_is_there():
    for promise, tests, _, command in ROWS:
        for name in re.findall(r"tests/[\w/.]+", f"{tests} {command}"):
            assert (ROOT / name).exists(), (promise, name)


def test_every_command_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for promise, _, _, commands in ROWS:
        for command in re.findall(r"`([^`]+)`", commands):
            program, *arguments = command.split()
            assert program in ("make", "pytest", "tinyssd"), promise
            assert program != "make" or arguments[0] in targets, promise


def test_the_figures_that_can_be_counted_are_right():
    from tests.book_defects import DEFECTS
    from tests.cli.test_messages import MISTAKES
    from tests.data.test_downloads import WRONG_ANSWERS

    assert f"[{len(DEFECTS)} rows](book_defects.md)" in PAGE
    assert f"{len(MISTAKES)} exact lines" in PAGE
    assert f"{len(WRONG_ANSWERS)} kinds of wrong answers" in PAGE
