"""MXNet 1.9.1 on today's Python and numpy: MXNet gets what has been removed since, and no other program does."""

import ast
import importlib.util
import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ssd_common.backends import load_backend

ROOT = Path(__file__).resolve().parent.parent
TWINS = sorted(module.name for module in pkgutil.iter_modules([str(ROOT / "ssd_mxnet")]))
pytestmark = pytest.mark.backend("mxnet")

SNAPSHOTS = """
import builtins, json, sys
import multiprocessing.pool, numpy, numpy.random, numpy.testing, requests  # what MXNet imports of others
sys.modules["onnx"] = None  # MXNet imports it where it is there, and it far more of numpy and of others

def snapshot():
    return [{name: id(value) for name, value in vars(module).items()} for module in (numpy, builtins)], {*sys.modules}

before, modules_before = snapshot()
import ssd_mxnet.boxes, mxnet
a = mxnet.np.ones((2, 3))
a[a > 0] = 5  # reads numpy.bool
assert mxnet.nd.moveaxis(mxnet.nd.ones((2, 3, 4)), 0, 2).shape == (3, 4, 2)  # reads numpy.core
after, modules = snapshot()
own = {"numpy." + name for name in vars(numpy)} & modules  # numpy's own modules, loaded when they are asked for
for name in own:
    after[0].pop(name.partition(".")[2]), before[0].pop(name.partition(".")[2], None)
specs = {name: getattr(sys.modules[name], "__spec__", None) for name in modules - modules_before}
tops = sorted({name.partition(".")[0] for name in specs} - sys.stdlib_module_names - {"__mp_main__"})
made = [name for name, spec in specs.items() if name.partition(".")[0] in tops and not (spec and spec.loader)]
print(json.dumps({"before": before, "after": after, "made": made, "tops": tops, "distutils": "distutils" in modules}))
"""


def run_python(source, *flags):
    """Run a program in a fresh interpreter."""
    command = [sys.executable, *flags, "-c", source]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300, check=False)


def output_of(source, *flags):
    """Return what a program prints; it ends well and warns of nothing."""
    done = run_python(source, *flags)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.fixture(scope="module")
def snapshots():
    """What others see of numpy, of Python and of `sys.modules`, before and after MXNet was imported and used."""
    return json.loads(output_of(SNAPSHOTS, "-W", "ignore"))


def test_nothing_of_numpy_and_of_python_is_altered(snapshots):
    assert len(snapshots["after"][0]) > 400
    assert snapshots["before"] == snapshots["after"]


def test_the_modules_that_are_new_are_those_of_mxnet_and_what_it_imports(snapshots):
    ours = {"mxnet", "numpy", "ssd_common", "ssd_mxnet", "graphviz"} | (
        {"tomli"} if sys.version_info < (3, 11) else set()
    )
    assert {"mxnet", "ssd_mxnet"} <= {*snapshots["tops"]} <= ours
    assert snapshots["made"] == []  # each was loaded from a file
    assert not snapshots["distutils"]


def test_other_programs_find_in_numpy_what_is_there():
    program = "import ssd_mxnet, numpy; numpy.npv(0.1, [1])"
    assert run_python(program, "-W", "ignore").stderr.splitlines()[-1].startswith(("AttributeError", "RuntimeError"))


SEMANTICS = """
import importlib, sys
from ssd_mxnet.compat import mxnet

for name in {names!r}:
    mxnet.npx.reset_np()
    for loaded in [loaded for loaded in sys.modules if loaded.startswith("ssd_mxnet.")]:
        del sys.modules[loaded]
    importlib.import_module("ssd_mxnet." + name)
    print(name, mxnet.util.is_np_array(), mxnet.util.is_np_shape())
"""


def test_mxnet_warns_of_nothing_and_has_numpy_semantics_for_the_detector_only():
    lines = output_of(SEMANTICS.format(names=TWINS), "-W", "error").splitlines()
    without = {"compat", "greedy", "options"}  # what calls greedy has done it; options has no array
    assert lines == [f"{name} {name not in without} {name not in without}" for name in TWINS]


