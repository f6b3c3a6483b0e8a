"""int8 by NNCF, on the tiny network: in a process of its own, which may not use the network."""

import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mrcnn.engines import cache, openvino_runtime, quantize
from mrcnn.engines.base import EngineError
from mrcnn.engines.calibration import Calibration, calibration_path, read_calibration, write_calibration
from mrcnn.engines.create import INT8_FOLDER, create_openvino_engine, exported_parts, int8_parts
from mrcnn.engines.openvino_runtime import CpuPrecision, OpenVinoRuntime
from mrcnn.network import backbones
from mrcnn.weights.load_save import save_weights
from tests.mrcnn.conftest import ONCE
from tests.mrcnn.engines.fake_nncf import FakeNncf
from tests.mrcnn.exporting import NO_NETWORK
from tests.mrcnn.tiny import tiny_backbone, tiny_config, tiny_image, tiny_network

pytestmark = ONCE

ROOT = Path(__file__).parents[3]

CALIBRATE = (
    NO_NETWORK
    + """
import json, pathlib, sys
import numpy as np
from mrcnn.config import Config
from mrcnn.engines import quantize as module
from mrcnn.engines.calibration import write_calibration

module.MIN_CHANNELS = 1  # the tiny network is narrow
quantize = module.quantize
settings = json.loads(sys.argv[2])
config = type("Same", (Config,), settings)()
canvases = list(np.load(sys.argv[3])) + [np.full((96, 64, 3), 90, np.uint8)]
weights = pathlib.Path(sys.argv[1])
path = write_calibration(weights, quantize(weights, config, canvases))
assert sys.modules["openvino_telemetry"] is None
print(json.dumps({"path": str(path), "keras": "keras" in sys.modules}))
"""
)


