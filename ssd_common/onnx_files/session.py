"""An ONNX file of this package, run by ONNX Runtime: no framework is needed."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssd_common.boxes import Array
from ssd_common.checkpoints.first_bytes import first_bytes
from ssd_common.config import PredictConfig, RunConfig
from ssd_common.detection import Detections, multibox_detection
from ssd_common.errors import InputError, one_line
from ssd_common.onnx_files.export import check_packages
from ssd_common.onnx_files.graph import DETECTIONS, INPUT, RAW_OUTPUTS, dimensions
from ssd_common.onnx_files.metadata import from_metadata, is_sealed

_FATAL = 4  # the only messages that ONNX Runtime prints by itself
_OUTSIDE = b"\x0a\x08location"  # begins the name of a file that holds a tensor


@dataclass(frozen=True)
class OnnxNet:
    """A network that ONNX Runtime runs, and what its file says of it."""

    session: Any
    source: str
    """The file's name, for messages."""
    run: RunConfig
    """The configuration that it was exported with."""
    sha256: str
    """Of the file, which differs with weights, thresholds and framework."""

    @property
    def has_detection(self) -> bool:
        """Whether the file returns detections; otherwise anchors, logits and offsets."""
        return [output.name for output in self.session.get_outputs()] == [DETECTIONS]

    def forward(self, X: Array) -> list[Array]:
        """Return what the file returns for a batch of images `(batch, 3, height, width)`.

        Raises:
            InputError: the file cannot be run on such images, or returns something else than its metadata say.
        """
        try:
            arrays: list[Array] = self.session.run(None, {INPUT: np.ascontiguousarray(X, np.float32)})
        except Exception as error:  # of a dozen kinds, without a common base
            reason = one_line(error)[:300]
            raise InputError(f"{self.source}: ONNX Runtime cannot run it ({reason}); export it again") from None
        self._check(arrays, len(X))
        return arrays

    def _check(self, arrays: Sequence[Array], batch: int) -> None:
        """Raise InputError unless the arrays have their shapes, and detections the classes of the model."""
        classes = self.run.config.model.num_classes
        count = arrays[0].shape[1] if arrays[0].ndim == 3 else 0
        raw = [(1, count, 4), (batch, count, classes + 1), (batch, count * 4)]
        shapes = [array.shape for array in arrays]
        if shapes != ([(batch, count, 6)] if self.has_detection else raw):
            raise InputError(f"{self.source}: it returns arrays of other shapes than its metadata say; export it again")
        if self.has_detection and not np.isin(arrays[0][..., 0], np.arange(-1, classes)).all():
            raise InputError(f"{self.source}: it detects classes that its metadata do not name; export it again")

    def detect(self, X: Array) -> list[Detections]:
        """Return the detections in each image of a batch, best score first: `(n, 6)` as `predict` of a backend.

        A file without detection leaves them to the numpy reference, with the thresholds in its metadata.
        """
        arrays = self.forward(X)
        if self.has_detection:
            (output,) = arrays
        else:
            anchors, cls_preds, bbox_preds = arrays
            output = _detect(anchors, cls_preds, bbox_preds, self.run.config.predict)
        return [rows[rows[:, 0] >= 0] for rows in output]


def load_onnx(path: Path) -> OnnxNet:
    """Return the network in an ONNX file that `tinyssd export` wrote.

    Raises:
        InputError: the file is missing, is not ONNX, is not one of this package, is damaged, has weights in another
            file, or has a graph that this ONNX Runtime cannot run; or ONNX Runtime is missing.
    """
    first_bytes(path)
    return decode_onnx(path.read_bytes(), str(path))


def decode_onnx(payload: bytes, source: str) -> OnnxNet:
    """Return the network in the content of an ONNX file, see `load_onnx`; `source` is for messages."""
    check_packages("onnxruntime")
    runtime = importlib.import_module("onnxruntime")
    sealed = is_sealed(payload)
    if sealed is False:
        raise InputError(f"{source}: the sha256 does not match; the file is damaged or was changed, export it again")
    if _OUTSIDE in payload:
        raise InputError(f"{source}: it has weights in another file, which no sha256 protects; export it again")
    options = runtime.SessionOptions()
    options.log_severity_level = _FATAL
    try:
        session = runtime.InferenceSession(payload, options, providers=["CPUExecutionProvider"], enable_fallback=0)
    except Exception as error:  # of a dozen kinds, without a common base
        reason = one_line(error)[:300]
        version = f"ONNX Runtime {runtime.__version__}"
        if "opset" in reason.lower() or sealed:
            message = f"{version} cannot run this file ({reason}): pip install --upgrade onnxruntime"
        else:
            message = f"not a readable ONNX file ({version}: {reason}): export it again"
        raise InputError(f"{source}: {message}") from None
    try:
        metadata = session.get_modelmeta().custom_metadata_map
        run = from_metadata(metadata, source)
        if sealed is None:
            raise InputError(f"{source}: the sha256 is missing; the file was changed, export it again")
        net = OnnxNet(session, source, run, metadata["sha256"])
        _check_graph(net)
    except UnicodeDecodeError:
        raise InputError(f"{source}: it has names that are not UTF-8; export it again") from None
    return net


def _check_graph(net: OnnxNet) -> None:
    """Raise InputError unless the graph takes and returns what its configuration says."""
    (images, *more), outputs = net.session.get_inputs(), net.session.get_outputs()
    dynamic = isinstance(images.shape[2], str)
    expected = dimensions(net.run.config.model, dynamic)
    found = {value.name: tuple(value.shape) for value in (images, *outputs)}
    names = {INPUT, *((DETECTIONS,) if net.has_detection else RAW_OUTPUTS)}
    wrong = [name for name in found if name in expected and found[name] != expected[name]]
    if more or found.keys() != names or wrong:
        what = f"'{wrong[0]}' is {found[wrong[0]]}, not {expected[wrong[0]]}" if wrong else ", ".join(found)
        raise InputError(f"{net.source}: the graph is not that of the model in its metadata ({what}); export it again")


def _detect(anchors: Array, cls_preds: Array, bbox_preds: Array, predict_config: PredictConfig) -> NDArray[Any]:
    """Return the rows of `multibox_detection` by the numpy reference; see `predict.detect` of a backend."""
    exponentials = np.exp(cls_preds - cls_preds.max(axis=-1, keepdims=True))
    cls_probs = (exponentials / exponentials.sum(axis=-1, keepdims=True)).transpose(0, 2, 1)
    competing = int((cls_probs[:, 1:].max(axis=1) >= predict_config.pos_threshold).sum(axis=1).max())
    return multibox_detection(
        cls_probs,
        bbox_preds,
        anchors,
        predict_config.nms_threshold,
        predict_config.pos_threshold,
        class_aware=predict_config.class_aware,
        clip=predict_config.clip,
        top_k=min(competing, predict_config.top_k or competing),
    )
