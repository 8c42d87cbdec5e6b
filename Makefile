# One command from a fresh clone to a result. A target that needs Python first makes $(VENV), when it is missing, and
# installs into it, when pyproject.toml or constraints.txt has changed since the last time.
#
#   make test PYTHON=/path/to/python3.11   the interpreter to make $(VENV) from (default: the first 3.11 or 3.10 on PATH)
#   make demo DEMO_FLAGS="..."             other flags for `tinyssd compare`
#   make test PYTEST_FLAGS="..."           more flags for pytest
#   make test JOBS=0                       in one process; otherwise in two, up to 4 GB of memory each
#   make wheel-check WHEEL_CHECK_VENV=.venv   with the dependencies of that environment, without a download
#   make notebooks NOTEBOOKS="..."         only the notebooks of these .py files
#   make bench BENCH_FLAGS="..."           flags for `python -m benchmarks`; make book-gap and make ablation likewise

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
EXTRAS := torch,mxnet,book,notebooks,dev
PYTHON ?=
# Small pictures and the improved preset: a detector that finds most bananas, in the minutes the book's takes to begin.
DEMO_FLAGS ?= --data synthetic --preset improved --image-size 128 --epochs 8 --limit 420 --pictures 32
PYTEST_FLAGS ?=
JOBS ?= 2
NOTEBOOKS ?= $(wildcard notebooks/*.py)
BENCH_FLAGS ?=

BIN := $(VENV)/bin
# Notebooks run in this environment's own Python, even where the user has a kernel of the same name.
# A thread that waits for the other cores sleeps: spinning, it takes ten times as long where they are busy.
PYTEST := JUPYTER_PREFER_ENV_PATH=1 OMP_WAIT_POLICY=passive $(BIN)/python -m pytest
STAMP := $(VENV)/.installed
# Notebooks run in a folder of their own, where a relative path would lead elsewhere.
ifneq ($(TINYSSD_DATA),)
export TINYSSD_DATA := $(abspath $(TINYSSD_DATA))
endif
LOG := $(VENV)/install.log
DOCS_VENV := .venv-docs
DOCS_STAMP := $(DOCS_VENV)/.installed
EXECUTED := $(patsubst notebooks/%.py,build/notebooks/%.ipynb,$(wildcard notebooks/*.py))
REPORTS := build/parity-float64.json build/parity-float32.json

.PHONY: help demo test test-slow test-fuzz wheel-check notebooks sync-notebooks docs docs-check bench book-gap ablation lint clean distclean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 23

demo: $(STAMP) ## compare the two frameworks, rung by rung, on pictures drawn on the spot
	@$(BIN)/tinyssd compare $(DEMO_FLAGS)

test: $(STAMP) ## run every test that is not marked slow, and every notebook
	@$(PYTEST) -m "not slow" --nbmake --nbmake-timeout=600 -n $(JOBS) --dist loadfile $(PYTEST_FLAGS)

test-slow: $(STAMP) ## run the tests marked slow
	@$(PYTEST) -m slow $(PYTEST_FLAGS)

test-fuzz: $(STAMP) ## read 12,000 damaged files of every kind (FUZZ=50000 make test-fuzz: more of them)
	@TINYSSD_FUZZ=$${FUZZ:-12000} $(PYTEST) tests/fuzz -n $(JOBS) $(PYTEST_FLAGS)

wheel-check: $(STAMP) ## build the wheel, install it into a fresh environment, and use it in an empty folder (3.0 GB)
	@tests/wheel_check.sh $(BIN)/python constraints.txt $(WHEEL_CHECK_VENV)

notebooks: sync-notebooks ## run every notebook, into build/notebooks (TINYSSD_NOTEBOOK=full make notebooks: hours)
	@mkdir -p build/notebooks
	cp $(NOTEBOOKS:.py=.ipynb) build/notebooks
	$(PYTEST) --nbmake --nbmake-timeout=-1 -o faulthandler_timeout=0 --overwrite $(PYTEST_FLAGS) $(NOTEBOOKS:notebooks/%.py=build/notebooks/%.ipynb)

sync-notebooks: $(STAMP) ## write each notebook's .ipynb from the .py beside it
	@$(BIN)/jupytext --quiet --to ipynb --update $(NOTEBOOKS)

# What was executed and measured before is shown again, unless a notebook has changed: make clean docs measures anew.
docs: $(DOCS_STAMP) $(EXECUTED) $(REPORTS) ## build the site, build/site/index.html (20 minutes at first)
	@# A page that was read with a warning is kept, and would bring none the next time.
	$(DOCS_VENV)/bin/sphinx-build -q -n -W --keep-going -d build/doctrees docs build/site || { rm -r build/doctrees; exit 1; }
	echo "make: wrote build/site/index.html"

docs-check: docs ## test the site in a browser (on Debian or Ubuntu, apt-get install chromium)
	@$(DOCS_VENV)/bin/python -m pytest docs $(PYTEST_FLAGS)

build/notebooks/%.ipynb: notebooks/%.py
	@$(MAKE) notebooks NOTEBOOKS=$< PYTEST_FLAGS=

build/parity-%.json: | $(STAMP)
	@rm -rf build/parity-$*
	$(BIN)/tinyssd compare --check --dtype $* --epochs 1 --limit 64 --pictures 32 --out build/parity-$* --json $@

bench: $(STAMP) ## time this code against the book's own, and write docs/benchmarks.md (hours)
	@mkdir -p build
	# Each framework in a process of its own: with MXNet imported, PyTorch is slower.
	$(BIN)/python -m benchmarks --backend torch,numpy --json build/bench-torch.json $(BENCH_FLAGS)
	$(BIN)/python -m benchmarks --backend mxnet --json build/bench-mxnet.json $(BENCH_FLAGS)
	$(BIN)/python -m benchmarks.page build/bench-torch.json build/bench-mxnet.json

book-gap: $(STAMP) ## find out why the book prints other numbers for PyTorch than for MXNet (an hour)
	@$(BIN)/python -W ignore -m benchmarks.book_gap $(BENCH_FLAGS)

ablation: $(STAMP) ## train each exercise of the chapter by itself and all together, in both frameworks (days)
	@$(BIN)/python -W ignore -m benchmarks.ablation --out docs/ablation.md $(BENCH_FLAGS)

lint: $(STAMP) ## check lint, format, types, and that no room imports upwards
	@$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy ssd_common
	$(BIN)/lint-imports --no-cache

clean: ## remove caches and built files
	@rm -rf build dist docs/{api,notebooks,reports,side_by_side} .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -path './.venv*' -prune -o -type d -name __pycache__ -exec rm -rf {} +

distclean: clean ## remove the virtual environments as well
	@rm -rf $(VENV) $(DOCS_VENV)

# MXNet runs on no Python later than 3.11, and the package on none before 3.10.
IS_SUITABLE := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 11))

# Being on PATH does not make an interpreter usable: pyenv puts shims there for versions that are not switched on, and
# Debian keeps ensurepip in a package of its own. So each candidate is run.
$(STAMP): pyproject.toml constraints.txt
	@fail() { echo "make: $$*" >&2; exit 1; }

	if ! $(BIN)/python -c '' &>/dev/null; then
	    chosen= incomplete=
	    for candidate in $(or $(PYTHON),python3.11 python3.10 python3 python); do
	        "$$candidate" -c '$(IS_SUITABLE)' &>/dev/null || continue
	        if "$$candidate" -c 'import ensurepip, venv' &>/dev/null; then chosen=$$candidate; break; fi
	        incomplete=$$candidate
	    done
	    if [[ -z $$chosen && -n $$incomplete ]]; then
	        version=$$("$$incomplete" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
	        fail "$$incomplete cannot make a virtual environment: on Debian or Ubuntu, apt-get install python$$version-venv"
	    elif [[ -z $$chosen ]]; then
	        fail "$(if $(PYTHON),$(PYTHON) is not,nothing on PATH is) a working Python 3.11 or 3.10 (MXNet runs on no later" \
	            "one): install one, or name one with make PYTHON=/path/to/python3.11"
	    fi
	    echo "make: making $(VENV) with $$("$$chosen" --version)"
	    "$$chosen" -m venv --clear $(VENV)
	elif ! $(BIN)/python -c '$(IS_SUITABLE)'; then
	    fail "$(VENV) is $$($(BIN)/python --version), and MXNet needs 3.11 or 3.10: make distclean, then again"
	fi
	$(BIN)/python -m pip --version &>/dev/null || $(BIN)/python -m ensurepip &>$(LOG)

	echo "make: installing PyTorch and MXNet into $(VENV): minutes, 3.0 GB to download, 5.6 GB on disk (see $(LOG))"
	if ! $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]' &>$(LOG); then
	    reason=$$(grep -oE '(ERROR|[A-Za-z0-9._]+(Error|Exception)): .*' $(LOG) | tail -n 1) || reason=
	    fail "pip failed: $${reason:-see the log} (log: $(LOG); on a slow line, PIP_DEFAULT_TIMEOUT=300 make ...)"
	fi

	for module in mxnet torch torchvision d2l.torch; do
	    if ! reason=$$($(BIN)/python -W ignore -c "import $$module" 2>&1 | tail -n 1); then
	        fail "$$module is installed but cannot be imported: $$reason" \
	            "(a missing library? on Debian or Ubuntu, apt-get install libgomp1 libquadmath0)"
	    fi
	done
	touch $@

$(DOCS_STAMP): pyproject.toml docs/constraints.txt | $(STAMP)
	@if ! $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
	    echo "make: the site needs Python 3.11: make distclean, then make docs PYTHON=/path/to/python3.11" >&2
	    exit 1
	fi
	$(BIN)/python -m venv $(DOCS_VENV)
	$(DOCS_VENV)/bin/python -m pip install --disable-pip-version-check -q -c docs/constraints.txt -e '.[docs]'
	touch $@
