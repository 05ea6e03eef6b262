# make train   train a small residual net on real digits (ARGS="--epochs 5" passes options on)
# make test    linters, then every test, on the fast and on the bounds-checked build
# make bench   the benchmark suite
# make clean   remove what was built
#
# Each works from a bare clone with Python 3.11 or later, a C compiler and make, and makes .venv on its first run.

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
INSTALLED := $(VENV)/.installed
TOOLS := $(VENV)/.tools

# What the extensions are made of. Python sources are used in place and need no build.
SOURCES := pyproject.toml setup.py cnnlayers/_version.py \
	$(wildcard cnnlayers/*.pyx cnnlayers/*.pxd cnnlayers/kernels/*.c cnnlayers/kernels/*.h)
CYTHON_FILES := $(wildcard cnnlayers/*.pyx cnnlayers/*.pxd)
EXTENSIONS := $(wildcard cnnlayers/_*.so)

# The tests that reach compiled code run on the bounds-checked build too.
DEBUG_TREE := build/debug-tree
DEBUG_TESTS := $(wildcard tests/test_im2col.py tests/kernels tests/layers)

unexport CNNLAYERS_DEBUG

.PHONY: train test bench clean build lint test-debug python-check FORCE
.DELETE_ON_ERROR:

train: build
	@$(BIN)/python -m cnnlayers train $(ARGS)

# The whole suite comes last, so that the last line printed is its count.
test: lint test-debug
	@echo "== every test and doctest, fast build"
	@$(BIN)/python -m pytest

bench: build
	@$(BIN)/python -m benchmarks $(ARGS)

build: $(INSTALLED)

lint: build $(TOOLS)
	@echo "== ruff, mypy, cython-lint"
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@PATH="$(BIN):$$PATH" cython-lint $(CYTHON_FILES)  # it calls pycodestyle by name

# In a copy of the tree, so that the fast build stays as it is.
test-debug: build $(TOOLS)
	@echo "== kernel and layer tests, bounds-checked build"
	@mkdir -p $(DEBUG_TREE)
	@rm -rf $(DEBUG_TREE)/cnnlayers $(DEBUG_TREE)/tests
	@cp -Rp cnnlayers tests setup.py pyproject.toml README.md $(DEBUG_TREE)
	@rm -f $(DEBUG_TREE)/cnnlayers/*.so
	@cd $(DEBUG_TREE) && CNNLAYERS_DEBUG=1 $(BIN)/python setup.py -q build_ext --inplace
	@cd $(DEBUG_TREE) && $(BIN)/python -m pytest $(DEBUG_TESTS)

$(VENV)/bin/python: | python-check
	@echo "== making $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(INSTALLED): $(SOURCES) $(if $(EXTENSIONS),,FORCE) | $(VENV)/bin/python
	@echo "== building cnnlayers (the first time takes a minute or two)"
	@$(PIP) install --upgrade "setuptools>=77" "Cython>=3.1"
	@$(PIP) install --no-build-isolation -e .
	@touch $@

# The extra "dev" alone: installing ".[dev]" would build the package once more.
$(TOOLS): pyproject.toml | $(INSTALLED)
	@echo "== installing the test tools"
	@$(BIN)/python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
	    print(*project['optional-dependencies']['dev'], sep='\n')" > $(VENV)/dev.txt
	@$(PIP) install -r $(VENV)/dev.txt
	@touch $@

python-check:
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null || { \
	    echo "cnnlayers needs Python 3.11 or later; $(PYTHON) is: $$($(PYTHON) --version 2>&1)." \
	         "Say which to use, e.g.: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c "import ensurepip, venv" 2>/dev/null || { \
	    echo "$(PYTHON) cannot make virtual environments. On Debian or Ubuntu: sudo apt install python3-venv" >&2; exit 1; }
	@$(PYTHON) -c "import os, sysconfig as s; os.stat(os.path.join(s.get_path('include'), 'Python.h'))" 2>/dev/null || { \
	    echo "$(PYTHON) has no header files (Python.h). On Debian or Ubuntu: sudo apt install python3-dev" >&2; exit 1; }
	@command -v $(CC) >/dev/null || { \
	    echo "no C compiler ($(CC)). On Debian or Ubuntu: sudo apt install gcc" >&2; exit 1; }

clean:
	rm -rf $(VENV) build dist cnnlayers.egg-info cnnlayers/_*.so .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find cnnlayers tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

FORCE:
