# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A single shot multibox detector in MXNet
#
# At the end of this notebook you will have built a detector layer by layer, trained it to find bananas, and seen the
# boxes that it draws. It follows the chapter *Single Shot Multibox Detection* of *Dive into Deep Learning*, section by
# section; its twin in the other framework has the same cells.

# %%
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

SETTING = os.environ.get("TINYSSD_NOTEBOOK", "quick")  # a teacher writes "full" here
SOURCE = os.environ.get("TINYSSD_SOURCE")  # of the package, for a notebook outside its clone: "git+https://…"
QUICK = {"quick": True, "full": False}[SETTING]
if not importlib.util.find_spec("ssd_common"):
    clones = (folder.as_uri() for folder in Path.cwd().parents if (folder / "ssd_common").is_dir())
    source = next(clones, SOURCE) or sys.exit("tinyssd is not installed: give SOURCE the address of its repository")
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", f"tinyssd[mxnet] @ {source}"], check=True)

# %% [markdown]
# ## Questions

# %% [markdown]
# ## Where to look
