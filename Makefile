# One command from a fresh clone to a result. A target that needs Python first makes $(VENV), when it is missing, and
# installs into it, when pyproject.toml or constraints/ has changed since the last time.
#
#   make test PYTHON=/path/to/python3.12   the interpreter to make $(VENV) from (default: the newest on PATH, 3.13 to 3.10)
#   make demo TORCH=cpu                    PyTorch without CUDA, 0.7 instead of 3 GB, from PyTorch's own index
#   make demo DEMO_FLAGS="..."             other flags for `tinyssd compare`
#   make test VENV=.venv-3.12 PYTHON=...    another environment beside $(VENV)
#   make test PYTEST_FLAGS="..."           more flags for pytest
#   make test JOBS=0                       in one process; otherwise in two, up to 5.5 GB of memory each
#   make wheel-check WHEEL_CHECK_VENV=.venv   with the dependencies of that environment, without a download
#   make notebooks NOTEBOOKS="..."         only the notebooks of these .py files
#   make bench BENCH_FLAGS="..."           flags for `python -m benchmarks`; make book, make book-gap and make ablation likewise

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV ?= .venv
EXTRAS := torch,book,onnx,notebooks,dev
# Their metadata forbids numpy 2, with which both run: they are installed by themselves.
ALONE := mxnet d2l
PYTHON ?=
TORCH ?= cuda
# From trained weights on, the two frameworks stay together; from new ones, rounding leads them apart within an epoch.
DEMO_FLAGS ?= --preset improved --weights pretrained --epochs 4 --batch-size 16 --limit 128 --lr 0.02
PYTEST_FLAGS ?=
JOBS ?= 2
TESTS ?= tests/parity tests/reference tests/onnx_files tests/cli tests/test_compat.py tests/test_imports.py \
    tests/test_known_differences.py tests/test_mirror.py
NOX_FLAGS ?=
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
BROWSER := build/browser/made

.PHONY: help demo test backends bench-scale test-slow test-fuzz test-crash wheel-check matrix notebooks outputs sync-notebooks docs docs-check slides bench pretrained book book-gap ablation lint clean distclean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 23

demo: $(STAMP) ## the trained detector in both frameworks, the ladder on its weights, then a short training of both
	@echo "make: 1. the detector that comes with tinyssd, in both frameworks, and the ladder on its weights"
	$(BIN)/tinyssd compare --epochs 0
	echo "make: 2. both train on for a little, from the same weights"
	$(BIN)/tinyssd compare --rungs 1 $(DEMO_FLAGS)

test: $(STAMP) ## run every test that is not marked slow, and every notebook
	@$(PYTEST) -m "not slow" --nbmake --nbmake-timeout=600 -n $(JOBS) --dist loadfile $(PYTEST_FLAGS)

backends: $(STAMP) ## climb the ladder in float64 and with ONNX Runtime, and run the tests of TESTS (default: what depends on the frameworks)
	@rm -rf build/backends
	$(BIN)/tinyssd compare --check --with-onnx --dtype float64 --epochs 1 --limit 64 --pictures 32 --out build/backends
	$(PYTEST) -m "not slow" -n $(JOBS) --dist loadfile $(PYTEST_FLAGS) $(TESTS)

test-slow: $(STAMP) ## run the tests marked slow
	@$(PYTEST) -m slow $(PYTEST_FLAGS)

test-fuzz: $(STAMP) ## read 12,000 damaged files of every kind (FUZZ=50000 make test-fuzz: more of them)
	@TINYSSD_FUZZ=$${FUZZ:-12000} $(PYTEST) tests/fuzz -n $(JOBS) $(PYTEST_FLAGS)

test-crash: $(STAMP) ## kill 200 training runs in each framework, and let them go on (CRASH=1000 make test-crash: more)
	@TINYSSD_CRASH=$${CRASH:-200} $(PYTEST) tests/crash -s -n 0 $(PYTEST_FLAGS)

wheel-check: $(STAMP) ## build the wheel, install it into a fresh environment, and use it in an empty folder (3.0 GB)
	@tests/wheel_check.sh $(BIN)/python constraints/$$($(BIN)/python -c '$(GET_VERSION)').txt $(WHEEL_CHECK_VENV)

matrix: $(STAMP) ## run the tests on each Python from 3.10 to 3.13 that is there, and print a table (an hour each, 6 GB each)
	@$(BIN)/python -m nox $(NOX_FLAGS)

