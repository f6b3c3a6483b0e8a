"""Graphs from the cache, or made now; the network itself is exported here in this process or in one of its own."""

from __future__ import annotations

import errno
import json
import logging
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mrcnn.config import Config
from mrcnn.engines import cache, create, openvino_runtime
from mrcnn.engines.base import EngineError
from mrcnn.engines.calibration import Calibration
from mrcnn.engines.create import (
    VERSION,
    ExportFault,
    create_keras_engine,
    create_onnx_engine,
    create_openvino_engine,
    exported_parts,
)
from mrcnn.network.constants import PART_NAMES
from mrcnn.weights.checkpoint import WeightsError
from tests.mrcnn.conftest import ONCE
from tests.mrcnn.exporting import NO_NETWORK
from tests.mrcnn.tiny import tiny_config, tiny_image

pytestmark = ONCE


class Small(Config):
    NAME, NUM_CLASSES, GPU_COUNT, IMAGES_PER_GPU = "small", 3, 1, 1


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "net.h5"
    path.write_bytes(b"weights")
    return path


@pytest.fixture
def exports(monkeypatch):
    """Stands for the export; a list of the folders that it was asked to fill."""
    calls = []

    def fake(weights, config, folder):
        calls.append(folder)
        for name in PART_NAMES:
            (folder / f"{name}.onnx").write_text(f"{name} {len(calls)}")

    monkeypatch.setattr(create.Export, "export", lambda export, folder: fake(export.weights, export.config, folder))
    return calls


def test_first_call_exports_the_second_reads(weights, exports, caplog):
    first = exported_parts(weights, Small())
    assert tuple(sorted(first)) == tuple(sorted(PART_NAMES))
    assert exported_parts(weights, Small()) == first
    assert len(exports) == 1
    assert not exports[0].exists()
    folder = cache.cache_folder(weights, Small())
    assert cache.notes(folder) == {"weights": "net.h5"}
    assert all(path.parent == folder for path in first.values())
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_other_weights_under_the_same_name_are_exported_anew(weights, exports):
    first = exported_parts(weights, Small())
    weights.write_bytes(b"other weights")
    assert exported_parts(weights, Small())["boxes"].parent != first["boxes"].parent
    assert len(exports) == 2


def test_a_broken_cache_is_made_anew_with_one_warning(weights, exports, caplog):
    exported_parts(weights, Small())["masks"].write_text("cut")
    assert exported_parts(weights, Small())["masks"].read_text() == "masks 2"
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert "masks.onnx is missing, truncated or changed: exporting again" in warnings[0]


def test_a_cache_without_one_of_the_parts_is_made_anew(weights, exports, caplog):
    folder = cache.cache_folder(weights, Small())
    cache.write(folder, VERSION, lambda part: (part / "boxes.onnx").write_text("old"))
    assert exported_parts(weights, Small())["boxes"].read_text() == "boxes 1"
    assert "has no features" in caplog.text


def test_a_cache_of_another_version_is_made_anew(weights, exports, caplog):
    folder = cache.cache_folder(weights, Small())
    cache.write(folder, "stream_segment export 0", lambda part: (part / "boxes.onnx").write_text("old"))
    assert exported_parts(weights, Small())["boxes"].read_text() == "boxes 1"
    assert "was written by stream_segment export 0" in caplog.text


def test_an_older_format_of_the_same_weights_is_removed_in_one_line(weights, exports, caplog):
    parent = cache.cache_folder(weights, Small()).parent
    for name, version, digit in (("net", "stream_segment export 0", "a"), ("net", VERSION, "b"), ("my", VERSION, "c")):
        notes = {"weights": f"{name}.h5"}
        cache.write(parent / f"{name}-{16 * digit}", version, lambda part: (part / "a.onnx").write_text("x"), notes)
    with caplog.at_level(logging.INFO, "mrcnn.engines.create"):
        made = exported_parts(weights, Small())["boxes"].parent
    assert {path.name for path in parent.iterdir()} == {made.name, f"net-{16 * 'b'}", f"my-{16 * 'c'}"}
    lines = [record.getMessage() for record in caplog.records if "removed" in record.getMessage()]
    assert lines == [f"removed outdated exports of net.h5 from {parent}: net-{16 * 'a'}"]
    exported_parts(weights, Small())
    assert len(exports) == 1


