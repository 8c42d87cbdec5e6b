"""What a cell defines, compared with the package's function or class of the same name.

Both get the same seeded input in float64. Layers and networks get the same weights as well. Then parameters, outputs
and gradients are compared, in this order; the first difference is told in a sentence.
"""

from __future__ import annotations

import inspect
import zlib
from collections.abc import Iterator
from importlib import import_module
from traceback import walk_tb
from types import CodeType, ModuleType
from typing import Any

import numpy as np

from ssd_common.backends import BACKENDS, load_backend
from ssd_common.errors import InputError
from ssd_common.teaching.check_cases import CASES, Case
from ssd_common.teaching.check_kits import KITS, Kit, Seen

TOLERANCE = 1e-9
"""Of the largest value of an array, in float64. Two ways to write the same sum differ by less than 1e-12."""
TOLERANCE_FLOAT32 = 1e-4
"""The same for what a package does in float32 only: a training run and predictions."""

NO_RETURN = "; is a `return` missing?"
"""What to look for where something is None."""


class DiffersError(AssertionError):
    """What a cell defines is not what the package has; the message is one sentence."""

    def _render_traceback_(self) -> list[str]:
        """The lines that a notebook prints: IPython asks the exception itself."""
        return [f"≠ {self}"]


def check_same(*things: Any, own: bool = False, name: str = "", backend: str = "") -> None:
    """Compare functions and classes that a cell defines with the package's; print a line for each that is the same.

    The package's object is called as the cell's is: `check_same(cls_predictor)` looks for `cls_predictor` in the files
    of `ssd_torch` or `ssd_mxnet`, or in the numpy reference where the cell uses neither framework. Both are called with
    the same positional arguments, those of the package's function without its defaults.

    Args:
        *things: functions or classes, in any order.
        own: for a variant that should differ: print the first difference instead of raising it, and say whether the
            shapes are still those of the package.
        name: what the package calls the thing, if the cell uses another name; for a single thing.
        backend: "torch", "mxnet" or "numpy"; by default the framework that the thing uses.

    Raises:
        DiffersError: a thing is not the package's; one sentence says what differs first, and where.
        InputError: the package has nothing of that name, or nothing to compare it with.
    """
    if name and len(things) > 1:
        raise InputError(f"check_same: name= is for a single function, and there are {len(things)}")
    for thing in things:
        if not hasattr(thing, "__name__"):
            raise InputError(f"check_same: takes functions and classes, not what they return: {thing!r:.40}")
        called = name or thing.__name__
        if called not in CASES:
            known = ", ".join(sorted(CASES))
            raise InputError(f"check_same: nothing to compare {called!r} with; name= chooses one of {known}")
        kit = KITS[backend or framework_of(thing)]()
        twin, where = _twin(called, kit)
        found = first_difference(thing, twin, CASES[called], kit)
        if found is None:
            print(f"✓ {thing.__name__} is {where}: {CASES[called].same}")
        elif own:
            print(f"≠ {found}{_shapes_note(thing, twin, CASES[called], kit)}")
        else:
            raise DiffersError(f"{found} (compared with {where})")


def first_difference(thing: Any, twin: Any, case: Case, kit: Kit) -> str | None:
    """Return in a sentence what differs first between a thing and the package's, or None where nothing does.

    Args:
        thing: what a cell defines.
        twin: the package's.
        case: how both are called.
        kit: what the framework needs.
    """
    name = thing.__name__
    for number, call in enumerate(case.calls(kit, twin)):
        # Each side has a generator of its own, with the same seed: the same arguments and weights.
        expected = call(twin, np.random.default_rng(_seed(twin.__name__, number)))
        try:
            seen = call(thing, np.random.default_rng(_seed(twin.__name__, number)))
        except Exception as error:  # whatever the cell stumbles on
            return f"{name}: calling it fails{_place(error, thing)} with {type(error).__name__}: {_message(error)}"
        tolerance = TOLERANCE_FLOAT32 if case.float32 else TOLERANCE
        difference = _difference(seen, expected, tolerance)
        if difference is not None:
            return f"{name}{seen.called}: {difference}"
    return None


def framework_of(thing: Any) -> str:
    """Return "torch", "mxnet" or "numpy": the framework that a function or class uses.

    That is the one which its own code names, or else the one that its notebook has imported.

    Raises:
        InputError: its notebook has imported both.
    """
    if isinstance(thing, type):
        named = {_root(base.__module__) for base in thing.__mro__}
        functions = [value for value in vars(thing).values() if inspect.isfunction(value)]
    else:
        named, functions = set(), [thing]
    available: dict[str, Any] = {}
    used: set[str] = set()
    for function in filter(inspect.isfunction, functions):
        available |= function.__globals__
        used |= set(_names(function.__code__))
    for names in (used & set(available), set(available)):
        named |= {_root(_module_name(available[name])) for name in names}
        found = sorted(framework for framework in BACKENDS if framework in named)
        if len(found) == 1:
            return found[0]
        if len(found) > 1:
            raise InputError(f"check_same: {thing.__name__} may be {' or '.join(found)}; say which with backend=")
    return "numpy"


def _names(code: CodeType) -> Iterator[str]:
    """Yield the names that a function's code looks up, those of the functions inside it as well."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _module_name(value: Any) -> str:
    return value.__name__ if isinstance(value, ModuleType) else str(getattr(value, "__module__", ""))


def _root(module: str) -> str:
    """Return the framework of a module: `torch.nn` and `ssd_torch.boxes` are PyTorch's."""
    return module.partition(".")[0].removeprefix("ssd_")


