"""`python -m mrcnn.export`: a mistake is one line and exit code 2; that it writes is shown in engines/test_create."""

import io
import json
import sys

import pytest

from mrcnn.export import parts
from mrcnn.export.__main__ import main
from mrcnn.export.layers import ExportError
from mrcnn.weights.checkpoint import WeightsError
from tests.mrcnn.conftest import ONCE

pytestmark = ONCE

SETTINGS = {"NAME": "small", "BACKBONE": "resnet50", "NUM_CLASSES": 2}


def call(monkeypatch, capsys, weights, folder, settings):
    monkeypatch.setattr(sys, "argv", ["mrcnn.export", str(weights), str(folder)])
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps({"config": settings})))
    code = main()
    return code, capsys.readouterr()


MISTAKES = [WeightsError("text.h5 is no checkpoint"), ExportError("layer x is a Y"), OSError(28, "No space left")]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: type(mistake).__name__)
def test_what_may_go_wrong(monkeypatch, capsys, tmp_path, mistake):
    def fail(weights, config, folder):
        assert (weights, folder, config.NUM_CLASSES) == (tmp_path / "w.h5", tmp_path, 2)
        raise mistake

    monkeypatch.setattr(parts, "write_parts", fail)
    code, printed = call(monkeypatch, capsys, tmp_path / "w.h5", tmp_path, SETTINGS)
    assert (code, printed.out) == (2, "")
    assert printed.err == f"error: {mistake}\n"


def test_settings_that_no_network_can_be_built_from(monkeypatch, capsys, tmp_path):
    code, printed = call(monkeypatch, capsys, tmp_path / "w.h5", tmp_path, SETTINGS | {"NUM_CLASSES": 0})
    assert code == 2
    assert printed.err.startswith("error: the weight file's NUM_CLASSES must be ")
    assert printed.err.count("\n") == 1
