"""Everything that reads a file: one row a parser. A new format is a new row."""

import dataclasses
import hashlib
import io
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


@dataclasses.dataclass(frozen=True)
class Parser:
    """Something that reads files: how a good one is made, which part of it is damaged, and how it is read."""

    make: Callable[[Path], None]
    """Writes good files into an empty folder."""
    damaged: tuple[str, ...]
    """Patterns of the files of which one is damaged; the others stay."""
    kind: str
    """How it is damaged: see `mutations.damage`."""
    read: Callable[[Path], Any]
    """Reads what is in the folder; returns what was read, or raises InputError."""
    weight: float = 1
    """Share of the files."""
    checksum: bool = False
    """Whether a change of what is read must be noticed."""
    seal: Callable[[Path], None] | None = None
    """Makes the checksum right again, so that what stands behind it is reached."""


# Weights.


def arrays():
    rng = np.random.default_rng(0)
    return {
        "conv0.weight": rng.normal(size=(2, 3, 3, 3)).astype(np.float32),
        "conv0.bias": np.arange(2, dtype=np.float16),
        "step": np.array([7], np.int64),
        "mask": np.array([True, False]),
    }


def as_bits(found):
    return {name: (value.dtype.str, value.shape, value.tobytes()) for name, value in found.items()}


def make_params(folder):
    from ssd_common.checkpoints.params_file import write_params

    write_params(folder / "w.params", arrays())


def make_params_of_mxnet(folder):
    make_params(folder)
    content = (folder / "w.params").read_bytes()
    (folder / "w.params").write_bytes(content[: -len(b"tinyssd1") - 32])


def read_params(folder):
    from ssd_common.checkpoints.params_file import read_params

    return as_bits(read_params(folder / "w.params"))


def make_safetensors_of_others(folder):
    from ssd_common.checkpoints.any_model import save_any
    from ssd_common.checkpoints.params_list import ParamsList

    save_any(folder / "w.safetensors", ParamsList(arrays()))


def read_any(folder):
    from ssd_common.checkpoints.any_model import load_any, table

    return table(load_any(folder / "w.safetensors")[0])


def make_weights(folder):
    """Write a weights file as version 0.1.0 does."""
    from safetensors.numpy import save_file

    from ssd_common.config import BOOK
    from ssd_common.config.tables import to_dict
    from ssd_common.weights import initial_weights

    tensors = initial_weights(BOOK.model, BOOK.train)
    tensors["momentum/blk_0.0.0.bias"] = np.arange(16, dtype=np.float32)
    parts = {name: json.dumps(to_dict(getattr(BOOK, name))) for name in ("model", "train", "predict")}
    metadata = {"format": "tinyssd-weights-1", "epoch": "1", "step": "2", "data": "synthetic", **parts}
    save_file(tensors, folder / "w", metadata | {"sha256": digest(tensors, metadata)})


def digest(tensors, metadata):
    found = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(tensors):
        value = tensors[name]
        found.update(f"{name} {value.dtype} {value.shape}".encode())
        found.update(value.tobytes())
    return found.hexdigest()


def read_weights(folder):
    from ssd_common.checkpoints.convert import load_weights

    checkpoint = load_weights(folder / "w")
    rest = dataclasses.replace(checkpoint, weights={})
    return as_bits(checkpoint.weights), repr(rest)


def make_metadata(folder):
    """Write the metadata of a weights file as a file of their own, a line each."""
    import safetensors

    make_weights(folder)
    with safetensors.safe_open(str(folder / "w"), framework="np") as file:
        metadata = file.metadata()
    del metadata["sha256"]
    (folder / "metadata").write_text("".join(f"{name}\t{value}\n" for name, value in metadata.items()))


def seal_metadata(folder):
    """Write the weights file with the damaged metadata, and a sha256 that is right."""
    from safetensors.numpy import load_file, save_file

    text = (folder / "metadata").read_bytes().decode(errors="replace")
    metadata = {name: value for name, _, value in (line.partition("\t") for line in text.split("\n")) if name}
    tensors = load_file(folder / "w")
    save_file(tensors, folder / "w", metadata | {"sha256": digest(tensors, metadata)})


def make_state_dict(folder):
    import torch

    torch.save({name: torch.tensor(value) for name, value in arrays().items()}, folder / "w.pt")


def read_state_dict(folder):
    import warnings

    from ssd_torch.state_dict import read_state_dict

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says what it thinks of a damaged pickle
        return as_bits(read_state_dict(folder / "w.pt"))


