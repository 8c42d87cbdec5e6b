"""numpy, PyTorch and MXNet are written alike; each difference in names, parameters or words has its reason."""

import ast
import inspect
import math
from pathlib import Path
from typing import NamedTuple, get_type_hints

import pytest

from ssd_common import backends
from ssd_common.teaching.side_by_side import equal_share

ROOT = Path(__file__).resolve().parent.parent
REFERENCE, TORCH, MXNET = (ROOT / name for name in ("ssd_common", "ssd_torch", "ssd_mxnet"))
PACKAGES = TORCH, MXNET
SHARED = ("anchors.py", "boxes.py", "detection.py", "greedy.py", "losses.py", "targets.py")
"""The files of the reference that the backends have, too; of these only public names are compared."""


class Difference(NamedTuple):
    """What is not the same in two packages, `left` and `right`; `name` is empty for the module itself."""

    file: str
    name: str
    what: str
    left: str
    right: str


INFERS_CHANNELS = "Gluon infers the input channels of a layer"
OWN_WORD = "each framework's own word for its arrays"
ON_THE_HOST = "MXNet is slow at it: ssd_common.greedy does it, which has these names"
OLD_OPERATORS = "MXNet's exporter knows the old operators only: the network is built of them once more, as symbols"
ONLY_PYTORCH_S_FILE = "only PyTorch can read its own file; MXNet's is read in pure Python, by checkpoints.params_file"

KNOWN = {
    Difference("", "", "files", "state_dict.py", "compat.py"): f"{ONLY_PYTORCH_S_FILE}; compat.py is "
    "MXNet on today's Python and numpy, for which it was never released",
    Difference("__init__.py", "__all__", "value", "'state_dict'", ""): ONLY_PYTORCH_S_FILE,
    Difference("__init__.py", "name", "value", "'torch'", "'mxnet'"): "each package names its own framework",
    Difference(
        "__init__.py",
        "",
        "docstring",
        "The single shot multibox detector in PyTorch; `ssd_mxnet` is the same, file by file, in MXNet.",
        "The single shot multibox detector in MXNet Gluon; `ssd_torch` is the same, file by file, in PyTorch.",
    ): "each package names its own framework",
    Difference("__init__.py", "", "names", "", "_use_every_core"): "MXNet takes half of the processors",
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
    Difference("export.py", "", "names", "", "_forward, _flatten_pred, _multibox_prior"): OLD_OPERATORS,
    Difference("export.py", "OPSET", "value", "18", "13"): "each exporter writes its own",
    Difference("greedy.py", "", "names", "_BLOCK, _survivors", ""): ON_THE_HOST,
    Difference(
        "model.py",
        "cls_predictor",
        "parameters",
        "num_inputs, num_anchors, num_classes",
        "num_anchors, num_classes",
    ): INFERS_CHANNELS,
    Difference("model.py", "bbox_predictor", "parameters", "num_inputs, num_anchors", "num_anchors"): INFERS_CHANNELS,
    Difference(
        "model.py", "down_sample_blk", "parameters", "in_channels, out_channels", "out_channels"
    ): INFERS_CHANNELS,
    Difference("options.py", "", "names", "_in_bfloat16", ""): "MXNet trains in float32 only",
    Difference("weights.py", "", "names", "", "_updater"): "MXNet keeps velocities in an order of its own",
}
"""Every difference between `ssd_torch` and `ssd_mxnet` that is meant, and why it is."""
KNOWN_OF_THE_REFERENCE = {
    Difference("anchors.py", "", "names", "anchor_grid", ""): "a network returns its anchors, the reference has none",
    Difference("boxes.py", "", "names", "Array", ""): "a type; the backends have no annotations",
    Difference("detection.py", "", "names", "Detections", ""): "a type; the backends have no annotations",
    Difference("greedy.py", "", "names", "Array, Integers", ""): "types; the backends have no annotations",
    Difference("losses.py", "", "names", "Labels", ""): "a type; the backends have no annotations",
}
"""Every difference between `ssd_common` and `ssd_torch` that is meant, and why it is."""
EQUAL_LINES = {
    "__init__.py": 50,
    "anchors.py": 82,
    "boxes.py": 95,
    "data.py": 73,
    "detection.py": 96,
    "distributed.py": 31,
    "evaluate.py": 97,
    "export.py": 9,
    "greedy.py": 11,
    "losses.py": 83,
    "model.py": 78,
    "options.py": 21,
    "predict.py": 87,
    "targets.py": 100,
    "train.py": 85,
    "weights.py": 46,
}
"""Share of equal code lines of each file of `ssd_torch` and `ssd_mxnet`, as `equal_share` counts: it may only rise."""


