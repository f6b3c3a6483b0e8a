"""Each check of the command `doctor` on machines that have, lack or refuse something."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import av
import pytest

from pipeline import installation
from pipeline.commands import doctor_checks as checks
from pipeline.commands.doctor_checks import Level
from pipeline.errors import InputError
from pipeline.segmentation.backend import BackendChoice
from pipeline.segmentation.weights_file import DIR_VARIABLE
from pipeline.settings.model_settings import Backend, Device, EngineKind, Precision
from pipeline.sinks.screen import Monitor
from pipeline.sources.camera_list import ListedCamera
from pipeline.sources.v4l2 import CameraMode

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "weights" / "stream_segment_person.h5"


def levels(findings):
    return [finding.level.value for finding in findings]


def test_the_system_has_its_versions():
    [finding] = checks.check_system()
    assert finding.level is Level.OK
    assert finding.data["version"] in finding.text
    assert f"{finding.data['cores']} cores" in finding.text


# Cameras and screen


def test_a_camera_shows_its_largest_mode_and_one_with_a_fault_is_a_problem():
    modes = (
        CameraMode("YUYV", 1280, 720, (10.0,)),
        CameraMode("MJPG", 1280, 720, (60.0, 30.0)),
        CameraMode("MJPG", 720, 1279, (90.0,)),
    )
    found = [
        ListedCamera("0", "Front", modes=modes),
        ListedCamera("1", "Silent"),
        ListedCamera("4", "Rear", fault="no permission: ask"),
    ]
    front, silent, rear = checks.check_cameras(lambda: found)
    assert (front.level, front.text) == (Level.OK, "0: Front, up to 1280x720 at 60, 30 fps")
    assert [mode["pixels"] for mode in front.data["modes"]] == ["YUYV", "MJPG", "MJPG"]
    assert (silent.level, silent.text) == (Level.OK, "1: Silent, its sizes are not listed")
    assert (rear.level, rear.text, rear.advice) == (Level.PROBLEM, "4: Rear", "no permission: ask")


def test_no_camera_is_a_warning():
    [finding] = checks.check_cameras(list)
    assert finding.level is Level.WARNING
    assert "plug one in" in finding.advice


def test_the_monitors():
    [finding] = checks.check_screen(lambda: (True, ""), lambda: [Monitor(0, 0, 1920, 1080), Monitor(1920, 0, 800, 600)])
    assert (finding.level, finding.text) == (Level.OK, "1920x1080+0+0, 800x600+1920+0")


def test_no_window_and_no_list_of_monitors_are_warnings():
    def no_list():
        raise OSError("the library Xinerama is not installed")

    [nothing] = checks.check_screen(lambda: (False, "DISPLAY is not set"), no_list)
    assert (nothing.level, nothing.text) == (Level.WARNING, "no window: DISPLAY is not set")
    assert "--no-window" in nothing.advice
    [unlisted] = checks.check_screen(lambda: (True, ""), no_list)
    assert unlisted.level is Level.WARNING
    assert "Xinerama is not installed" in unlisted.text


# Codecs


def test_this_pyav_has_what_the_program_needs():
    encoders, decoders = checks.check_codecs()
    assert (encoders.level, decoders.level) == (Level.OK, Level.OK)
    assert encoders.text == "encoders: libx264, aac"


def test_a_missing_encoder_of_video_is_a_problem_a_missing_decoder_a_warning(monkeypatch):
    monkeypatch.setitem(checks.ENCODERS, "libx999", "something")
    real = av.Codec

    def codec(name, mode):
        return real("unknown" if name in ("libx264", "vp9") else name, mode)

    monkeypatch.setattr(av, "Codec", codec)
    found = list(checks.check_codecs())
    assert levels(found) == ["problem", "warning", "ok", "warning", "ok"]
    assert found[0].text == "no encoder libx264, for --output"
    assert found[1].text == "no encoder libx999, for something"
    assert found[3].text == "no decoder vp9, for WebM"
    assert "vp9" not in found[4].text


# Weights and cache


@pytest.fixture
def weights_folder(tmp_path, monkeypatch):
    """The program's only folder of weights."""
    folder = tmp_path / "weights"
    folder.mkdir()
    monkeypatch.setenv(DIR_VARIABLE, str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    monkeypatch.setattr(installation, "ROOT", tmp_path)
    monkeypatch.setattr(installation, "WHEEL_DATA", tmp_path)
    return folder


def test_weight_files_with_their_checksums(weights_folder):
    shutil.copy(SHIPPED, weights_folder)
    (weights_folder / "other.pth").write_bytes(b"other")
    (weights_folder / "README.md").touch()
    other, person, choice = checks.check_weights()
    assert levels([other, person, choice]) == ["ok", "ok", "ok"]
    assert person.data["sha256"] == hashlib.sha256(SHIPPED.read_bytes()).hexdigest()
    assert person.text == (
        "stream_segment_person.h5: efficientnet_lite0, 2 classes, 8.7 MB, sha256 " + person.data["sha256"]
    )
    assert other.data["sha256"] == hashlib.sha256(b"other").hexdigest()
    assert choice.text == "runs take stream_segment_person.h5 (shipped with the program)"


def test_a_damaged_shipped_model_is_a_problem_another_file_a_warning(weights_folder):
    (weights_folder / "mine.h5").write_bytes(b"damaged")
    (weights_folder / SHIPPED.name).write_bytes(SHIPPED.read_bytes()[:1000])
    mine, shipped, _ = checks.check_weights()
    assert (mine.level, shipped.level) == (Level.WARNING, Level.PROBLEM)
    assert shipped.text.startswith("stream_segment_person.h5 cannot be used: ")


def test_no_weights_are_a_problem(weights_folder):
    [finding] = checks.check_weights()
    assert (finding.level, finding.text) == (Level.PROBLEM, "no weights to run with")
    assert "weights get coco" in finding.advice


def test_the_cache_beside_the_weights_and_the_users(weights_folder, tmp_path):
    shutil.copy(SHIPPED, weights_folder)
    for place, size in ((weights_folder / "cache" / "net-1", 3_000_000), (tmp_path / "user" / "stream_segment", 0)):
        place.mkdir(parents=True)
        (place / "features.onnx").write_bytes(bytes(size))
    beside, users = checks.check_cache()
    assert (beside.level, beside.text) == (Level.OK, f"exported networks: {weights_folder / 'cache'}, 3 MB")
    assert (users.level, users.data["bytes"]) == (Level.OK, 0)


def test_nowhere_to_keep_exported_networks_is_a_warning(weights_folder, monkeypatch):
    shutil.copy(SHIPPED, weights_folder)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    [finding] = checks.check_cache()
    assert finding.level is Level.WARNING
    assert "make it writable" in finding.advice


def test_without_weights_there_is_no_cache_to_speak_of(weights_folder):
    assert list(checks.check_cache()) == []


# Engines and GPU


def test_each_engine_is_named_with_its_time_or_with_what_adds_it():
    answers = {
        (EngineKind.AUTO, Precision.AUTO): ("OpenVINO, bfloat16", 27.44),
        (EngineKind.OPENVINO, Precision.INT8): InputError("int8 is not prepared: run optimize"),
        (EngineKind.OPENVINO, Precision.BFLOAT16): ("OpenVINO, bfloat16", 27.6),
        (EngineKind.OPENVINO, Precision.FLOAT32): ("OpenVINO, float32", 39.0),
    }

    def measure(settings):
        answer = answers[settings.engine, settings.precision]
        if isinstance(answer, Exception):
            raise answer
        return answer

    auto, int8, bfloat16, float32, onnx, keras = checks.check_engines(measure, lambda package: package == "openvino")
    assert set(levels([auto, int8, bfloat16, float32, onnx, keras])) == {"ok"}
    assert auto.text == "auto takes OpenVINO, bfloat16: 27 ms a frame"
    assert auto.data == {"engine": "auto", "precision": "auto", "is": "OpenVINO, bfloat16", "frame_ms": 27.4}
    assert int8.text == "openvino in int8: int8 is not prepared: run optimize"
    assert bfloat16.text == "OpenVINO, bfloat16: 28 ms a frame"
    assert float32.data["frame_ms"] == 39.0
    assert onnx.text == 'onnx is not installed (onnxruntime); to add it: pip install -e ".[onnx]"'
    assert keras.text.startswith("keras is not installed (tensorflow or jax or torch); to add it: ")


def test_no_engine_at_all_is_a_problem():
    def fails(settings):
        raise InputError("OpenVINO does not load")

    found = list(checks.check_engines(fails, lambda package: True))
    assert levels(found) == ["problem", *["ok"] * 5]
    assert found[0].text == "auto: OpenVINO does not load"


def test_a_frame_of_the_sample_is_timed(monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr(checks.time, "perf_counter", lambda: next(clock) ** 2)
    seen = []

    class Fake:
        description = "Mask R-CNN; of a file; OpenVINO 2026.4 on the CPU, float32"

        def open(self):
            seen.append("open")

        def segment_batch(self, images):
            seen.append(images[0].shape)

        def close(self):
            seen.append("close")

    monkeypatch.setattr(checks, "MaskRCNNSegmenter", SimpleNamespace(of=lambda settings: Fake()))
    description, frame_ms = checks.frame_time(checks.ModelSettings())
    assert description == "OpenVINO 2026.4 on the CPU, float32"
    # frame i takes (2 i + 1)^2 - (2 i)^2 = 4 i + 1 s; of the 12 after the warm-up, i = 2 … 13, the median is i = 7.5
    assert frame_ms == 31_000
    assert seen == ["open", *[(360, 640, 3)] * 14, "close"]


class FakeMachine:
    """A machine with signs of a GPU and a Keras that answers so."""

    def __init__(self, keras=None, likely=True):
        self._keras, self._likely = keras, likely

    def gpu_is_likely(self):
        return self._likely

    def prepare_keras(self, backend, device):
        assert (backend, device) == (Backend.AUTO, Device.AUTO)
        if isinstance(self._keras, Exception):
            raise self._keras
        return self._keras


@pytest.fixture
def nvidia_smi(monkeypatch):
    """What nvidia-smi prints."""
    done = subprocess.CompletedProcess((), 0, "NVIDIA H100, 570.1\nNVIDIA A2, 570.1\n")
    monkeypatch.setattr(checks.subprocess, "run", lambda *_, **__: done)
    return done


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({}, "no NVIDIA driver"),
        ({"CUDA_VISIBLE_DEVICES": "1"}, "no NVIDIA driver"),
        ({"CUDA_VISIBLE_DEVICES": ""}, "CUDA_VISIBLE_DEVICES= hides it"),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, "CUDA_VISIBLE_DEVICES=-1 hides it"),
    ],
)
def test_no_gpu_is_fine(environment, reason):
    [finding] = checks.check_gpu(FakeMachine(likely=False), environment)
    assert (finding.level, finding.text) == (Level.OK, f"not used: {reason}; networks run on the CPU")


