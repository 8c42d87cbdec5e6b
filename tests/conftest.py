"""What every test file uses: the backends, the real data, and what happens when one of them is not there."""

import atexit
import importlib
import os
import shutil
import signal
import tempfile
import warnings
from pathlib import Path

import pytest

from ssd_common.backends import BACKENDS, load_backend
from ssd_common.errors import InputError

ROOT = Path(__file__).parents[1]
if "MPLCONFIGDIR" not in os.environ:  # what libraries keep and notebooks save, in a folder that goes with the tests
    _kept = tempfile.mkdtemp(prefix="tinyssd-tests-")
    atexit.register(shutil.rmtree, _kept, ignore_errors=True)
    os.environ |= dict.fromkeys(("MPLCONFIGDIR", "TORCHINDUCTOR_CACHE_DIR", "IPYTHONDIR", "TMPDIR"), _kept)
os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # for tests that import ONNX Runtime by themselves
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))  # also `benchmarks`
REQUIRED = set(filter(None, os.environ.get("TINYSSD_REQUIRE_BACKENDS", "").split(",")))
_reasons: dict[str, str | None] = {}  # why a framework cannot be used, None where it can


def _why_not(name: str) -> str | None:
    """Return why a backend cannot be used, importing it the first time it is asked for."""
    if name not in _reasons:
        try:
            load_backend(name)
            _reasons[name] = None
        except InputError as error:
            _reasons[name] = str(error)
    return _reasons[name]


def pytest_configure(config):
    unknown = REQUIRED - set(BACKENDS)
    if unknown:
        raise pytest.UsageError(f"TINYSSD_REQUIRE_BACKENDS: unknown backend {', '.join(sorted(unknown))}")


def pytest_runtest_setup(item):
    """Skip, or fail if it is required, a test marked `backend(name)` whose framework is not there."""
    for mark in item.iter_markers("backend"):
        for name in mark.args:
            if reason := _why_not(name):
                if name in REQUIRED:
                    pytest.fail(reason, pytrace=False)
                pytest.skip(reason)


@pytest.fixture
def hangup_counts():
    """SIGHUP does what it does by itself in the processes that a test starts; `nohup` lets them ignore it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.backend(name)) for name in BACKENDS])
def backend(request):
    """Each backend in turn."""
    return load_backend(request.param)


@pytest.fixture(scope="session")
def backends():
    """Every backend whose framework is there, at least one; a required one that is missing fails."""
    for name in REQUIRED:
        if reason := _why_not(name):
            pytest.fail(reason, pytrace=False)
    if found := [load_backend(name) for name in BACKENDS if not _why_not(name)]:
        return found
    pytest.skip("neither framework is there")


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    """Each floating type in turn."""
    return request.param


@pytest.fixture
def figures(monkeypatch):
    """The figures that would have been saved, to be looked into; nothing is rendered or written."""
    from ssd_common.figures import canvas

    made = []
    monkeypatch.setattr(canvas, "write_figure", lambda figure, path: made.append(figure))
    return made


@pytest.fixture(scope="session")
def data_dir():
    """The folder with the real data; a test that needs it skips without it, and fails where it is named but missing."""
    folder = os.environ.get("TINYSSD_DATA")
    if not folder:
        pytest.skip("TINYSSD_DATA does not name the folder with the real data")
    path = Path(folder).resolve()
    if not path.is_dir():
        pytest.fail(f"TINYSSD_DATA names {folder}, which is not a folder", pytrace=False)
    return path


@pytest.fixture(scope="session")
def d2l_torch():
    """The book's PyTorch code."""
    return _import_d2l("torch")


@pytest.fixture(scope="session")
def d2l_mxnet():
    """The book's MXNet code."""
    return _import_d2l("mxnet")


@pytest.fixture
def book(backend, request):
    """The book's code in the framework of `backend`."""
    return request.getfixturevalue(f"d2l_{backend.name}")


def _import_d2l(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # d2l imports half of the scientific stack; none of that is tested here
        try:
            return importlib.import_module(f"d2l.{name}")
        except ImportError as error:
            if set(BACKENDS) <= REQUIRED:  # a person with one framework alone need not have the book
                pytest.fail(
                    f"the book's package cannot be imported ({error}): pip install --no-deps d2l==1.0.3", pytrace=False
                )
            pytest.skip(f"the book's package cannot be imported ({error}): pip install --no-deps d2l==1.0.3")
