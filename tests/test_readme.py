"""The README is true: its code is the source, its commands exist, its files are there."""

import re
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("block", "package"), [(0, "ssd_torch"), (1, "ssd_mxnet")])
def test_the_code_side_by_side_stands_in_the_source(block, package):
    code = re.findall(r"```python\n(.*?)```", README, re.DOTALL)[block]
    assert textwrap.indent(code, "    ") in (ROOT / package / "train.py").read_text(encoding="utf-8")


def test_every_file_that_is_linked_is_there():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    local = [link for link in links if not link.startswith("http")]
    assert local
    for link in local:
        assert (ROOT / link).is_file(), link


def test_every_test_file_that_is_named_is_there():
    for name in re.findall(r"tests/test_\w+\.py", README):
        assert (ROOT / name).is_file(), name


def test_every_make_target_that_is_named_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"(?:^|`)make (\w+)", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_verb_that_is_named_exists():
    cli = (ROOT / "ssd_common" / "cli" / "__init__.py").read_text(encoding="utf-8")
    for verb in re.findall(r"^tinyssd (\w+)", README, re.MULTILINE):
        assert f'("{verb}", ' in cli or f'name="{verb}"' in cli, verb