def make_onnx(folder):
    """Write an ONNX file with PyTorch's exporter."""
    from ssd_common.backends import load_backend
    from ssd_common.checkpoints.checkpoint import Checkpoint
    from ssd_common.config import BOOK, RunConfig
    from ssd_common.onnx_files import encode_onnx, make_graph
    from ssd_common.weights import initial_weights

    backend, checkpoint = load_backend("torch"), Checkpoint(initial_weights(BOOK.model, BOOK.train), RunConfig(BOOK))
    graph = make_graph(backend, checkpoint)
    (folder / "w.onnx").write_bytes(encode_onnx(graph, backend, checkpoint, with_detection=True))


def make_onnx_graph(folder):
    """Write an ONNX file as two: all but the weights, and the weights."""
    import onnx

    make_onnx(folder)
    graph, weights = onnx.load(folder / "w.onnx"), onnx.ModelProto()
    weights.graph.initializer.extend(graph.graph.initializer)
    del graph.graph.initializer[:]
    (folder / "graph").write_bytes(graph.SerializeToString())
    (folder / "weights").write_bytes(weights.SerializeToString())


def seal_onnx(folder):
    """Write the ONNX file with the damaged graph and a sha256 that is right, where its place is still there."""
    key, content = b"\x06sha256\x12\x40", (folder / "graph").read_bytes() + (folder / "weights").read_bytes()
    before, found, after = content.rpartition(key)
    if found and len(after) >= 64:
        blank = before + key + b"0" * 64 + after[64:]
        content = before + key + hashlib.sha256(blank).hexdigest().encode() + after[64:]
    (folder / "w.onnx").write_bytes(content)


def read_onnx(folder):
    from ssd_common.onnx_files import load_onnx

    net = load_onnx(folder / "w.onnx")
    return net.sha256, repr(net.run)


# A run folder.


def make_config(folder):
    import tomli_w

    from ssd_common.config import IMPROVED, RunConfig
    from ssd_common.config.run import to_table

    table = to_table(RunConfig(IMPROVED, data="synthetic:train", val_data="synthetic:val"))
    (folder / "config.toml").write_text(tomli_w.dumps(table))


def read_config(folder):
    from ssd_common.config.run import read_run_config

    return read_run_config(folder / "config.toml")


def make_rows(folder):
    from ssd_common.runs.folder import COLUMNS, format_rows

    rows = [dict.fromkeys(COLUMNS, i + 0.5) | {"epoch": i} for i in range(1, 4)]
    (folder / "results.csv").write_text(format_rows(rows))


def read_rows(folder):
    from ssd_common.runs.folder import read_rows

    return read_rows(folder / "results.csv")


SETTINGS = {"backend": "torch", "score_threshold": 0.5, "detector_sha256": "0"}


def make_detections(folder):
    from ssd_common.runs.detections_file import DetectionsFile

    box = {"image": "a", "label": "cat", "class_id": 0, "score": 0.9, "box": {"xmin": 1.5}}
    with DetectionsFile(folder, SETTINGS) as file:
        file.begin()
        for i, name in enumerate("abc"):
            file.add(name, (i, i), f"{name}.png", [box] * i)


def read_detections(folder):
    from ssd_common.runs.detections_file import DetectionsFile

    with DetectionsFile(folder, SETTINGS) as file:
        file.write_json(folder / "x.json", "abc")
        return file.drawn_names()


# Datasets, each read as `tinyssd data check` does.


def image(seed, kind="PNG", mode="RGB"):
    """Return the bytes of a small image."""
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), np.uint8)
    deep = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    buffer = io.BytesIO()
    (deep if mode == "I;16" else Image.fromarray(pixels).convert(mode)).save(buffer, kind)
    return buffer.getvalue()