# Every name that MXNet reads


def mxnet_sources():
    """Yield the name, text and syntax tree of every module of MXNet, except for its stand-alone tools."""
    (folder,) = importlib.util.find_spec("mxnet").submodule_search_locations
    for file in sorted(Path(folder).rglob("*.py")):
        name = ".".join(("mxnet", *file.relative_to(folder).with_suffix("").parts)).removesuffix(".__init__")
        if not name.startswith("mxnet.tools"):
            source = file.read_text(encoding="utf-8")
            yield name, source, ast.parse(source)


def read_from_numpy(tree):
    """Return the dotted names that a module reads from numpy, whatever it calls numpy."""
    aliases = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name == "numpy"
    }
    texts = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    dotted = [text.split(".") for text in texts if re.fullmatch(r"\w+(\.\w+)+", text)]
    return {tuple(names) for alias, *names in dotted if alias in aliases}


def missing_from(module, names):
    """Return the first of the names, each an attribute of the one before, that is not there; None where all are."""
    value = module
    for name in names:
        if not hasattr(value, name):
            return name
        value = getattr(value, name)
    return None


def test_numpy_for_mxnet_has_every_name_that_mxnet_reads():
    load_backend("mxnet")
    from ssd_mxnet.compat import _NUMPY

    read = {(module, names) for module, _, tree in mxnet_sources() for names in read_from_numpy(tree)}
    assert len(read) > 500
    assert [(module, names) for module, names in read if missing_from(_NUMPY, names)] == []


def test_what_is_spelled_otherwise_stands_in_mxnet():
    load_backend("mxnet")
    from ssd_mxnet.compat import _SPELLINGS

    sources = {name: source for name, source, _ in mxnet_sources()}
    for module, spellings in _SPELLINGS.items():
        for old in spellings:
            assert old in sources[module], f"{module} has no {old}"


def test_mxnet_imports_no_other_module_that_python_has_removed():
    tops = {
        (alias.name if isinstance(node, ast.Import) else node.module).partition(".")[0]
        for _, _, tree in mxnet_sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and node.level == 0)
        for alias in node.names
    }
    removed = {"asynchat", "asyncore", "cgi", "distutils", "imp", "pipes", "smtpd", "telnetlib", "xdrlib"}
    assert tops & removed == {"distutils"}


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("in1d", ([[1, 2], [3, 4]], [4, 1])),
        ("msort", ([[3, 1], [2, 4]],)),
        ("trapz", ([1.0, 2.0, 4.0],)),
        ("product", ([2, 3, 4],)),
        ("alltrue", ([1, 0],)),
        ("sometrue", ([1, 0],)),
        ("round_", (2.5,)),
    ],
)
def test_what_stands_for_a_removed_function_returns_what_the_function_returned(name, arguments):
    load_backend("mxnet")
    from ssd_mxnet import compat

    expected = {  # printed by numpy 1.23.5
        "in1d": [True, False, False, True],
        "msort": [[2, 1], [3, 4]],
        "trapz": 4.5,
        "product": 24,
        "alltrue": False,
        "sometrue": True,
        "round_": 2.0,
    }
    np.testing.assert_array_equal(getattr(compat._NUMPY, name)(*arguments), expected[name])
    if name in ("in1d", "msort"):
        np.testing.assert_array_equal(getattr(compat, f"_{name}")(*arguments), expected[name])


@pytest.mark.parametrize(
    ("lower", "higher"),
    [("1.15", "1.17"), ("1.17", "1.23.5"), ("1.9.1", "1.17"), ("2.5.0", "2.5.5"), ("1.6.0", "2.0.0rc1")],
)
def test_versions_are_compared_number_by_number(lower, higher):
    load_backend("mxnet")
    from ssd_mxnet.compat import _Version

    assert _Version(lower) < _Version(higher)
    assert _Version(higher) >= _Version(lower)
    assert _Version(lower) == _Version(lower)
    assert not _Version(lower) >= _Version(higher)


# Programs of MXNet's own time, in a fresh interpreter in which warnings are errors

