"""The notebooks are what their sources say, the two of a pair are the same notebook, and none repeats the packages.

That they run, and that what their cells assert holds, is nbmake's to find out: `make test` has it run every one.
"""

import ast
import copy
import re
from pathlib import Path

import pytest

jupytext = pytest.importorskip("jupytext", reason="needs the extra: notebooks")

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "notebooks").glob("*.py"))
PAIRS = [
    (file, file.with_stem(f"{file.stem.removesuffix('_torch')}_mxnet")) for file in SOURCES if "_torch" in file.stem
]
PACKAGES = ("ssd_common", "ssd_torch", "ssd_mxnet")
MAX_LINES = 15
NEUTRAL = (
    ("ssd_torch", "ssd_framework"),
    ("ssd_mxnet", "ssd_framework"),
    ("PyTorch", "Framework"),
    ("MXNet", "Framework"),
)
HEAD = """import importlib.util
import os
import subprocess
import sys
from pathlib import Path

SETTING = os.environ.get("TINYSSD_NOTEBOOK", "quick")  # a teacher writes "full" here
SOURCE = os.environ.get("TINYSSD_SOURCE")  # of the package, for a notebook outside its clone: "git+https://…"
QUICK = {"quick": True, "full": False}[SETTING]
clones = [folder for folder in Path.cwd().parents if (folder / "ssd_common").is_dir()]
if not importlib.util.find_spec("ssd_common"):
    assert clones or SOURCE, "tinyssd is not installed: give SOURCE the address of its repository"
    source = clones[0].as_uri() if clones else SOURCE
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", f"tinyssd[EXTRA] @ {source}"], check=True)
sys.path[:0] = map(str, clones)  # ahead of this folder, where ssd_torch.py is a notebook"""
"""The second cell of every notebook; which extra it installs is the notebook's."""


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def contents(notebook):
    """Return what a notebook's file must share with its source: type, text and metadata of every cell."""
    return [(cell.cell_type, cell.source, dict(cell.metadata)) for cell in notebook.cells]


def neutral(text):
    """Return a text with the name of either framework replaced by one that is neither's."""
    for name, word in NEUTRAL:
        text = text.replace(name, word)
    return re.sub(r"\b(torch|mxnet)\b|(?<=_)(torch|mxnet)\b", "framework", text)


def is_framework_code(cell):
    """Tell whether a cell is one that may differ between the notebooks of a pair."""
    return cell.cell_type == "code" and "framework" in cell.metadata.get("tags", ())


def pair_differences(one, other):
    """Return the differences between the notebooks of a pair that are not meant, in words."""
    if len(one.cells) != len(other.cells):
        return [f"{len(one.cells)} and {len(other.cells)} cells"]
    found = []
    for number, (cell, twin) in enumerate(zip(one.cells, other.cells, strict=True)):
        if (cell.cell_type, cell.metadata) != (twin.cell_type, twin.metadata):
            found.append(f"cell {number}: type or tags")
        elif not is_framework_code(cell):
            if neutral(cell.source) != neutral(twin.source):
                found.append(f"cell {number}: {cell.source!r} and {twin.source!r}")
        elif cell.source == twin.source:
            found.append(f"cell {number}: tagged framework, but the same")
    return found


def faults(notebook):
    """Return what every notebook must have and this one has not, in words."""
    found, first, last = [], notebook.cells[:2], notebook.cells[-1]
    if first[0].cell_type != "markdown" or not re.match(r"# .+\n\n(.+\n?)+\Z", first[0].source):
        found.append("the first cell is a title and a paragraph")
    if re.sub(r"tinyssd\[[a-z,]+\]", "tinyssd[EXTRA]", first[1].source) != HEAD:
        found.append("the second cell is that of the other notebooks")
    headings = re.findall(r"^## (.+)", "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown"), re.M)
    if headings[-2:] != ["Questions", "Where to look"] or last.cell_type != "markdown":
        found.append("it ends with Questions and Where to look")
    for number, cell in enumerate(notebook.cells):
        lines = cell.source.count("\n") + 1
        if cell.cell_type == "code" and lines > MAX_LINES:
            found.append(f"cell {number} has {lines} lines, more than {MAX_LINES}")
    repeated = definitions("\n".join(cell.source for cell in code_cells(notebook))) & names_of_the_packages()
    if repeated:
        found.append(f"it defines what the packages have: {', '.join(sorted(repeated))}")
    return found


