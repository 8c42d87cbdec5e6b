"""PyTorch's own weights files, which `torch.save(net.state_dict(), path)` writes: to read (none is run), to write."""

import io
import os
import re
import warnings
import zipfile

import torch

from ssd_common.errors import InputError
from ssd_common.output.atomic import write_atomically

from .data import to_numpy


def read_state_dict(path):
    """Return the tensors of a file that `torch.save(net.state_dict(), path)` wrote, as numpy arrays by name.

    A state_dict among other things, such as an epoch, is read if it is the only one. Nothing in the file is run. Types
    that numpy lacks come as float32.

    Args:
        path: a zip, as PyTorch has written since 1.6; usually `.pt` or `.pth`.

    Raises:
        InputError: the file is missing, damaged, or holds anything but tensors.
    """
    if not os.path.isfile(path):
        raise InputError(f"{path}: no such weights file")
    size = os.path.getsize(path)
    try:
        _check_zip(path, size)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of kinds of tensors that are refused below
            state = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251 - weights_only
    except InputError:
        raise
    except Exception as error:  # on damaged bytes zipfile and torch raise whatever they stumble on
        runs = re.search(r"GLOBAL (\S+)", str(error))  # the rest of this message advises to run the file
        reason = f"it holds {runs[1]!r:.80}" if runs else f"damaged, or more than tensors: {type(error).__name__}"
        raise InputError(
            f"{path}: cannot be read as a state_dict ({reason}); write it with torch.save(net.state_dict(), path)"
        ) from None
    state = _find_state_dict(state, path)
    # One stored number can pass for a tensor of any shape, and for any number of tensors.
    needed = sum(value.numel() * value.element_size() for value in state.values())
    if needed > size:
        raise InputError(
            f"{path}: tensors of {needed} bytes in a file of {size}: it is damaged, or its tensors share values"
        )
    return {name: _as_numpy(value, f"{path}: tensor {name!r:.80}") for name, value in state.items()}


def _find_state_dict(loaded, path):
    """Return what was loaded if it is a state_dict, or the only one among other things, such as an epoch."""
    found = {key: value for key, value in loaded.items() if _is_state_dict(value)} if isinstance(loaded, dict) else {}
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise InputError(
            f"{path}: holds more than one state_dict, at {', '.join(f'{key!r:.40}' for key in list(found)[:5])}; "
            "choose one: torch.save(torch.load(path)[key], new_path)"
        )
    if not _is_state_dict(loaded) and loaded != {}:
        raise InputError(f"{path}: not a state_dict; write it with torch.save(net.state_dict(), path)")
    return loaded


def _is_state_dict(value):
    return (
        isinstance(value, dict)
        and len(value) > 0
        and all(isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in value.items())
    )


def write_state_dict(path, weights):
    """Write numpy arrays by name as PyTorch's `torch.save` does, for `net.load_state_dict(torch.load(path))`.

    The file is written beside `path` and renamed: a reader, or a crash, never sees half of it.
    """
    buffer = io.BytesIO()
    torch.save({name: torch.tensor(value) for name, value in weights.items()}, buffer)
    write_atomically(path, buffer.getvalue())


def _check_zip(path, size):
    """Raise unless a zip is one of PyTorch's: not packed, no byte in two records, and as the checksums say."""
    with zipfile.ZipFile(path) as file:
        records = file.infolist()
        if not any(record.filename.endswith("data.pkl") for record in records):
            raise InputError(f"{path}: a zip, but not one that torch.save wrote")
        if any(record.compress_type != zipfile.ZIP_STORED for record in records):
            raise InputError(f"{path}: a packed zip, which torch.save does not write")
        if sum(record.file_size for record in records) > size or file.testzip() is not None:
            raise InputError(f"{path}: a checksum or a length does not match; the file is damaged, take another copy")


def _as_numpy(value, where):
    try:
        return to_numpy(value.float() if value.dtype == torch.bfloat16 else value)
    except (RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{where} cannot be read by numpy ({reason}); save a plain tensor") from None
