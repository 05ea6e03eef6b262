# make train       train a small residual net on real digits, leave a report page (ARGS="--epochs 5" passes options on)
# make test        linters, then every test, on the fast and on the bounds-checked build
# make test-asan   the kernel and layer tests on a build with AddressSanitizer and UBSan (needs gcc)
# make test-platforms   wheels, other Pythons, other systems and processors: slow; what it needs is in docs/platforms.md
# make bench       the benchmark suite
# make explain     a page that follows the course sheet number by number: build/explain.html
# make docs        the site, in build/site (ARGS=--keep-examples does not run the examples again)
# make clean       remove what was built
#
# Each works from a bare clone with Python 3.11 or later, a C compiler and make, and makes .venv on its first run.

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
READY := $(VENV)/.ready
INSTALLED := $(VENV)/.installed
TOOLS := $(VENV)/.tools
SPHINX := $(VENV)/.sphinx

# What the extensions are made of. Python sources are used in place and need no build.
SOURCES := pyproject.toml setup.py cnnlayers/_version.py \
	$(wildcard cnnlayers/*.pyx cnnlayers/kernels/doors/*.pxi cnnlayers/kernels/c/*)
CYTHON_FILES := $(wildcard cnnlayers/*.pyx cnnlayers/kernels/doors/*.pxi)
C_FILES := $(wildcard cnnlayers/kernels/c/*)
EXTENSIONS := $(wildcard cnnlayers/_*.so)

# What each build is for:
# - fast: right results. Every test runs on it, those of vector code on every instruction-set level.
# - bounds-checked: each index into a view or a tuple, in Cython. The tests of kernels and layers run on it, on the
#   fastest level alone, since all levels stand behind the same Cython.
# - sanitizers: C reads and writes within arrays, and does nothing that is undefined. The same tests run on it, on every
#   level, since the width of a vector decides what is read at the end of an array.
# No test is timed, so two run at a time. A file stays in one process: what its tests share is made once.
KERNEL_TESTS := tests/test_im2col.py tests/kernels tests/layers tests/plan tests/training/test_side_by_side.py
DEBUG_TREE := build/debug-tree
ASAN_TREE := build/asan-tree
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile

# The sanitizers' libraries must come first in a process, so they are preloaded. Python leaks by design: its objects of
# a lifetime. A request for too much memory gets NULL, as without them. -O1 is quick to build and still reports lines.
ASAN_FLAGS := -fsanitize=address,undefined
ASAN_ENVIRONMENT = LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1 PYTHONMALLOC=malloc

unexport CNNLAYERS_DEBUG

.PHONY: train test test-asan test-platforms bench explain docs clean build builds build-debug build-asan lint python-check FORCE
.DELETE_ON_ERROR:

train: build
	@$(BIN)/python -m cnnlayers train $(ARGS)

# The whole suite comes last, so that the last line printed is its count.
test: lint
	@$(MAKE) --no-print-directory -j2 build build-debug
	@echo "== kernel and layer tests, bounds-checked build"
	@cd $(DEBUG_TREE) && CNNLAYERS_ISA=$$($(BIN)/python -c "from cnnlayers import _kernels; print(_kernels.levels()[0])") \
	    $(PYTEST) $(KERNEL_TESTS)
	@echo "== every test and doctest, fast build"
	@$(PYTEST)

test-asan: build-asan $(TOOLS)
	@echo "== kernel and layer tests, AddressSanitizer and UBSan"
	@cd $(ASAN_TREE) && $(ASAN_ENVIRONMENT) $(PYTEST) $(KERNEL_TESTS)

test-platforms: build $(TOOLS)
	@$(BIN)/python -m tests.platforms $(ARGS)

# Side by side, since the last part of a build uses one processor.
builds:
	@$(MAKE) --no-print-directory -j2 build build-debug build-asan

bench: build
	@$(BIN)/python -m benchmarks $(ARGS)

explain: build
	@mkdir -p build
	@$(BIN)/python -m cnnlayers explain --out build/explain.html

docs: build $(SPHINX)
	@$(BIN)/python -m docs.site $(ARGS)

build: $(INSTALLED)

lint: $(TOOLS)
	@echo "== ruff, mypy, cython-lint, clang-format"
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@PATH="$(BIN):$$PATH" cython-lint $(CYTHON_FILES)  # it calls pycodestyle by name
	@$(BIN)/clang-format --dry-run -Werror $(C_FILES)

# The other builds are made in copies of the tree, so that the fast one stays as it is. Objects are kept there, and files
# keep their dates, so only what has changed is compiled again.
copy = mkdir -p $(1)/cnnlayers $(1)/tests && find $(1)/cnnlayers $(1)/tests -type f ! -name "*.so" -delete && \
	tar -cf - --exclude="*.so" --exclude=__pycache__ cnnlayers tests setup.py pyproject.toml README.md | tar -xf - -C $(1)

build-debug: $(READY)
	@echo "== building cnnlayers, bounds-checked"
	@$(call copy,$(DEBUG_TREE))
	@cd $(DEBUG_TREE) && CNNLAYERS_DEBUG=1 $(BIN)/python setup.py -q build_ext --inplace >/dev/null

build-asan: $(READY)
	@echo "== building cnnlayers with AddressSanitizer and UBSan"
	@$(call copy,$(ASAN_TREE))
	@cd $(ASAN_TREE) && CC=gcc CFLAGS="$(ASAN_FLAGS) -fno-sanitize-recover=undefined -g -O1" LDFLAGS="$(ASAN_FLAGS)" \
	    $(BIN)/python setup.py -q build_ext --inplace >/dev/null

$(VENV)/bin/python: | python-check
	@echo "== making $(VENV)"
	@$(PYTHON) -m venv $(VENV)

# What pyproject.toml lists under these names of [project]: "dependencies", and extras.
listed = $(BIN)/python -c "import sys, tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
	lists = project | project['optional-dependencies']; print(*sum([lists[name] for name in sys.argv[1:]], []), sep='\n')"

$(READY): pyproject.toml | $(VENV)/bin/python
	@$(listed) dependencies plot > $(VENV)/dependencies.txt
	@$(PIP) install --upgrade "setuptools>=77" "Cython>=3.1" -r $(VENV)/dependencies.txt
	@touch $@

$(INSTALLED): $(SOURCES) $(READY) $(if $(EXTENSIONS),,FORCE)
	@echo "== building cnnlayers (the first time takes a minute or two)"
	@$(PIP) install --no-build-isolation --no-deps -e .
	@touch $@

$(TOOLS): pyproject.toml | $(READY)
	@echo "== installing the test tools"
	@$(listed) dev > $(VENV)/dev.txt
	@$(PIP) install -r $(VENV)/dev.txt
	@touch $@

$(SPHINX): pyproject.toml | $(READY)
	@echo "== installing Sphinx"
	@$(listed) docs > $(VENV)/docs.txt
	@$(PIP) install -r $(VENV)/docs.txt
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