def definitions(source):
    """Return the names of all functions and classes that a source defines."""
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    return {node.name for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)}


def names_of_the_packages():
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    return set().union(*(definitions(file.read_text(encoding="utf-8")) for file in files))


@pytest.fixture(params=SOURCES, ids=lambda file: file.stem)
def source(request):
    """Each notebook's source in turn."""
    return request.param


def test_there_is_a_source_for_every_notebook():
    assert SOURCES
    assert [file.with_suffix(".ipynb") for file in SOURCES] == sorted((ROOT / "notebooks").glob("*.ipynb"))


def test_a_notebook_is_what_jupytext_makes_of_its_source(source):
    made, stored = jupytext.read(source), jupytext.read(source.with_suffix(".ipynb"))
    assert contents(stored) == contents(made), "make sync-notebooks"
    assert stored.metadata.kernelspec == {"name": "python3", "display_name": "Python 3", "language": "python"}


def test_a_notebook_has_no_outputs(source):
    cells = code_cells(jupytext.read(source.with_suffix(".ipynb")))
    assert cells
    assert all(not cell.outputs and cell.execution_count is None for cell in cells), "delete it, make sync-notebooks"


def test_a_notebook_is_built_as_all_are(source):
    assert faults(jupytext.read(source)) == []


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair[0].stem.removesuffix("_torch"))
def test_the_notebooks_of_a_pair_are_one_but_for_the_framework(pair):
    assert pair_differences(*map(jupytext.read, pair)) == []


# The checkers themselves, on notebooks that were tampered with.

TOY = f"""# %% [markdown]
# # A toy in PyTorch
#
# What it is for.

# %%
{HEAD.replace("EXTRA", "torch")}

# %%
from ssd_torch.model import TinySSD

# %% tags=["framework"]
torch.ones(2)

# %% [markdown]
# ## Questions

# %% [markdown]
# ## Where to look
"""
TWIN = TOY.replace("torch.ones", "np.ones").replace("torch", "mxnet").replace("PyTorch", "MXNet")


def toy(text=TOY):
    return jupytext.reads(text, "py:percent")


def test_a_sound_notebook_has_no_faults_and_its_twin_no_differences():
    assert faults(toy()) == []
    assert pair_differences(toy(), toy(TWIN)) == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("# # A toy", "# A toy", "title"),
        ("# What it is for.", "#", "title"),
        ("SETTING = os", "MODE = os", "second cell"),
        ("# ## Questions", "# ## Tasks", "Questions"),
        ("# ## Where to look", "# ## Where to look\n\n# %%\nx = 1", "Questions"),
        ("from ssd_torch", "x = 1\n" * 15 + "from ssd_torch", "lines"),
        ("torch.ones(2)", "class TinySSD:\n    pass", "TinySSD"),
    ],
)
def test_each_kind_of_fault_is_found(old, new, fault):
    assert old in TOY
    (found,) = faults(toy(TOY.replace(old, new)))
    assert fault in found


@pytest.mark.parametrize(
    ("old", "new", "difference"),
    [
        ("What it is for.", "What else it is for.", "cell 0"),
        ("import TinySSD", "import base_net", "cell 2"),
        ("# %%\nfrom", '# %% tags=["framework"]\nfrom', "cell 2: type or tags"),
        ("np.ones(2)", "torch.ones(2)", "cell 3: tagged framework, but the same"),
        ("# %% [markdown]\n# ## Questions", "# %%\nx = 1\n\n# %% [markdown]\n# ## Questions", "6 and 7 cells"),
    ],
)
def test_each_kind_of_difference_is_found(old, new, difference):
    assert old in TWIN
    (found,) = pair_differences(toy(), toy(TWIN.replace(old, new)))
    assert difference in found


def test_a_cell_that_was_changed_is_not_what_jupytext_makes():
    tampered = copy.deepcopy(toy())
    tampered.cells[2].source += "  # by hand"
    assert contents(tampered) != contents(toy())
