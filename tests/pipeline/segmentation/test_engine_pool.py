"""Engines for several threads, and what follows a failure at the first frame: with stand-ins for the engines."""

import logging
import threading
from pathlib import Path

import numpy as np
import pytest

import stream_segment
from mrcnn.engines import create
from mrcnn.engines.base import RawDetections
from pipeline.errors import InputError
from pipeline.segmentation import engine_pool
from pipeline.segmentation.backend import BackendChoice
from pipeline.segmentation.engine_choice import EngineChoice, EngineSelection
from pipeline.segmentation.engine_pool import EnginePool, default_workers
from pipeline.segmentation.engine_trials import EngineTrials
from pipeline.segmentation.machine import Machine
from pipeline.segmentation.network_model import NetworkModel
from pipeline.segmentation.weights_file import WeightsChoice
from pipeline.settings.model_settings import Backend, Device, EngineKind, ModelSettings, Precision
from tests.pipeline.fakes import DEADLINE_S

CANVAS = np.zeros((1, 64, 96, 3), np.uint8)
WINDOW = np.array([[0, 0, 64, 96]], np.int32)
BFLOAT16 = EngineChoice(EngineKind.OPENVINO, Precision.BFLOAT16)
FLOAT32 = EngineChoice(EngineKind.OPENVINO, Precision.FLOAT32)
ONNX = EngineChoice(EngineKind.ONNX, Precision.FLOAT32)


class StandIn:
    """Answers with what it is; fails as often as `failures` says, and calls `inside` while it works."""

    def __init__(self, machine, *what):
        self.machine, self.what = machine, what
        self.frames = 0

    def warm_up(self, batch, height, width):
        assert (batch, height, width) == (1, 64, 96)
        self.detect_molded(CANVAS, WINDOW)
        self.frames = 0

    def detect_molded(self, images, windows):
        assert images.shape == CANVAS.shape
        assert windows.tolist() == WINDOW.tolist()
        self.machine.inside(self)
        self.frames += 1
        failure = self.machine.failures.get(self.what) or self.machine.failures.get(self.what[0])
        if failure is not None:
            raise failure
        return [self.what]


class OtherMachine(Machine):
    """Makes stand-ins for every engine and remembers them; has measured the canvas in earlier runs."""

    def __init__(self, cores=6):
        self._cores = cores
        self.failures = {}
        self.made = []
        self.given_threads = []
        self.inside = lambda engine: None

    def processor(self):
        return "some processor"

    def cores(self):
        return self._cores

    def recall(self, model, key):
        return {"canvases": {"1x64x96": {"precision": "bfloat16", "workers": 1, "threads": None}}, "last": "1x64x96"}

    def has(self, engine):
        return True

    def has_bfloat16(self):
        return True

    def int8_is_prepared(self, model):
        return model.settings.precision is Precision.INT8

    def int8_is_admissible(self, model):
        return self.int8_is_prepared(model)

    def gpu_is_likely(self):
        return False

    def onnx_providers(self):
        return ["tensorrt", "cuda", "cpu"]

    def prepare_keras(self, backend, device):
        return BackendChoice(Backend.JAX, Device.CPU, "CPU")

    def make_openvino(self, model, precision, threads):
        self.given_threads.append(threads)
        return self.make("openvino", precision.value)

    def make_onnx(self, model, precision, provider):
        return self.make("onnx", provider)

    def make_keras(self, model, precision):
        return self.make("keras", precision.value)

    def make(self, *what):
        self.made.append(StandIn(self, *what))
        return self.made[-1]


@pytest.fixture
def machine():
    return OtherMachine()


def engines_of(machine, size=1, **settings):
    """A pool; without settings it tries OpenVINO in bfloat16 and float32, ONNX Runtime, then Keras."""
    given = ModelSettings.model_validate({"workers": size, **settings})
    model = NetworkModel(given, WeightsChoice(Path("some.h5"), "of the tests"), None, ("BG", "thing"))
    selection = EngineSelection(model, machine, size)
    return EnginePool(selection, EngineTrials(selection))


def answer(engines):
    return engines.detect_molded(CANVAS, WINDOW)[0]


# -- the first frame --------------------------------------------------------------------------------------------------


