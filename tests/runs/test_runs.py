"""The run folder: whole files or none, a table that reads back as written, the best weights kept."""

import csv
import errno
import io
import math
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
from rich.console import Console

from ssd_common.checkpoints.checkpoint import Checkpoint, load_checkpoint
from ssd_common.config import PRESETS, Config, RunConfig, TrainConfig, read_run_config
from ssd_common.data import Example
from ssd_common.errors import InputError
from ssd_common.figures import detections as plotting
from ssd_common.figures.detections import save_pictures
from ssd_common.output.atomic import write_atomically
from ssd_common.output.console import progress_bar
from ssd_common.output.folders import check_file, check_output_folder
from ssd_common.runs.folder import BEST, COLUMNS, LAST, RunFolder, format_rows, new_folder, read_rows
from ssd_common.runs.start import resumed_checkpoint
from ssd_common.weights import initial_weights
from tests.runs.run_cases import MODEL, kept_epochs, play

ROOT = Path(__file__).resolve().parents[2]
ROW = {name: 0.1 + i for i, name in enumerate(COLUMNS)} | {"epoch": 1}


@pytest.fixture(scope="module")
def weights():
    return initial_weights(MODEL, TrainConfig())


@pytest.fixture
def run(tmp_path):
    folder = RunFolder(tmp_path / "run", Console(file=io.StringIO()))
    yield folder
    folder.close()


# Files that are there whole or not at all.


def test_a_file_is_written_and_its_folders_are_made(tmp_path):
    write_atomically(tmp_path / "a" / "b" / "file", b"new")
    assert (tmp_path / "a" / "b" / "file").read_bytes() == b"new"
    assert os.listdir(tmp_path / "a" / "b") == ["file"]


def test_a_link_stays_a_link_and_a_pipe_a_pipe(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"new"
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_atomically(tmp_path / "pipe", b"new")
    assert os.read(reader, 9) == b"new"
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo()


def test_a_write_that_fails_names_the_file_and_not_a_temporary_one(tmp_path):
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "folder", Path("/dev/full")):
        with pytest.raises(OSError, match="directory|No space") as error:
            write_atomically(path, b"new")
        assert error.value.filename == str(path)


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(step, error, tmp_path, monkeypatch):
    def fail(*_):
        raise error

    path = tmp_path / "file"
    write_atomically(path, b"old")
    monkeypatch.setattr(os, step, fail)
    with pytest.raises(type(error)):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


KILLED = """
import os, signal, sys
from pathlib import Path
from types import SimpleNamespace
from unittest import mock
from ssd_common.output.atomic import write_atomically

die = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
setattr(os, sys.argv[2], die)
write_atomically(sys.argv[1], b"new" * 1_000_000)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_is_killed_leaves_the_old_file_and_the_next_write_works(step, tmp_path):
    path = tmp_path / "results.csv"
    write_atomically(path, b"old")
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), step], cwd=ROOT, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
    assert list(tmp_path.glob("*.csv")) == [path]  # what the killed process left has another ending
    write_atomically(path, b"newer")
    assert path.read_bytes() == b"newer"


# Where a run goes.


def test_new_runs_are_numbered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = []
    for _ in range(3):
        made.append(new_folder(None, "torch-synthetic"))
    assert [path.as_posix() for path in made] == [
        "runs/torch-synthetic",
        "runs/torch-synthetic-2",
        "runs/torch-synthetic-3",
    ]


def test_a_named_folder_is_taken_as_it_is_also_when_it_exists(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    assert new_folder(tmp_path, "name") == tmp_path
    assert new_folder(tmp_path / "new", "name") == tmp_path / "new"


def test_a_folder_that_holds_a_run_is_refused(run):
    run.write_config(RunConfig(backend="torch"))
    with pytest.raises(InputError, match="there is a run in this folder; name another, or continue it with --resume"):
        new_folder(run.path, "name")


LOCKING = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from unittest import mock
from ssd_common.output.lock import locked

with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(100)
"""


def test_a_run_has_one_writer_and_the_other_is_told_which_process_it_is(run):
    other = subprocess.run(
        [sys.executable, "-c", LOCKING, run.path], capture_output=True, text=True, check=False, timeout=60
    )
    assert other.returncode == 1
    assert f"{run.path}: process {os.getpid()} (" in other.stderr.splitlines()[-1]
    assert other.stderr.splitlines()[-1].endswith("is writing to this folder; wait for its end, or stop it")
    run.close()
    assert not (run.path / ".lock").exists()
    RunFolder(run.path, run.console).close()  # free again


