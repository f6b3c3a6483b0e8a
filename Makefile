# make demo   installs into .venv and segments samples/people.mp4 -> out/people_segmented.mp4
# make test   installs what the tests need and runs them, under TensorFlow and (the network) under JAX
# make lint   style and types
# Another Python: make demo PYTHON=python3.12. More flags for the demo: make demo DEMO_FLAGS="--max-frames 50"
# Windows has no make: the README gives the plain commands.

PYTHON ?=
VENV ?= .venv
DEMO_FLAGS ?=
PYTEST_FLAGS ?=

PY := $(VENV)/bin/python
RUN_STAMP := $(VENV)/.installed-run
TEST_STAMP := $(VENV)/.installed-test
PIP := $(PY) -m pip --disable-pip-version-check

export PYTHONUNBUFFERED := 1
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: help demo test lint install clean
.DELETE_ON_ERROR:

help:
	@sed -n '1,/^$$/s/^# //p' Makefile

demo: $(RUN_STAMP)
	@$(PY) tools/demo.py $(DEMO_FLAGS)

test: $(TEST_STAMP)
	@echo "== tests, Keras on TensorFlow"
	KERAS_BACKEND=tensorflow $(PY) -m pytest $(PYTEST_FLAGS)
	@echo "== tests of the network, Keras on JAX"
	KERAS_BACKEND=jax $(PY) -m pytest $(PYTEST_FLAGS) tests/mrcnn

lint: $(TEST_STAMP)
	$(PY) -m ruff check .
	$(PY) -m mypy

install: $(RUN_STAMP)

clean:
	rm -rf $(VENV) out

$(RUN_STAMP): requirements.txt
	@set -e; python="$$(sh tools/find_python.sh $(PYTHON))"; \
	if ! $(PY) -m pip --version >/dev/null 2>&1; then \
		echo "== making $(VENV) with $$python"; "$$python" -m venv --clear $(VENV); \
	fi
	@echo "== installing requirements.txt into $(VENV): about 3 GB on disk, once, some minutes"
	@$(PIP) install --quiet -r requirements.txt
	@touch $@

$(TEST_STAMP): $(RUN_STAMP) requirements-test.txt requirements-test-nodeps.txt
	@echo "== installing what the tests need"
	@$(PIP) install --quiet -r requirements.txt -r requirements-test.txt
	@$(PIP) install --quiet --no-deps -r requirements-test-nodeps.txt
	@touch $@
