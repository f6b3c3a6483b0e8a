# `make demo` and `make test` need Python 3.11 or newer and nothing else. PYTHON=python3.12 make demo chooses another.

PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python
OUT ?= out

.PHONY: demo test lint clean help

help:
	@echo "make demo   install, segment the sample video, say where the result lies"
	@echo "make test   install what the tests need, run them under TensorFlow and JAX"
	@echo "make lint   ruff and mypy"
	@echo "make clean  remove the virtual environment and $(OUT)/"

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "stream_segment needs Python 3.11 or newer, $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12 demo" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.txt | $(VENV)/bin/python
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.installed-test: requirements-test.txt requirements-test-nodeps.txt $(VENV)/.installed
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements-test.txt
	$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-test-nodeps.txt
	@touch $@

demo: $(VENV)/.installed
	@mkdir -p $(OUT)
	$(RUN) stream_segment.py weights any
	$(RUN) stream_segment.py --source samples/people.mp4 --no-window \
	  --output $(OUT)/people_segmented.mp4 --detections $(OUT)/people.jsonl
	@echo "The annotated video: $(abspath $(OUT))/people_segmented.mp4"

test: $(VENV)/.installed-test
	KERAS_BACKEND=tensorflow $(RUN) -m pytest
	KERAS_BACKEND=jax $(RUN) -m pytest tests/mrcnn

lint: $(VENV)/.installed-test
	$(RUN) -m ruff check .
	$(RUN) -m mypy

clean:
	rm -rf $(VENV) $(OUT)
