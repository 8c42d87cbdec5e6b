"""Makes the files of the page "Try it": networks from both exporters, images, and ONNX Runtime from the npm registry.

`make docs` runs this where both frameworks are installed. Without npm or its registry, the files of that page are left
out, and every other page has what it needs.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image

from ssd_common.cli import main
from ssd_common.config import read_run_config
from ssd_common.data.synthetic import SyntheticDataset
from ssd_common.data.transforms import MAX_PIXELS

ROOT = Path(__file__).parent.parent
PRETRAINED = ROOT / "ssd_common" / "pretrained"
RUNTIME = "onnxruntime-web@1.22.0"
INTEGRITY = "sha512-Ud/+EBo6mhuaQWt/OjaOk0iNWjXqJoeeMFr6xQEERZdIZH2OWpGzuujz7lfuOBjUa6TEE/sc4nb7Da5dNL34fg=="
"""Of the package's archive, as the public registry and any mirror of it give it (the variable npm_config_registry)."""
RUNTIME_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
SCENES = 6
TEST_IMAGES: dict[str, tuple[tuple[int, int], dict[str, Any]]] = {
    "wide.png": ((777, 431), {}),
    "tall.png": ((431, 777), {}),
    "small.png": ((180, 230), {}),
    "photo.jpg": ((3000, 2000), {"quality": 90}),
    "turned.jpg": ((3000, 2000), {"quality": 75, "progressive": True, "exif": {ExifTags.Base.Orientation: 6}}),
    "clear.png": ((640, 480), {"transparent": True}),
}
"""Images as a reader may have them: size, and what their files are like."""


def make_files(build: Path) -> None:
    """Write the site's files into `build/static/detector`, and what tests compare with into `build/expected`."""
    site, expected = build / "static" / "detector", build / "expected"
    (build / "made").unlink(missing_ok=True)
    for folder in (site, expected):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    model = read_run_config(PRETRAINED / "config.toml").config
    table = dataclasses.asdict(model.model) | dataclasses.asdict(model.predict)
    table |= {"feature_map_sizes": model.model.feature_map_sizes, "scenes": SCENES, "max_pixels": MAX_PIXELS}
    (site / "model.json").write_text(json.dumps(table), encoding="utf-8")
    scenes = SyntheticDataset("val", max_objects=4)
    paths = [site / f"scene-{i}.png" for i in range(SCENES)]
    for i, path in enumerate(paths):
        Image.fromarray(scenes[i].image).save(path)
    try:
        add_runtime(site)
    except (OSError, subprocess.SubprocessError, tarfile.TarError, KeyError, ValueError) as error:
        reason = str(error).splitlines()[0]
        print(f"make: the site will have no detector on the page 'Try it': {reason}", file=sys.stderr)
        return
    for i, (name, (size, options)) in enumerate(TEST_IMAGES.items()):
        paths.append(save_image(Image.fromarray(scenes[SCENES + i].image), expected / name, size, **options))
    if data := os.environ.get("TINYSSD_DATA"):
        paths += sorted(Path(data, "img").glob("*.jpg")) + sorted(Path(data, "voc/bccd/JPEGImages").glob("*.jpg"))[:3]
    (expected / "images.json").write_text(json.dumps([str(path) for path in paths]), encoding="utf-8")
    for backend in ("torch", "mxnet"):
        run("export", str(site / f"{backend}.onnx"), "--backend", backend)
        out = expected / backend
        run("predict", *map(str, paths), "--backend", backend, "--score-threshold", "0.1", "--out", str(out))
    (build / "made").touch()


def save_image(
    scene: Image.Image, path: Path, size: tuple[int, int], transparent: bool = False, **options: Any
) -> Path:
    """Save a scene at another size, from opaque on its left to clear on its right if `transparent`."""
    scene = scene.resize(size, Image.Resampling.BICUBIC)
    if transparent:
        scene.putalpha(Image.linear_gradient("L").rotate(90).resize(size))
    if exif := options.pop("exif", None):
        options["exif"] = Image.Exif()
        options["exif"].update(exif)
    scene.save(path, **options)
    return path


def add_runtime(site: Path) -> None:
    """Write ONNX Runtime's files for browsers.

    Raises:
        OSError: npm is missing.
        subprocess.SubprocessError: it cannot reach its registry.
        ValueError: the archive is another one than the pinned.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", "--silent", "--fetch-retries=1", RUNTIME]
        packed = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
        archives = list(Path(folder).glob("*.tgz"))
        if packed.returncode or len(archives) != 1:
            raise subprocess.SubprocessError(f"`{' '.join(command)}` failed (is the npm registry reachable?)")
        payload = archives[0].read_bytes()
        sha512 = "sha512-" + base64.b64encode(hashlib.sha512(payload).digest()).decode()
        if sha512 != INTEGRITY:
            raise ValueError(f"{RUNTIME} has {sha512}, not the pinned {INTEGRITY}")
        with tarfile.open(archives[0]) as archive:
            for name in RUNTIME_FILES:
                content = archive.extractfile(f"package/dist/{name}")
                assert content is not None, name
                (site / name).write_bytes(content.read())


def run(*arguments: str) -> None:
    """Run the command line, and stop where it fails."""
    try:
        main(list(arguments))
    except SystemExit as stop:
        if stop.code:
            raise


if __name__ == "__main__":
    make_files(Path(sys.argv[1]))
