"""`ssd_torch` and `ssd_mxnet` have the same files and public names; each difference is in a table, with its reason."""

import ast
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ROOT / "ssd_torch", ROOT / "ssd_mxnet"


class Difference(NamedTuple):
    """One public name that is not the same in the two packages; `name` is empty for the module itself."""

    file: str
    name: str
    what: str
    torch: str
    mxnet: str


INFERS_CHANNELS = "Gluon infers the input channels of a layer"
OWN_WORD = "each framework's own word for its arrays"

KNOWN = {
    Difference(
        "",
        "",
        "files",
        "__init__.py, anchors.py, boxes.py, data.py, detection.py, evaluate.py, losses.py, model.py, predict.py, "
        "targets.py, train.py, weights.py",
        "__init__.py, anchors.py, boxes.py, compat.py, data.py, detection.py, evaluate.py, losses.py, model.py, "
        "predict.py, targets.py, train.py, weights.py",
    ): "compat.py makes MXNet, which is no longer developed, run on today's Python and numpy",
    Difference(
        "__init__.py",
        "",
        "docstring",
        "The single shot multibox detector in PyTorch; `ssd_mxnet` is the same, file by file, in MXNet.",
        "The single shot multibox detector in MXNet Gluon; `ssd_torch` is the same, file by file, in PyTorch.",
    ): "each package names its own framework",
    Difference(
        "data.py",
        "to_device",
        "docstring",
        "Return a numpy array as a tensor on the device.",
        "Return a numpy array as an array on the device.",
    ): OWN_WORD,
    Difference(
        "data.py",
        "to_numpy",
        "docstring",
        "Return a tensor as a numpy array on the host, detached from the graph.",
        "Return an array as a numpy array on the host, detached from the graph.",
    ): OWN_WORD,
    Difference(
        "model.py",
        "cls_predictor",
        "parameters",
        "num_inputs, num_anchors, num_classes",
        "num_anchors, num_classes",
    ): INFERS_CHANNELS,
    Difference(
        "model.py",
        "bbox_predictor",
        "parameters",
        "num_inputs, num_anchors",
        "num_anchors",
    ): INFERS_CHANNELS,
    Difference(
        "model.py",
        "down_sample_blk",
        "parameters",
        "in_channels, out_channels",
        "num_channels",
    ): INFERS_CHANNELS,
    Difference(
        "model.py",
        "TinySSD",
        "public names",
        "__init__, forward",
        "__init__, hybrid_forward",
    ): "a Gluon block that can be hybridized is written as hybrid_forward(F, X)",
    Difference(
        "weights.py",
        "",
        "public names",
        "make_net, get_weights, set_weights, get_gradients, get_velocity, set_velocity, "
        "read_state_dict, write_state_dict",
        "make_net, get_weights, set_weights, get_gradients, get_velocity, set_velocity",
    ): "only PyTorch can read its own file; MXNet's is read in pure Python, by ssd_common.checkpoints.params_file",
}
"""Every difference that is meant, and why it is."""


