"""MXNet 1.9.1 on today's Python and numpy: `from ssd_mxnet.compat import mxnet`, for any program.

MXNet's last release is of 2022. What it reads and numpy or Python have removed since, it gets here, and it alone:
neither `numpy` nor `sys.modules` is altered. While a module of MXNet is loaded, its `__builtins__` are ours, the
mapping in which Python looks up `__import__`. For that module `import numpy` therefore brings a copy of numpy's
namespace with the missing names added, and `from distutils.version import ...` our own `_Version`. `import scipy`
brings two modules that load when they are used: they are slow to load, and few functions of MXNet need them. All this
holds as well for the imports inside of MXNet's functions. After this module any `import mxnet` of the process does.
"""

import builtins
import functools
import importlib
import importlib.util
import re
import sys
import types
from importlib.machinery import PathFinder, SourceFileLoader

import numpy

from ssd_common.errors import InputError

_SPELLINGS = {
    # numpy 2.3 removed ndarray.tostring.
    "mxnet.recordio": {".tostring()": ".tobytes()"},
    # scipy 2 removes scipy.sparse.csr; until then it warns.
    "mxnet.ndarray.sparse": {"spsp.csr.csr_matrix": "spsp.csr_matrix"},
    "mxnet.ndarray.utils": {"spsp.csr.csr_matrix": "spsp.csr_matrix"},
    # An operator's arguments cross to C++ as text; in a shape, numpy 2 writes an integer of its own as "np.int64(3)".
    "mxnet._ctypes.ndarray": {"str(s) for s in vals": "plain_text(s) for s in vals"},
    "mxnet._ctypes.symbol": {
        "str(s) for s in kwargs.values()": "plain_text(s) for s in kwargs.values()",
        "str(v) for v in vals": "plain_text(v) for v in vals",
    },
    "mxnet.io.io": {"param_vals.append(str(val))": "param_vals.append(plain_text(val))"},
}
"""What is read otherwise in the source of a module of MXNet, by the name of the module."""


def _financial(name):
    """Return what stands for a function that numpy removed in 1.20; MXNet reads it, and never calls it by itself."""

    def removed(*args, **kwargs):
        raise NotImplementedError(f"numpy removed {name} in 1.20: use numpy_financial.{name}")

    return removed


def _in1d(ar1, ar2, assume_unique=False, invert=False):
    """Return which elements of `ar1`, in one row, are in `ar2`."""
    return numpy.isin(numpy.ravel(ar1), ar2, assume_unique=assume_unique, invert=invert)


def _msort(a):
    """Return a copy of an array, sorted along the first axis."""
    return numpy.sort(a, axis=0)


def _numpy_of_2022():
    """Return a copy of numpy's namespace as a module, with the names that MXNet reads and this numpy no longer has."""
    module = types.ModuleType("numpy")
    names = vars(module)
    names |= vars(numpy)
    names["__getattr__"] = functools.partial(getattr, numpy)  # what numpy loads when it is asked for
    names["bool"] = bool  # until 1.23; in numpy 2 the same name is numpy's own type
    two = int(numpy.__version__.partition(".")[0]) >= 2
    removed = {
        # 1.24
        "int": int,
        # 2.0
        "Inf": numpy.inf,
        "NINF": -numpy.inf,
        "PINF": numpy.inf,
        "NAN": numpy.nan,
        "NaN": numpy.nan,
        "NZERO": -0.0,
        "PZERO": 0.0,
        "alltrue": numpy.all,
        "compat": types.SimpleNamespace(basestring=str),
        "in1d": _in1d,
        "msort": _msort,
        "product": numpy.prod,
        "round_": numpy.round,
        "sometrue": numpy.any,
        "trapz": numpy.trapezoid if two else None,
    }
    removed |= {name: _financial(name) for name in ("mirr", "npv", "pmt", "ppmt", "pv", "rate")}
    for name, value in removed.items():
        names.setdefault(name, value)
    if two:  # numpy.core is there and warns
        numeric = types.SimpleNamespace(normalize_axis_tuple=numpy.lib.array_utils.normalize_axis_tuple)
        names["core"] = types.SimpleNamespace(numeric=numeric)
    return module