def test_the_lock_of_a_writer_that_was_killed_stops_nobody_and_its_temporary_files_go(run):
    run.close()
    other = subprocess.Popen([sys.executable, "-c", LOCKING, run.path], stdout=subprocess.PIPE, text=True)
    with other:
        assert other.stdout.readline() == "locked\n"
        stale = [run.path / ".config.toml.123.tmp", run.path / "weights" / ".last.safetensors.123.tmp"]
        stale[1].parent.mkdir(exist_ok=True)
        for path in stale:
            path.write_bytes(b"half of it")
        with pytest.raises(InputError, match=f"process {other.pid} "):
            RunFolder(run.path, run.console)
        assert all(path.exists() for path in stale)
        other.kill()
    with RunFolder(run.path, run.console):
        assert not any(path.exists() for path in stale)


@pytest.mark.parametrize("begun_anew", [False, True])
def test_a_run_whose_folder_was_taken_away_writes_into_no_other(begun_anew, run, weights):
    play(run, weights, [(1.0, 0.5)])
    old = run.path.rename(run.path.with_name("renamed"))
    if begun_anew:
        other = RunFolder(run.path, run.console)
        other.write_rows()
    with pytest.raises(InputError, match="was removed or renamed while this process was writing to it"):
        play(run, weights, [(1.0, 0.5)], start=1)
    assert kept_epochs(SimpleNamespace(path=old)) == {"best": 1, "last": 1}
    run.close()
    assert run.path.exists() == begun_anew
    if begun_anew:
        assert read_rows(run.path / "results.csv") == []
        with pytest.raises(InputError, match="is writing to this folder"):  # the other's lock is still there
            RunFolder(run.path, run.console)
        other.close()


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("fcntl.flock", mock.Mock(side_effect=OSError(errno.ENOLCK, "No locks available")))
    with pytest.raises(InputError, match=r"run/\.lock: cannot be locked \(No locks available\): its file system has"):
        RunFolder(tmp_path / "run", Console(quiet=True))


def test_a_folder_that_holds_a_comparison_that_was_not_finished_is_refused(tmp_path):
    (tmp_path / "two" / "mxnet").mkdir(parents=True)
    (tmp_path / "two" / "mxnet" / "config.toml").touch()
    with pytest.raises(InputError, match="there is a comparison in this folder"):
        new_folder(tmp_path / "two", "")


def test_a_link_to_nothing_is_refused(tmp_path):
    (tmp_path / "link").symlink_to("gone")
    for below in (".", "more"):
        with pytest.raises(InputError, match=r"link is a link to gone, which is not there; name a folder"):
            check_output_folder(tmp_path / "link" / below)


def test_a_folder_without_permission_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: path != tmp_path)  # the tests may run as root
    told = f"{tmp_path} cannot be written to (no permission); name another folder"
    for check in (check_output_folder, lambda path: check_file("--json", path)):
        with pytest.raises(InputError, match=re.escape(told)):
            check(tmp_path / "new")
    with pytest.raises(InputError, match=re.escape(told)):
        check_output_folder(tmp_path / "more" / "new")
    check_file("--json", Path(os.devnull))


def test_a_file_that_cannot_be_replaced_is_named_and_not_the_one_beside_it(tmp_path):
    (tmp_path / "results.png").mkdir()
    with pytest.raises(IsADirectoryError) as error:
        write_atomically(tmp_path / "results.png", b"")
    assert error.value.filename == str(tmp_path / "results.png")


