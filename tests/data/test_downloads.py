"""Servers that lie, never end or break off, and processes that fetch at the same time or are killed in the middle."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ssd_common.data.formats import download
from ssd_common.errors import InputError

CONTENT = bytes(range(256)) * 4000  # a megabyte
SHA1 = hashlib.sha1(CONTENT).hexdigest()
FETCH = "import sys; from ssd_common.data.formats.download import fetch_file; print(fetch_file(*sys.argv[1:]))"

Send = Callable[[BaseHTTPRequestHandler], None]


class Handler(BaseHTTPRequestHandler):
    """Answers a GET as the server is told to, and notes how often it was asked."""

    def do_GET(self) -> None:
        self.server.asked += 1  # type: ignore[attr-defined]
        self.server.send(self)  # type: ignore[attr-defined]

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ThreadingHTTPServer]:
    """A server on this machine; the cache folder is in `tmp_path`."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked, server.send = 0, honest  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield server
        server.shutdown()
        thread.join()


def url(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}/file.rec"


def answer(handler: BaseHTTPRequestHandler, **headers: object) -> None:
    handler.send_response(200)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), str(value))
    handler.end_headers()


def honest(handler: BaseHTTPRequestHandler) -> None:
    answer(handler, Content_Length=len(CONTENT))
    handler.wfile.write(CONTENT)


def endless(handler: BaseHTTPRequestHandler) -> None:
    answer(handler)
    with contextlib.suppress(OSError):  # the program hangs up
        while True:
            handler.wfile.write(CONTENT)


def endless_when_unpacked(handler: BaseHTTPRequestHandler) -> None:
    """64 kB that become 64 MB."""
    answer(handler, Content_Encoding="gzip")
    handler.wfile.write(gzip.compress(bytes(1 << 26), 1))


def too_short(handler: BaseHTTPRequestHandler) -> None:
    answer(handler, Content_Length=len(CONTENT))
    handler.wfile.write(CONTENT[:-1])


def too_long(handler: BaseHTTPRequestHandler) -> None:
    answer(handler, Content_Length=len(CONTENT) + 1)
    handler.wfile.write(CONTENT + b"x")


def short_length(handler: BaseHTTPRequestHandler) -> None:
    answer(handler, Content_Length=len(CONTENT) - 1)
    handler.wfile.write(CONTENT)


def odd_length(handler: BaseHTTPRequestHandler) -> None:
    answer(handler, Content_Length="²")
    handler.wfile.write(CONTENT[1:])


def changed(handler: BaseHTTPRequestHandler) -> None:
    answer(handler, Content_Length=len(CONTENT))
    handler.wfile.write(b"x" + CONTENT[1:])


def page(handler: BaseHTTPRequestHandler) -> None:
    answer(handler, Content_Type="text/html")
    handler.wfile.write(b"<html>log in")


