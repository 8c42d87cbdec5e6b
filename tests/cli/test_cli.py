"""The command line: help, wrong usage, missing frameworks, and what needs no training; other files have the rest."""

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ssd_common import backends
from ssd_common.backends import BACKENDS
from ssd_common.cli import main
from ssd_common.config import IMPROVED, PredictConfig, RunConfig, read_run_config
from ssd_common.data import load_dataset
from ssd_common.data.anchor_fit import box_shapes, fit_anchors
from ssd_common.data.specs import DATASETS
from ssd_common.errors import InputError
from tests.cli.program import tinyssd

ROOT = Path(__file__).resolve().parents[2]
VERBS = ("train", "eval", "predict", "compare", "convert", "data", "info")


# Help, and wrong usage, which tyro reports in a box of its own.


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_help_that_says_what_it_does(verb, capsys):
    assert tinyssd(f"{verb} --help") == 0
    out, err = capsys.readouterr()
    assert f"usage: tinyssd {verb}" in out
    assert err == ""


def test_the_help_of_the_program_names_every_verb(capsys):
    assert tinyssd("--help") == 0
    out = capsys.readouterr().out
    assert all(verb in out for verb in VERBS)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", ["train, launch, eval, predict, compare, convert, export, info, data"]),
        ("trian", ["trian", "train, launch, eval, predict, compare, convert, export, info, data"]),
        ("train --epoch 3", ["--epoch,", "Perhaps you meant", "--epochs INT"]),
        ("train --save-every 10m", ["--save-every: '10m' is not a number"]),
        ("train --epochs many", ["--epochs: 'many' is not a whole number"]),
        ("launch --workers two -- train", ["--workers: 'two' is not a whole number"]),
        ("compare --limit all", ["--limit: 'all' is not a whole number"]),
        ("predict a.png --score-threshold low", ["--score-threshold: 'low' is not a number"]),
        ("train --lr fast", ["--lr: 'fast' is not a number"]),
        ("train --batchsize 3", ["--batchsize", "Perhaps you meant", "--batch-size INT"]),
        ("eval --weigths good.safetensors", ["--weigths", "--weights FILE"]),
        ("predict good.png --weights good.safetensors --threshold 0.5", ["--threshold", "--score-threshold"]),
        ("compare --checks", ["--check"]),
        ("info --verbose", ["--verbose"]),
        ("train --epochs", ["Missing value for argument '--epochs'"]),
        ("train --epochs three", ["--epochs", "three"]),
        ("train --init he", ["'he'", "--init", "'xavier'", "'torch'"]),
        ("compare --dtype float16", ["'float16'", "--dtype", "'float64'", "'float32'"]),
    ],
)
def test_wrong_usage_is_refused_with_what_would_be_right(arguments, words, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")  # so that no word is broken
    assert tinyssd(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    for word in words:
        assert word in err


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        (["train", "--out="], "--out"),
        (["train", "--data", ""], "the argument after --data"),
        (["predict", ""], "the argument after predict"),
        (["predict", "a.png", "--out", ""], "the argument after --out"),
        (["launch", "--", "train", "--weights", ""], "the argument after --weights"),
        ([""], "the argument after tinyssd"),
    ],
    ids=" ".join,
)
def test_an_empty_argument_is_refused_before_it_is_taken_for_the_current_folder(arguments, where, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert capsys.readouterr().err == f"tinyssd: {where} is empty; is a variable of the shell not set?\n"


# In a process of its own.


def run_main(arguments, cwd, *, packages="", **how):
    """Run a command line in a fresh interpreter in which the folder `packages` comes before what is installed."""
    command = [sys.executable, "-W", "ignore", "-c", "from ssd_common.cli import main; main()", *arguments.split()]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(packages), str(ROOT)])}
    options = {"capture_output": True, "text": True, "timeout": 120, "check": False, **how}
    return subprocess.run(command, cwd=cwd, env=environment, **options)


