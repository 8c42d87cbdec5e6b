"""What the notebooks show of sources and of trainings, seen by a display that keeps it."""

import io
import re

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("IPython", reason="needs the extra: notebooks")

from ssd_common.errors import InputError
from ssd_common.teaching import notebook
from ssd_common.teaching.notebook import (
    MAX_PNG_BYTES,
    LiveTraining,
    show_figure,
    show_side_by_side,
    show_source,
    show_table,
)

ROW = {"epoch": 1, "loss": 0.5, "class_error": 0.25, "bbox_mae": 0.125, "baseline_class_error": 0.5}
PNG = b"\x89PNG\r\n\x1a\n"


class FakeDisplay:
    """Keeps what was displayed; what is updated is kept under the place of its first display."""

    def __init__(self):
        self.shown = []
        self.updates = []

    def __call__(self, content, display_id=False):
        self.shown.append(content)
        return self if display_id else None

    def update(self, content):
        self.updates.append(content)


class FakeShell:
    """The shell of a kernel, in a cell whose front end can ask for input, or cannot."""

    def __init__(self, allow_stdin):
        self.allow_stdin = allow_stdin

    def get_parent(self):
        return {"content": {"allow_stdin": self.allow_stdin}}


@pytest.fixture
def screen(monkeypatch):
    """The display."""
    fake = FakeDisplay()
    monkeypatch.setattr(notebook, "display", fake)
    return fake


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still: a list of the one second that it shows."""
    seconds = [0.0]
    monkeypatch.setattr(notebook, "monotonic", lambda: seconds[0])
    return seconds


def use_shell(monkeypatch, shell):
    monkeypatch.setattr(notebook, "get_ipython", lambda: shell)


def toy_training(progress, epochs=2, batches=3):
    """Yield rows as `train` of a backend does, asking for its batches through `progress`."""
    for epoch in range(1, epochs + 1):
        assert list(progress(range(batches))) == list(range(batches))
        yield ROW | {"epoch": epoch}


@pytest.mark.parametrize("shell", [None, object(), FakeShell(allow_stdin=False)], ids=["none", "terminal", "headless"])
def test_unwatched_there_are_plain_lines_and_the_curves_once(shell, screen, monkeypatch, capsys):
    use_shell(monkeypatch, shell)
    live = LiveTraining("toy", epochs=2)
    for row in live(toy_training(live.progress)):
        row["val_ap"] = 0.75  # added by the loop
    assert capsys.readouterr().out.splitlines() == [
        "epoch 1/2  loss 0.5000  class error 2.50e-01  bbox MAE 1.25e-01  val AP 0.750",
        "epoch 2/2  loss 0.5000  class error 2.50e-01  bbox MAE 1.25e-01  val AP 0.750",
    ]
    image, caption = screen.shown
    assert image.data.startswith(PNG)
    assert "2 of 2 epochs" in caption.data
    assert screen.updates == []


def test_watched_there_is_a_bar_and_curves_that_grow(screen, clock, monkeypatch, capsys):
    use_shell(monkeypatch, FakeShell(allow_stdin=True))
    live = LiveTraining("toy", epochs=2)
    assert len(list(live(toy_training(live.progress)))) == 2
    bar, curves, caption = screen.shown
    assert "<progress value=0 max=3></progress> epoch 1 of 2, batch 1 of 3" in bar.data
    assert curves.data.startswith(PNG)
    assert "2 of 2 epochs" in caption.data
    line_1, line_2, curves_2 = screen.updates
    assert '<pre style="word-break: normal">epoch 1/2' in line_1.data
    assert ">epoch 2/2" in line_2.data
    assert curves_2.data.startswith(PNG)
    assert curves_2.data != curves.data
    assert capsys.readouterr().out == ""


def test_the_bar_is_updated_twice_a_second_at_most(screen, clock, monkeypatch):
    use_shell(monkeypatch, FakeShell(allow_stdin=True))
    live = LiveTraining("toy", epochs=1)
    for _ in live.progress(range(9)):
        clock[0] += 0.25
    seen = [*screen.shown, *screen.updates]
    assert [html.data.partition("batch ")[2] for html in seen] == [f"{number} of 9" for number in (1, 3, 5, 7, 9)]


def test_a_training_of_no_epochs_shows_nothing(screen, monkeypatch):
    use_shell(monkeypatch, None)
    assert list(LiveTraining("toy", epochs=0)([])) == []
    assert screen.shown == []


def test_the_source_that_is_shown_is_that_of_the_file_without_docstring(screen):
    show_source(InputError)
    where, code = screen.shown
    assert where.data.startswith("`ssd_common/errors.py`, lines ")
    assert code.data.startswith("class InputError(ValueError):\n")
    assert "told in one line" not in code.data


def test_a_figure_has_its_caption_under_it_and_as_alternative_text(screen):
    show_figure(lambda path, data: path.write_bytes(data), PNG, caption="a stripe")
    image, caption = screen.shown
    assert (image.data, image.alt, caption.data) == (PNG, "a stripe", "*a stripe*")


def test_a_figure_is_made_small_enough_to_be_kept_in_a_notebook(screen):
    noise = np.random.default_rng(0).integers(0, 255, (900, 1400, 3), np.uint8)
    small = np.full((900, 1400, 3), 200, np.uint8)
    for pixels in (noise, small):
        show_figure(lambda path, image: Image.fromarray(image).save(path), pixels, caption="pixels")
    assert Image.open(io.BytesIO(screen.shown[0].data)).width == 560  # noise has as many colours as can be
    assert 100_000 < len(screen.shown[0].data) <= MAX_PNG_BYTES + 100_000
    with Image.open(io.BytesIO(screen.shown[2].data)) as untouched:
        np.testing.assert_array_equal(np.asarray(untouched), small)


def test_a_table_has_its_rows_and_its_caption_under_it(screen):
    show_table(["what", "number"], [["one", "1"], ["two", "2"]], caption="two numbers")
    table, caption = screen.shown
    assert table.data == "| what | number |\n| --- | ---: |\n| one | 1 |\n| two | 2 |"
    assert caption.data == "*two numbers*"


@pytest.mark.backend("torch", "mxnet")
def test_twins_are_shown_without_docstrings_and_what_differs_is_marked(screen):
    import ssd_mxnet.train
    import ssd_torch.train

    show_side_by_side(ssd_torch.train.make_trainer, ssd_mxnet.train.make_trainer)
    (page,) = screen.shown
    text = re.sub("<[^>]*>", "", page.data)
    assert "def make_trainer(net, train_config):" in text
    assert "Return the optimiser" not in text
    marked = re.sub("<(?!/?mark)[^>]*>", "", page.data)
    assert re.search("<mark>[^/]*gluon[^/]*</mark>", marked)
    assert "<b>torch</b>" in page.data, "the framework's own word"


@pytest.fixture
def kernel():
    """Runs code in a kernel, as a front end does, and returns its text and its error's traceback."""
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel()

    def run(code, **options):
        messages = []
        client.execute_interactive(code, timeout=60, output_hook=messages.append, **options)
        text = "".join(message["content"].get("text", "") for message in messages)
        return text, [line for message in messages for line in message["content"].get("traceback", ())]

    yield run
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def test_a_real_kernel_knows_who_watches_and_prints_an_input_error_in_one_line(kernel):
    ask = "from ssd_common import errors; from ssd_common.teaching import notebook; print(notebook.is_watched())"
    assert kernel(ask, allow_stdin=True) == ("True\n", [])
    assert kernel(ask, allow_stdin=False) == ("False\n", [])
    assert kernel("raise errors.InputError('no such file')") == ("", ["InputError: no such file"])