def write_all(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def make_voc(folder):
    def xml(name):
        objects = "".join(
            f"<object><name>{kind}</name><difficult>{i}</difficult><bndbox><xmin>{2 + i}</xmin><ymin>3</ymin>"
            "<xmax>20</xmax><ymax>18.5</ymax></bndbox></object>\n"
            for i, kind in enumerate(("cat", "dog"))
        )
        size = "<size><width>32</width><height>24</height><depth>3</depth></size>"
        return f'<?xml version="1.0"?>\n<annotation><filename>{name}.png</filename>{size}\n{objects}</annotation>\n'

    files = {f"Annotations/{name}.xml": xml(name) for name in "ab"}
    files |= {f"JPEGImages/{name}.png": image(i) for i, name in enumerate("ab")}
    files |= {"ImageSets/Main/train.txt": "a\n", "ImageSets/Main/val.txt": "b\n", "classes.txt": "cat\ndog\n"}
    write_all(folder, files)


def make_coco(folder):
    categories = [{"id": 3, "name": "cat", "supercategory": "animal"}, {"id": 7, "name": "dog"}]
    images = [{"id": i, "file_name": f"{name}.png", "width": 32, "height": 24} for i, name in enumerate("ab")]
    boxes = [
        {
            "id": i,
            "image_id": i % 2,
            "category_id": 3 + 4 * (i % 2),
            "bbox": [1, 2.5, 10, 9],
            "area": 90,
            "iscrowd": i // 3,
        }
        for i in range(4)
    ]
    table = {"info": {}, "images": images, "annotations": boxes, "categories": categories}
    write_all(folder, {"x.json": json.dumps(table, indent=1), "a.png": image(0), "b.png": image(1)})


def make_yolo(folder):
    files = {"data.yaml": "path: .\ntrain: images/train\nval: images/val\nnc: 2\nnames:\n  0: cat\n  1: dog\n"}
    for split, name in (("train", "a"), ("val", "b")):
        files[f"images/{split}/{name}.png"] = image(0)
        files[f"labels/{split}/{name}.txt"] = "0 0.5 0.5 0.25 0.5\n1 0.1 0.1 0.4 0.1 0.4 0.4\n"
    write_all(folder, files)


def make_records(folder):
    """Write a detection RecordIO of two images and its index, as MXNet's im2rec does."""
    content, index = b"", ""
    for i in range(2):
        label = struct.pack("<14f", 4, 5, 32, 24, 0, 0.1, 0.2, 0.6, 0.8, 1, 0.3, 0.3, 0.9, 0.9)
        body = struct.pack("<IfQQ", 14, 0, i, 0) + label + image(i)
        index += f"{i}\t{len(content)}\n"
        content += struct.pack("<II", 0xCED7230A, len(body)) + body + bytes(-len(body) % 4)
    write_all(folder, {"x.rec": content, "x.idx": index, "classes.txt": "cat\ndog\n"})


def check(spec):
    """Return a function that reads a dataset as `tinyssd data check` does."""

    def read(folder):
        from ssd_common.data.check import check_data

        return check_data(spec.format(folder)).summary()

    return read


# Images.

PICTURES = {
    "a.jpg": ("JPEG", "RGB"), "b.png": ("PNG", "RGBA"), "c.gif": ("GIF", "P"), "d.bmp": ("BMP", "RGB"),
    "e.tif": ("TIFF", "RGB"), "f.webp": ("WEBP", "RGB"), "g.ppm": ("PPM", "RGB"), "h.png": ("PNG", "I;16"),
}  # fmt: skip


def make_pictures(folder):
    for i, (name, (kind, mode)) in enumerate(PICTURES.items()):
        (folder / name).write_bytes(image(i, kind, mode))
    (folder / "damaged").write_text("a.jpg")


def read_pictures(folder):
    """Read the image that was damaged."""
    from ssd_common.data.transforms import read_image

    return read_image(folder / (folder / "damaged").read_text()).shape


PARSERS = {
    "params": Parser(make_params, ("w.params",), "bytes", read_params, 2, checksum=True),
    "params of MXNet": Parser(make_params_of_mxnet, ("w.params",), "bytes", read_params, 2),
    "safetensors": Parser(make_weights, ("w",), "head", read_weights, 0.6, checksum=True),
    "safetensors, any byte": Parser(make_weights, ("w",), "bytes", read_weights, 0.2, checksum=True),
    "safetensors, sealed again": Parser(make_metadata, ("metadata",), "text", read_weights, 0.6, seal=seal_metadata),
    "safetensors of others": Parser(make_safetensors_of_others, ("w.safetensors",), "bytes", read_any, 2),
    "state_dict": Parser(make_state_dict, ("w.pt",), "bytes", read_state_dict, 1, checksum=True),
    "ONNX": Parser(make_onnx, ("w.onnx",), "bytes", read_onnx, 0.5, checksum=True),
    "ONNX, sealed again": Parser(make_onnx_graph, ("graph",), "bytes", read_onnx, 1, seal=seal_onnx),
    "config.toml": Parser(make_config, ("config.toml",), "text", read_config, 2),
    "results.csv": Parser(make_rows, ("results.csv",), "text", read_rows, 1),
    "detections.jsonl": Parser(make_detections, ("detections.jsonl",), "text", read_detections, 1),
    "VOC": Parser(make_voc, ("Annotations/*", "ImageSets/Main/*", "classes.txt"), "text", check("voc:{}"), 2),
    "COCO": Parser(make_coco, ("x.json",), "text", check("coco:{0},{0}/x.json"), 2),
    "YOLO": Parser(make_yolo, ("data.yaml", "data.yaml", "labels/*/*"), "text", check("yolo:{}"), 2),
    "RecordIO": Parser(make_records, ("x.rec",), "bytes", check("rec:{}/x.rec"), 2),
    "RecordIO, its text": Parser(make_records, ("x.idx", "classes.txt"), "text", check("rec:{}/x.rec"), 1),
    "images": Parser(make_pictures, ("*.*",), "bytes", read_pictures, 3),
}