@pytest.fixture(scope="module")
def calibrated(tiny_files, tmp_path_factory):
    """The int8 graphs by part name, from the calibration that another process has made."""
    weights, config = tiny_files
    names = [name for kind in type(config).__mro__[:2] for name in vars(kind) if name.isupper()]
    settings = {name: getattr(config, name) for name in names}
    canvases = tmp_path_factory.mktemp("canvases") / "canvases.npy"
    np.save(canvases, np.stack([tiny_image(64, 96, seed) for seed in (11, 12, 13)]))
    command = [sys.executable, "-c", CALIBRATE, str(weights), json.dumps(settings), str(canvases)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert not answer["keras"]
    assert answer["path"] == str(calibration_path(weights))
    parts = int8_parts(weights, cache.cache_folder(weights, config), exported_parts(weights, config))
    yield parts
    calibration_path(weights).unlink()


def test_the_graphs_lie_beside_the_exported_ones_and_are_written_once(calibrated, tiny_files):
    weights, config = tiny_files
    folder = cache.cache_folder(weights, config)
    assert set(calibrated) == {"features_body", "boxes_head", "masks_head"}
    assert {path.parent for path in calibrated.values()} == {folder / INT8_FOLDER}
    before = calibrated["features_body"].stat().st_mtime_ns
    assert int8_parts(weights, folder, exported_parts(weights, config)) == calibrated
    assert calibrated["features_body"].stat().st_mtime_ns == before
    assert not list(folder.parent.rglob("*.part"))


def test_a_new_calibration_of_the_same_weights_replaces_the_graphs(calibrated, tiny_files):
    weights, config = tiny_files
    calibration, folder = read_calibration(weights), cache.cache_folder(weights, config)
    assert calibration.facts == {"canvases": 4}
    assert not calibration.is_admissible
    parts = exported_parts(weights, config)
    try:
        write_calibration(weights, replace(calibration, facts={"admissible": True}))
        assert read_calibration(weights).is_admissible
        before = calibrated["features_body"].stat().st_mtime_ns
        int8_parts(weights, folder, parts)
        assert calibrated["features_body"].stat().st_mtime_ns == before, "other facts are no other graphs"
        body = {"features_body": calibration.parts["features_body"]}
        write_calibration(weights, Calibration(body))
        assert set(int8_parts(weights, folder, parts)) == {"features_body"}
    finally:
        write_calibration(weights, calibration)
        int8_parts(weights, folder, parts)


def test_a_calibration_of_another_network_does_not_fit(calibrated, tiny_files):
    weights, config = tiny_files
    calibration = read_calibration(weights)
    changes = [replace(one, targets=[("nowhere", 0)]) for one in calibration.parts["features_body"]]
    try:
        write_calibration(weights, Calibration({"features_body": changes}))
        with pytest.raises(EngineError, match=r"does not fit the exported network \('nowhere'\)"):
            create_openvino_engine(weights, config, "int8")
    finally:
        write_calibration(weights, calibration)
        int8_parts(weights, cache.cache_folder(weights, config), exported_parts(weights, config))


def test_features_are_near_float32_and_not_the_same(calibrated, tiny_files):
    parts = exported_parts(*tiny_files)
    image = tiny_image(64, 96, 21)[None]
    exact = OpenVinoRuntime(parts, CpuPrecision.FLOAT32).run("features", {"images": image})["rpn_class_logits"]
    int8 = parts | calibrated
    found = OpenVinoRuntime(int8, CpuPrecision.FLOAT32).run("features", {"images": image})["rpn_class_logits"]
    error = np.linalg.norm(found - exact) / np.linalg.norm(exact)
    assert 1e-4 < error < 0.2


def test_box_head_is_near_float32_and_not_the_same(calibrated, tiny_files):
    parts = exported_parts(*tiny_files)
    image = tiny_image(64, 96, 21)[None]
    windows = {f"windows{level}": np.array([[1, 1, 5, 4], [0, 2, 3, 9]], np.float32) for level in (2, 3, 4, 5)}
    inputs = windows | {f"images{level}": np.zeros(2, np.int64) for level in (2, 3, 4, 5)}
    heads = {name: path for name, path in calibrated.items() if name != "features_body"}
    found = []
    for files in (parts, parts | heads):
        runtime = OpenVinoRuntime(files, CpuPrecision.FLOAT32)
        pyramid = runtime.run("features", {"images": image})
        found.append(runtime.run("boxes", {**pyramid, **inputs})["deltas"].copy())
    error = np.linalg.norm(found[1] - found[0]) / np.linalg.norm(found[0])
    assert 1e-4 < error < 0.2


def test_proposals_pooled_in_pieces_are_those_pooled_at_once(calibrated, tiny_files, monkeypatch):
    """Levels whose regions fill every piece, a few of them, a part of one, and none; fewer than before at last."""
    parts = exported_parts(*tiny_files) | calibrated
    image = tiny_image(64, 96, 21)[None]
    found = []
    for pieces in (1, 8):
        monkeypatch.setitem(openvino_runtime.PIECES, "boxes", pieces)
        runtime = OpenVinoRuntime(parts, CpuPrecision.FLOAT32)
        pyramid, rng = runtime.run("features", {"images": image}), np.random.default_rng(5)
        for counts in ((301, 70, 5, 0), (0, 33, 0, 1)):
            inputs = {}
            for level, count in zip((2, 3, 4, 5), counts, strict=True):
                corners = rng.uniform(0, 3, (count, 2))
                windows = np.concatenate([corners, corners + rng.uniform(1, 9, (count, 2))], axis=1)
                inputs[f"windows{level}"] = windows.astype(np.float32)
                inputs[f"images{level}"] = np.zeros(count, np.int64)
            found.append([values.copy() for values in runtime.run("boxes", {**pyramid, **inputs}).values()])
    assert [len(probs) for probs, _ in found] == [376, 34, 376, 34]
    assert np.ptp(found[0][1], axis=0).max() > 0
    for at_once, in_pieces in zip(found[:2], found[2:], strict=True):
        for expected, values in zip(at_once, in_pieces, strict=True):
            np.testing.assert_array_equal(values, expected)


def test_heads_of_a_narrow_network_stay_as_they_are(tiny_files, tmp_path, monkeypatch):
    weights, config = tiny_files
    nncf = FakeNncf()
    monkeypatch.setitem(sys.modules, "nncf", nncf)
    quantize.quantize(weights, config, [tiny_image(64, 96, 11)])
    assert [(len(inputs), preset) for inputs, preset in nncf.calibrated] == [(1, "performance")]


def test_calibration_sees_no_more_of_a_canvas_than_the_network(tmp_path, monkeypatch):
    """What lies outside of an image's window does not matter where the padding follows the mean."""
    config = tiny_config("torchvision", BACKBONE="tiny")
    nncf = FakeNncf()
    monkeypatch.setitem(sys.modules, "nncf", nncf)
    monkeypatch.setitem(backbones.BACKBONES, "tiny", lambda image, _: tiny_backbone(image, True, False)[1:])
    monkeypatch.setitem(backbones.STEM_ENDS, "tiny", "tiny2_relu")
    save_weights(tiny_network(config), tmp_path / "tiny.h5")
    exported_parts(tmp_path / "tiny.h5", config)
    canvas = tiny_image(64, 96, 11)
    other = canvas.copy()
    other[:, 64:] = 255 - other[:, 64:]
    quantize.quantize(tmp_path / "tiny.h5", config, [canvas, other], [(0, 0, 64, 64)] * 2)
    quantize.quantize(tmp_path / "tiny.h5", config, [canvas, other])
    (inside, same), (whole, different) = ([one["stem"] for one in inputs] for inputs, _ in nncf.calibrated)
    np.testing.assert_array_equal(inside, same)
    assert not np.array_equal(whole, different)
    np.testing.assert_array_equal(inside[:, :, :15], whole[:, :, :15])  # of 24 columns, those that only see the image


def test_engine_takes_it(calibrated, tiny_files):
    image, windows = tiny_image(64, 96, 21)[None], np.array([[0, 0, 64, 96]])
    exact = create_openvino_engine(*tiny_files, "float32").detect_molded(image, windows)[0]
    found = create_openvino_engine(*tiny_files, "int8").detect_molded(image, windows)[0]
    assert len(exact) > 3
    assert abs(len(found) - len(exact)) <= 2
    assert np.abs(found.scores[:3] - exact.scores[:3]).max() < 0.15
    assert not np.array_equal(found.scores[:3], exact.scores[:3])


def test_it_is_kept_when_the_graphs_are_made_anew(calibrated, tiny_files):
    exported_parts(*tiny_files)["masks"].write_text("cut")
    exported_parts(*tiny_files)
    assert all(path.is_file() for path in calibrated.values())


def test_no_canvases(tiny_files):
    with pytest.raises(ValueError, match="one canvas or more"):
        quantize.quantize(*tiny_files, [])


def test_nncf_is_not_installed(tiny_files, monkeypatch):
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(EngineError, match=r"int8 needs NNCF \(.*\): pip install nncf"):
        quantize.quantize(*tiny_files, [tiny_image(64, 96)])


def test_requirements_file_that_the_message_names():
    assert "nncf>=" in (ROOT / "requirements-optimize.txt").read_text()
    assert importlib.util.find_spec("nncf") is not None


def test_a_full_disk_is_an_oserror(tmp_path, monkeypatch):
    import openvino

    def full(model, path, compress_to_fp16):
        raise RuntimeError("Exception from src/core\nCheck failed\nCan't write: no space left")

    monkeypatch.setattr(openvino, "save_model", full)
    with pytest.raises(OSError, match=r"^Can't write: no space left$"):
        openvino_runtime.save_models({"features_body": None}, tmp_path)
