# make demo          installs into .venv and segments samples/people.mp4 -> out/people_segmented.mp4
# make demo LIGHT=1  the same in .venv-light, a third of the size: without TensorFlow
# make test          installs what the tests need and runs all tiers below but PyTorch and Ray
# make test-fast     the tests that neither compute with Keras nor take long, two at a time
# make test-network  the tests that compute with Keras, on TensorFlow, and those that take long
# make test-jax      the tests that compute with Keras, on JAX
# make test-torch    the same on PyTorch, in .venv-torch
# make test-ray      the tests of batch with Ray, in .venv-ray
# make test-alone    one at a time: the page in a browser, the window on an X server, and what follows the clock;
#                    STREAM_SEGMENT_REQUIRE=browser,window makes a missing browser or server a failure
# make lint          style and types
# make docs          builds the documentation into out/docs/; fails on broken links and on missing docstrings
# make dist          builds what is published, from the last commit, into out/dist/: sdist, wheel, SBOM
# make lock          refreshes locks/ within the ranges of requirements*.txt, then runs tests and lint
# make test-newest   the whole suite on the newest release of everything, whatever the upper bounds say
# make test-lowest   the whole suite on the lower bounds
# Another Python, in an environment of its own: make demo PYTHON=python3.12. More flags for the demo:
# make demo DEMO_FLAGS="--max-frames 50". Windows has no make: the README gives the plain commands.

PYTHON ?=
LIGHT ?=
VENV ?= .venv$(addprefix -,$(notdir $(PYTHON)))$(if $(LIGHT),-light)
DEMO_FLAGS ?=
PYTEST_FLAGS ?=
JOBS ?= 2
TORCH ?= torch==2.13.0
RAY ?= ray==2.60.0
SBOM ?= cyclonedx-bom>=7.2.0,<8

PY := $(VENV)/bin/python
RUN := $(if $(LIGHT),light,run)
RUN_STAMP := $(VENV)/.installed-$(RUN)
TEST_STAMP := $(VENV)/.installed-test
DOCS_VENV := $(VENV)-docs
DOCS_STAMP := $(DOCS_VENV)/.installed-docs
UV := .venv-uv/bin/uv
CYCLONEDX := .venv-sbom/bin/cyclonedx-py
DIST := out/dist
FIND_PYTHON := sh tools/find_python.sh $(if $(PYTHON),"$(PYTHON)")
INSTALL = python="$$($(FIND_PYTHON))" && "$$python" tools/install.py
COMPILE := $(UV) pip compile --quiet --generate-hashes --custom-compile-command "make lock"
RANGES := requirements.txt requirements-test.txt

export PYTHONUNBUFFERED := 1
# Packages are installed without compiling their modules: the first import does that, and must be able to keep it.
unexport PYTHONDONTWRITEBYTECODE
export TF_CPP_MIN_LOG_LEVEL ?= 3

ALONE := browser or window or realtime
FAST := not (keras or slow or $(ALONE))
NETWORK ?= (keras or slow) and not ($(ALONE))
PYTEST = $(PY) -m pytest $(PYTEST_FLAGS)
# The tests of a file stay in one process, which makes their shared networks once.
PARALLEL := -n $(JOBS) --dist loadfile

.PHONY: help demo test test-fast test-network test-jax test-torch test-ray test-alone lint docs dist install clean lock \
	test-newest test-lowest
.DELETE_ON_ERROR:

help:
	@sed -n '1,/^$$/s/^# //p' Makefile

demo: $(RUN_STAMP)
	@echo "== segmenting samples/people.mp4: 398 frames, about ten seconds on two cores; the first time as long again to"
	@echo "   prepare the network"
	@$(PY) tools/demo.py $(DEMO_FLAGS)

test: test-fast test-network test-jax test-alone

test-fast: $(TEST_STAMP)
	@echo "== fast tests"
	KERAS_BACKEND=tensorflow $(PYTEST) $(PARALLEL) -m "$(FAST)"

test-network: $(TEST_STAMP)
	@echo "== tests of the network on TensorFlow, and slow tests"
	KERAS_BACKEND=tensorflow $(PYTEST) $(PARALLEL) -m "$(NETWORK)"

test-jax: $(TEST_STAMP)
	@echo "== tests of the network on JAX"
	KERAS_BACKEND=jax $(PYTEST) $(PARALLEL) -m keras tests/mrcnn

test-torch:
	@$(INSTALL) test --venv .venv-torch
	.venv-torch/bin/python -m pip install --quiet "$(TORCH)"
	@echo "== tests of the network on PyTorch"
	KERAS_BACKEND=torch .venv-torch/bin/python -m pytest $(PYTEST_FLAGS) $(PARALLEL) -m keras tests/mrcnn