def loop(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(302)
    handler.send_header("Location", "/file.rec")
    handler.end_headers()


def elsewhere(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(302)
    handler.send_header("Location", "file:///etc/passwd")
    handler.end_headers()


def missing(handler: BaseHTTPRequestHandler) -> None:
    handler.send_error(404)


def no_http(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n")


WRONG_ANSWERS: list[tuple[Send, str]] = [
    (endless, "not the file whose sha1 is"),
    (endless_when_unpacked, "not the file whose sha1 is"),
    (too_short, "cannot download ("),
    (too_long, "not the file whose sha1 is"),
    (short_length, "not the file whose sha1 is"),
    (odd_length, "not the file whose sha1 is"),
    (changed, "not the file whose sha1 is"),
    (page, "not the file whose sha1 is"),
    (loop, "cannot download (302 Found"),
    (elsewhere, "cannot download ("),
    (missing, "cannot download (404 Not Found"),
    (no_http, "cannot download ("),
]


@pytest.mark.parametrize(("send", "words"), WRONG_ANSWERS)
def test_what_a_server_sends_instead_is_told_in_one_line_and_not_kept(
    server: ThreadingHTTPServer, send: Send, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = 0

    def noted(*arguments: object) -> None:
        nonlocal written
        try:
            original(*arguments)
        finally:
            written = Path(str(arguments[1])).stat().st_size

    original = download._download
    monkeypatch.setattr(download, "MAX_BYTES", 5 << 20)
    monkeypatch.setattr(download, "_download", noted)
    server.send = send  # type: ignore[attr-defined]
    with pytest.raises(InputError) as refusal:
        download.fetch_file(url(server), SHA1, "file.rec")
    message = str(refusal.value)
    assert words in message
    assert message.endswith(f"fetch {url(server)} by other means and put it at {tmp_path}/tinyssd/file.rec")
    assert "\n" not in message
    assert written < 16 << 20  # a piece more than MAX_BYTES
    assert [path.name for path in tmp_path.rglob("*")] == ["tinyssd"]
    server.send = honest  # type: ignore[attr-defined]
    assert download.fetch_file(url(server), SHA1, "file.rec").read_bytes() == CONTENT


def test_a_server_that_trickles_is_given_up(server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def trickle(handler: BaseHTTPRequestHandler) -> None:
        answer(handler, Content_Length=len(CONTENT))
        with contextlib.suppress(OSError):
            for i in range(500):
                handler.wfile.write(CONTENT[i : i + 1])
                time.sleep(0.01)

    server.send = trickle  # type: ignore[attr-defined]
    monkeypatch.setattr(download, "AFTER", 0.1)
    monkeypatch.setattr(download, "CHUNK", 8)
    with pytest.raises(InputError, match=r"cannot download \(fewer than 1000 bytes a second\): try again"):
        download.fetch_file(url(server), SHA1, "file.rec")


def test_processes_that_fetch_at_the_same_time_fetch_it_once(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    together = threading.Barrier(2, timeout=60)

    def slow(handler: BaseHTTPRequestHandler) -> None:
        answer(handler, Content_Length=len(CONTENT))
        handler.wfile.write(CONTENT[:-9])
        together.wait()  # the other process waits
        handler.wfile.write(CONTENT[-9:])

    server.send = slow  # type: ignore[attr-defined]
    command = [sys.executable, "-c", FETCH, url(server), SHA1, "file.rec"]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in "ab"]
    first, said = None, ""
    for process in processes:  # one downloads, the other says that it waits
        assert process.stderr is not None
        line = process.stderr.readline()
        if line.startswith("waiting for another process that downloads to"):
            said = line
        else:
            first = line
    together.wait()
    assert [process.wait() for process in processes] == [0, 0]
    for process in processes:
        process.communicate()
    assert first == "downloading file.rec, 1 MB\n"
    assert said.count("\n") == 1
    assert server.asked == 1  # type: ignore[attr-defined]
    assert [path.name for path in (tmp_path / "tinyssd").iterdir()] == ["file.rec"]


def test_a_killed_download_leaves_nothing_that_counts_and_the_next_one_clears_it_away(
    server: ThreadingHTTPServer, tmp_path: Path
) -> None:
    done = threading.Event()

    def half(handler: BaseHTTPRequestHandler) -> None:
        answer(handler, Content_Length=len(CONTENT))
        handler.wfile.write(CONTENT[:500_000])
        done.wait(60)

    server.send = half  # type: ignore[attr-defined]
    process = subprocess.Popen(
        [sys.executable, "-c", FETCH, url(server), SHA1, "file.rec"], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "downloading file.rec, 1 MB\n"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    done.set()
    (left,) = (tmp_path / "tinyssd").iterdir()
    assert left.name.startswith(download.UNFINISHED)
    server.send = honest  # type: ignore[attr-defined]
    assert download.fetch_file(url(server), SHA1, "file.rec").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "tinyssd").iterdir()] == ["file.rec"]


def test_a_file_of_that_name_that_is_another_is_replaced_by_the_right_one_only(
    server: ThreadingHTTPServer, tmp_path: Path
) -> None:
    path = tmp_path / "tinyssd" / "file.rec"
    path.parent.mkdir()
    path.write_bytes(b"mine")
    server.send = changed  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="not the file whose sha1"):
        download.fetch_file(url(server), SHA1, "file.rec")
    assert path.read_bytes() == b"mine"
    server.send = honest  # type: ignore[attr-defined]
    download.fetch_file(url(server), SHA1, "file.rec")
    assert path.read_bytes() == CONTENT