@pytest.mark.parametrize("below", [".", "more", "more/and/more"])
def test_a_folder_that_is_a_file_or_below_one_is_refused(below, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(InputError, match=re.escape(f"{file} is a file; name a folder")):
        check_output_folder(file / below)
    check_output_folder(tmp_path / below)


# Its files.


def test_the_log_is_printed_and_kept_and_goes_on(tmp_path):
    for line in ("first [bold]line[/]", "a line " + "that is long " * 20):
        printed = io.StringIO()
        run = RunFolder(tmp_path, Console(file=printed))
        run.log(line)
        run.close()
        assert printed.getvalue() == line + "\n"
    assert (tmp_path / "log.txt").read_text().splitlines() == ["first [bold]line[/]", "a line " + "that is long " * 20]


def test_results_read_back_as_they_were_written(run):
    awkward = {"loss": 0.1 + 0.2, "cls_loss": 1e-300, "bbox_loss": 1 / 3, "val_ap": None, "data_seconds": 0.0}
    rows = [ROW, ROW | awkward | {"epoch": 2, "val_ap50": math.inf}]
    for row in rows:
        run.record(row | {"baseline_class_error": 0.5})  # not a column
    assert read_rows(run.path / "results.csv") == rows == [{name: r[name] for name in COLUMNS} for r in run.rows]


def test_results_are_a_plain_csv(run):
    run.record(ROW | {"val_ap": None})
    with (run.path / "results.csv").open(newline="") as file:
        header, row = csv.reader(file)
    assert tuple(header) == COLUMNS
    assert dict(zip(header, row, strict=True)) == {k: str(v) for k, v in ROW.items()} | {"val_ap": ""}


def test_an_average_precision_that_is_not_a_number_reads_back(tmp_path):
    (tmp_path / "results.csv").write_text(format_rows([ROW | {"val_ap": math.nan}]))
    assert math.isnan(read_rows(tmp_path / "results.csv")[0]["val_ap"])


@pytest.mark.parametrize(
    ("old", "new"),
    [("1.1", "many"), ("\n1,", "\n1.5,"), ("\n1,", "\n,"), (",11.1", ""), ("bbox_mae,", "mae,")],
    ids=["not a number", "half an epoch", "no epoch", "too short", "another column"],
)
def test_a_damaged_table_names_its_line(old, new, tmp_path):
    text = format_rows([ROW])
    assert old in text
    (tmp_path / "results.csv").write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=r"results\.csv, line 2: not a row of results"):
        read_rows(tmp_path / "results.csv")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (",val_ap,", ",", "it has no val_ap; the columns are epoch,loss,"),
        (",", ";", "it has no epoch; the columns are epoch,loss,"),
        (f",{ROW['data_seconds']}", "", "it has no data_seconds; the columns are epoch,loss,"),
        (f"1,{ROW['loss']}", "1,", "the loss is empty"),
        (f"1,{ROW['loss']}", "1,inf", "the loss is inf"),
    ],
)
def test_a_damaged_table_says_what_is_wrong(old, new, problem, tmp_path):
    table = tmp_path / "results.csv"
    table.write_text(format_rows([ROW]).replace(old, new))
    with pytest.raises(InputError) as error:
        read_rows(table)
    assert str(error.value).startswith(f"{table}, line 2: not a row of results ({problem}")
    assert str(error.value).endswith("); put the file back as it was")


def test_a_table_that_a_spreadsheet_has_saved_is_read(tmp_path):
    table = tmp_path / "results.csv"
    table.write_text(format_rows([ROW]).replace("\n", "\r\n"), encoding="utf-8-sig", newline="")
    assert read_rows(table) == [ROW]


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(InputError, match=r"results\.csv: no such file; is its folder a run\?"):
        read_rows(tmp_path / "results.csv")


@pytest.mark.parametrize("written", [0, 1])
def test_an_epoch_whose_weights_were_not_all_written_is_trained_again(written, run, weights, monkeypatch):
    """Otherwise the run would go on from its last weights, and never again keep them as the best."""
    replace = os.replace

    def crash(*paths):
        nonlocal written
        if written == 0:
            raise OSError("disk full")
        written -= 1
        replace(*paths)

    run.save(Checkpoint(weights, RunConfig(Config(MODEL)), epoch=1), best=True)
    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(OSError, match="disk full"):
        run.save(Checkpoint(weights, RunConfig(Config(MODEL)), epoch=2), best=True)
    assert kept_epochs(run)["last"] == 1
    assert sorted(os.listdir(run.path / "weights")) == ["best.safetensors", "last.safetensors"]


# Which weights are kept, with a backend that only plays back scores.


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ([(3, 0.1), (2, 0.3), (1, 0.2)], 2),  # (training loss, validation AP)
        ([(3, 0.0), (1, 0.0), (2, 0.0)], 2),
        ([(1, math.nan), (2, 0.0), (3, math.nan)], 2),
        ([(3, 0.1), (2, 0.2), (1, 0.3)], 3),
        ([(1, 0.3), (2, 0.2), (3, 0.1)], 1),
    ],
    ids=["highest AP", "no AP, lowest loss", "AP not a number", "ever better", "ever worse"],
)
def test_the_best_and_the_last_weights_are_kept(scores, best, run, weights):
    trained = play(run, weights, scores)
    assert kept_epochs(run) == {"best": best, "last": 3}
    assert [row["epoch"] for row in read_rows(run.path / "results.csv")] == [1, 2, 3]
    assert trained.checkpoint.epoch == 3


