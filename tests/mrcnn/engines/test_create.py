"""Engines for a weight file; and the whole way through the pipeline, without a deep-learning framework."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mrcnn.engines import cache, create, openvino_runtime
from mrcnn.engines.base import EngineError
from mrcnn.engines.create import create_keras_engine, create_onnx_engine, create_openvino_engine, int8_is_there
from mrcnn.weights.checkpoint import WeightsError
from tests.mrcnn.conftest import ONCE
from tests.mrcnn.exporting import NO_NETWORK
from tests.mrcnn.tiny import tiny_image

pytestmark = ONCE

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "weights" / "stream_segment_person.h5"


def test_all_engines_agree(tiny_files):
    images, windows = tiny_image(96, 128)[None], np.array([[4, 0, 90, 128]])
    makers = (create_keras_engine, create_openvino_engine, create_onnx_engine)
    found = [make(*tiny_files, "float32").detect_molded(images, windows)[0] for make in makers]
    assert len(found[0]) > 3
    for other in found[1:]:
        np.testing.assert_array_equal(other.class_ids, found[0].class_ids)
        np.testing.assert_allclose(other.boxes, found[0].boxes, atol=1e-4)
        np.testing.assert_allclose(other.scores, found[0].scores, atol=1e-4)


def test_keras_says_when_the_weights_do_not_fit(tiny_files, tmp_path):
    bad = tmp_path / "bad.h5"
    bad.write_text("no weights")
    with pytest.raises(WeightsError, match=r"bad.h5"):
        create_keras_engine(bad, tiny_files[1], "float32")


@pytest.mark.parametrize("has_bfloat16", [False, True])
def test_int8_beside_what_the_cpu_has(has_bfloat16, tiny_files, monkeypatch):
    weights, config = tiny_files
    folder = cache.cache_folder(weights, config)
    cache.write(folder / "int8", create.INT8_VERSION, lambda part: (part / "features_body.xml").write_text("int8"))
    made = []
    monkeypatch.setattr(openvino_runtime, "cpu_has_bfloat16", lambda: has_bfloat16)
    monkeypatch.setattr(openvino_runtime, "OpenVinoRuntime", lambda *arguments: made.append(arguments))
    assert int8_is_there(weights, config)
    create_openvino_engine(weights, config, "int8")
    ((parts, precision, _),) = made
    assert precision.value == ("bfloat16" if has_bfloat16 else "float32")
    assert parts["features_body"] == folder / "int8" / "features_body.xml"
    assert parts["boxes"] == folder / "boxes.onnx"
    (folder / "int8" / "features_body.xml").write_text("cut")
    with pytest.raises(
        EngineError, match=r"int8 is not prepared \(.*features_body.xml is missing, truncated.*optimize"
    ):
        create_openvino_engine(weights, config, "int8")
    shutil.rmtree(folder / "int8")
    assert not int8_is_there(weights, config)
    with pytest.raises(EngineError, match=r"int8 is not prepared \(.* does not exist\): run .*optimize"):
        create_openvino_engine(weights, config, "int8")


def test_int8_of_other_weights_does_not_count(tiny_files, tmp_path):
    """Weights that were trained on, under the same name: what was calibrated before is not used."""
    weights, config = tmp_path / "net.h5", tiny_files[1]
    weights.write_bytes(b"before")
    cache.write(cache.cache_folder(weights, config) / "int8", create.INT8_VERSION, lambda part: None)
    assert int8_is_there(weights, config)
    weights.write_bytes(b"after training")
    assert not int8_is_there(weights, config)


MISSING = [
    (create_openvino_engine, "openvino", "float32", "the engine openvino is unavailable.*pip install openvino"),
    (create_onnx_engine, "onnxruntime", "float32", "the engine onnx is unavailable.*pip install onnxruntime"),
]


@pytest.mark.parametrize(("make", "package", "precision", "message"), MISSING)
def test_a_missing_package_is_named_before_anything_is_exported(
    make,
    package,
    precision,
    message,
    tiny_files,
    tmp_path,
    monkeypatch,
):
    from mrcnn.engines.onnx_runtime import onnxruntime

    for made_once in (openvino_runtime.core, onnxruntime):
        made_once.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    weights = shutil.copy(tiny_files[0], tmp_path / "copy.h5")
    with pytest.raises(EngineError, match=message):
        make(weights, tiny_files[1], precision)
    assert not (tmp_path / "cache").exists()


def test_a_cpu_without_bfloat16_is_found_before_anything_is_exported(tiny_files, tmp_path, monkeypatch):
    monkeypatch.setattr(openvino_runtime, "cpu_has_bfloat16", lambda: False)
    weights = shutil.copy(tiny_files[0], tmp_path / "copy.h5")
    with pytest.raises(EngineError, match="does not support bfloat16"):
        create_openvino_engine(weights, tiny_files[1], "bfloat16")
    assert not (tmp_path / "cache").exists()


WHOLE_WAY = (
    NO_NETWORK
    + """
import json, sys
import cv2
from pipeline.segmentation.mask_rcnn_segmenter import MaskRCNNSegmenter
from pipeline.settings.schema import ModelSettings

capture = cv2.VideoCapture(sys.argv[2])
capture.set(cv2.CAP_PROP_POS_FRAMES, 110)
image = capture.read()[1]
found = []
for engine in ("openvino", "onnx"):
    segmenter = MaskRCNNSegmenter.of(ModelSettings(weights=sys.argv[1], engine=engine, precision="float32"))
    segmenter.open()
    instances = segmenter.segment_batch([image])[0]
    found.append([instances.class_ids.tolist(), instances.scores.tolist(), segmenter.description])
    segmenter.close()
assert sys.modules["openvino_telemetry"] is None
loaded = [name for name in ("keras", "tensorflow", "jax", "torch", "onnx") if name in sys.modules]
print(json.dumps({"found": found, "loaded": loaded}))
"""
)


@pytest.mark.slow
def test_the_pipeline_needs_no_framework_after_the_export_and_sends_nothing(tmp_path):
    """The first run exports, in a process of its own, for both engines; the second finds it in the cache."""
    weights = shutil.copy(SHIPPED, tmp_path / "person.h5")
    command = [sys.executable, "-c", WHOLE_WAY, str(weights), str(ROOT / "samples" / "people.mp4")]
    answers, written = [], []
    for _ in range(2):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=240)
        assert done.returncode == 0, done.stderr
        answers.append(json.loads(done.stdout.splitlines()[-1]))
        files = sorted((tmp_path / "cache").rglob("*.onnx"))
        written.append([(path.name, path.stat().st_mtime_ns) for path in files])
    assert [answer["loaded"] for answer in answers] == [[], []]
    assert len(written[0]) == 4
    assert written[0] == written[1]
    for answer in answers:
        (ids, scores, description), (other_ids, other_scores, other_description) = answer["found"]
        assert ids == other_ids == [1] * len(ids)
        assert len(ids) >= 1
        np.testing.assert_allclose(scores, other_scores, atol=1e-3)
        assert "OpenVINO" in description
        assert "float32" in description
        assert "ONNX Runtime" in other_description
