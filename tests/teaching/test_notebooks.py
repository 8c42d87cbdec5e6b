"""The notebooks are what their sources say, the two of a pair are the same notebook, and what they define is compared.

That they run, and that what their cells assert holds, is nbmake's to find out: `make test` has it run every one.
"""

import ast
import copy
import json
import re
import symtable
from pathlib import Path

import pytest

pytest.importorskip("jupytext", reason="needs the extra: notebooks")

import jupytext
import nbformat

from ssd_common.teaching.check_cases import CASES
from tests.teaching import outputs
from tests.teaching.outputs import code_cells

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "notebooks").glob("*.py"))
PAIRS = [
    (file, file.with_stem(f"{file.stem.removesuffix('_torch')}_mxnet")) for file in SOURCES if "_torch" in file.stem
]
SOLUTIONS = "solutions_"
LESSONS = [file for file in SOURCES if not file.name.startswith(SOLUTIONS)]
MAX_LINES, MAX_LINES_OF_A_CLASS, MAX_LINES_ABOUT_A_FRAMEWORK = 15, 25, 4
NEUTRAL = (
    ("ssd_torch", "ssd_framework"),
    ("ssd_mxnet", "ssd_framework"),
    ("PyTorch", "Framework"),
    ("MXNet", "Framework"),
)
HEAD = """import os

QUICK = os.environ.get("TINYSSD_NOTEBOOK", "quick") == "quick\""""
"""The second cell of every lesson."""


def contents(notebook):
    """Return what a notebook's file must share with its source: type, text and metadata of every cell."""
    return [(cell.cell_type, cell.source, dict(cell.metadata)) for cell in notebook.cells]


def neutral(text):
    """Return a text with the name of either framework replaced by one that is neither's."""
    for name, word in NEUTRAL:
        text = text.replace(name, word)
    return re.sub(r"\b(torch|mxnet)\b|(?<=_)(torch|mxnet)\b", "framework", text)


def has_tag(cell, tag):
    return tag in cell.metadata.get("tags", ())


def metadata(cell):
    """Return a cell's metadata without the blank lines that follow it in the source."""
    return {name: value for name, value in cell.metadata.items() if name != "lines_to_next_cell"}


def pair_differences(one, other):
    """Return the differences between the notebooks of a pair that are not meant, in words."""
    if len(one.cells) != len(other.cells):
        return [f"{len(one.cells)} and {len(other.cells)} cells"]
    found = []
    for number, (cell, twin) in enumerate(zip(one.cells, other.cells, strict=True)):
        if (cell.cell_type, metadata(cell)) != (twin.cell_type, metadata(twin)):
            found.append(f"cell {number}: type or tags")
        elif not has_tag(cell, "framework"):
            if neutral(cell.source) != neutral(twin.source):
                found.append(f"cell {number}: {cell.source!r} and {twin.source!r}")
        elif cell.source == twin.source:
            found.append(f"cell {number}: tagged framework, but the same")
    return found


def faults(notebook, is_lesson=True):
    """Return what every notebook must have and this one has not, in words."""
    found, first, last = [], notebook.cells[:2], notebook.cells[-1]
    if first[0].cell_type != "markdown" or not re.match(r"# .+\n\n.+", first[0].source):
        found.append("the first cell is a title and a paragraph")
    headings = re.findall(r"^## (.+)", "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown"), re.M)
    if is_lesson:
        if first[1].source != HEAD:
            found.append("the second cell is that of the other notebooks")
        if headings[-2:] != ["Questions", "Where to look"] or last.cell_type != "markdown":
            found.append("it ends with Questions and Where to look")
    for number, cell in enumerate(notebook.cells):
        lines = cell.source.count("\n") + 1
        if cell.cell_type == "code":
            most = MAX_LINES_OF_A_CLASS if "\nclass " in f"\n{cell.source}" else MAX_LINES
        else:
            most = MAX_LINES_ABOUT_A_FRAMEWORK if has_tag(cell, "framework") else lines
        if lines > most:
            found.append(f"cell {number} has {lines} lines, more than {most}")
        if has_tag(cell, "check") and not cell.metadata.get("jupyter", {}).get("source_hidden"):
            found.append(f"cell {number} is a check, which Jupyter should fold")
    return [*found, *not_compared(notebook), *reused_names(notebook)]


