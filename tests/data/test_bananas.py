"""The book's banana set is fetched, believed by its hash, and unpacked; from a server on this machine."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from ssd_common.cli import main
from ssd_common.data import load_dataset
from ssd_common.data.annotated import describe_skipped
from ssd_common.data.formats import bananas, download
from ssd_common.errors import InputError
from tests.data.data_cases import png

NAME = "banana-detection"
HEADER = "img_name,label,xmin,ymin,xmax,ymax\n"


def archive(files: dict[str, bytes] | None = None, **options: object) -> bytes:
    """A zip archive of these files, or of a small banana set: 3 images of 256 x 256 to train on, 2 to validate."""
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
    sends: int | None = None
    status = 200
    asked = 0

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{NAME}.zip"


class Handler(BaseHTTPRequestHandler):
    """Answers a GET."""

    server: Server

    def do_GET(self) -> None:
        server = self.server
        server.asked += 1
        if server.status != 200:
            self.send_error(server.status)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(server.content)))
        self.end_headers()
        self.wfile.write(server.content[: server.sends])
        server.sends = None

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
    image, labels, _ = data[2]
    assert (image.shape, image.dtype) == ((256, 256, 3), np.uint8)
    np.testing.assert_array_equal(labels, np.array([[0, 12 / 256, 20 / 256, 76 / 256, 116 / 256]], np.float32))
    assert server.asked == 1
    said = capsys.readouterr().err
    assert said.startswith("downloading banana-detection.zip, ")
    assert said.count("\n") == 1
    assert (tmp_path / "tinyssd" / f"{NAME}.zip").read_bytes() == server.content
    assert sorted(path.name for path in (tmp_path / "tinyssd").iterdir()) == [NAME, f"{NAME}.zip"]


def test_another_file_is_refused_and_not_kept(server: Server, tmp_path: Path) -> None:
    server.content = archive({f"{NAME}/x": b"other"})
    with pytest.raises(InputError, match=rf"^{server.url}: not the file whose sha1 is {bananas.SHA1}: try again, or"):
        load_dataset("bananas")
    assert files_in(tmp_path) == []


def test_a_cut_connection_is_one_line_and_leaves_nothing(server: Server, tmp_path: Path) -> None:
    server.sends = len(server.content) // 2
    with pytest.raises(InputError, match="cannot download") as refusal:
        load_dataset("bananas")
    assert "\n" not in str(refusal.value)
    assert server.url in str(refusal.value)
    assert files_in(tmp_path) == []
    assert len(load_dataset("bananas")) == 3


def test_a_server_that_sends_too_much_is_left(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "MAX_BYTES", 1000)
    with pytest.raises(InputError, match="not the file whose sha1"):
        load_dataset("bananas")
    assert files_in(tmp_path) == []


def test_processes_that_fetch_it_together_all_get_it(server: Server, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as threads:
        sets = list(threads.map(lambda _: load_dataset("bananas"), range(4)))
    assert [len(data) for data in sets] == [3] * 4
    assert sorted(path.name for path in (tmp_path / "tinyssd").iterdir()) == [NAME, f"{NAME}.zip"]


def test_a_single_file_is_fetched_once_and_again_if_it_was_changed(server: Server, tmp_path: Path) -> None:
    for _ in range(2):
        path = download.fetch_file(server.url, bananas.SHA1, "set.zip")
    assert (path, path.read_bytes()) == (tmp_path / "tinyssd" / "set.zip", server.content)
    assert server.asked == 1
    path.write_bytes(b"other")
    assert download.fetch_file(server.url, bananas.SHA1, "set.zip").read_bytes() == server.content
    assert server.asked == 2


def test_a_single_file_that_is_another_or_cannot_be_had_is_told_in_one_line(server: Server, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not the file whose sha1 is 00: try again, or fetch http"):
        download.fetch_file(server.url, "00", "set.zip")
    address, place = "http://127.0.0.1:1/val.rec", tmp_path / "tinyssd" / "val.rec"  # nobody listens there
    with pytest.raises(InputError, match=rf"cannot download .* fetch {address} by other means and put it at {place}$"):
        download.fetch_file(address, "00", "val.rec")
    assert files_in(tmp_path) == []


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
    ("content", "words"),
    [
        (b"no zip at all", "no zip archive with a folder"),
        (archive({"other/file": b""}), f"no zip archive with a folder {NAME}"),
        (
            archive({f"{NAME}/bananas_train/label.csv": b"a,b\n"}),
            "its columns are a, b; expected img_name, label, xmin",
        ),
        (archive({f"{NAME}/bananas_val/label.csv": HEADER.encode()}), "label.csv: not a readable table"),
        (archive({f"{NAME}/bananas_train/label.csv": HEADER.encode()}), "bananas:train: has no images"),
    ],
    ids=["no zip", "another folder", "other columns", "no label.csv", "no rows"],
)
def test_an_archive_of_something_else_is_refused_in_one_line(server: Server, content: bytes, words: str) -> None:
    serve(server, content)
    with pytest.raises(InputError, match=words) as refusal:
        load_dataset("bananas")
    assert "\n" not in str(refusal.value)


def test_rows_that_are_wrong_are_left_out(server: Server) -> None:
    rows = "0.png,0,10,20,74,116\n0.png,1,10,20,74,116\n0.png,0,10,20,10,116\n0.png,0,10,20\n"
    files = {f"{NAME}/bananas_train/label.csv": (HEADER + rows).encode()}
    files[f"{NAME}/bananas_train/images/0.png"] = png(256, 256)
    serve(server, archive(files))
    data = load_dataset("bananas")
    assert len(data[0].labels) == 1
    assert "skipped 3 of 4 boxes" in describe_skipped(data)


def test_a_set_in_the_data_folder_is_taken_from_there(server: Server, tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(server.content)) as content:
        content.extractall(tmp_path / "mine")
    assert len(load_dataset("bananas", data_dir=tmp_path / "mine")) == 3
    assert server.asked == 0


def serve(server: Server, content: bytes) -> None:
    """Serve other content, and expect its hash."""
    server.content = content
    bananas.SHA1 = hashlib.sha1(content).hexdigest()  # the fixture puts the right one back