PROGRAMS = {
    "gluon, exported and loaded": """
        from mxnet import autograd, gluon
        net = gluon.nn.HybridSequential()
        net.add(gluon.nn.Conv2D(4, 3), gluon.nn.BatchNorm(), gluon.nn.Dense(3))
        net.initialize(mx.init.Xavier())
        net.hybridize()
        X = mx.nd.random.uniform(shape=(2, 3, 8, 8))
        trainer = gluon.Trainer(net.collect_params(), "adam")
        with autograd.record():
            loss = net(X).sum()
        loss.backward()
        trainer.step(2)
        net.save_parameters("net.params")
        again = gluon.nn.HybridSequential()
        again.add(gluon.nn.Conv2D(4, 3), gluon.nn.BatchNorm(), gluon.nn.Dense(3))
        again.load_parameters("net.params")
        numpy.testing.assert_array_equal(again(X).asnumpy(), net(X).asnumpy())
    """,
    "symbols and Module.fit": """
        data = mx.sym.Variable("data")
        symbol = mx.sym.SoftmaxOutput(mx.sym.FullyConnected(data, num_hidden=2), name="softmax")
        X = numpy.random.default_rng(0).normal(size=(64, 4)).astype("float32")
        batches = mx.io.NDArrayIter(X, (X[:, 0] > 0).astype("float32"), 16)
        module = mx.mod.Module(symbol)
        module.fit(batches, num_epoch=30, optimizer_params={"learning_rate": 1.0})
        module.save_checkpoint("module", 1)
        again = mx.mod.Module.load("module", 1)
        again.bind(batches.provide_data, batches.provide_label)
        assert again.score(batches, "acc")[0][1] > 0.95, again.score(batches, "acc")
        numpy.testing.assert_array_equal(again.predict(batches).asnumpy(), module.predict(batches).asnumpy())
    """,
    "records with several labels": """
        header = mx.recordio.IRHeader(0, [1.0, 2.0], 7, 0)
        label, payload = mx.recordio.unpack(mx.recordio.pack(header, b"abc"))
        assert (label.label.tolist(), label.id, payload) == ([1.0, 2.0], 7, b"abc")
    """,
    "shapes with numpy's integers": """
        shape = (2, numpy.prod([3, 1]))
        assert mx.nd.zeros(shape).shape == (2, 3)
        assert mx.nd.random.uniform(shape=shape).shape == (2, 3)
        assert mx.sym.zeros(shape=shape).eval()[0].shape == (2, 3)
        parameter = mx.gluon.Parameter("weight", shape=(4, 4))
        parameter.initialize(mx.init.Orthogonal(scale=1))
        square = mx.nd.dot(parameter.data(), parameter.data().T).asnumpy()
        numpy.testing.assert_allclose(square, numpy.eye(4), atol=1e-5)
    """,
    "sparse arrays": """
        matrix = mx.nd.sparse.csr_matrix(([1.0, 2.0, 3.0], [0, 1, 2], [0, 1, 2, 3]), shape=(3, 3))
        numpy.testing.assert_array_equal(matrix.asnumpy(), numpy.diag([1.0, 2.0, 3.0]))
        numpy.testing.assert_array_equal(mx.nd.sparse.array(matrix.asscipy()).asnumpy(), matrix.asnumpy())
    """,
    "a random generator's test": """
        import sys
        assert not [name for name in sys.modules if name.startswith("scipy.stats")]  # loads when it is used
        draw = lambda count: mx.nd.random.uniform(shape=count).asnumpy()
        buckets = [(i / 4, (i + 1) / 4) for i in range(4)]
        assert mx.test_utils.chi_square_check(draw, buckets, [0.25] * 4, 4000)[0] > 1e-6
    """,
    "the array API": """
        mx.npx.set_np()
        a = mx.np.array([[3.0, 1.0], [2.0, 4.0]])
        numpy.testing.assert_array_equal(mx.np.msort(a).asnumpy(), [[2, 1], [3, 4]])
        numpy.testing.assert_array_equal(mx.np.trapz(a), [2, 3])
        numpy.testing.assert_array_equal(mx.np.pad(a, ((0, 1), (0, 0)), "constant").asnumpy()[2], [0, 0])
        a[a > 2] = -1
        numpy.testing.assert_array_equal(a.asnumpy(), [[-1, 1], [2, -1]])
        assert isinstance(numpy.sum(a), type(a)) and float(numpy.sum(a)) == 1  # numpy's function, MXNet's array
        assert isinstance(numpy.add(a, a), type(a))
        assert mx.np.ones(2, dtype=mx.np.bool).dtype == numpy.bool_
        numpy.testing.assert_array_equal(numpy.asarray(a), a.asnumpy())
    """,
    "an estimator": """
        from mxnet import gluon
        from mxnet.gluon.contrib.estimator import Estimator
        X = numpy.random.default_rng(0).normal(size=(6, 3)).astype("float32")
        net = gluon.nn.Dense(3, in_units=3)
        net.initialize()
        trainer = gluon.Trainer(net.collect_params(), "sgd")
        loss = gluon.loss.SoftmaxCrossEntropyLoss()
        estimator = Estimator(net, loss, mx.metric.Accuracy(), trainer=trainer)
        before = net.weight.data().asnumpy()
        estimator.logger.disabled = True
        estimator.fit(gluon.data.DataLoader(gluon.data.ArrayDataset(X, numpy.arange(6) % 3), 2), epochs=1)
        assert (net.weight.data().asnumpy() != before).any()
    """,
}
TOP = "import logging, numpy\nfrom ssd_mxnet.compat import mxnet as mx\n"


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_of_its_time_runs(name, tmp_path):
    lines = PROGRAMS[name].replace("\n        ", "\n")
    source = f"import os, sys\nsys.path.insert(0, os.getcwd())\nos.chdir({str(tmp_path)!r})\n{TOP}{lines}"
    done = run_python(source, "-W", "error")
    assert done.returncode == 0, done.stderr


