"""Both editions are trained on the book's own images, which a server on this machine sends."""

import json

import pytest

from benchmarks import book
from ssd_common.config import read_run_config
from ssd_common.data.transforms import read_image
from ssd_common.runs.folder import read_rows
from tests.data.test_bananas import server as server  # a fixture

FLAGS = ["--image-size", "64", "--epochs", "1", "--out", "runs"]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.backend("torch", "mxnet")
def test_the_real_set_is_downloaded_trained_on_and_compared(server, tmp_path, capsys, monkeypatch):
    ours = {"data": "synthetic-book", "backend": "torch", "class_error": 3e-3, "bbox_mae": 2e-3, "val_ap50": 0.9}
    (tmp_path / "ours.json").write_text(json.dumps([ours | {"baselines": [4e-3, 4e-3]}]))
    monkeypatch.setattr(book, "OURS", tmp_path / "ours.json")
    book.main(FLAGS)
    printed = capsys.readouterr()
    assert "downloading banana-detection.zip" in printed.err
    table = [line.strip("| ").split(" | ") for line in printed.out.splitlines() if line.startswith("|")]
    assert table[2] == ["the book's, as printed", "PyTorch", "", "3.27e-3", "68 %", "3.08e-3", "59 %", "–"]
    assert table[3] == ["the book's, as printed", "MXNet", "", "3.48e-3", "72 %", "3.78e-3", "73 %", "–"]
    for cells, name in zip(table[4:6], ("torch", "mxnet"), strict=True):
        run = tmp_path / "runs" / f"{name}-bananas-0"
        (row,) = read_rows(run / "results.csv")
        assert cells[:3] == ["`bananas`", book.EDITIONS[name], "1"]
        assert cells[3] == f"{1000 * row['class_error']:.2f}e-3"
        assert cells[7] == f"{100 * row['val_ap50']:.1f}"
    assert table[6:] == [["`synthetic-book`", "PyTorch", "1", "3.00e-3", "75 %", "2.00e-3", "50 %", "90.0"]]

    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*")}
    book.main(FLAGS)
    assert "epoch 1/1" not in capsys.readouterr().out  # nothing is trained twice
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*")} == kept
    assert server.asked == 1


@pytest.mark.backend("torch", "mxnet")
def test_each_edition_starts_from_its_own_initial_weights(server, tmp_path):
    book.main(FLAGS)
    inits = [
        read_run_config(tmp_path / f"runs/{name}-bananas-0/config.toml").config.train.init for name in book.EDITIONS
    ]
    assert inits == ["torch", "xavier"]


@pytest.mark.backend("torch")
def test_a_run_of_another_configuration_is_not_taken_for_this_one(server, capsys):
    book.main([*FLAGS, "--backends", "torch"])
    with pytest.raises(SystemExit) as done:
        book.main([*FLAGS, "--backends", "torch", "--epochs", "2"])
    assert done.value.code == 2
    assert "torch-bananas-0: a run of another configuration" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.backend("torch")
def test_the_trivial_errors_are_those_that_training_reports(server, tmp_path, capsys):
    book.main([*FLAGS, "--backends", "torch", "--results", "results.json"])
    (result,) = json.loads((tmp_path / "results.json").read_text())
    assert f"class error {result['baselines'][0]:.2e}, bbox MAE {result['baselines'][1]:.2e}" in capsys.readouterr().out


@pytest.mark.backend("torch")
def test_a_page_gets_the_table_and_the_detections(server, tmp_path):
    (tmp_path / "_static").mkdir()
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n\n{book.BEGIN}\nold\n{book.END}\n\nText.\n")
    book.main([*FLAGS, "--backends", "torch", "--page", str(page)])
    before, _, rest = page.read_text().partition(book.BEGIN)
    written, _, after = rest.partition(book.END)
    assert (before, after) == ("# Title\n\n", "\n\nText.\n")
    assert "old" not in written
    assert "| `bananas` | PyTorch | 1 |" in written
    assert read_image(tmp_path / "_static" / "book_detections.png").size > 1000


def test_seeds_share_a_row():
    runs = [
        {"data": "x", "backend": "mxnet", "class_error": e, "bbox_mae": 2 * e, "val_ap50": a, "baselines": [4e-3, 8e-3]}
        for e, a in ((2e-3, 0.8), (4e-3, 1.0))
    ]
    cells = "3.00e-3 ± 1.41e-3 | 75 % ± 35 % | 6.00e-3 ± 2.83e-3 | 75 % ± 35 % | 90.0 ± 14.1"
    assert book.table(runs).splitlines()[-1] == f"| `x` | MXNet | 2 | {cells} |"