def public_members(body):
    """Return the definitions that are public, and `__init__`, by name in the order of the source."""
    members = {}
    for node in body:
        if isinstance(node, ast.If | ast.Try | ast.With):
            handlers = [statement for handler in getattr(node, "handlers", ()) for statement in handler.body]
            inner = [*node.body, *handlers, *getattr(node, "orelse", ()), *getattr(node, "finalbody", ())]
            members |= public_members(inner)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            members[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            members |= {name.id: node for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    return {name: node for name, node in members.items() if name == "__init__" or not name.startswith("_")}


def first_line(node):
    """Return the first line of the docstring of a module, class or function, or "" where there is none."""
    return (ast.get_docstring(node) or "").partition("\n")[0]


def facts(node):
    """Return what must be the same in both packages about one public name."""
    if isinstance(node, ast.Assign | ast.AnnAssign):
        return {"kind": "constant", "value": ast.unparse(node.value) if node.value else ""}
    decorators = ", ".join(ast.unparse(decorator) for decorator in node.decorator_list)
    shared = {"kind": type(node).__name__, "decorators": decorators, "docstring": first_line(node)}
    return shared if isinstance(node, ast.ClassDef) else shared | {"parameters": ast.unparse(node.args)}


def compare_scopes(file, name, torch, mxnet):
    """Yield the differences between the public members of two modules, or of two classes called `name`."""
    torch, mxnet = public_members(torch.body), public_members(mxnet.body)
    if list(torch) != list(mxnet):
        yield Difference(file, name, "public names", ", ".join(torch), ", ".join(mxnet))
    for member in (member for member in torch if member in mxnet):
        qualified = f"{name}.{member}" if name else member
        ours, theirs = facts(torch[member]), facts(mxnet[member])
        for what in (what for what in ours if what in theirs and ours[what] != theirs[what]):
            yield Difference(file, qualified, what, ours[what], theirs[what])
        if ours["kind"] == theirs["kind"] == "ClassDef":
            yield from compare_scopes(file, qualified, torch[member], mxnet[member])


def modules(package):
    """Return the parsed modules of a package by file name."""
    files = sorted(package.rglob("*.py"))
    return {file.relative_to(package).as_posix(): ast.parse(file.read_text(encoding="utf-8")) for file in files}


def differences(torch, mxnet):
    """Yield the differences between the packages in two folders."""
    torch, mxnet = modules(torch), modules(mxnet)
    if list(torch) != list(mxnet):
        yield Difference("", "", "files", ", ".join(torch), ", ".join(mxnet))
    for file in (file for file in torch if file in mxnet):
        ours, theirs = torch[file], mxnet[file]
        if first_line(ours) != first_line(theirs):
            yield Difference(file, "", "docstring", first_line(ours), first_line(theirs))
        yield from compare_scopes(file, "", ours, theirs)


def unexplained(torch, mxnet, known):
    """Return the differences between two packages that `known` does not have, and those it has that are gone."""
    found = set(differences(torch, mxnet))
    return sorted(found - set(known)), sorted(set(known) - found)


def public_nodes(name, node):
    """Yield a module or class and the public functions and classes in it, by dotted name; `__init__` needs no words."""
    yield name, node
    if isinstance(node, ast.Module | ast.ClassDef):
        for member, inner in public_members(node.body).items():
            if member != "__init__" and not isinstance(inner, ast.Assign | ast.AnnAssign):
                yield from public_nodes(f"{name}.{member}", inner)


def undocumented(package):
    """Return the dotted name of every public module, class, function and method of a package without docstring."""
    found = (item for file, tree in modules(package).items() for item in public_nodes(file.removesuffix(".py"), tree))
    return [name for name, node in found if not first_line(node)]


def test_the_two_packages_differ_only_where_the_table_says():
    new, stale = unexplained(*PACKAGES, KNOWN)
    assert not new, f"not in the table of this test: {new}"
    assert not stale, f"in the table of this test, but no longer so: {stale}"


def test_every_row_of_the_table_has_a_reason():
    assert all(KNOWN.values())


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_every_public_name_has_a_docstring(package):
    assert undocumented(package) == []


# The checker itself, on toy packages.

TOY = '''"""Toy."""

LIMIT = 3


def area(box, *, scale=1 / 2):
    """Return the area."""


class Net:
    """A network."""

    def __init__(self, size=3):
        self.size = size

    def forward(self, X):
        """Return X."""
'''


def toy_packages(folder, torch, mxnet):
    """Return the folders of two packages with one module each."""
    for name, source in (("torch", torch), ("mxnet", mxnet)):
        (folder / name).mkdir()
        (folder / name / "toy.py").write_text(source, encoding="utf-8")
    return folder / "torch", folder / "mxnet"


def test_equal_packages_have_no_difference(tmp_path):
    assert list(differences(*toy_packages(tmp_path, TOY, TOY))) == []


def test_what_only_a_framework_sees_is_no_difference(tmp_path):
    other = TOY.replace("self.size = size", "self.size = size + 1").replace("LIMIT = 3", "LIMIT = 3\n_hidden = 4")
    other = other.replace('"""Return the area."""', '"""Return the area.\n\n    In other words.\n    """\n    return 1')
    assert list(differences(*toy_packages(tmp_path, TOY, other))) == []


@pytest.mark.parametrize(
    ("old", "new", "name", "what"),
    [
        ('"""Toy."""', '"""Another toy."""', "", "docstring"),
        ('"""Toy."""', "", "", "docstring"),
        ("LIMIT = 3", "LIMIT = 4", "LIMIT", "value"),
        ("LIMIT = 3", "", "", "public names"),
        ("def area", "def surface", "", "public names"),
        ("class Net", "def other(box):\n    pass\n\n\nclass Net", "", "public names"),
        ("box, *, scale", "box, scale", "area", "parameters"),
        ("box, *, scale", "box, /, *, scale", "area", "parameters"),
        ("area(box,", "area(boxes,", "area", "parameters"),
        ("scale=1 / 2", "scale=1 / 3", "area", "parameters"),
        ("scale=1 / 2", "scale", "area", "parameters"),
        ("scale=1 / 2", "scale=1 / 2, **more", "area", "parameters"),
        ("Return the area.", "Return the surface.", "area", "docstring"),
        ("def area", "@cached\ndef area", "area", "decorators"),
        ("def area", "async def area", "area", "kind"),
        ("def area(box, *, scale=1 / 2)", "class area", "area", "kind"),
        ("A network.", "A net.", "Net", "docstring"),
        ("size=3", "size=4", "Net.__init__", "parameters"),
        ("forward", "hybrid_forward", "Net", "public names"),
        ("(self, X)", "(self, F, X)", "Net.forward", "parameters"),
        ("Return X.", "Return Y.", "Net.forward", "docstring"),
    ],
)
def test_each_kind_of_difference_is_found(old, new, name, what, tmp_path):
    assert TOY.count(old) >= 1
    found = list(differences(*toy_packages(tmp_path, TOY, TOY.replace(old, new))))
    assert {(difference.file, difference.name, difference.what) for difference in found} == {("toy.py", name, what)}


def test_another_order_is_a_difference(tmp_path):
    head, function, rest = TOY.partition('def area(box, *, scale=1 / 2):\n    """Return the area."""\n')
    (found,) = differences(*toy_packages(tmp_path, TOY, head + rest + "\n\n" + function))
    assert (found.what, found.torch, found.mxnet) == ("public names", "LIMIT, area, Net", "LIMIT, Net, area")


def test_a_definition_under_a_condition_is_seen(tmp_path):
    other = TOY + "\n\ntry:\n    import fast\nexcept ImportError:\n\n    def slow():\n        pass\n"
    (found,) = differences(*toy_packages(tmp_path, TOY, other))
    assert found.mxnet == "LIMIT, area, Net, slow"


def test_a_file_that_only_one_package_has_is_a_difference(tmp_path):
    torch, mxnet = toy_packages(tmp_path, TOY, TOY)
    (mxnet / "inner").mkdir()
    (mxnet / "inner" / "more.py").write_text("", encoding="utf-8")
    assert list(differences(torch, mxnet)) == [Difference("", "", "files", "toy.py", "inner/more.py, toy.py")]


def test_a_difference_in_the_table_is_explained(tmp_path):
    packages = toy_packages(tmp_path, TOY, TOY.replace("LIMIT = 3", "LIMIT = 4"))
    assert unexplained(*packages, {Difference("toy.py", "LIMIT", "value", "3", "4"): "why not"}) == ([], [])


def test_a_row_of_the_table_that_no_longer_holds_is_stale(tmp_path):
    row = Difference("toy.py", "LIMIT", "value", "3", "4")
    assert unexplained(*toy_packages(tmp_path, TOY, TOY), {row: "once"}) == ([], [row])


def test_a_row_that_has_changed_is_both_stale_and_new(tmp_path):
    row = Difference("toy.py", "LIMIT", "value", "3", "4")
    packages = toy_packages(tmp_path, TOY, TOY.replace("LIMIT = 3", "LIMIT = 5"))
    assert unexplained(*packages, {row: "once"}) == ([row._replace(mxnet="5")], [row])


def test_a_missing_docstring_is_found(tmp_path):
    source = TOY.replace('"""Toy."""', "").replace('"""Return X."""', "pass").replace('"""A network."""', "")
    torch, _ = toy_packages(tmp_path, source.replace('"""Return the area."""', "pass"), TOY)
    assert undocumented(torch) == ["toy", "toy.area", "toy.Net", "toy.Net.forward"]