def test_a_gpu_that_keras_sees(nvidia_smi):
    [finding] = checks.check_gpu(FakeMachine(BackendChoice(Backend.JAX, Device.GPU, "NVIDIA H100")))
    assert (finding.level, finding.text) == (Level.OK, "NVIDIA H100, used by Keras on jax")


def test_a_gpu_that_is_not_used_is_a_warning_with_the_reason(nvidia_smi):
    [unseen] = checks.check_gpu(FakeMachine(BackendChoice(Backend.TENSORFLOW, Device.CPU, "CPU")))
    assert unseen.level is Level.WARNING
    assert unseen.text == "NVIDIA H100, 570.1; NVIDIA A2, 570.1 is not used: tensorflow sees no GPU"
    assert "[gpu]" in unseen.advice
    [light] = checks.check_gpu(FakeMachine(InputError("Keras needs a backend")))
    assert (light.level, light.text.rpartition(": ")[2]) == (Level.WARNING, "Keras needs a backend")
    assert "[gpu]" in light.advice


def test_a_gpu_without_nvidia_smi_has_no_name(monkeypatch):
    monkeypatch.setenv("PATH", "")
    [finding] = checks.check_gpu(FakeMachine(InputError("Keras needs a backend")))
    assert finding.text == "an NVIDIA GPU is not used: Keras needs a backend"


# Disk


@pytest.mark.parametrize(("free", "level"), [(499_999_999, Level.PROBLEM), (500_000_000, Level.OK)])
def test_less_than_a_recording_needs_is_a_problem(free, level):
    [finding] = checks.check_disk(lambda path: free)
    assert (finding.level, finding.data["free_bytes"]) == (level, free)
    assert finding.text.startswith("0.5 GB free in ")


def test_every_check_stands_in_the_list():
    given = {check.run for check in checks.CHECKS}
    assert given == {value for name, value in vars(checks).items() if name.startswith("check_")}
