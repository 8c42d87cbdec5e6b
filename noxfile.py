"""`make matrix`: the tests on each Python from 3.10 to 3.13 that is there, and the table of what passed."""

import os
import re
import shutil
from pathlib import Path

import nox

PYTHONS = ["3.10", "3.11", "3.12", "3.13"]
ROWS = Path("build/matrix")
HEAD = "| Python | numpy | torch | MXNet | `make test` |\n|---|---|---|---|---|\n"
VERSIONS = """
import platform
from importlib.metadata import version
print(" | ".join([platform.python_version(), *map(version, ("numpy", "torch", "mxnet"))]))
"""


def find_python(version):
    """Return the path of a Python that runs, on PATH or among those of pyenv; None where there is none."""
    installed = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for candidate in (f"python{version}", *sorted(installed.glob(f"{version}.*/bin/python{version}"))):
        path = shutil.which(candidate)
        if path and os.system(f"'{path}' -c '' >/dev/null 2>&1") == 0:
            return path
    return None


@nox.session(venv_backend="none")  # nox leaves out `python=` for sessions without an environment of its own
@nox.parametrize("version", PYTHONS, ids=PYTHONS)
def tests(session, version):
    """Run `make test` in the environment .venv-VERSION; write its output, and a row of the table."""
    ROWS.mkdir(parents=True, exist_ok=True)
    row = ROWS / f"{version}.md"
    row.unlink(missing_ok=True)
    python = find_python(version)
    if not python:
        session.skip(f"there is no Python {version}")
    venv = f".venv-{version}"
    # Any code is a success: it is the table that says what failed.
    output = session.run(
        "make", "test", f"VENV={venv}", f"PYTHON={python}", external=True, silent=True, success_codes=range(256)
    )
    (ROWS / f"{version}.log").write_text(output, encoding="utf-8")
    summary = re.findall(r"^=+ (.*?)(?: in [\d.:hms ()]+)? =+$", output, re.MULTILINE)
    result = summary[-1] if summary else output.strip().rpartition("\n")[2]
    versions = session.run(f"{venv}/bin/python", "-c", VERSIONS, external=True, silent=True).strip()
    row.write_text(f"| {versions} | {result} |\n", encoding="utf-8")
    if "failed" in result or "error" in result or not summary:
        session.error(result)


@nox.session(venv_backend="none")
def table(session):
    """Print the table."""
    rows = [row.read_text(encoding="utf-8") for row in (ROWS / f"{python}.md" for python in PYTHONS) if row.is_file()]
    session.log("build/matrix.md\n" + HEAD + "".join(rows))
    Path("build/matrix.md").write_text(HEAD + "".join(rows), encoding="utf-8")
