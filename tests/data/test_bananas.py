"""The book's banana set is fetched, believed by its hash, unpacked with limits; from a server on this machine."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from ssd_common.cli import main
from ssd_common.data import load_dataset
from ssd_common.data.dataset import describe_skipped
from ssd_common.data.formats import bananas, download
from ssd_common.errors import InputError
from tests.data.data_cases import png

NAME = "banana-detection"
HEADER = "img_name,label,xmin,ymin,xmax,ymax\n"


def archive(files: dict[str, bytes] | None = None, **options: object) -> bytes:
    """A zip archive of these files, or of a small banana set: 3 pictures of 256 x 256 to train on, 2 to validate."""
    if files is None:
        files = {}
        for split, count in (("train", 3), ("val", 2)):
            folder = f"{NAME}/bananas_{split}"
            rows = "".join(f"{i}.png,0,{10 + i},20,{74 + i},116\n" for i in range(count))
            files[f"{folder}/label.csv"] = (HEADER + rows).encode()
            files |= {f"{folder}/images/{i}.png": png(256, 256, i) for i in range(count)}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as content:
        for name, data in files.items():
            content.writestr(name, data)
    return file.getvalue()


class Server(ThreadingHTTPServer):
    """Sends its content; the first time only a part, if it is told to."""

    content = b""
    sends = -1
    status = 200
    understands_ranges = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str | None] = []
        """The range of each request."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{NAME}.zip"


class Handler(BaseHTTPRequestHandler):
    """Answers a GET, with ranges."""

    server: Server

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers.get("Range")
        server.asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and server.understands_ranges else 0
        if server.status != 200 or start > len(server.content):
            self.send_error(416 if start else server.status)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        self.send_header("Content-Length", str(len(server.content) - start))
        self.end_headers()
        end = len(server.content) if server.sends < 0 else start + server.sends
        server.sends = -1
        self.wfile.write(server.content[start:end])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """A server with the small banana set, whose hash is the expected one; the cache folder is in `tmp_path`."""
    with Server() as server:
        server.content = archive()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setattr(bananas, "URL", server.url)
        monkeypatch.setattr(bananas, "SHA1", hashlib.sha1(server.content).hexdigest())
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        monkeypatch.delenv("TINYSSD_DATA", raising=False)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield server
        server.shutdown()
        thread.join()


def files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_the_set_is_downloaded_once_and_read(server: Server, tmp_path: Path, capsys) -> None:
    for _ in range(2):
        data = load_dataset("bananas")
        assert (data.name, data.class_names, len(data)) == ("bananas:train", ("banana",), 3)
        assert len(load_dataset("bananas:val")) == 2
    image, labels = data[2]
    assert (image.shape, image.dtype) == ((256, 256, 3), np.uint8)
    np.testing.assert_array_equal(labels, np.array([[0, 12 / 256, 20 / 256, 76 / 256, 116 / 256]], np.float32))
    assert server.asked == [None]
    said = capsys.readouterr().err
    assert said.startswith("downloading banana-detection.zip, ")
    assert said.count("\n") == 1
    assert (tmp_path / "tinyssd" / f"{NAME}.zip").read_bytes() == server.content
    assert not list(tmp_path.rglob("*.part"))


def test_another_file_is_refused_and_not_kept(server: Server, tmp_path: Path) -> None:
    server.content = archive({f"{NAME}/x": b"other"})
    with pytest.raises(InputError, match=rf"^{server.url}: not the file whose sha1 is {bananas.SHA1}: try again, or"):
        load_dataset("bananas")
    assert files_in(tmp_path) == []


def test_a_cut_connection_is_one_line_and_the_next_try_goes_on_from_there(server: Server, tmp_path: Path) -> None:
    server.sends = len(server.content) // 2
    with pytest.raises(InputError, match="cannot download") as refusal:
        load_dataset("bananas")
    assert "\n" not in str(refusal.value)
    assert server.url in str(refusal.value)
    part = tmp_path / "tinyssd" / f"{NAME}.zip.part"
    have = part.stat().st_size
    assert 0 < have <= len(server.content) // 2
    assert len(load_dataset("bananas")) == 3
    assert server.asked == [None, f"bytes={have}-"]
    assert not part.exists()


def test_a_server_without_ranges_sends_it_all_again(server: Server) -> None:
    server.sends, server.understands_ranges = 1000, False
    with pytest.raises(InputError):
        load_dataset("bananas")
    assert len(load_dataset("bananas")) == 3


@pytest.mark.parametrize("part", [b"something else", b"x" * 10**6])
def test_a_part_of_another_file_is_found_out_and_dropped(server: Server, tmp_path: Path, part: bytes) -> None:
    (tmp_path / "tinyssd").mkdir()
    (tmp_path / "tinyssd" / f"{NAME}.zip.part").write_bytes(part)
    with pytest.raises(InputError, match="not the file whose sha1"):
        load_dataset("bananas")
    assert len(load_dataset("bananas")) == 3


