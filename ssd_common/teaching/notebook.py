"""What the notebooks show: source code, figures with captions, trainings. Needs IPython, which Jupyter brings."""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any, TypeVar

import PIL.Image
from IPython.core.getipython import get_ipython
from IPython.display import HTML, Code, Image, Markdown, display

from ssd_common.figures.curves import save_training_curves
from ssd_common.runs.folder import Row, trivial_baselines
from ssd_common.teaching import side_by_side, source

T = TypeVar("T")

MAX_PNG_BYTES = 150_000
"""Of a figure: the notebooks are kept with their outputs."""
COLORS = 128  # of a figure that would be larger
SECONDS_BETWEEN_UPDATES = 0.5  # of a progress bar: each is a message to the browser
SHOWN = (
    ("loss", "loss", ".4f"),
    ("class_error", "class error", ".2e"),
    ("bbox_mae", "bbox MAE", ".2e"),
    ("val_ap50", "val AP50", ".3f"),
    ("val_ap", "val AP", ".3f"),
    ("examples_per_second", "examples/s", ".1f"),
)
"""Key of an epoch's row, its words in the printed line, and its format; what a row does not have is left out."""
JUPYTER_STYLE = """
div.side-by-side.highlight table :is(th, td) { max-width: none; text-align: left; vertical-align: top; }
div.side-by-side.highlight table td { font-family: monospace; white-space: pre-wrap; }
div.side-by-side.highlight table tr:is(.same, .differs) { background: none; }
div.side-by-side.highlight table tr.differs { background: #8882; }
"""
"""What Jupyter's own style of tables would take from two sources side by side: alignment, spaces, grey rows."""


def show_source(*objects: Any) -> None:
    """Show the source of functions and classes without docstrings, highlighted, its place above it."""
    for thing in objects:
        lines, first = inspect.getsourcelines(thing)
        module = inspect.getmodule(thing)
        name = module.__name__.replace(".", "/") if module else "?"
        display(Markdown(f"`{name}.py`, lines {first}–{first + len(lines) - 1}"))
        display(Code(source.without_docstring("".join(lines)), language="python"))


def show_side_by_side(left: Any, right: Any) -> None:
    """Show a function or class of PyTorch beside its twin of MXNet, without docstrings, what differs marked."""
    code = [source.without_docstring(inspect.getsource(thing)) for thing in (left, right)]
    modules = [inspect.getsource(inspect.getmodule(thing) or thing) for thing in (left, right)]
    words = source.framework_words(modules[0]), source.framework_words(modules[1])
    table = side_by_side.to_html(side_by_side.aligned_rows(code[0], code[1]), words=words)
    display(HTML(f"<style>{side_by_side.STYLE}{JUPYTER_STYLE}</style>\n{table}"))


def show_table(header: Sequence[str], rows: Iterable[Sequence[str]], caption: str) -> None:
    """Show a table with a caption under it.

    Args:
        header: the name of each column.
        rows: the cells of each row; the first one is a word, the others are aligned to the right.
        caption: what is to be seen, in a sentence.
    """
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    display(Markdown("\n".join(f"| {' | '.join(cells)} |" for cells in lines)))
    display(Markdown(f"*{caption}*"))


def show_figure(save: Callable[..., None], *args: Any, caption: str, **kwargs: Any) -> None:
    """Show the image that a function of `ssd_common.figures.detections` writes, with a caption under it.

    Args:
        save: such a function; its first parameter is the path of the PNG.
        *args: its other arguments.
        caption: what is to be seen, in a sentence; it is the alternative text, too.
        **kwargs: its keyword arguments.
    """
    display(Image(_png(save, *args, **kwargs), alt=caption))
    display(Markdown(f"*{caption}*"))


