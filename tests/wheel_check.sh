#!/usr/bin/env bash
# Whether `pip install tinyssd` would work: builds the sdist, the wheel from the sdist, installs the wheel into a fresh
# environment, and uses it in an empty folder, where nothing of the clone can be seen.
#
#   tests/wheel_check.sh PYTHON CONSTRAINTS [VENV]
#
#   PYTHON        the interpreter to make the environment from
#   CONSTRAINTS   the tested versions, for pip
#   VENV          take the dependencies from this environment of the same Python, instead of downloading 3 GB again
set -euo pipefail

python=$1 constraints=$(realpath "$2") dependencies=${3:+$(realpath "$3")}
clone=$(realpath "$(dirname "${BASH_SOURCE[0]}")/..")
# Everything lies in one folder, which goes when the script ends, however it ends.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
say() { echo "wheel-check: $*"; }
pip() { "$work/venv/bin/python" -m pip --disable-pip-version-check -q "$@"; }
unset PYTHONPATH PYTHONHOME VIRTUAL_ENV TINYSSD_DATA # what could lead back to the clone
PIP_CACHE_DIR=$("$python" -m pip cache dir 2>/dev/null) || PIP_CACHE_DIR=$work/cache/pip # downloads before may be used
export PIP_CACHE_DIR HOME=$work/home XDG_CACHE_HOME=$work/cache MPLCONFIGDIR=$work/cache/matplotlib
mkdir -p "$HOME" "$XDG_CACHE_HOME" "$work/dist" "$work/empty"

"$python" -m venv "$work/venv"
pip install 'hatchling>=1.26'
say "building the sdist, and the wheel from it"
(cd "$clone" && "$work/venv/bin/python" -m hatchling build --target sdist --directory "$work/dist")
pip wheel --no-deps --wheel-dir "$work/dist" "$work"/dist/tinyssd-*.tar.gz
wheel=$(echo "$work"/dist/tinyssd-*.whl)
say "$(basename "$wheel"): $(du -h "$wheel" | cut -f1)"

say "installing the wheel with $("$python" --version)"
if [[ -n $dependencies ]]; then
    "$dependencies/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
        >"$(echo "$work"/venv/lib/python3.*/site-packages)/dependencies.pth"
    pip install --no-deps "$wheel"
else
    pip install -c "$constraints" "$wheel[torch,mxnet]"
    # Where MXNet's own metadata forbids what is installed, it comes by itself.
    "$work/venv/bin/python" -c 'import importlib.util as u, sys; sys.exit(u.find_spec("mxnet") is None)' ||
        pip install --no-deps mxnet==1.9.1
fi

cd "$work/empty"
export PATH=$work/venv/bin:$PATH
python - "$wheel" <<'PYTHON'
import importlib.metadata
import importlib.util
import pathlib
import sys

import ssd_common

version = importlib.metadata.version("tinyssd")
assert ssd_common.__version__ == version, (ssd_common.__version__, version)
assert pathlib.Path(sys.argv[1]).name.startswith(f"tinyssd-{version}-"), sys.argv[1]
for package in ("ssd_common", "ssd_torch", "ssd_mxnet"):
    folder = pathlib.Path(importlib.util.find_spec(package).origin).parent
    assert folder.is_relative_to(sys.prefix), f"{folder} is not in the fresh environment"
    assert (folder / "py.typed").is_file(), f"{folder} has no py.typed"
others = {file.parts[0] for file in importlib.metadata.files("tinyssd")} - {"ssd_common", "ssd_torch", "ssd_mxnet", ".."}
assert others == {f"tinyssd-{version}.dist-info"}, f"the wheel also installs {others}"
PYTHON
say "tinyssd info"
tinyssd info >info.txt
for backend in torch mxnet; do
    say "tinyssd train and predict, $backend"
    tinyssd train --backend $backend --data synthetic --image-size 64 --limit 8 --batch-size 4 --epochs 1 \
        --out run-$backend >train-$backend.txt
    # With these weights, and with the detector that comes with the package.
    for weights in "--weights run-$backend/weights/last.safetensors" ""; do
        # shellcheck disable=SC2086 # a flag and its value, or neither
        tinyssd predict --backend $backend $weights --out found run-$backend/val_detections.png >predict.txt
        [[ -s found/detections.json ]] || { say "predict wrote no detections.json"; exit 1; }
        rm -r found
    done
done
say "the wheel works: info, train and predict in both frameworks, in an empty folder"