notebooks: sync-notebooks ## run every notebook, into build/notebooks (TINYSSD_NOTEBOOK=full make notebooks: hours)
	@mkdir -p build/notebooks
	cp $(NOTEBOOKS:.py=.ipynb) build/notebooks
	$(PYTEST) --nbmake --nbmake-timeout=-1 -o faulthandler_timeout=0 --overwrite $(PYTEST_FLAGS) $(NOTEBOOKS:notebooks/%.py=build/notebooks/%.ipynb)

# In the quick setting and without real data, as a reader of the repository runs them.
outputs: ## run every notebook, and keep its outputs in notebooks/*.ipynb
	@TINYSSD_NOTEBOOK=quick TINYSSD_DATA= $(MAKE) notebooks
	$(BIN)/python -m tests.teaching.outputs $(NOTEBOOKS:notebooks/%.py=build/notebooks/%.ipynb)

sync-notebooks: $(STAMP) ## write each notebook's .ipynb from the .py beside it
	@$(BIN)/jupytext --quiet --to ipynb --update $(NOTEBOOKS)

# What was executed and measured before is shown again, unless a notebook has changed: make clean docs measures anew.
docs: $(DOCS_STAMP) $(EXECUTED) $(REPORTS) $(BROWSER) ## build the site, build/site/index.html (20 minutes at first)
	@# A page that was read with a warning is kept, and would bring none the next time.
	$(DOCS_VENV)/bin/sphinx-build -q -n -W --keep-going -d build/doctrees docs build/site || { rm -r build/doctrees; exit 1; }
	echo "make: wrote build/site/index.html"

docs-check: docs ## test the site in a browser (on Debian or Ubuntu, apt-get install chromium)
	@$(DOCS_VENV)/bin/python -m pytest docs $(PYTEST_FLAGS)

slides: $(DOCS_STAMP) $(filter %/chapter_torch.ipynb %/chapter_mxnet.ipynb,$(EXECUTED)) ## make 15 slides of the chapter, build/slides/index.html
	@mkdir -p build/slides_source
	$(DOCS_VENV)/bin/sphinx-build -q -W -b revealjs -c docs/slides build/slides_source build/slides
	echo "make: wrote build/slides/index.html"

build/notebooks/%.ipynb: notebooks/%.py
	@$(MAKE) notebooks NOTEBOOKS=$< PYTEST_FLAGS=

build/parity-%.json: | $(STAMP)
	@rm -rf build/parity-$*
	$(BIN)/tinyssd compare --check --with-onnx --dtype $* --epochs 1 --limit 64 --pictures 32 --out build/parity-$* --json $@

# Without npm or its registry, it says so, makes no `made`, and the site has no detector on the page "Try it".
$(BROWSER): docs/browser_files.py $(wildcard ssd_*/export.py) ssd_common/pretrained/bananas.safetensors | $(STAMP)
	@$(BIN)/python docs/browser_files.py build/browser

bench: $(STAMP) ## time this code against the book's own, and write docs/benchmarks.md (hours)
	@mkdir -p build
	# Each framework in a process of its own: with MXNet imported, PyTorch is slower.
	$(BIN)/python -m benchmarks --backend torch,numpy --json build/bench-torch.json $(BENCH_FLAGS)
	$(BIN)/python -m benchmarks --backend mxnet --json build/bench-mxnet.json $(BENCH_FLAGS)
	$(BIN)/python -m benchmarks.page build/bench-torch.json build/bench-mxnet.json

bench-scale: $(STAMP) ## time training in one and in two processes, and count the bytes that they send (minutes)
	@$(BIN)/python -W ignore -m benchmarks.scale $(BENCH_FLAGS)

pretrained: $(STAMP) ## train the detector that comes with the package anew (an hour; BACKEND=mxnet trains it in MXNet)
	@rm -rf build/pretrained
	$(BIN)/tinyssd train --backend $(or $(BACKEND),torch) --data synthetic --preset improved --epochs 36 --out build/pretrained
	$(BIN)/python -m benchmarks.pretrained build/pretrained

book: $(STAMP) ## train both editions on the book's own images (24 MB, downloaded once), and print their results beside ours (2 hours)
	@$(BIN)/python -W ignore -m benchmarks.book --data bananas $(BENCH_FLAGS)

book-gap: $(STAMP) ## find out why the book prints other numbers for PyTorch than for MXNet (an hour)
	@$(BIN)/python -W ignore -m benchmarks.book_gap $(BENCH_FLAGS)

ablation: $(STAMP) ## train each exercise of the chapter by itself and all together, in both frameworks (days)
	@$(BIN)/python -W ignore -m benchmarks.ablation --out docs/ablation.md $(BENCH_FLAGS)

