"""The two sides of the benchmark: this project's code and the book's, in one framework."""

from __future__ import annotations

import importlib
import warnings
from dataclasses import dataclass
from types import ModuleType

from benchmarks.inputs import Inputs
from ssd_common.backends import Backend, load_backend
from ssd_common.errors import InputError


@dataclass(frozen=True)
class Sides:
    """A backend, the book's code in the same framework, and the inputs of both."""

    b: Backend
    book: ModuleType
    inputs: Inputs


def load_book(backend: str) -> ModuleType:
    """Return the module that does things the book's way in a backend.

    Raises:
        InputError: the backend or the book's package cannot be imported.
    """
    load_backend(backend)  # for its message
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # d2l imports half of the scientific stack
            return importlib.import_module(f"benchmarks.book_{backend}")
    except Exception as error:  # a package that is there but does not fit raises whatever it stumbles on
        raise InputError(
            f"the benchmark compares with the book's package d2l, which cannot be imported ({error}): "
            "pip install --no-deps d2l==1.0.3"
        ) from error
