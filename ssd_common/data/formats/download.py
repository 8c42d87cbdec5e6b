"""Fetching an archive once: resumed where it was cut, believed only by its hash, unpacked with limits."""

from __future__ import annotations

import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from ssd_common.errors import InputError

if TYPE_CHECKING:
    import requests

MAX_FILES = 10_000
MAX_BYTES = 1 << 30
CHUNK = 1 << 16
SECONDS = 30  # without a byte from the server


def fetch(url: str, sha1: str, path: Path, console: Console | None = None) -> None:
    """Download a file unless it is there already; a bar on the console shows how far it is.

    What arrives is kept beside it in `NAME.part`, and a later call goes on from there. The file gets its name only when
    its hash is right; with a wrong one it is deleted.

    Args:
        url: of the file.
        sha1: of its content.
        path: where to put it.
        console: where to show progress; standard error, by default.

    Raises:
        InputError: it cannot be downloaded, or is another file.
    """
    import pooch
    from requests import RequestException

    pooch.get_logger().setLevel("WARNING")
    download = _Download(path.with_name(f"{path.name}.part"), console or Console(stderr=True))
    by_hand = f"fetch {url} by other means and put it at {path}"
    try:
        pooch.retrieve(url, f"sha1:{sha1}", path.name, path.parent, downloader=download)
    except RequestException as error:
        raise InputError(f"cannot download ({_reason(error)}): try again, or {by_hand}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or type(error).__name__}): {by_hand}") from error
    except ValueError as error:  # pooch's word for a wrong hash
        raise InputError(f"{url}: not the file whose sha1 is {sha1}: try again, or {by_hand}") from error


class _Download:
    """Downloads into a file that is kept when the connection breaks; called by pooch."""

    def __init__(self, part: Path, console: Console) -> None:
        self._part, self._console = part, console

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        import requests

        have = self._part.stat().st_size if self._part.exists() else 0
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with requests.get(url, headers=headers, stream=True, timeout=SECONDS) as response:
            # With nothing left to send, all of it is there: the hash will tell.
            if not have or response.status_code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                response.raise_for_status()
                resumed = response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
                self._receive(response, url, have if resumed else 0)
        shutil.move(self._part, output_file)

    def _receive(self, response: requests.Response, url: str, start: int) -> None:
        total = start + int(response.headers.get("Content-Length", 0))
        with self._part.open("ab" if start else "wb") as file, self._bar(url, start, total) as advance:
            for chunk in response.iter_content(CHUNK):
                file.write(chunk)
                advance(len(chunk))

    @contextmanager
    def _bar(self, url: str, start: int, total: int) -> Iterator[Callable[[int], None]]:
        name = url.rpartition("/")[2]
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        if not self._console.is_terminal:
            self._console.print(f"downloading {name}, {total / 1e6:.0f} MB", highlight=False, markup=False)
        with Progress(*columns, console=self._console, disable=not self._console.is_terminal) as progress:
            task = progress.add_task(name, total=total or None, completed=start)
            yield lambda count: progress.advance(task, count)


def _reason(error: Exception) -> str:
    """The innermost reason of an error of requests, which wraps several."""
    response = getattr(error, "response", None)
    if response is not None:
        return f"{response.status_code} {response.reason}"
    inner = getattr(error.args[0], "reason", error.args[0]) if error.args else error
    return " ".join(str(inner).rpartition(": ")[2].split()) or type(error).__name__


def unpack(archive: Path, top: str, folder: Path) -> None:
    """Unpack the files below `top/` in a zip archive; the folder is there whole or not at all.

    Args:
        archive: the file.
        top: the one folder in it that is wanted.
        folder: where the content of that goes; must not be there yet.

    Raises:
        InputError: not a zip archive, a file that would land elsewhere, too many files (`MAX_FILES`) or bytes
            (`MAX_BYTES`).
    """
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        with zipfile.ZipFile(archive) as content:
            members = content.infolist()
            if len(members) > MAX_FILES:
                raise InputError(f"{archive}: {len(members)} files, more than the {MAX_FILES} allowed: not unpacked")
            left = MAX_BYTES
            for member in members:
                target = _target(archive, member, temporary)
                if member.is_dir() or target.parts[: len(temporary.parts) + 1] != (*temporary.parts, top):
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                left -= _copy(content, member, target, left)
        (temporary / top).rename(folder)
    except FileNotFoundError:
        raise InputError(f"{archive}: no folder {top} in it: delete it, and it is fetched again") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(
            f"{archive}: not a readable zip archive ({error}): delete it, and it is fetched again"
        ) from error
    finally:
        shutil.rmtree(temporary)


def _target(archive: Path, member: zipfile.ZipInfo, folder: Path) -> Path:
    """Where a file of the archive goes; it must be a plain file in the folder."""
    parts = PurePosixPath(member.filename.replace("\\", "/"))
    kind = stat.S_IFMT(member.external_attr >> 16)  # 0 where the archive was made on another system than Unix
    if (
        parts.is_absolute()
        or ".." in parts.parts
        or ":" in member.filename
        or kind not in (0, stat.S_IFREG, stat.S_IFDIR)
    ):
        raise InputError(f"{archive}: {member.filename!r} is no plain file inside its folder: not unpacked")
    return folder.joinpath(*parts.parts)


def _copy(content: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, left: int) -> int:
    """Unpack one file and return its size; what counts is the bytes that come, not those that the header promises."""
    size = 0
    with content.open(member) as source, target.open("wb") as file:
        while chunk := source.read(CHUNK):
            size += len(chunk)
            if size > left:
                raise InputError(f"{content.filename}: more than {MAX_BYTES:,} bytes: not unpacked")
            file.write(chunk)
    return size
