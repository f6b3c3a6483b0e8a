"""`python -m mrcnn.export`: the same files without a framework; a mistake is one line and exit code 2."""

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mrcnn.export import __main__ as command
from mrcnn.export import parts
from mrcnn.export.layers import ExportError
from mrcnn.network.constants import PART_NAMES
from mrcnn.weights.checkpoint import WeightsError
from mrcnn.weights.load_save import save_weights
from mrcnn.weights.metadata import network_settings
from tests.mrcnn.conftest import ONCE
from tests.mrcnn.tiny import tiny_config, tiny_network

pytestmark = ONCE

ROOT = Path(__file__).parents[3]
INTERRUPTED = """
import os, runpy, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "mrcnn.export.parts":
            for _ in range(int(sys.argv[3])):
                os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
runpy.run_module("mrcnn.export", run_name="__main__", alter_sys=True)
"""
SETTINGS = {"NAME": "small", "BACKBONE": "resnet50", "NUM_CLASSES": 2}


def call(monkeypatch, capsys, weights, folder, settings):
    monkeypatch.setattr(sys, "argv", ["mrcnn.export", str(weights), str(folder)])
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps({"config": settings})))
    monkeypatch.setattr(command, "lightest_backend", dict)
    code = command.main()
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


WITHOUT_FRAMEWORKS = """
import sys

class Hidden:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in ("tensorflow", "jax", "torch"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "backbone"),
    [
        ("matterport", "efficientnet_lite0"),
        ("matterport", "resnet101"),
        ("torchvision", "resnet50"),
        ("torchvision_v2", "resnet50"),
        ("detectron2", "resnet50"),
    ],
)
def test_without_a_framework_the_files_are_those_of_tensorflow(tmp_path, architecture, backbone):
    config = tiny_config(architecture, BACKBONE=backbone)
    weights = tmp_path / "net.h5"
    save_weights(tiny_network(config), weights)
    with_tensorflow, without = tmp_path / "with", tmp_path / "without"
    with_tensorflow.mkdir()
    without.mkdir()
    parts.write_parts(weights, config, with_tensorflow)
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_FRAMEWORKS)
    done = subprocess.run(
        [sys.executable, "-m", "mrcnn.export", weights, without],
        input=json.dumps({"config": network_settings(config)}),
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        cwd=Path(__file__).parents[3],
        capture_output=True,
        encoding="utf-8",
        timeout=240,
    )
    assert (done.returncode, done.stderr) == (0, "")
    for name in PART_NAMES:
        assert (without / f"{name}.onnx").read_bytes() == (with_tensorflow / f"{name}.onnx").read_bytes()


def test_without_openvino_the_backend_stays(monkeypatch):
    assert command.lightest_backend() == {"KERAS_BACKEND": "openvino"}
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert command.lightest_backend() == {}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signals between processes")
@pytest.mark.parametrize(("times", "code"), [(1, 2), (2, -signal.SIGINT)])
def test_only_the_second_ctrl_c_ends_it(tmp_path, times, code):
    command = [sys.executable, "-c", INTERRUPTED, str(tmp_path / "missing.h5"), str(tmp_path), str(times)]
    given = json.dumps({"config": SETTINGS})
    done = subprocess.run(command, cwd=ROOT, input=given, capture_output=True, text=True, timeout=60)
    assert done.returncode == code
    assert "Traceback" not in done.stderr


BLOCKED = """
import runpy, sys, time

class Blocking:
    def find_spec(self, name, path=None, target=None):
        if name == "mrcnn.export.parts":
            print("started", flush=True)
            time.sleep(300)

sys.meta_path.insert(0, Blocking())
runpy.run_module("mrcnn.export", run_name="__main__", alter_sys=True)
"""
STARTER = f"""
import subprocess, sys

exporting = subprocess.Popen([sys.executable, "-c", {BLOCKED!r}, "w.h5", "."], stdout=subprocess.PIPE, text=True)
assert exporting.stdout.readline() == "started\\n"
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows does not tell when the parent has ended")
def test_it_ends_with_the_process_that_started_it():
    # Returns when the last process that holds standard error has ended
    done = subprocess.run([sys.executable, "-c", STARTER], cwd=ROOT, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
