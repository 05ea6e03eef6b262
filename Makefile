# make train       train a small residual net on real digits, leave a report page (ARGS="--epochs 5" passes options on)
# make test        linters, then every test, on the fast and on the bounds-checked build
# make test-asan   the kernel and layer tests on a build with AddressSanitizer and UBSan (needs gcc)
# make bench       the benchmark suite
# make clean       remove what was built
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
	$(wildcard cnnlayers/*.pyx cnnlayers/kernels/doors/*.pxi cnnlayers/kernels/c/*)
CYTHON_FILES := $(wildcard cnnlayers/*.pyx cnnlayers/kernels/doors/*.pxi)
C_FILES := $(wildcard cnnlayers/kernels/c/*)
EXTENSIONS := $(wildcard cnnlayers/_*.so)

# The tests that reach compiled code run on the bounds-checked build too.
DEBUG_TREE := build/debug-tree
DEBUG_TESTS := $(wildcard tests/test_im2col.py tests/kernels tests/layers)

# The sanitizers' libraries must come first in a process, so they are preloaded. Python leaks by design: its objects of
# a lifetime. A request for too much memory gets NULL, as without them. -O1 is quick to build and still reports lines.
ASAN_TREE := build/asan-tree
ASAN_FLAGS := -fsanitize=address,undefined
ASAN_ENVIRONMENT = LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1 PYTHONMALLOC=malloc
ASAN_SKIPPED := tests/layers/test_own_layer.py::test_a_script_of_ones_own  # runs a script without that environment

unexport CNNLAYERS_DEBUG

.PHONY: train test test-asan bench clean build lint test-debug test-levels python-check FORCE
.DELETE_ON_ERROR:

train: build
	@$(BIN)/python -m cnnlayers train $(ARGS)

# The whole suite comes last, so that the last line printed is its count.
test: lint test-debug test-levels
	@echo "== every test and doctest, fast build"
	@$(BIN)/python -m pytest

bench: build
	@$(BIN)/python -m benchmarks $(ARGS)

build: $(INSTALLED)

lint: build $(TOOLS)
	@echo "== ruff, mypy, cython-lint, clang-format"
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@PATH="$(BIN):$$PATH" cython-lint $(CYTHON_FILES)  # it calls pycodestyle by name
	@$(BIN)/clang-format --dry-run -Werror $(C_FILES)

# In a copy of the tree, so that the fast build stays as it is.
test-debug: build $(TOOLS)
	@echo "== kernel and layer tests, bounds-checked build"
	@mkdir -p $(DEBUG_TREE)
	@rm -rf $(DEBUG_TREE)/cnnlayers $(DEBUG_TREE)/tests
	@cp -Rp cnnlayers tests setup.py pyproject.toml README.md $(DEBUG_TREE)
	@rm -f $(DEBUG_TREE)/cnnlayers/*.so
	@cd $(DEBUG_TREE) && CNNLAYERS_DEBUG=1 $(BIN)/python setup.py -q build_ext --inplace
	@cd $(DEBUG_TREE) && $(BIN)/python -m pytest $(DEBUG_TESTS)

# tests/kernels runs on every instruction-set level by itself; the layers take the fastest, so here they take the others.
test-levels: build $(TOOLS)
	@for level in $$($(BIN)/python -c "from cnnlayers import _kernels; print(*_kernels.levels()[1:])"); do \
	    echo "== layer tests, $$level kernels"; \
	    CNNLAYERS_ISA=$$level $(BIN)/python -m pytest -q tests/layers || exit 1; \
	done

test-asan: build $(TOOLS)
	@echo "== kernel and layer tests, AddressSanitizer and UBSan"
	@mkdir -p $(ASAN_TREE)
	@rm -rf $(ASAN_TREE)/cnnlayers $(ASAN_TREE)/tests
	@cp -Rp cnnlayers tests setup.py pyproject.toml README.md $(ASAN_TREE)
	@rm -f $(ASAN_TREE)/cnnlayers/*.so
	@cd $(ASAN_TREE) && CC=gcc CFLAGS="$(ASAN_FLAGS) -fno-sanitize-recover=undefined -g -O1" LDFLAGS="$(ASAN_FLAGS)" \
	    $(BIN)/python setup.py -q build_ext --inplace
	@cd $(ASAN_TREE) && $(ASAN_ENVIRONMENT) $(BIN)/python -m pytest $(DEBUG_TESTS) --deselect $(ASAN_SKIPPED)

$(VENV)/bin/python: | python-check
	@echo "== making $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(INSTALLED): $(SOURCES) $(if $(EXTENSIONS),,FORCE) | $(VENV)/bin/python
	@echo "== building cnnlayers (the first time takes a minute or two)"
	@$(PIP) install --upgrade "setuptools>=77" "Cython>=3.1"
	@$(PIP) install --no-build-isolation -e ".[plot]"
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