def test_without_scipy_mxnet_says_that_it_needs_it():
    program = "import sys; sys.modules['scipy'] = None\nfrom ssd_mxnet.compat import mxnet as mx\n"
    program += "mx.nd.zeros((2, 2)).tostype('csr').asscipy()"
    assert run_python(program).stderr.splitlines()[-1].startswith("ImportError: scipy")


# What goes wrong


BROKEN = """
import sys
sys.modules["mxnet.base"] = __import__("types").ModuleType("mxnet.base")  # what a failed import leaves behind
from ssd_common.backends import load_backend
load_backend("mxnet")
"""


def test_an_import_of_mxnet_that_failed_before_is_one_line_that_says_what_to_do():
    message = run_python(BROKEN).stderr.splitlines()[-1]
    assert message.startswith("ssd_common.errors.InputError: backend 'mxnet': an earlier `import mxnet` has failed")
    assert message.endswith("write `import ssd_mxnet` first")


def test_an_import_of_mxnet_that_succeeded_before_is_kept():
    program = "from ssd_mxnet import compat; import sys, mxnet; sys.modules.pop('ssd_mxnet.compat')\n"
    program += "from ssd_mxnet.compat import mxnet as again; print(again is mxnet)"
    assert output_of(program) == "True\n"


@pytest.mark.skipif(sys.version_info < (3, 12) and np.__version__ < "1.24", reason="here MXNet runs as it is")
def test_without_the_module_mxnet_really_fails_and_then_says_so():
    program = "try:\n    import mxnet\nexcept (AttributeError, ImportError):\n    print('failed')\n    import ssd_mxnet"
    done = run_python(program, "-W", "ignore")
    assert done.stdout == "failed\n"
    assert done.stderr.splitlines()[-1].endswith("write `import ssd_mxnet` first")


def test_no_mxnet_is_one_line_with_the_command():
    done = run_python("import sys; sys.modules['mxnet'] = None; import ssd_mxnet")
    last = done.stderr.splitlines()[-1]
    assert last == "ModuleNotFoundError: MXNet is not installed: pip install --no-deps mxnet==1.9.1"