lint: $(STAMP) ## check lint, format, types, and that no room imports upwards
	@$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	# The types are written against numpy 1; those of numpy 2 and of matplotlib 3.11 are others.
	case $$($(BIN)/python -c 'import numpy; print(numpy.__version__)') in
	    1.*) $(BIN)/mypy ssd_common ;;
	    *) echo "make: types are checked with numpy 1 only, on Python 3.10 or 3.11" ;;
	esac
	$(BIN)/lint-imports --no-cache

clean: ## remove caches and built files
	@rm -rf build dist docs/{api,notebooks,reports,side_by_side} .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -path './.venv*' -prune -o -type d -name __pycache__ -exec rm -rf {} +

distclean: clean ## remove the virtual environments as well
	@rm -rf $(VENV) .venv-3.* $(DOCS_VENV)

IS_SUITABLE := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))
GET_VERSION := import sys; print("%d.%d" % sys.version_info[:2])
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check
# PyPI's PyTorch for Linux brings CUDA: 2.4 of 3 GB. On PyTorch's index the same version is there as X+cpu, which pip prefers.
TORCH_INDEX := $(if $(filter cpu,$(TORCH)),--extra-index-url https://download.pytorch.org/whl/cpu)

# Being on PATH does not make an interpreter usable: pyenv puts shims there for versions that are not switched on, and
# Debian keeps ensurepip in a package of its own. So each candidate is run.
$(STAMP): pyproject.toml $(wildcard constraints/*.txt)
	@fail() { echo "make: $$*" >&2; exit 1; }

	[[ "$(TORCH)" == cuda || "$(TORCH)" == cpu ]] || fail "TORCH=$(TORCH) is neither cuda nor cpu"
	if ! $(BIN)/python -c '' &>/dev/null; then
	    chosen= incomplete=
	    for candidate in $(or $(PYTHON),python3.13 python3.12 python3.11 python3.10 python3 python); do
	        "$$candidate" -c '$(IS_SUITABLE)' &>/dev/null || continue
	        if "$$candidate" -c 'import ensurepip, venv' &>/dev/null; then chosen=$$candidate; break; fi
	        incomplete=$${incomplete:-$$candidate}
	    done
	    if [[ -z $$chosen && -n $$incomplete ]]; then
	        version=$$("$$incomplete" -c '$(GET_VERSION)')
	        fail "$$incomplete cannot make a virtual environment: on Debian or Ubuntu, apt-get install python$$version-venv"
	    elif [[ -z $$chosen ]]; then
	        fail "$(if $(PYTHON),$(PYTHON) is not,nothing on PATH is) a working Python 3.10, 3.11, 3.12 or 3.13: install one" \
	            "(uv python install 3.13), or name one with make PYTHON=/path/to/python3.13"
	    fi
	    echo "make: making $(VENV) with $$("$$chosen" --version)"
	    "$$chosen" -m venv --clear $(VENV)
	elif ! $(BIN)/python -c '$(IS_SUITABLE)'; then
	    fail "$(VENV) is $$($(BIN)/python --version), and 3.10 to 3.13 were tested: make distclean, then again"
	fi
	$(BIN)/python -m pip --version &>/dev/null || $(BIN)/python -m ensurepip &>$(LOG)

	version=$$($(BIN)/python -c '$(GET_VERSION)')
	constraints=constraints/$$version.txt
	size=$(if $(filter cpu,$(TORCH)),"0.7 GB to download","3 GB to download (2.4 GB are CUDA for PyTorch) and 6 GB on disk")
	echo "make: installing PyTorch and MXNet into $(VENV), minutes: $$size (see $(LOG))"
	# numpy is never compiled: where there is no wheel for a Python, pip says so in one line.
	if ! $(PIP_INSTALL) -c $$constraints --only-binary numpy $(TORCH_INDEX) -e '.[$(EXTRAS)]' &>$(LOG) ||
	    ! $(PIP_INSTALL) -c $$constraints --no-deps $(ALONE) &>>$(LOG); then
	    reason=$$(grep -oE '(ERROR|[A-Za-z0-9._]+(Error|Exception)): .*' $(LOG) | tail -n 1) || reason=
	    fail "pip failed: $${reason:-see the log} (log: $(LOG); on a slow line, PIP_DEFAULT_TIMEOUT=300 make ...)"
	fi

	for module in ssd_mxnet torch torchvision d2l.torch; do
	    reason=$$($(BIN)/python -W ignore -c "import $$module" 2>&1 | tail -n 1) || case $$reason in
	        *libgomp*|*libquadmath*) fail "$$reason: on Debian or Ubuntu, apt-get install libgomp1 libquadmath0" ;;
	        *) fail "$$module is installed but cannot be imported: $$reason (make distclean, then again)" ;;
	    esac
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