test-ray:
	@$(INSTALL) test --venv .venv-ray
	.venv-ray/bin/python -m pip install --quiet "$(RAY)"
	@echo "== tests of batch with Ray"
	.venv-ray/bin/python -m pytest $(PYTEST_FLAGS) tests/pipeline/batch

test-alone: $(TEST_STAMP)
	@echo "== tests of the page in a browser, of the window, and of what follows the clock"
	KERAS_BACKEND=tensorflow $(PYTEST) -m "$(ALONE)"

lint: $(TEST_STAMP)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

docs: $(DOCS_STAMP)
	@echo "== building out/docs"
	$(DOCS_VENV)/bin/python -m sphinx --fresh-env --write-all --fail-on-warning --keep-going --quiet -c docs . out/docs
	@echo "== open out/docs/index.html"

# The same bytes whenever and wherever it is built with the same locks: files come from git, their time from the commit.
dist: export SOURCE_DATE_EPOCH = $(shell git log -1 --format=%ct)
dist: $(RUN_STAMP) $(CYCLONEDX)
	@echo "== building $(DIST) from the last commit"
	@rm -rf $(DIST) && mkdir -p $(DIST)/source
	@git archive HEAD | tar -x -C $(DIST)/source
	@cd $(DIST)/source && $(abspath $(PY)) -c "from setuptools import build_meta; build_meta.build_sdist('..')" >../build.log
	@umask 022 && $(PY) -m pip wheel --quiet --no-deps --no-index --no-build-isolation -w $(DIST) $(DIST)/*.tar.gz
	@version="$$(sed -n 's/^__version__ = //p' $(DIST)/source/pipeline/version.py)" && \
		sed "s/^dynamic = .*/version = $$version/" $(DIST)/source/pyproject.toml >$(DIST)/source/subject.toml
	@$(CYCLONEDX) requirements --pyproject $(DIST)/source/subject.toml --output-reproducible \
		-o $(DIST)/sbom.cdx.json $(DIST)/source/locks/run.txt
	@rm -rf $(DIST)/source $(DIST)/build.log
	@$(PY) -m pip hash $(DIST)/*

install: $(RUN_STAMP)

clean:
	rm -rf .venv .venv-* out

# An interpreter that is gone makes the environment anew.
$(PY) $(DOCS_VENV)/bin/python: ;

$(RUN_STAMP): locks/build.txt locks/$(RUN).txt $(PY)
	@echo "== setting up $(VENV)"
	@$(INSTALL) $(RUN) --venv "$(VENV)"
	@touch $@

$(TEST_STAMP): $(RUN_STAMP) locks/test.txt
	@echo "== adding to $(VENV) what the tests need"
	@$(INSTALL) test --venv "$(VENV)"
	@touch $@

$(DOCS_STAMP): locks/build.txt locks/docs.txt $(DOCS_VENV)/bin/python
	@echo "== setting up $(DOCS_VENV)"
	@$(INSTALL) run --venv "$(DOCS_VENV)" --lock locks/docs.txt
	@touch $@

# --- versions

lock: $(UV)
	$(COMPILE) --universal --python-version 3.11 --upgrade $(RANGES) -o locks/test.txt
	$(COMPILE) --universal --python-version 3.11 --upgrade -c locks/test.txt requirements.txt -o locks/run.txt
	$(COMPILE) --universal --python-version 3.11 --upgrade -c locks/test.txt requirements-light.txt -o locks/light.txt
	$(COMPILE) --universal --python-version 3.11 --upgrade -c locks/test.txt requirements.txt requirements-docs.txt -o locks/docs.txt
	printf 'setuptools\nwheel\n' | $(COMPILE) --universal --python-version 3.11 --upgrade -c locks/test.txt - -o locks/build.txt
	$(MAKE) test lint docs

test-newest: $(UV)
	sed 's/[<>=].*//' $(RANGES) | $(COMPILE) --python "$$($(FIND_PYTHON))" --upgrade - -o .venv-newest.lock
	@$(INSTALL) test --venv .venv-newest --lock .venv-newest.lock
	touch .venv-newest/.installed-run .venv-newest/.installed-test
	$(MAKE) test VENV=.venv-newest

test-lowest: $(UV)
	$(COMPILE) --python "$$($(FIND_PYTHON))" --resolution lowest-direct $(RANGES) -o .venv-lowest.lock
	@$(INSTALL) test --venv .venv-lowest --lock .venv-lowest.lock
	touch .venv-lowest/.installed-run .venv-lowest/.installed-test
	$(MAKE) test VENV=.venv-lowest

$(UV):
	@python="$$($(FIND_PYTHON))" && "$$python" -m venv --clear .venv-uv
	@.venv-uv/bin/python -m pip install --quiet "uv>=0.13.9,<1"

$(CYCLONEDX):
	@python="$$($(FIND_PYTHON))" && "$$python" -m venv --clear .venv-sbom
	@.venv-sbom/bin/python -m pip install --quiet "$(SBOM)"