def not_compared(notebook):
    """Return which functions and classes a notebook defines that the package has, and never compares with it."""
    defined, compared = set(), set()
    for cell in code_cells(notebook):
        for node in ast.walk(tree := ast.parse(cell.source)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "check_same":
                compared |= {ast.unparse(argument) for argument in node.args}
        defined |= {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    return [f"it defines {name} and does not compare it" for name in sorted(defined & set(CASES) - compared)]


def reused_names(notebook):
    """Return the names that two cells assign things of different kinds, and that other cells read.

    Such a notebook runs from its first cell to its last, but not any more when somebody runs a cell again.
    """
    kinds, found = {}, []
    trees = [ast.parse(cell.source) for cell in code_cells(notebook)]
    read = set().union(
        *(read_from_elsewhere(symtable.symtable(c.source, "cell", "exec")) for c in code_cells(notebook))
    )
    for number, tree in enumerate(trees):
        for name, kind in assigned(tree.body):
            before, where = kinds.setdefault(name, (kind, number))
            if name in read and before != kind and "" not in (before, kind) and where != number:
                found.append(f"{name} is {before} in code cell {where} and {kind} in code cell {number}")
    return found


def read_from_elsewhere(table, own=frozenset()):
    """Return the names that a cell reads, in its functions too, and does not assign itself."""
    symbols = table.get_symbols()
    if table.get_type() == "module":
        own = {symbol.get_name() for symbol in symbols if symbol.is_assigned() or symbol.is_imported()}
        found = {symbol.get_name() for symbol in symbols if symbol.is_referenced()} - own
    else:
        found = {symbol.get_name() for symbol in symbols if symbol.is_referenced() and symbol.is_global()} - own
    return found.union(*(read_from_elsewhere(child, own) for child in table.get_children()))


def assigned(body):
    """Yield the names that statements assign, and the kind of thing: a call, a literal, or empty if unknown."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name, "a definition"
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                yield from bound(target, node.value)
        elif isinstance(node, ast.For):
            yield from bound(node.target, node.iter, "an element of ")
            yield from assigned(node.body)
        elif isinstance(node, ast.If | ast.With):
            yield from assigned(node.body)
            yield from assigned(getattr(node, "orelse", []))


def bound(target, value, prefix=""):
    """Yield the names of one target of an assignment, and the kind of what they get."""
    if isinstance(target, ast.Name):
        kind = kind_of(value)
        yield target.id, prefix + kind if kind else ""
    elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and not prefix:
        for part, item in zip(target.elts, value.elts, strict=False):
            yield from bound(part, item)
    elif isinstance(target, ast.Tuple):
        for place, part in enumerate(target.elts):
            kind = kind_of(value)
            for name, _ in bound(part, value):
                yield name, f"{prefix}item {place} of {kind}" if kind else ""


def kind_of(value):
    """Return the kind of an expression's value: the function that is called, or the type of the literal."""
    if isinstance(value, ast.Call):
        return ast.unparse(value.func)
    if isinstance(value, ast.Constant):
        return type(value.value).__name__
    names = {ast.List: "list", ast.ListComp: "list", ast.Dict: "dict", ast.DictComp: "dict", ast.Lambda: "lambda"}
    return names.get(type(value), "")


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


def test_a_notebook_has_the_outputs_of_its_code(source):
    stored = jupytext.read(source.with_suffix(".ipynb"))
    assert stored.metadata[outputs.KEY] == {"digest": outputs.digest(stored)}, f"make outputs NOTEBOOKS={source.name}"
    cells = code_cells(stored)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    shown = [output for cell in cells for output in cell.outputs]
    assert all(output.output_type != "error" and output.get("name") != "stderr" for output in shown)
    assert not re.search(r"(?<![\w.])/(tmp|home|root|Users)/", json.dumps(shown)), "a path of one machine"
    assert f"{ROOT}/" not in json.dumps(shown), "a path of one machine"
    assert max(outputs.png_sizes(stored), default=0) <= outputs.MAX_PNG_BYTES


def test_a_notebook_imports_mxnet_after_our_package_which_lets_it_run_on_this_python(source):
    lines = source.read_text(encoding="utf-8").splitlines()
    first = [i for i, line in enumerate(lines) if re.match(r"(from|import) mxnet", line)]
    ours = [i for i, line in enumerate(lines) if re.match(r"(from|import) ssd_mxnet", line) or "load_backend(" in line]
    assert not first or ours[0] < first[0]


def test_the_notebooks_together_are_not_too_large():
    assert sum(file.with_suffix(".ipynb").stat().st_size for file in SOURCES) <= outputs.MAX_BYTES


def test_a_notebook_is_built_as_all_are(source):
    assert faults(jupytext.read(source), is_lesson=not source.name.startswith(SOLUTIONS)) == []


@pytest.mark.parametrize("source", LESSONS, ids=lambda file: file.stem)
def test_every_question_has_a_solution(source):
    name = re.sub("_(torch|mxnet)$", "", source.stem)
    questions = source.read_text(encoding="utf-8").partition("# ## Questions\n")[2].partition("# ## Where to look")[0]
    assert f"({SOLUTIONS}{name}.ipynb)" in questions
    asked = [int(number) for number in re.findall(r"^# (\d+)\. ", questions, re.M)]
    solutions = source.with_name(f"{SOLUTIONS}{name}.py").read_text(encoding="utf-8")
    assert asked == list(range(1, 7))
    assert [int(number) for number in re.findall(r"^# ## (\d+)\. ", solutions, re.M)] == asked


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair[0].stem.removesuffix("_torch"))
def test_the_notebooks_of_a_pair_are_one_but_for_the_framework(pair):
    assert pair_differences(*map(jupytext.read, pair)) == []


# The checkers themselves, on notebooks that were tampered with.

TOY = f"""# %% [markdown]
# # A toy in PyTorch
#
# What it is for.

# %%
{HEAD}

# %%
from ssd_torch.model import TinySSD

# %% tags=["framework"]
torch.ones(2)

# %% tags=["check"] jupyter={{"source_hidden": true}}
assert True

# %% [markdown] tags=["framework"]
# In this framework: of torch.

# %% [markdown]
# ## Questions

# %% [markdown]
# ## Where to look
"""
REUSED = "x = [1]\n\n# %%\n"
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
        ("QUICK = os", "MODE = os", "second cell"),
        ("# ## Questions", "# ## Tasks", "Questions"),
        ("# ## Where to look", "# ## Where to look\n\n# %%\nx = 1", "Questions"),
        ("from ssd_torch", "x = 1\n" * 15 + "from ssd_torch", "lines, more than 15"),
        ("from ssd_torch", "class A:\n" + "    x = 1\n" * 25 + "from ssd_torch", "lines, more than 25"),
        ("# In this framework: of torch.", "# a\n# b\n# c\n# d\n# e", "5 lines, more than 4"),
        ('jupyter={"source_hidden": true}', "", "should fold"),
        ("torch.ones(2)", "class TinySSD:\n    pass", "TinySSD"),
        ("torch.ones(2)", "def flatten_pred(pred):\n    pass\ncheck_same(TinySSD)", "flatten_pred"),
        ("torch.ones(2)", f"{REUSED}x, y = draw(2)\n\n# %%\nx", "x is list in code cell 2 and item 0 of draw in code"),
        ("torch.ones(2)", f"{REUSED}for x in [1]:\n    pass\n\n# %%\nx", "2 and an element of list in code cell 3"),
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
        ("of mxnet.", "of torch.", "cell 5: tagged framework, but the same"),
        ("# %% [markdown]\n# ## Questions", "# %%\nx = 1\n\n# %% [markdown]\n# ## Questions", "8 and 9 cells"),
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


def executed_toy():
    run = toy()
    for number, cell in enumerate(code_cells(run), start=3):
        cell.execution_count = number
    display = {"data": {"text/plain": "<Figure at 0x7f00aa>"}, "metadata": {}, "output_type": "display_data"}
    printed = [
        {"name": name, "output_type": "stream", "text": f"{name} examples/s 1.5\n"} for name in ("stdout", "stderr")
    ]
    code_cells(run)[1].outputs = [nbformat.from_dict(output) for output in (printed[0], *printed, display)]
    return run


def test_outputs_are_taken_without_what_differs_in_every_run():
    notebook = toy()
    outputs.take_outputs(notebook, executed_toy())
    shown = code_cells(notebook)[1].outputs
    assert [output.get("text") or output.data["text/plain"] for output in shown] == ["stdout\nstdout\n", "<Figure>"]
    assert [cell.execution_count for cell in code_cells(notebook)] == [1, 2, 3, 4]


@pytest.mark.parametrize("part", ["source", "outputs"])
def test_code_and_outputs_that_were_changed_by_hand_have_another_digest(part):
    notebook = toy()
    outputs.take_outputs(notebook, executed_toy())
    assert notebook.metadata[outputs.KEY]["digest"] == outputs.digest(notebook)
    code_cells(notebook)[1][part] = "x" if part == "source" else []
    assert notebook.metadata[outputs.KEY]["digest"] != outputs.digest(notebook)


def test_outputs_of_other_code_are_not_taken():
    with pytest.raises(SystemExit, match="another one"):
        outputs.take_outputs(toy(TWIN), executed_toy())