@pytest.mark.parametrize(
    ("framework", "error", "words"),
    [
        (
            "torch",
            "ModuleNotFoundError('No module named torch', name='torch')",
            ["backend 'torch' needs the package torch, which is missing: pip install 'tinyssd[torch]'"],
        ),
        (
            "mxnet",
            "ModuleNotFoundError('No module named mxnet', name='mxnet')",
            ["backend 'mxnet' needs the package mxnet, which is missing: pip install --no-deps mxnet==1.9.1"],
        ),
        (
            "mxnet",
            "ModuleNotFoundError('No module named requests.exceptions', name='requests.exceptions')",
            ["backend 'mxnet' needs the package requests, which is missing: pip install requests"],
        ),
        (
            "mxnet",
            "OSError('libquadmath.so.0: cannot open shared object file: No such file or directory')",
            ["needs the system library libquadmath.so.0: apt-get install libquadmath0"],
        ),
        (
            "torch",
            "ImportError('libcudart.so.13: cannot open shared object file: No such file or directory')",
            ["(libcudart.so.13: cannot open shared object file", "): pip install --force-reinstall torch torchvision"],
        ),
        (
            "torch",
            "ImportError('libtorch_cpu.so: failed to map segment from shared object')",
            ["backend 'torch' does not fit into the memory of this process (libtorch_cpu.so: ", "): see `ulimit -v`"],
        ),
        (
            "torch",
            "RuntimeError('operator torchvision::nms does not exist')",
            ["(operator torchvision::nms does not exist): pip install --force-reinstall torch torchvision"],
        ),
        (
            "mxnet",
            "AttributeError('module numpy\\nhas no attribute bool')",
            ["(module numpy has no attribute bool): pip install --force-reinstall --no-deps mxnet==1.9.1"],
        ),
    ],
    ids=[
        "no torch",
        "no mxnet",
        "no requests",
        "no libquadmath",
        "no libcudart",
        "no memory",
        "torch and torchvision",
        "broken mxnet",
    ],
)
def test_a_framework_that_is_not_there_is_one_line_that_says_how_to_install_it(framework, error, words, tmp_path):
    (tmp_path / "packages" / framework).mkdir(parents=True)
    (tmp_path / "packages" / framework / "__init__.py").write_text(f"raise {error}\n")
    done = run_main(f"train --limit 1 --backend {framework}", tmp_path, packages=tmp_path / "packages")
    assert done.returncode == 2
    assert done.stderr.startswith("tinyssd: ")
    assert done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr
    assert os.listdir(tmp_path) == ["packages"]


def test_on_a_python_that_was_not_tested_the_line_names_those_that_were(monkeypatch):
    def fail(*_):
        raise ModuleNotFoundError("No module named 'imp'", name="imp")

    monkeypatch.setattr(backends.importlib, "import_module", fail)
    monkeypatch.setattr(backends.sys, "version_info", (3, 15, 1))
    with pytest.raises(InputError, match=r"Python 3\.10 to 3\.13 were tested, and this is .*: python3\.13 -m venv"):
        backends.load_backend("mxnet")


def test_info_says_what_is_missing_and_goes_on(tmp_path):
    for framework in ("torch", "mxnet"):
        (tmp_path / framework).mkdir()
        (tmp_path / framework / "__init__.py").write_text(f"raise ModuleNotFoundError(name={framework!r})\n")
    done = run_main("info", tmp_path, packages=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("which is missing: pip install") == 2
    assert "in all: 5444" in done.stdout


def test_a_current_folder_that_was_removed_is_one_line(tmp_path):
    (tmp_path / "gone").mkdir()
    program = "import os; os.rmdir(os.getcwd()); from ssd_common.cli import main; main(['info'])"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path / "gone", env=environment, capture_output=True, text=True, timeout=60)
    words = "tinyssd: the current folder cannot be used (No such file or directory): cd to another one\n"
    assert (done.returncode, done.stderr) == (2, words)