def test_what_another_process_has_made_meanwhile_stays(weights, monkeypatch):
    folder = cache.cache_folder(weights, Small())

    def slow(weights, config, part):
        for place, text in ((folder, "theirs"), (part, "ours")):
            place.mkdir(exist_ok=True)
            for name in PART_NAMES:
                (place / f"{name}.onnx").write_text(text)
        if not (folder / cache.MANIFEST).exists():
            cache.write(folder, VERSION, lambda other: [(other / f"{n}.onnx").write_text("theirs") for n in PART_NAMES])

    monkeypatch.setattr(create.Export, "export", lambda export, folder: slow(export.weights, export.config, folder))
    assert exported_parts(weights, Small())["boxes"].read_text() == "theirs"
    assert [entry.name for entry in folder.parent.iterdir()] == [folder.name]


def test_a_full_disk_is_one_line(weights, monkeypatch):
    def full(weights, config, folder):
        (folder / "features.onnx").write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(create.Export, "export", lambda export, folder: full(export.weights, export.config, folder))
    with pytest.raises(ExportFault, match=r"cannot be written to .*net-.*: .*No space left on device"):
        exported_parts(weights, Small())
    assert not list((weights.parent / "cache").iterdir())


def unusable(prefix):
    raise FileNotFoundError("No usable temporary directory found")


def test_no_place_to_keep_it_is_told(weights, monkeypatch, tmp_path, exports, caplog):
    temporary = tmp_path / "stream_segment-engines-x"
    monkeypatch.setattr("os.access", lambda path, mode: False)
    monkeypatch.setattr(cache, "temporary_cache", lambda prefix: temporary)
    assert exported_parts(weights, Small())["boxes"].parent.parent == temporary
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith("preparing net.h5 for this engine, for this run only: cannot write to ")
    assert str(weights.parent / "cache") in line


def test_no_place_to_write_is_one_line(weights, monkeypatch, tmp_path, exports):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("os.access", lambda path, mode: False)
    monkeypatch.setattr(cache, "temporary_cache", unusable)
    monkeypatch.setattr(cache, "user_cache", lambda: tmp_path / "file" / "cache")
    with pytest.raises(ExportFault, match=r"cannot be written to .*file"):
        exported_parts(weights, Small())
    assert not exports


def test_without_onnx(weights, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ExportFault, match=r"pip install onnx$"):
        exported_parts(weights, Small())
    assert not (weights.parent / "cache").exists()


def test_a_mistake_in_this_process_is_one_line(weights, tiny_files):
    assert "keras" in sys.modules
    with pytest.raises(ExportFault, match=r"net\.h5 cannot be exported: "):
        exported_parts(weights, tiny_files[1])
    assert not list((weights.parent / "cache").iterdir())


def test_a_mistake_in_a_process_of_its_own_is_one_line(weights, monkeypatch):
    monkeypatch.delitem(sys.modules, "keras")
    config = Small()
    config.NUM_CLASSES = 0
    with pytest.raises(
        ExportFault, match=r"net\.h5 cannot be exported: the weight file.s NUM_CLASSES must be .*, got 0"
    ) as caught:
        exported_parts(weights, config)
    assert "\n" not in str(caught.value)
    assert not list((weights.parent / "cache").iterdir())


ENDINGS = [
    (2, "I0000 framework\nerror: no layer x\nW0000 more of the framework\n", "no layer x"),
    (1, "Traceback (most recent call last):\n  …\nMemoryError: too much\n", "MemoryError: too much"),
    (3, "", "exit code 3"),
    (-9, "W0000 framework\n", "killed by signal 9"),
]


def stand_in(monkeypatch, code):
    """Let a process with this code take the place of the one that exports."""
    monkeypatch.delitem(sys.modules, "keras")
    start = subprocess.Popen
    command = [sys.executable, "-c", code]
    monkeypatch.setattr(create.subprocess, "Popen", lambda _, **options: start(command, **options))


