"""Files fetched once into the user's cache folder: believed only by their hash."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from ssd_common.errors import InputError
from ssd_common.output.console import progress_bar

CHUNK = 1 << 16
MAX_BYTES = 1 << 28  # ten times what is fetched: a server that never ends is not believed
SECONDS = 30  # without a byte from the server


def fetch_file(url: str, sha1: str, name: str) -> Path:
    """Return a file, fetched into the user's cache folder unless the right one is there.

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
        return Path(pooch.retrieve(url, f"sha1:{sha1}", name, path.parent, downloader=_download))


def fetch_folder(url: str, sha1: str, top: str) -> Path:
    """Return the folder `top` of a zip archive, fetched into the user's cache folder unless it is there.

    The archive and the folder get their names only when they are whole; what was fetched with a wrong hash is deleted.

    Args:
        url: of the archive.
        sha1: of its content; a content that is known needs no limits when it is unpacked.
        top: the one folder in it.

    Raises:
        InputError: it cannot be downloaded or unpacked, or is another file.
    """
    import pooch

    cache = _cache()
    archive, folder = cache / f"{top}.zip", cache / top
    if folder.is_dir():
        return folder
    with _explained(url, sha1, archive), tempfile.TemporaryDirectory(dir=cache, prefix=f".{top}.") as temporary:
        unzip = pooch.Unzip(extract_dir=Path(temporary).name)
        try:
            pooch.retrieve(url, f"sha1:{sha1}", archive.name, cache, processor=unzip, downloader=_download)
            (Path(temporary) / top).rename(folder)
        except (zipfile.BadZipFile, FileNotFoundError) as error:
            raise InputError(f"{archive}: no zip archive with a folder {top} ({error}): delete it") from error
        except OSError:
            if not folder.is_dir():  # else another process was faster
                raise
    return folder


def _cache() -> Path:
    import pooch

    return Path(pooch.os_cache("tinyssd"))


@contextmanager
def _explained(url: str, sha1: str, path: Path) -> Iterator[None]:
    """Make the folder of a file that is fetched, and say in one line why it cannot be had."""
    import pooch
    from requests import RequestException

    pooch.get_logger().setLevel("WARNING")
    by_hand = f"fetch {url} by other means and put it at {path}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except RequestException as error:
        raise InputError(f"cannot download ({_reason(error)}): try again, or {by_hand}") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"{path.parent}: cannot be written ({reason}): {by_hand}") from error
    except InputError:
        raise
    except ValueError as error:  # pooch's word for a wrong hash
        raise InputError(f"{url}: not the file whose sha1 is {sha1}: try again, or {by_hand}") from error


def _download(url: str, output_file: str, _pooch: object) -> None:
    """Called by pooch, with a file of its own."""
    import requests

    console, name = Console(stderr=True), url.rpartition("/")[2]
    with requests.get(url, stream=True, timeout=SECONDS) as response, open(output_file, "wb") as file:
        response.raise_for_status()
        if not console.is_terminal:
            size = int(response.headers.get("Content-Length", 0))
            console.print(f"downloading {name}, {size / 1e6:.0f} MB", highlight=False, markup=False)
        for chunk in progress_bar(console, f"downloading {name}")(response.iter_content(CHUNK)):
            file.write(chunk)
            if file.tell() > MAX_BYTES:
                raise ValueError(f"more than {MAX_BYTES:,} bytes")


def _reason(error: Exception) -> str:
    """The innermost reason of an error of requests, which wraps several."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"{response.status_code} {response.reason}"
    inner = getattr(error.args[0], "reason", error.args[0]) if error.args else error
    return " ".join(str(inner).rpartition(": ")[2].split()) or type(error).__name__
