"""`python -m mrcnn.export`: a mistake is one line and exit code 2; that it writes is shown in engines/test_exported."""

import io
import json
import sys

from mrcnn.export.__main__ import main

from ..exporting import ONCE

pytestmark = ONCE

SETTINGS = {"NAME": "small", "BACKBONE": "resnet50", "NUM_CLASSES": 2}


def call(monkeypatch, capsys, weights, folder, settings):
    monkeypatch.setattr(sys, "argv", ["mrcnn.export", str(weights), str(folder)])
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps({"config": settings})))
    code = main()
    return code, capsys.readouterr()


def test_a_file_that_is_no_checkpoint(monkeypatch, capsys, tmp_path):
    weights = tmp_path / "text.h5"
    weights.write_text("nothing")
    code, printed = call(monkeypatch, capsys, weights, tmp_path, SETTINGS)
    assert (code, printed.out) == (2, "")
    assert printed.err.startswith("error: ")
    assert "text.h5" in printed.err
    assert printed.err.count("\n") == 1


def test_settings_that_no_network_can_be_built_from(monkeypatch, capsys, tmp_path):
    code, printed = call(monkeypatch, capsys, tmp_path / "w.h5", tmp_path, SETTINGS | {"NUM_CLASSES": 0})
    assert code == 2
    assert printed.err.startswith("error: the settings")
    assert printed.err.count("\n") == 1