def members(body):
    """Return the definitions by name in the order of the source."""
    found = {}
    for node in body:
        if isinstance(node, ast.If | ast.Try | ast.With):
            handlers = [statement for handler in getattr(node, "handlers", ()) for statement in handler.body]
            inner = [*node.body, *handlers, *getattr(node, "orelse", ()), *getattr(node, "finalbody", ())]
            found |= members(inner)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {name.id: node for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    return found


def public_members(body):
    """Return the definitions that are public, and `__init__` and `__all__`, by name in the order of the source."""
    return {name: node for name, node in members(body).items() if name.startswith("__") or not name.startswith("_")}


def first_line(node):
    """Return the first line of the docstring of a module, class or function, or "" where there is none."""
    return (ast.get_docstring(node) or "").partition("\n")[0]


def facts(node):
    """Return what must be the same in both packages about one name."""
    if isinstance(node, ast.Assign | ast.AnnAssign):
        return {"kind": "constant", "value": ast.unparse(node.value) if node.value else ""}
    decorators = ", ".join(ast.unparse(decorator) for decorator in node.decorator_list)
    shared = {"kind": type(node).__name__, "decorators": decorators, "docstring": first_line(node)}
    return shared if isinstance(node, ast.ClassDef) else shared | {"parameters": parameters(node)}


def parameters(node):
    """Return the parameters and defaults of a function as text, without annotations."""
    arguments = ast.parse(ast.unparse(node)).body[0].args
    for argument in (argument for argument in ast.walk(arguments) if isinstance(argument, ast.arg)):
        argument.annotation = None
    return ast.unparse(arguments)


def only(names, others):
    """Return the names that are not among the others, as text."""
    return ", ".join(name for name in names if name not in others)


def compare_scopes(file, name, left, right, select):
    """Yield the differences between the selected members of two modules, or of two classes called `name`."""
    left, right = select(left.body), select(right.body)
    if set(left) != set(right):
        yield Difference(file, name, "names", only(left, right), only(right, left))
    both = [member for member in left if member in right]
    others = [member for member in right if member in left]
    if both != others:
        yield Difference(file, name, "order", ", ".join(both), ", ".join(others))
    for member in both:
        qualified = f"{name}.{member}" if name else member
        ours, theirs = facts(left[member]), facts(right[member])
        for what in (what for what in ours if what in theirs and ours[what] != theirs[what]):
            values = (ours[what], theirs[what])
            if member == "__all__":
                values = [value.strip("[]").split(", ") for value in values]
                values = only(*values), only(*reversed(values))
            yield Difference(file, qualified, what, *values)
        if ours["kind"] == theirs["kind"] == "ClassDef":
            yield from compare_scopes(file, qualified, left[member], right[member], select)


def modules(package):
    """Return the parsed modules of a package by file name."""
    files = sorted(package.rglob("*.py"))
    return {file.relative_to(package).as_posix(): ast.parse(file.read_text(encoding="utf-8")) for file in files}


def differences(left, right, files=None, select=members):
    """Yield the differences between the packages in two folders.

    Args:
        left: a folder.
        right: a folder.
        files: those that are compared; by default all.
        select: `members`, or `public_members`.
    """
    left, right = ({n: t for n, t in modules(folder).items() if not files or n in files} for folder in (left, right))
    if set(left) != set(right):
        yield Difference("", "", "files", only(left, right), only(right, left))
    for file in (file for file in left if file in right):
        ours, theirs = left[file], right[file]
        if first_line(ours) != first_line(theirs):
            yield Difference(file, "", "docstring", first_line(ours), first_line(theirs))
        yield from compare_scopes(file, "", ours, theirs, select)


def unexplained(known, *arguments, **options):
    """Return the `differences` that `known` does not have, and those that it has but that are gone."""
    found = set(differences(*arguments, **options))
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


def test_the_two_backends_differ_only_where_the_table_says():
    new, stale = unexplained(KNOWN, *PACKAGES)
    assert not new, f"not in the table of this test: {new}"
    assert not stale, f"in the table of this test, but no longer so: {stale}"


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_the_backends_differ_from_the_reference_only_where_the_table_says(package):
    new, stale = unexplained(KNOWN_OF_THE_REFERENCE, REFERENCE, package, files=SHARED, select=public_members)
    assert not new, f"not in the table of this test: {new}"
    assert not stale, f"in the table of this test, but no longer so: {stale}"


def test_every_row_of_the_tables_has_a_reason():
    assert all((KNOWN | KNOWN_OF_THE_REFERENCE).values())


def test_every_shared_file_of_the_packages_is_compared():
    shared = set(modules(REFERENCE)) & set(modules(TORCH)) - {"__init__.py"}
    assert shared - set(SHARED) == {"weights.py"}  # to and from the canonical weights of the other


@pytest.mark.parametrize("file", sorted(path.name for path in TORCH.glob("*.py") if (MXNET / path.name).is_file()))
def test_as_many_code_lines_are_equal_as_were_before(file):
    share = math.floor(100 * equal_share(*((package / file).read_text(encoding="utf-8") for package in PACKAGES)))
    assert share == EQUAL_LINES[file], f"{file}: {share} % of its code lines are equal; the table takes a higher number"


def test_the_types_of_a_backend_are_the_signatures_that_it_has():
    """`ssd_common.backends.Backend` says what mypy checks; the packages have no annotations."""
    for module, protocol in get_type_hints(backends.TorchBackend, vars(backends)).items():
        if module == "name":
            continue
        typed = {name: f for name, f in vars(protocol).items() if inspect.isfunction(f) and not name.startswith("_")}
        assert typed
        for package in PACKAGES if module != "state_dict" else [TORCH]:
            tree = modules(package)[f"{module}.py"]
            for name, function in typed.items():
                arguments = members(tree.body)[name].args
                positional = [a.arg for a in arguments.args]
                optional = positional[len(positional) - len(arguments.defaults) :]
                found = [(name, name in optional) for name in positional]
                found += [
                    (a.arg, d is not None) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
                ]
                declared = [p for p in inspect.signature(function).parameters.values() if p.name != "self"]
                assert found == [(p.name, p.default is not p.empty) for p in declared], (package.name, module, name)


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
    other = TOY.replace("self.size = size", "self.size = size + 1")
    other = other.replace('"""Return the area."""', '"""Return the area.\n\n    In other words.\n    """\n    return 1')
    assert list(differences(*toy_packages(tmp_path, TOY, other))) == []


@pytest.mark.parametrize(
    ("old", "new", "name", "what"),
    [
        ('"""Toy."""', '"""Another toy."""', "", "docstring"),
        ('"""Toy."""', "", "", "docstring"),
        ("LIMIT = 3", "LIMIT = 4", "LIMIT", "value"),
        ("LIMIT = 3", "", "", "names"),
        ("def area", "def surface", "", "names"),
        ("class Net", "def other(box):\n    pass\n\n\nclass Net", "", "names"),
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
        ("forward", "hybrid_forward", "Net", "names"),
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
    assert (found.what, found.left, found.right) == ("order", "LIMIT, area, Net", "LIMIT, Net, area")


def test_a_definition_under_a_condition_is_seen(tmp_path):
    other = TOY + "\n\ntry:\n    import fast\nexcept ImportError:\n\n    def slow():\n        pass\n"
    (found,) = differences(*toy_packages(tmp_path, TOY, other))
    assert (found.what, found.right) == ("names", "slow")


def test_a_private_name_that_only_one_package_has_is_a_difference(tmp_path):
    packages = toy_packages(tmp_path, TOY, TOY + "\n\n_hidden = 4\n")
    assert list(differences(*packages)) == [Difference("toy.py", "", "names", "", "_hidden")]
    assert list(differences(*packages, select=public_members)) == []


def test_an_annotation_is_no_difference(tmp_path):
    other = TOY.replace("(box, *, scale=1 / 2)", "(box: list, *, scale: float = 1 / 2) -> float")
    assert list(differences(*toy_packages(tmp_path, TOY, other))) == []


def test_a_file_that_only_one_package_has_is_a_difference(tmp_path):
    torch, mxnet = toy_packages(tmp_path, TOY, TOY)
    (mxnet / "inner").mkdir()
    (mxnet / "inner" / "more.py").write_text("", encoding="utf-8")
    assert list(differences(torch, mxnet)) == [Difference("", "", "files", "", "inner/more.py")]


def test_a_difference_in_the_table_is_explained(tmp_path):
    packages = toy_packages(tmp_path, TOY, TOY.replace("LIMIT = 3", "LIMIT = 4"))
    assert unexplained({Difference("toy.py", "LIMIT", "value", "3", "4"): "why not"}, *packages) == ([], [])


def test_a_row_of_the_table_that_no_longer_holds_is_stale(tmp_path):
    row = Difference("toy.py", "LIMIT", "value", "3", "4")
    assert unexplained({row: "once"}, *toy_packages(tmp_path, TOY, TOY)) == ([], [row])


def test_a_row_that_has_changed_is_both_stale_and_new(tmp_path):
    row = Difference("toy.py", "LIMIT", "value", "3", "4")
    packages = toy_packages(tmp_path, TOY, TOY.replace("LIMIT = 3", "LIMIT = 5"))
    assert unexplained({row: "once"}, *packages) == ([row._replace(right="5")], [row])


def test_a_missing_docstring_is_found(tmp_path):
    source = TOY.replace('"""Toy."""', "").replace('"""Return X."""', "pass").replace('"""A network."""', "")
    torch, _ = toy_packages(tmp_path, source.replace('"""Return the area."""', "pass"), TOY)
    assert undocumented(torch) == ["toy", "toy.area", "toy.Net", "toy.Net.forward"]