@functools.total_ordering
class _Version:
    """The versions of `distutils.version`, as far as MXNet compares numpy's with them: by their leading numbers."""

    def __init__(self, text):
        self.numbers = [int(number) for number in re.match(r"[\d.]*", text)[0].split(".") if number]

    def __eq__(self, other):
        return self.numbers == other.numbers

    def __lt__(self, other):
        return self.numbers < other.numbers


class _Later(types.ModuleType):
    """Stands for a module, which is imported when MXNet first reads one of its names."""

    def __getattr__(self, name):
        """Return what the module has under a name."""
        return getattr(importlib.import_module(self.__name__), name)


_NUMPY = _numpy_of_2022()
_SCIPY = types.SimpleNamespace(sparse=_Later("scipy.sparse"), stats=_Later("scipy.stats"))
_DISTUTILS_VERSION = types.SimpleNamespace(LooseVersion=_Version, StrictVersion=_Version)


def _import(name, globals=None, locals=None, fromlist=(), level=0):
    """Import for a module of MXNet: as ever, except for `numpy` itself, `distutils.version` and scipy."""
    if level == 0 and name == "distutils.version":
        return _DISTUTILS_VERSION
    if level == 0 and name.partition(".")[0] == "scipy" and importlib.util.find_spec("scipy"):
        return _SCIPY
    module = builtins.__import__(name, globals, locals, fromlist, level)
    return _NUMPY if module is numpy else module


def _plain_text(value):
    """Return an operator's argument as text; integers of numpy in a shape are written as Python's are."""
    if type(value) in (tuple, list):
        value = type(value)(v.item() if isinstance(v, numpy.generic) else v for v in value)
    return str(value)


_BUILTINS = vars(builtins) | {"__import__": _import, "plain_text": _plain_text}


class _Loader(SourceFileLoader):
    """Loads a module of MXNet with our `__builtins__`."""

    def get_code(self, fullname):
        """Return the code of a module, with another spelling where the table above has one."""
        if fullname not in _SPELLINGS:
            return super().get_code(fullname)
        source = self.get_data(self.path).decode()
        for old, new in _SPELLINGS[fullname].items():
            source = source.replace(old, new)
        return self.source_to_code(source, self.path)  # not kept in __pycache__, where others would find it

    def exec_module(self, module):
        """Run a module's code."""
        vars(module)["__builtins__"] = _BUILTINS
        super().exec_module(module)


class _Finder:
    """Finds the modules of MXNet where Python does, and has them loaded by `_Loader`."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        """Return the spec of a module of MXNet, None for any other."""
        if name.partition(".")[0] != "mxnet":
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec and type(spec.loader) is SourceFileLoader:
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def _load():
    """Return MXNet, imported through `_Finder` unless the program has it already.

    Raises:
        InputError: MXNet was imported without this module before, and that has failed half-way.
        ModuleNotFoundError: MXNet is not installed.
    """
    halves = (module for name, module in sys.modules.items() if name.startswith("mxnet."))
    if "mxnet" not in sys.modules and not all(isinstance(module.__loader__, _Loader) for module in halves):
        raise InputError(
            "an earlier `import mxnet` has failed and left a part of MXNet behind: restart Python (in a notebook, the "
            "kernel), and write `import ssd_mxnet` first"
        )
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)
    try:
        return importlib.import_module("mxnet")
    except ModuleNotFoundError as error:
        if error.name != "mxnet":
            raise
        command = "pip install --no-deps mxnet==1.9.1"
        raise ModuleNotFoundError(f"MXNet is not installed: {command}", name="mxnet") from None


mxnet = _load()
"""MXNet 1.9.1, with its own defaults: the package's other modules turn numpy semantics on, this one does not."""