def test_matplotlib_s_backend_of_another_program_is_not_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "of another program")
    done = run_main("data show synthetic --count 2 --out sheet.png", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_debug_shows_the_traceback_of_bad_input(tmp_path):
    done = run_main("train --data banana --debug", tmp_path)
    assert "Traceback (most recent call last)" in done.stderr
    assert "InputError: unknown dataset 'banana'" in done.stderr
    assert done.returncode == 2


@pytest.mark.skipif(sys.platform != "linux", reason="a limit on the address space is Linux's")
@pytest.mark.parametrize("backend", [pytest.param(name, marks=pytest.mark.backend(name)) for name in BACKENDS])
def test_too_little_memory_is_one_line(backend, tmp_path):
    import resource

    limit = 6_000_000_000  # the first convolution's output alone has 4.3 GB
    done = run_main(
        f"train --backend {backend} --limit 64 --batch-size 64 --image-size 1024 --epochs 1",
        tmp_path,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith("tinyssd: out of memory; a smaller --batch-size")
    assert "Traceback" not in done.stderr


def test_a_defect_of_the_program_keeps_its_traceback(monkeypatch):
    def fail(_):
        raise RuntimeError("a shape does not fit")

    monkeypatch.setattr(backends, "load_backend", fail)
    with pytest.raises(RuntimeError, match="a shape does not fit"):
        main(["train", "--limit", "1"])


# What needs no training.


def test_info_shows_the_size_of_the_books_model(capsys):
    assert tinyssd("info") == 0
    out = capsys.readouterr().out
    assert "in all: 5444" in out
    assert "1,010,376" in out
    assert "scale 0: 32 x 32 x 4 = 4096" in out


def test_data_anchors_writes_a_configuration_with_anchors_that_fit_better(tmp_path, capsys):
    file = tmp_path / "fitted.toml"
    assert tinyssd(f"data anchors synthetic --limit 30 --preset improved --image-size 320 --out {file}") == 0
    out = capsys.readouterr().out
    recall = dict(re.findall(r"^  (\w+) +mean IoU [\d.]+, recall at IoU 0.5 ([\d.]+), with \d+ anchors$", out, re.M))
    assert list(recall) == ["improved", "fitted"]
    assert float(recall["fitted"]) >= float(recall["improved"])
    assert out.splitlines()[-1] == f"wrote {file}; to use it: tinyssd train --config {file}"
    settings = read_run_config(file)
    labels = [example.labels for example in load_dataset("synthetic", limit=30)]
    wider = dataclasses.replace(IMPROVED.model, image_size=320)
    fitted = dataclasses.replace(wider, anchors=fit_anchors(box_shapes(labels), wider))
    assert settings == RunConfig(dataclasses.replace(IMPROVED, model=fitted), "improved", data="synthetic")
    assert f"with {fitted.num_anchors} anchors" in out


def test_a_configuration_that_names_a_preset_has_what_it_does_not_say_from_there(tmp_path):
    (tmp_path / "a.toml").write_text('based_on = "improved"\n[predict]\nnms_threshold = 0.3\n')
    run_config = read_run_config(tmp_path / "a.toml")
    assert (run_config.based_on, run_config.config.model, run_config.config.train) == (
        "improved",
        IMPROVED.model,
        IMPROVED.train,
    )
    assert run_config.config.predict == PredictConfig(nms_threshold=0.3)


def test_anchors_of_one_split_are_used_with_another_one_to_validate_on(tmp_path, capsys):
    assert tinyssd(f"data anchors synthetic:val --limit 9 --out {tmp_path / 'a.toml'}") == 0
    used = f"tinyssd train --config {tmp_path / 'a.toml'} --val-data SPEC"
    assert capsys.readouterr().out.splitlines()[-1].endswith(f"to use it: {used}")
    assert read_run_config(tmp_path / "a.toml").data == "synthetic:val"


def test_data_lists_every_data_set(capsys):
    for arguments in ("data", "data list"):
        assert tinyssd(arguments) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[0] for line in lines] == list(DATASETS)