@pytest.mark.parametrize(("code", "stderr", "reason"), ENDINGS)
def test_how_a_process_of_its_own_may_end(weights, monkeypatch, code, stderr, reason):
    end = f"os._exit({code})" if code >= 0 else f"os.kill(os.getpid(), {-code})"
    stand_in(monkeypatch, f"import os, sys; sys.stderr.write({stderr!r}); sys.stderr.flush(); {end}")
    with pytest.raises(EngineError, match=f"cannot be exported: .*{reason}"):
        exported_parts(weights, Small())


def test_a_long_export_shows_that_it_is_alive(weights, monkeypatch, caplog):
    monkeypatch.setattr(create, "PROGRESS_INTERVAL_S", 0.05)
    stand_in(monkeypatch, "import sys, time; time.sleep(0.5); sys.exit('error: ' + str(len(sys.stdin.read())))")
    with caplog.at_level("INFO"), pytest.raises(EngineError, match=r"cannot be exported: \d{3,}"):
        exported_parts(weights, Small())
    assert sum("still preparing net.h5: " in message for message in caplog.messages) >= 2


def test_the_tiny_network_is_exported_here(tiny_files):
    weights, config = tiny_files
    parts = exported_parts(weights, config)
    assert all(path.stat().st_size > 1000 for path in parts.values())


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
    made = []
    monkeypatch.setattr(create, "int8_parts", lambda *_: {"features_body": Path("int8.xml")})
    monkeypatch.setattr(openvino_runtime, "cpu_has_bfloat16", lambda: has_bfloat16)
    monkeypatch.setattr(openvino_runtime, "OpenVinoRuntime", lambda *arguments: made.append(arguments))
    create_openvino_engine(weights, config, "int8")
    ((parts, precision, *_),) = made
    assert precision.value == ("bfloat16" if has_bfloat16 else "float32")
    assert parts["features_body"] == Path("int8.xml")
    assert parts["boxes"] == cache.cache_folder(weights, config) / "boxes.onnx"


@pytest.mark.parametrize(("backbone", "expected"), [("resnet50", True), ("efficientnet_lite0", False)])
def test_the_stem_of_a_resnet_is_exact(backbone, expected, tiny_files, monkeypatch):
    made = []
    monkeypatch.setattr(create, "exported_parts", lambda *_: {})
    monkeypatch.setattr(openvino_runtime, "OpenVinoRuntime", lambda *arguments: made.append(arguments))
    create_openvino_engine(tiny_files[0], tiny_config("matterport", BACKBONE=backbone), "float32")
    ((*_, exact_stem),) = made
    assert exact_stem is expected


def test_int8_without_a_calibration(tiny_files):
    with pytest.raises(EngineError, match=r"int8 is not prepared for .*: run the command optimize"):
        create_openvino_engine(*tiny_files, "int8")


def test_int8_graphs_that_cannot_be_written(tiny_files, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    weights, config = tiny_files
    parts = exported_parts(weights, config)
    monkeypatch.setattr(create, "read_calibration", lambda path: Calibration({}, digest="1"))
    monkeypatch.setattr(cache, "write", full)
    with pytest.raises(EngineError, match=r"the int8 network cannot be written to .*No space left on device"):
        create.int8_parts(weights, cache.cache_folder(weights, config), parts)


def test_int8_graphs_go_to_the_users_cache_where_the_exported_ones_may_only_be_read(tiny_files, tmp_path, monkeypatch):
    weights, config = tiny_files
    parts, folder = exported_parts(weights, config), cache.cache_folder(weights, config)
    monkeypatch.setattr(create, "read_calibration", lambda path: Calibration({}, digest="1"))
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != folder)
    monkeypatch.setattr(cache, "user_cache", lambda: tmp_path)
    assert create.int8_parts(weights, folder, parts) == {}
    assert (tmp_path / "engines" / folder.name / "int8" / cache.MANIFEST).is_file()
    monkeypatch.setattr(openvino_runtime, "quantizable_models", lambda _: pytest.fail("it is written again"))
    assert create.int8_parts(weights, folder, parts) == {}


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