def test_what_fails_at_its_first_frame_is_replaced_with_a_line(machine, caplog):
    lines = "Exception from src/core.cpp:107:\nException from src/plugin.cpp:53:\nno kernel for this CPU\n"
    machine.failures["openvino", "bfloat16"] = RuntimeError(lines)
    engines = engines_of(machine)
    assert engines.choice == BFLOAT16
    with caplog.at_level(logging.WARNING):
        assert [answer(engines) for _ in range(3)] == [("openvino", "float32")] * 3
    assert engines.choice == FLOAT32
    assert [engine.frames for engine in machine.made] == [1, 3]
    (line,) = (record.message for record in caplog.records)
    assert line.startswith("OpenVINO ")
    assert ", bfloat16: no kernel for this CPU; falling back to OpenVINO " in line
    assert line.endswith(", float32")


def test_frames_for_which_nothing_was_compiled_are_held_against_the_measurement(machine, monkeypatch):
    watched = []
    monkeypatch.setattr(EngineTrials, "watch", lambda self, images, seconds: watched.append((images, seconds)))
    engines = engines_of(machine)
    for _ in range(4):
        answer(engines)
    assert [images is CANVAS for images, _ in watched] == [True, True]
    assert all(0 <= seconds < 10 for _, seconds in watched)


def test_keras_is_the_last_resort(machine, caplog):
    machine.failures["openvino"] = RuntimeError("no")
    machine.failures["onnx"] = MemoryError()
    engines = engines_of(machine, precision="float32", device="cpu")
    with caplog.at_level(logging.WARNING):
        assert answer(engines) == ("keras", "float32")
    assert engines.choice.engine is EngineKind.KERAS
    lines = [record.message for record in caplog.records]
    assert len(lines) == 2
    assert lines[-1].endswith("float32: MemoryError; falling back to Keras")


@pytest.mark.parametrize("engine", ["openvino", "onnx"])
def test_an_engine_that_was_asked_for_is_not_replaced(machine, engine):
    machine.failures["openvino"] = machine.failures["onnx"] = RuntimeError("first\nno kernel")
    engines = engines_of(machine, engine=engine, precision="float32")
    with pytest.raises(InputError, match=r"^[^\n]+, float32: no kernel$"):
        answer(engines)
    assert "keras" not in {engine.what[0] for engine in machine.made}


def test_int8_that_was_asked_for_is_not_replaced(machine):
    machine.failures["openvino"] = RuntimeError("no kernel")
    engines = engines_of(machine, precision="int8")
    with pytest.raises(InputError, match="int8: no kernel"):
        answer(engines)


def test_onnx_runtime_goes_on_with_a_slower_provider(machine, caplog):
    machine.failures["onnx", "tensorrt"] = RuntimeError("cannot build")
    engines = engines_of(machine, engine="onnx")
    with caplog.at_level(logging.WARNING):
        assert answer(engines) == ("onnx", "cuda")
    assert engines.choice.provider == "cuda"
    (record,) = caplog.records
    assert "with TensorRT, float32: cannot build; falling back to ONNX Runtime" in record.message
    assert record.message.endswith(" with CUDA, float32")


def test_what_keras_raises_comes_through(machine):
    machine.failures["keras"] = error = ValueError("shapes")
    with pytest.raises(ValueError, match="shapes") as caught:
        answer(engines_of(machine, engine="keras"))
    assert caught.value is error


@pytest.mark.parametrize("size", [1, 2])
def test_a_failure_after_the_first_frame_is_not_hidden(machine, caplog, size):
    engines = engines_of(machine, size, precision="float32")
    assert answer(engines) == ("openvino", "float32")
    machine.failures["openvino"] = RuntimeError("out of memory")
    with pytest.raises(RuntimeError, match="out of memory"):
        answer(engines)
    assert not caplog.records
    machine.failures.clear()
    assert answer(engines) == ("openvino", "float32"), "an engine that failed is not lost to the others"


# -- side by side -----------------------------------------------------------------------------------------------------


def test_several_threads_have_an_engine_each(machine):
    """Each call waits until as many are inside as there are engines."""
    engines = engines_of(machine, 3, precision="float32")
    answer(engines)
    together, busy, shared = threading.Barrier(3), set(), []
    workers = set()

    def inside(engine):
        if threading.current_thread() not in workers:
            return  # it is being made
        if engine in busy:
            shared.append(engine)
        busy.add(engine)
        together.wait(DEADLINE_S)
        busy.discard(engine)
        together.wait(DEADLINE_S)

    machine.inside = inside
    threads = [threading.Thread(target=lambda: [answer(engines) for _ in range(4)]) for _ in range(3)]
    workers.update(threads)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    engines.close()
    assert not shared
    assert [engine.frames for engine in machine.made] == [5, 4, 4]
    assert machine.given_threads == [2, 2, 2], "six cores for three engines"


