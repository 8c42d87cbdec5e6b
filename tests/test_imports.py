"""What imports what: the common half needs no framework, and neither backend imports the other."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FRAMEWORKS = {"torch": ("torch", "torchvision"), "mxnet": ("mxnet",)}
BACKENDS = {"torch": "ssd_torch", "mxnet": "ssd_mxnet"}

BLOCK = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}} (blocked)", name=name)

sys.meta_path.insert(0, Blocker())
"""
IMPORT_ALL = """
import importlib, json, pkgutil
package = importlib.import_module({package!r})
names = [{package!r}] + [m.name for m in pkgutil.walk_packages(package.__path__, {package!r} + ".")]
for name in names:
    importlib.import_module(name)
print(json.dumps({{"imported": names, "loaded": sorted(n for n in sys.modules if "." not in n)}}))
"""
RUN = """
import contextlib, io, json, sys
from ssd_common.cli import main

codes = []
for arguments in {arguments!r}:
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            main(arguments)
        except SystemExit as done:
            codes.append(done.code)
print(json.dumps({{"codes": codes, "loaded": sorted(n for n in sys.modules if "." not in n)}}))
"""


def run_python(source):
    """Return what a fresh interpreter prints as JSON."""
    # MXNet 1.9.1 warns about numpy and distutils while it is imported: see pyproject.toml.
    command = [sys.executable, "-W", "ignore", "-c", source]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def modules_of(package):
    """Return the dotted names of the modules of a package, from its files."""
    files = (file.relative_to(ROOT).with_suffix("") for file in (ROOT / package).rglob("*.py"))
    return {".".join(file.parts).removesuffix(".__init__") for file in files}


def imported_in(package):
    """Yield `file:line` and top-level name of every import statement of a package, those inside functions as well."""
    for file in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module]
            for name in names:
                yield f"{file.relative_to(ROOT)}:{node.lineno}", name.partition(".")[0]


def test_the_common_half_imports_without_a_framework():
    blocked = {name for names in FRAMEWORKS.values() for name in names} | {"d2l"}
    result = run_python(BLOCK.format(blocked=blocked) + IMPORT_ALL.format(package="ssd_common"))
    assert set(result["imported"]) == modules_of("ssd_common")
    assert not set(result["loaded"]) & {*blocked, *BACKENDS.values()}


def test_a_prediction_does_not_wait_for_what_it_does_not_use():
    """Matplotlib's figures take 0.2 s to import, and the first image comes after all imports."""
    modules = "ssd_common.cli, ssd_common.checkpoints.convert, ssd_common.runs.predict"
    loaded = run_python(f"import json, sys, {modules}; print(json.dumps(sorted(sys.modules)))")
    assert "matplotlib.colors" in loaded
    assert not {"matplotlib.figure", "onnx", "onnxruntime", "pygments", "ssd_common.parity"}.intersection(loaded)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        pytest.param("torch", "mxnet", marks=pytest.mark.backend("torch")),
        pytest.param("mxnet", "torch", marks=pytest.mark.backend("mxnet")),
    ],
)
def test_a_backend_imports_its_framework_only(name, other):
    blocked = {*FRAMEWORKS[other], BACKENDS[other], "d2l"}
    result = run_python(BLOCK.format(blocked=blocked) + IMPORT_ALL.format(package=BACKENDS[name]))
    assert set(result["imported"]) == modules_of(BACKENDS[name])
    assert {name, BACKENDS[name], "ssd_common"} <= set(result["loaded"])
    assert not set(result["loaded"]) & blocked


def test_help_waits_for_no_framework_and_no_library_of_numbers():
    verbs = ("train", "eval", "predict", "compare", "export", "data", "info")
    result = run_python(RUN.format(arguments=[["--help"], *([verb, "--help"] for verb in verbs)]))
    assert result["codes"] == [0] * 8
    assert not set(result["loaded"]) & {"torch", "torchvision", "mxnet", "numpy", "matplotlib", "PIL", "safetensors"}


def test_the_list_of_data_sets_waits_for_no_framework():
    result = run_python(RUN.format(arguments=[["data"]]))
    assert result["codes"] == [0]
    assert not set(result["loaded"]) & {"torch", "torchvision", "mxnet"}


def test_the_blocker_of_these_tests_blocks():
    source = BLOCK.format(blocked={"wave"}) + "try:\n    import wave\nexcept ModuleNotFoundError as error:\n"
    assert run_python(source + "    print('[\"' + error.name + '\"]')") == ["wave"]


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("ssd_common", {"torch", "torchvision", "mxnet", "d2l", "ssd_torch", "ssd_mxnet"}),
        ("ssd_torch", {"mxnet", "d2l", "ssd_mxnet"}),
        ("ssd_mxnet", {"torch", "torchvision", "d2l", "ssd_torch"}),
    ],
)
def test_no_import_statement_names_what_a_package_must_not_know(package, forbidden):
    imports = list(imported_in(package))
    assert any(name == "ssd_common" for _, name in imports)
    assert [(where, name) for where, name in imports if name in forbidden] == []
