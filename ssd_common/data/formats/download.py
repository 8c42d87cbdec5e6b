"""Files fetched once into the user's cache folder: believed only by their hash."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from ssd_common.errors import InputError
from ssd_common.output.console import progress_bar

CHUNK = 1 << 10  # of a slow server, more would be waited for without a look at the clock
MAX_BYTES = 1 << 28  # three times what is fetched: a server that never ends is not believed
SECONDS = 30  # without a byte from the server
SLOWEST, AFTER = 1000, 60  # bytes a second on average, once so many seconds have passed
UNFINISHED = ".unfinished-"


def fetch_file(url: str, sha1: str, name: str) -> Path:
    """Return a file, fetched into the user's cache folder unless the right one is there.

    The file gets its name only when it is whole and has the hash; nothing else is kept.

    Args:
        url: of the file.
        sha1: of its content; a file with another hash is fetched again.
        name: of the file in the cache folder.

    Raises:
        InputError: it cannot be downloaded, or is another file.
    """
    import pooch

    path = _cache() / name
    with _explained(url, sha1, path):
        if not _is_right(path, sha1):
            with _working_folder(path.parent) as temporary:
                if not _is_right(path, sha1):  # else another process has fetched it while this one waited
                    pooch.retrieve(url, f"sha1:{sha1}", name, temporary, downloader=_download)
                    os.replace(temporary / name, path)
    return path


def fetch_folder(url: str, sha1: str, top: str) -> Path:
    """Return the folder `top` of a zip archive, fetched into the user's cache folder unless it is there.

    The folder gets its name only when it is whole.

    Args:
        url: of the archive.
        sha1: of its content; a content that is known needs no limits when it is unpacked.
        top: the one folder in it.

    Raises:
        InputError: it cannot be downloaded or unpacked, or is another file.
    """
    folder = _cache() / top
    if folder.is_dir():
        return folder
    archive = fetch_file(url, sha1, f"{top}.zip")
    with _explained(url, sha1, archive), _working_folder(archive.parent) as temporary:
        if folder.is_dir():
            return folder
        try:
            with zipfile.ZipFile(archive) as content:
                content.extractall(temporary)
            (temporary / top).rename(folder)
        except (zipfile.BadZipFile, FileNotFoundError) as error:
            raise InputError(f"{archive}: no zip archive with a folder {top} ({error}): delete it") from error
    return folder


def _cache() -> Path:
    import pooch

    return Path(pooch.os_cache("tinyssd"))


def _is_right(path: Path, sha1: str) -> bool:
    import pooch

    return path.is_file() and pooch.file_hash(str(path), "sha1") == sha1


@contextmanager
def _working_folder(cache: Path) -> Iterator[Path]:
    """Make a folder for what is not whole yet, and keep other processes from fetching; both end with this process."""
    cache.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(cache, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            Console(stderr=True).print(f"waiting for another process that downloads to {cache}", soft_wrap=True)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        for left in cache.glob(f"{UNFINISHED}*"):  # by a process that was killed
            shutil.rmtree(left)
        with tempfile.TemporaryDirectory(dir=cache, prefix=UNFINISHED) as temporary:
            yield Path(temporary)
    finally:
        os.close(descriptor)


@contextmanager
def _explained(url: str, sha1: str, path: Path) -> Iterator[None]:
    """Say in one line why a file cannot be had."""
    import pooch
    from requests import RequestException

    pooch.get_logger().setLevel("WARNING")
    by_hand = f"fetch {url} by other means and put it at {path}"
    try:
        yield
    except InputError:
        raise
    except RequestException as error:
        raise InputError(f"cannot download ({_reason(error)}): try again, or {by_hand}") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"{path.parent}: cannot be written ({reason}): {by_hand}") from error
    except ValueError as error:  # pooch's word for a wrong hash
        raise InputError(f"{url}: not the file whose sha1 is {sha1}: try again, or {by_hand}") from error


def _download(url: str, output_file: str, _pooch: object) -> None:
    """Called by pooch, with a file of its own."""
    import requests

    console, name, started = Console(stderr=True), url.rpartition("/")[2], time.monotonic()
    with requests.get(url, stream=True, timeout=SECONDS) as response, open(output_file, "wb") as file:
        response.raise_for_status()
        if not console.is_terminal:
            length = response.headers.get("Content-Length", "")
            size = f", {int(length) / 1e6:.0f} MB" if length.isdecimal() and len(length) < 13 else ""
            console.print(f"downloading {name}{size}", highlight=False, markup=False, soft_wrap=True)
        for chunk in progress_bar(console, f"downloading {name}")(response.iter_content(CHUNK)):
            file.write(chunk)
            if file.tell() > MAX_BYTES:
                raise ValueError(f"more than {MAX_BYTES:,} bytes")
            if file.tell() < SLOWEST * (seconds := time.monotonic() - started) and seconds > AFTER:
                raise requests.RequestException(f"fewer than {SLOWEST} bytes a second")


def _reason(error: Exception) -> str:
    """The innermost reason of an error of requests, which wraps several."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"{response.status_code} {response.reason}"
    inner = getattr(error.args[0], "reason", error.args[0]) if error.args else error
    return " ".join(str(inner).rpartition(": ")[2].split()) or type(error).__name__