def test_an_engine_prepares_while_it_computes_its_first_batch_of_a_shape(machine):
    engines = engines_of(machine, 1, precision="float32")
    answer(engines)
    seen = []
    machine.inside = lambda _: seen.append(engines.preparing)
    for _ in range(2):
        answer(engines)
    assert seen == [True, False]  # the pool's first frame is proved apart
    assert not engines.preparing
    machine.failures["openvino"] = RuntimeError("out of memory")
    with pytest.raises(RuntimeError, match="out of memory"):
        answer(engines)
    assert not engines.preparing


def test_one_thread_needs_one_engine(machine):
    engines = engines_of(machine, 2, precision="float32")
    for _ in range(3):
        answer(engines)
    engines.close()
    assert len(machine.made) == 1


def test_one_engine_has_all_cores(machine):
    answer(engines_of(machine))
    assert machine.given_threads == [None]


def test_only_openvino_runs_side_by_side(machine):
    assert engines_of(machine, 2, precision="float32").size == 2
    assert engines_of(machine, 2, engine="onnx").size == 1


def test_an_engine_that_cannot_be_made_beside_the_first_is_done_without(machine, caplog):
    engines = engines_of(machine, 2, precision="float32")
    answer(engines)
    first, entered, told = machine.made[0], threading.Event(), threading.Event()

    def inside(engine):
        if engine is not first:
            raise RuntimeError("out\nof memory")
        entered.set()
        told.wait(DEADLINE_S)

    class Told(logging.Handler):
        def emit(self, record):
            told.set()

    machine.inside = inside
    handler = Told()
    engine_pool.logger.addHandler(handler)
    threads = [threading.Thread(target=answer, args=(engines,)) for _ in range(2)]
    threads[0].start()
    assert entered.wait(DEADLINE_S)
    threads[1].start()
    for thread in threads:
        thread.join(DEADLINE_S)
    engine_pool.logger.removeHandler(handler)
    engines.close()
    assert first.frames == 3
    (line,) = (record.message for record in caplog.records)
    assert line.endswith("RuntimeError: out of memory; computing fewer frames at a time")


@pytest.mark.parametrize(("cores", "batch_size", "workers"), [(1, 1, 1), (2, 1, 2), (16, 1, 4), (16, 4, 1)])
def test_as_many_frames_at_a_time_as_cores_up_to_four(cores, batch_size, workers):
    assert default_workers(batch_size, cores) == workers


# -- a whole run ------------------------------------------------------------------------------------------------------


class Broken:
    """Loads, and fails at its first frame, as a runtime does that cannot compile for this processor."""

    def detect_molded(self, images, windows):
        raise RuntimeError("Exception from src/plugin.cpp:53:\nno kernel for this CPU\n")


class Empty:
    """Finds nothing."""

    def detect_molded(self, images, windows):
        boxes, scores, masks = (np.zeros(shape, np.float32) for shape in ((0, 4), 0, (0, 28, 28)))
        return [RawDetections(boxes, scores.astype(np.int32), scores, masks) for _ in images]


def test_the_command_line_goes_on_or_ends_with_one_line(seeded_small_weights, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(create, "create_openvino_engine", lambda *_: Broken())
    monkeypatch.setattr(create, "create_onnx_engine", lambda *_: Empty())
    arguments = ["--source", "test:96x64@30", "--max-frames", "3", "--no-window", "--set", "source.policy=recorded"]
    arguments += ["--weights", str(seeded_small_weights), "--device", "cpu", "--set", "model.precision=float32"]
    detections = tmp_path / "out.jsonl"
    assert stream_segment.main([*arguments, "--detections", str(detections)]) == 0
    shown = capsys.readouterr()
    assert "; ONNX Runtime" in shown.out
    assert "no kernel for this CPU; falling back to ONNX Runtime" in shown.err
    assert "Traceback" not in shown.err
    assert detections.is_file()
    assert stream_segment.main([*arguments, "--engine", "openvino"]) == 2
    shown = capsys.readouterr()
    assert shown.err.count("no kernel for this CPU") == 1
    assert "stream_segment: error: OpenVINO " in shown.err
    assert "Traceback" not in shown.err