def _twin(name: str, kit: Kit) -> tuple[Any, str]:
    """Return the package's function or class, and its full name.

    Raises:
        InputError: the backend has none of that name.
    """
    package = "ssd_common" if kit.name == "numpy" else load_backend(kit.name).__name__  # type: ignore[attr-defined]
    try:
        module = import_module(f"{package}.{CASES[name].module}")
        return getattr(module, name), f"{package}.{CASES[name].module}.{name}"
    except (ModuleNotFoundError, AttributeError):
        if CASES[name].twin is not None:
            return CASES[name].twin, "what the notebook asks for"
        raise InputError(f"check_same: {package} has no {name} to compare with") from None


def _seed(name: str, number: int) -> list[int]:
    return [zlib.crc32(name.encode()), number]


def _place(error: Exception, thing: Any) -> str:
    """Return the last line of the thing's own cell that an error passed through, in words; empty if there is none."""
    codes = [v.__code__ for v in (thing, *getattr(thing, "__dict__", {}).values()) if inspect.isfunction(v)]
    files = {code.co_filename for code in codes}
    lines = [line for frame, line in walk_tb(error.__traceback__) if frame.f_code.co_filename in files]
    return f" in line {lines[-1]}" if lines else ""


def _message(error: Exception) -> str:
    """Return the line of an error's message that says what is wrong: the first; MXNet puts a traceback before it."""
    lines = str(error).strip().splitlines() or ["no message"]
    line = lines[-1] if lines[0].startswith("Traceback") else lines[0]
    return line.removeprefix(f"{type(error).__name__}: ") + (NO_RETURN if "NoneType" in line else "")


def _difference(seen: Seen, expected: Seen, tolerance: float) -> str | None:
    """Return in words the first difference between what a cell's thing did and what the package's did."""
    for name, value in seen.outputs.items():
        if np.asarray(value).dtype == object and np.ndim(value) == 0:  # how numpy keeps None
            return f"{name} is None{NO_RETURN}"
    for kind, what in (("parameters", "parameter"), ("outputs", "result"), ("gradients", "gradient")):
        own, theirs = getattr(seen, kind), getattr(expected, kind)
        if len(own) != len(theirs):
            return _count_differs(what, own, theirs)
        pairs = zip(own.items(), theirs.items(), strict=True)
        for (_, value), (name, wanted) in pairs:
            words = _values_differ(name, value, wanted, tolerance)
            if words is not None:
                return words
    return None


def _count_differs(what: str, own: dict[str, Any], theirs: dict[str, Any]) -> str:
    """Return in words that a thing has fewer or more results or parameters than the package's, and which."""
    more, fewer = [n for n in own if n not in theirs], [n for n in theirs if n not in own]
    words = f"it has {len(own)} {what}{'s' * (len(own) != 1)}, the package's has {len(theirs)}"
    if fewer and not more:
        words += f"; {fewer[0]} is missing"
    elif more and not fewer:
        words += f"; {more[0]} is one too many"
    return words


def _values_differ(name: str, value: Any, wanted: Any, tolerance: float) -> str | None:
    """Return in words how an array differs from the package's, or None."""
    if value is None or wanted is None:
        return None if value is wanted else f"no gradient reaches {name.removeprefix('the gradient of ')}"
    value, wanted = np.asarray(value), np.asarray(wanted)
    if value.shape != wanted.shape:
        return f"{name} has the shape {value.shape}, the package's has {wanted.shape}"
    value, wanted = value.astype(np.float64), wanted.astype(np.float64)
    limit = tolerance * max(1.0, float(np.abs(wanted[np.isfinite(wanted)]).max(initial=0)))
    wrong = ~np.isclose(value, wanted, rtol=0, atol=limit, equal_nan=True)
    if not wrong.any():
        return None
    place = tuple(int(i) for i in np.argwhere(wrong)[0]) if wanted.ndim else ()
    at = f" at {list(place)}" if place else ""
    many = f"; {int(wrong.sum())} of {wrong.size} values differ" if place else ""
    return f"{name}{at} is {value[place]:.6g}, the package's is {wanted[place]:.6g}{many}{_hint(value, wanted, limit)}"


def _hint(value: Any, wanted: Any, limit: float) -> str:
    """Return what two arrays of the same shape have in common, where that tells what went wrong."""
    if value.size > 1 and np.allclose(np.sort(value.ravel()), np.sort(wanted.ravel()), rtol=0, atol=limit):
        return "; they are the same values in another order"
    both = np.isfinite(value) & np.isfinite(wanted) & (np.abs(wanted) > limit)
    if both.any() and np.isfinite(value).all() and np.isfinite(wanted).all():
        factor = float(np.median(value[both] / wanted[both]))
        if factor != 1 and np.allclose(value, factor * wanted, rtol=1e-6, atol=limit):
            return f"; every value is {factor:.6g} times the package's"
    return ""


def _shapes_note(thing: Any, twin: Any, case: Case, kit: Kit) -> str:
    """Return whether a variant's results still have the package's shapes, where it can be called at all."""
    for number, call in enumerate(case.calls(kit, twin)):
        shapes = []
        for function in (thing, twin):
            try:
                seen = call(function, np.random.default_rng(_seed(twin.__name__, number)))
            except Exception:  # the sentence before this one says so
                return ""
            shapes.append([np.shape(value) for value in seen.outputs.values()])
        if shapes[0] != shapes[1]:
            return ""
    return ". The shapes of its results are the package's"