def test_without_a_network_it_says_what_to_fetch_and_where_to_put_it(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(bananas, "URL", "http://127.0.0.1:1/banana-detection.zip")  # nobody listens there
    with pytest.raises(SystemExit) as done:
        main(["train", "--data", "bananas", "--out", str(tmp_path / "run")])
    assert done.value.code == 2
    place = tmp_path / "tinyssd" / f"{NAME}.zip"
    message = capsys.readouterr().err
    assert message.startswith("tinyssd: cannot download (")
    assert message.endswith(f"fetch {bananas.URL} by other means and put it at {place}\n")
    assert message.count("\n") == 1
    place.write_bytes(server.content)  # as it says
    assert len(load_dataset("bananas")) == 3


def test_an_answer_that_is_an_error_is_told(server: Server) -> None:
    server.status = 403
    with pytest.raises(InputError, match=r"cannot download \(403 Forbidden\)"):
        load_dataset("bananas")


@pytest.mark.parametrize(
    "name",
    [f"{NAME}/../../evil", "../evil", "/evil", f"{NAME}/..\\..\\evil", "C:/evil", f"{NAME}/a/../../../evil"],
)
def test_an_archive_that_would_write_elsewhere_is_not_unpacked(server: Server, tmp_path: Path, name: str) -> None:
    serve(server, archive({f"{NAME}/bananas_train/label.csv": HEADER.encode(), name: b"evil"}))
    with pytest.raises(InputError, match=r"is no plain file inside its folder: not unpacked"):
        load_dataset("bananas")
    assert files_in(tmp_path) == [f"tinyssd/{NAME}.zip"]


def test_an_archive_with_a_link_is_not_unpacked(server: Server, tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as content:
        link = zipfile.ZipInfo(f"{NAME}/link")
        link.external_attr = 0o120777 << 16
        content.writestr(link, "/etc")
    serve(server, file.getvalue())
    with pytest.raises(InputError, match="link' is no plain file"):
        load_dataset("bananas")
    assert files_in(tmp_path) == [f"tinyssd/{NAME}.zip"]


@pytest.mark.parametrize(
    ("limit", "words"), [("MAX_BYTES", "more than 1,000,000 bytes"), ("MAX_FILES", "3 files, more")]
)
def test_a_bomb_is_not_unpacked(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, words: str
) -> None:
    monkeypatch.setattr(download, limit, {"MAX_BYTES": 10**6, "MAX_FILES": 2}[limit])
    serve(server, archive({f"{NAME}/{i}": bytes(400_000) for i in range(3)}))
    assert len(server.content) < 3000
    with pytest.raises(InputError, match=words):
        load_dataset("bananas")
    assert files_in(tmp_path) == [f"tinyssd/{NAME}.zip"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no zip at all", "not a readable zip archive"),
        (archive({"other/file": b""}), f"no folder {NAME} in it"),
        (
            archive({f"{NAME}/bananas_train/label.csv": b"a,b\n"}),
            "its columns are a, b; expected img_name, label, xmin",
        ),
        (archive({f"{NAME}/bananas_val/label.csv": HEADER.encode()}), "label.csv: not a readable table"),
        (archive({f"{NAME}/bananas_train/label.csv": HEADER.encode()}), "bananas:train: has no pictures"),
    ],
    ids=["no zip", "another folder", "other columns", "no label.csv", "no rows"],
)
def test_an_archive_of_something_else_is_refused_in_one_line(server: Server, content: bytes, words: str) -> None:
    serve(server, content)
    with pytest.raises(InputError, match=words) as refusal:
        load_dataset("bananas")
    assert "\n" not in str(refusal.value)


def test_a_cut_or_flipped_archive_is_refused(server: Server, tmp_path: Path) -> None:
    flipped = bytearray(server.content)
    flipped[5000] ^= 1
    serve(server, bytes(flipped))
    with pytest.raises(InputError, match="not a readable zip archive"):
        load_dataset("bananas")
    assert files_in(tmp_path) == [f"tinyssd/{NAME}.zip"]


def test_rows_that_are_wrong_are_left_out(server: Server) -> None:
    rows = "0.png,0,10,20,74,116\n0.png,1,10,20,74,116\n0.png,0,10,20,10,116\n0.png,0,10,20\n"
    files = {f"{NAME}/bananas_train/label.csv": (HEADER + rows).encode()}
    files[f"{NAME}/bananas_train/images/0.png"] = png(256, 256)
    serve(server, archive(files))
    data = load_dataset("bananas")
    assert len(data[0][1]) == 1
    assert "skipped 3 of 4 boxes" in describe_skipped(data)


def test_a_set_in_the_data_folder_is_taken_from_there(server: Server, tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(server.content)) as content:
        content.extractall(tmp_path / "mine")
    assert len(load_dataset("bananas", data_dir=tmp_path / "mine")) == 3
    assert server.asked == []


def serve(server: Server, content: bytes) -> None:
    """Serve other content, and expect its hash."""
    server.content = content
    bananas.SHA1 = hashlib.sha1(content).hexdigest()  # the fixture puts the right one back