class LiveTraining:
    """A training, watched: in Jupyter a progress bar and curves that grow; executed with nobody there, plain lines.

    The loop may add to a row, for example the metrics of a validation split; what it adds is shown, too:

        live = LiveTraining("PyTorch", config.epochs)
        for row in live(train(net, trainer, data, model, config, progress=live.progress)):
            row |= {"val_ap50": ...}

    Args:
        name: of what is trained, for the legend of the curves.
        epochs: how many there will be.
    """

    def __init__(self, name: str, epochs: int) -> None:
        self.name, self.epochs, self.rows = name, epochs, list[Row]()
        self._handles: dict[str, Any] = {}  # of the displays that are updated
        self._updated = -SECONDS_BETWEEN_UPDATES

    def __call__(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield the rows of the epochs, and show each when the loop asks for the next."""
        for row in rows:
            yield row
            self.rows.append(row)
            line = _epoch_line(row, self.epochs)
            if is_watched():
                self._show("bar", HTML(f'<pre style="word-break: normal">{line}</pre>'))
                self._show("curves", self._curves())
            else:
                print(line)
        if self.rows and not is_watched():
            display(self._curves())
        if self.rows:
            display(Markdown(f"*{self._caption()}*"))

    def progress(self, batches: Collection[T]) -> Iterator[T]:
        """Yield the batches of an epoch, with a progress bar if somebody watches; the `progress` of `train`."""
        for done, batch in enumerate(batches):
            if is_watched() and monotonic() - self._updated >= SECONDS_BETWEEN_UPDATES:
                self._updated = monotonic()
                where = f"epoch {len(self.rows) + 1} of {self.epochs}, batch {done + 1} of {len(batches)}"
                self._show("bar", HTML(f"<progress value={done} max={len(batches)}></progress> {where}"))
            yield batch

    def _show(self, what: str, content: Any) -> None:
        """Display something, in place of what was displayed under the same name."""
        if what in self._handles:
            self._handles[what].update(content)
        else:
            self._handles[what] = display(content, display_id=True)

    def _curves(self) -> Image:
        baselines = trivial_baselines(self.rows[-1])
        return Image(_png(save_training_curves, {self.name: self.rows}, baselines), alt=self._caption())

    def _caption(self) -> str:
        done = f"{len(self.rows)} of {self.epochs} epochs"
        return f"Training with {self.name}, {done}. Dotted: what predicting background and zero offsets scores."


def _epoch_line(row: Row, epochs: int) -> str:
    """An epoch in a line of text."""
    values = [f"{words} {row[key]:{form}}" for key, words, form in SHOWN if row.get(key) is not None]
    return "  ".join([f"epoch {row['epoch']:>{len(str(epochs))}}/{epochs}", *values])


def is_watched() -> bool:
    """Whether somebody sees the output of this cell while it grows.

    A front end says with each cell whether its user can be asked for input. JupyterLab, VS Code and Colab say yes;
    nbclient, which is under nbmake, nbconvert and papermill, says no. Environment variables do not tell: a command
    in the terminal of a Jupyter server or of VS Code inherits theirs.
    """
    get_parent = getattr(get_ipython(), "get_parent", None)  # of a kernel's shell; IPython in a terminal has none
    return bool(get_parent and get_parent().get("content", {}).get("allow_stdin"))


def _png(save: Callable[..., None], *args: Any, **kwargs: Any) -> bytes:
    """Return the bytes of the PNG that a function writes, no more than `MAX_PNG_BYTES` of them."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "figure.png"
        save(path, *args, **kwargs)
        content = path.read_bytes()
    return content if len(content) <= MAX_PNG_BYTES else _smaller(content)


def _smaller(content: bytes) -> bytes:
    """Return a PNG with fewer colours, and of lower resolution if that is not enough."""
    with PIL.Image.open(io.BytesIO(content)) as picture:
        image = picture.convert("RGB")
    for share in (1.0, 0.85, 0.7, 0.6, 0.5, 0.4):
        size = (round(image.width * share), round(image.height * share))
        resized = image.resize(size, PIL.Image.Resampling.LANCZOS) if share < 1 else image
        buffer = io.BytesIO()
        resized.quantize(COLORS, dither=PIL.Image.Dither.NONE).save(buffer, "PNG", optimize=True)
        if buffer.tell() <= MAX_PNG_BYTES:
            break
    return buffer.getvalue()