def test_a_run_that_goes_on_remembers_what_was_best(run, weights):
    play(run, weights, [(1, 0.1), (1, 0.5)])
    run.close()
    with RunFolder(run.path, run.console, read_rows(run.path / "results.csv")) as again:
        play(again, weights, [(1, 0.4), (1, 0.3)], start=2)
    assert kept_epochs(run) == {"best": 2, "last": 4}
    assert [row["epoch"] for row in read_rows(run.path / "results.csv")] == [1, 2, 3, 4]


def test_a_run_that_is_stopped_in_its_first_epoch_can_go_on(run, weights):
    with pytest.raises(InputError, match="the loss is nan in epoch 1"):
        play(run, weights, [(math.nan, 0.1)])
    assert kept_epochs(run) == {"best": 0, "last": 0}
    start, rows = resumed_checkpoint(run.path, None)
    assert (start.config.train.epochs, start.epoch, rows) == (9, 0, [])


@pytest.mark.parametrize("kept", [0, 1, 3])
def test_a_run_whose_table_lacks_epochs_does_not_go_on(kept, run, weights):
    play(run, weights, [(1, 0.1), (1, 0.5), (1, 0.5)][: 3 - (kept == 3)])
    table = run.path / "results.csv"
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(lines[: kept + 1] if kept < 3 else [lines[0], lines[2], lines[1]]))
    with pytest.raises(InputError, match=r"results\.csv: not the rows of the epochs 1 to [23], which"):
        resumed_checkpoint(run.path, None)


def test_a_run_with_the_weights_of_an_earlier_epoch_loses_no_row(run, weights):
    play(run, weights, [(1, 0.5), (1, 0.1), (1, 0.1)])
    shutil.copyfile(run.path / BEST, run.path / LAST)
    table = (run.path / "results.csv").read_text()
    with pytest.raises(InputError, match=r"the epochs 1 to 1, which .*last\.safetensors has seen; put back the file"):
        resumed_checkpoint(run.path, None)
    assert (run.path / "results.csv").read_text() == table


def test_a_pipe_in_the_place_of_the_log_is_refused(tmp_path):
    os.mkfifo(tmp_path / "log.txt")
    with pytest.raises(InputError, match=r"log\.txt: a folder, a pipe or a device, not a file: take it away"):
        RunFolder(tmp_path, Console())


def test_weights_count_the_steps_of_all_epochs(run, weights):
    play(run, weights, [(1, 0.1), (1, 0.2)])
    assert load_checkpoint(run.path / "weights" / "last.safetensors").step == 2  # one image, so one batch an epoch


# The progress bar.


@pytest.mark.parametrize("terminal", [False, True])
def test_the_progress_bar_is_seen_on_a_terminal_only(terminal):
    printed = io.StringIO()
    console = Console(file=printed, force_terminal=terminal, width=80, _environ={"TERM": "xterm"})
    items = [np.arange(2), np.arange(3)]
    passed = list(progress_bar(console, "torch epoch")(items))
    assert [id(item) for item in passed] == [id(item) for item in items]
    assert ("torch epoch" in printed.getvalue()) == terminal
    assert terminal or printed.getvalue() == ""


@pytest.mark.parametrize("name", PRESETS)
def test_the_settings_of_a_run_come_back_whole(name, tmp_path):
    settings = RunConfig(PRESETS[name], name, "mxnet", "synthetic")
    with RunFolder(tmp_path, Console(quiet=True)) as run:
        run.write_config(settings)
    assert read_run_config(tmp_path / "config.toml") == settings


# The images at the end.


def test_a_picture_shows_as_many_of_the_best_detections_as_it_has_objects(monkeypatch, tmp_path):
    shown = {}
    monkeypatch.setattr(plotting, "save_detection_grid", lambda path, *given, **how: shown.update(how, given=given))
    detections = np.array([[0, score, 0.1, 0.1, 0.2, 0.2] for score in (0.9, 0.8, 0.7, 0.6)])
    counts = (3, 1, 0)
    image = np.zeros((64, 64, 3), np.uint8)
    val = Objects([Example(image, np.full((n, 5), 0.5, np.float32)) for n in counts])
    save_pictures(tmp_path / "one.png", val, {"torch": [detections] * 3})
    assert [found[:, 1].tolist() for found in shown["given"][1]] == [[0.9, 0.8, 0.7], [0.9], [0.9]]
    assert shown["differs"] is None
    save_pictures(tmp_path / "two.png", val, {"torch": [detections] * 3, "mxnet": [detections[:2]] * 3}, True)
    assert [len(found) for found in shown["given"][1]] == [3, 1, 1, 2, 1, 1]
    assert shown["differs"] == [[False, False, True], [False], [False], [False, False], [False], [False]]


class Objects(list):
    """A dataset of given examples."""

    class_names = ("banana",)
