"""Choosing engines by measurement: with stand-ins whose times the tests make up, so that every machine is tried."""

import logging
import threading
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.segmentation.backend import BackendChoice
from pipeline.segmentation.engine_choice import EngineSelection
from pipeline.segmentation.engine_trials import QUICK_BUDGET_S, SLOW_BUDGET_S, WATCHED, EngineTrials
from pipeline.segmentation.machine import Machine
from pipeline.segmentation.network_model import NetworkModel
from pipeline.segmentation.weights_file import WeightsChoice
from pipeline.settings.model_settings import Backend, Device, EngineKind, ModelSettings, Precision

WINDOWS = np.array([[0, 0, 64, 96]], np.int32)


def canvas(height=64, width=96):
    return np.zeros((1, height, width, 3), np.uint8)


class OtherMachine(Machine):
    """Its engines need the seconds in `times`, by precision and threads; None: all cores.

    Engines side by side are timed as if each had waited for the others: the time of two is their sum.
    """

    def __init__(self, times, cores=2):
        self.times, self._cores = times, cores
        self.now_s, self.lock = 0.0, threading.Lock()
        self.kept, self.made, self.name = {}, [], "some processor"
        self.bfloat16, self.int8 = True, False
        self.stopped = lambda: False
        self.engine_bytes, self.memory_bytes, self.alive = 100, 10**9, 0

    def used_memory(self):
        return self.engine_bytes * self.alive

    def spare_memory(self):
        return self.memory_bytes - self.used_memory()

    def clock(self):
        return self.now_s

    def processor(self):
        return self.name

    def cores(self):
        return self._cores

    def threads(self, workers):
        return None if workers == 1 else self._cores // workers

    def has(self, engine):
        return engine is not EngineKind.ONNX

    def has_bfloat16(self):
        return self.bfloat16

    def int8_is_prepared(self, model):
        return self.int8

    def int8_is_admissible(self, model):
        return self.int8_is_prepared(model)

    def gpu_is_likely(self):
        return False

    def prepare_keras(self, backend, device):
        return BackendChoice(Backend.JAX, Device.CPU, "CPU")

    def recall(self, model, key):
        return self.kept.get(key, {})

    def remember(self, model, key, record):
        self.kept[key] = record

    def make_openvino(self, model, precision, threads):
        self.made.append((precision.value, threads))
        self.alive += 1
        return StandIn(self, self.times[precision.value, threads])


class StandIn:
    def __init__(self, machine, seconds):
        self.machine, self.seconds = machine, seconds

    def detect_molded(self, images, windows):
        if isinstance(self.seconds, Exception):
            raise self.seconds
        with self.machine.lock:
            self.machine.now_s += self.seconds(self.machine) if callable(self.seconds) else self.seconds


def selection(machine, most_workers=1, **settings):
    model = NetworkModel(
        ModelSettings.model_validate(settings), WeightsChoice(Path("some.h5"), "of the tests"), None, ("BG", "thing")
    )
    return EngineSelection(model, machine, most_workers)


def chosen(machine, most_workers=1, images=None, of=None, **settings):
    """The first choice of a run and the one after the first canvas; `of`: an existing selection and its trials."""
    images = canvas() if images is None else images
    engines = selection(machine, most_workers, **settings) if of is None else of[0]
    trials = EngineTrials(engines, machine.stopped, machine.clock) if of is None else of[1]
    trials.prefer()
    engine, choice = engines.make()
    first = choice.precision.value, choice.workers
    engine.detect_molded(images, WINDOWS)
    machine.now_s = 0.0
    made, choice = trials.settle(engine, choice, images, WINDOWS)
    assert 1 <= len(made) <= choice.workers
    return first, choice


def test_what_the_processor_says_of_itself_is_only_where_it_begins(caplog):
    machine = OtherMachine({("bfloat16", None): 0.039, ("float32", None): 0.027})
    with caplog.at_level(logging.INFO):
        first, choice = chosen(machine)
    assert first == ("bfloat16", 1)
    assert (choice.precision, choice.workers, choice.threads) == (Precision.FLOAT32, 1, None)
    assert choice.reason == "float32 27 ms, bfloat16 39 ms"
    assert str(choice).endswith(", float32 (measured here: float32 27 ms, bfloat16 39 ms)")
    assert "measured on this machine: float32 27 ms, bfloat16 39 ms" in caplog.text


def test_the_second_start_measures_nothing():
    machine = OtherMachine({("bfloat16", None): 0.039, ("float32", None): 0.027})
    chosen(machine)
    machine.made.clear()
    first, choice = chosen(machine)
    assert (first, machine.made, machine.now_s) == (("float32", 1), [("float32", None)], 0.0)
    assert choice.reason == "float32 27 ms, bfloat16 39 ms"


def test_the_time_of_a_frame_is_kept_for_others_to_show():
    machine = OtherMachine({("bfloat16", None): 0.039, ("float32", None): 0.027, ("float32", 1): 0.02})
    assert EngineTrials(selection(machine, 2)).frame_ms is None
    chosen(machine, 2)
    assert EngineTrials(selection(machine, 2)).frame_ms == 20
    assert EngineTrials(selection(machine, 2, precision="float32", workers=2)).frame_ms is None


def test_another_canvas_is_measured_too_and_begins_with_what_was_best():
    machine = OtherMachine({("bfloat16", None): 0.039, ("float32", None): 0.027})
    chosen(machine)
    machine.times["bfloat16", None] = 0.010
    first, choice = chosen(machine, images=canvas(96, 64))
    assert (first, choice.precision) == (("float32", 1), Precision.BFLOAT16)
    assert chosen(machine)[1].precision is Precision.FLOAT32
    assert chosen(machine, images=canvas(96, 64))[1].precision is Precision.BFLOAT16


def test_what_was_best_for_another_canvas_and_fails_now_is_passed_over():
    machine = OtherMachine({("bfloat16", None): 0.039, ("float32", None): 0.027})
    chosen(machine)
    machine.times["bfloat16", None] = 0.010
    chosen(machine, images=canvas(96, 64))
    machine.times["float32", None] = RuntimeError("out of memory")
    first, choice = chosen(machine)
    assert (first, choice.precision) == (("bfloat16", 1), Precision.BFLOAT16)


def test_how_many_engines_and_threads_another_canvas_takes_is_measured_from_one_engine_on():
    machine = OtherMachine({("float32", None): 0.025, ("float32", 1): 0.020})
    machine.bfloat16 = False
    assert chosen(machine, 2)[1].workers == 2
    first, choice = chosen(machine, 2, images=canvas(96, 64))
    assert (first, choice.workers, choice.reason) == (("float32", 2), 2, "2 side by side 20 ms, one by one 25 ms")
    machine.times["float32", 1] = 0.030
    first, choice = chosen(machine, 2, images=canvas(96, 96))
    assert (first, choice.workers, choice.threads) == (("float32", 2), 1, None)
    assert choice.reason == "one by one 25 ms, 2 side by side 30 ms"
    assert EngineTrials(selection(machine, 2)).frame_ms == 25


def test_fewer_threads_of_another_canvas_are_no_start_either():
    times = {("float32", None): 0.020, ("float32", 4): 0.012, ("float32", 2): 0.013}
    machine = OtherMachine(times, cores=8)
    machine.times["bfloat16", None] = 0.030
    assert chosen(machine)[1].threads == 4
    machine.times["float32", 4] = 0.019
    _, choice = chosen(machine, images=canvas(96, 64))
    assert choice.reason.startswith("float32 20 ms, bfloat16 30 ms; 4 threads 19 ms, 8 threads 20 ms")


@pytest.mark.parametrize("change", [{"name": "another processor"}, {"_cores": 3}, {"int8": True}])
def test_another_machine_or_another_candidate_is_measured_anew(change):
    machine = OtherMachine({("bfloat16", None): 0.039, ("float32", None): 0.027, ("int8", None): 0.02})
    chosen(machine)
    for name, value in change.items():
        setattr(machine, name, value)
    machine.times["bfloat16", None] = 0.010
    assert chosen(machine)[1].precision is Precision.BFLOAT16


def test_the_more_exact_precision_where_they_are_alike():
    machine = OtherMachine({("bfloat16", None): 0.0300, ("float32", None): 0.0303, ("int8", None): 0.0299})
    machine.int8 = True
    assert chosen(machine)[1].precision is Precision.FLOAT32


def test_a_busy_machine_is_measured_again_at_the_next_start(caplog):
    phase = [0]

    def busy(machine):
        phase[0] += 1
        return 0.02 * (1 + (phase[0] // 3) % 3)

    machine = OtherMachine({("bfloat16", None): busy, ("float32", None): busy})
    engines = selection(machine)
    trials = EngineTrials(engines, machine.stopped, machine.clock)
    with caplog.at_level(logging.INFO):
        choice = chosen(machine, of=(engines, trials))[1]
    assert "to be sure; the next start measures again" in caplog.text
    assert not machine.kept
    machine.made.clear()
    assert chosen(machine, of=(engines, trials)) == ((choice.precision.value, 1), choice), "a network that is restarted"
    assert (len(machine.made), machine.kept) == (1, {})
    machine.times |= {("bfloat16", None): 0.039, ("float32", None): 0.027}
    assert chosen(machine, of=(engines, trials), images=canvas(96, 64))[1].precision is Precision.FLOAT32
    (record,) = machine.kept.values()
    assert list(record["canvases"]) == ["1x96x64"], "only what is sure"


def test_a_steadily_busy_machine_is_found_out_by_the_frames_of_a_run(caplog):
    machine = OtherMachine({("bfloat16", None): 0.39, ("float32", None): 0.27})
    chosen(machine)
    quick = {("bfloat16", None): 0.039, ("float32", None): 0.027}
    machine.times = dict(quick)
    engines = selection(machine)
    trials = EngineTrials(engines, machine.stopped, machine.clock)
    assert chosen(machine, of=(engines, trials))[1].reason == "float32 270 ms, bfloat16 390 ms"
    with caplog.at_level(logging.INFO):
        for number in range(2 * WATCHED):
            assert ("next start measures again" in caplog.text) is (number >= WATCHED)
            trials.watch(canvas(), 0.027)
    assert caplog.text.count("a frame takes 27 ms, not 270 as measured") == 1
    (record,) = machine.kept.values()
    assert record["canvases"] == {}
    assert chosen(machine)[1].reason == "float32 27 ms, bfloat16 39 ms"
    assert chosen(machine)[1].reason == "float32 27 ms, bfloat16 39 ms", "kept again"


@pytest.mark.parametrize("seconds", [[0.018] * WATCHED, [0.001] * (WATCHED - 1), [0.001, 0.03, 0.03] * WATCHED])
def test_frames_about_as_fast_as_measured_change_nothing(seconds):
    machine = OtherMachine({("bfloat16", None): 0.039, ("float32", None): 0.027})
    chosen(machine)
    trials = EngineTrials(selection(machine), machine.stopped, machine.clock)
    for one in seconds:
        trials.watch(canvas(), one)
        trials.watch(canvas(96, 64), 0.0001)  # never measured
    (record,) = machine.kept.values()
    assert list(record["canvases"]) == ["1x64x96"]


def test_of_engines_side_by_side_each_takes_its_part_of_the_frames():
    machine = OtherMachine({("float32", None): 0.03, ("float32", 1): 0.02}, cores=2)
    machine.bfloat16 = False
    assert chosen(machine, 2)[1].workers == 2
    trials = EngineTrials(selection(machine, 2), machine.stopped, machine.clock)
    for _ in range(WATCHED):
        trials.watch(canvas(), 0.04)  # two take 0.02 a frame
    (record,) = machine.kept.values()
    assert record["canvases"]


@pytest.mark.parametrize("calls", [0, 1, 2, 5])
def test_a_run_that_ends_goes_on_with_what_it_has(calls):
    machine = OtherMachine({("bfloat16", None): 0.039, ("float32", None): 0.027})
    left = iter([False] * calls)
    machine.stopped = lambda: next(left, True)
    _, choice = chosen(machine)
    assert (choice.precision, choice.reason, machine.kept) == (Precision.BFLOAT16, "", {})
    assert machine.now_s < 0.2


def test_a_candidate_that_fails_is_left_out():
    machine = OtherMachine({("bfloat16", None): 0.03, ("float32", None): RuntimeError("no kernel")})
    assert chosen(machine)[1].precision is Precision.BFLOAT16


@pytest.mark.parametrize(
    ("two_s", "workers", "text"), [(0.020, 2, "2 side by side 20 ms, one by one 25 ms"), (0.0248, 1, "")]
)
def test_engines_side_by_side_only_where_that_is_faster(two_s, workers, text):
    machine = OtherMachine({("float32", None): 0.025, ("float32", 1): two_s})
    machine.bfloat16 = False
    _, choice = chosen(machine, 2)
    assert choice.workers == workers
    assert choice.reason.endswith(text)
    machine.made.clear()
    assert chosen(machine, 2)[1].workers == workers
    assert len(machine.made) == 1


def test_fewer_threads_where_many_cores_hinder_a_small_network():
    times = {("float32", None): 0.020, ("float32", 8): 0.015, ("float32", 4): 0.012, ("float32", 2): 0.013}
    machine = OtherMachine({**times, **{("bfloat16", threads): 1.0 for _, threads in times}}, cores=16)
    _, choice = chosen(machine)
    assert (choice.precision, choice.threads) == (Precision.FLOAT32, 4)
    assert "8 threads 15 ms, 16 threads 20 ms; 4 threads 12 ms, 8 threads 15 ms" in choice.reason


@pytest.mark.parametrize("settings", [{"precision": "float32"}, {"engine": "keras"}])
def test_what_the_settings_force_is_not_measured(settings, monkeypatch):
    machine = OtherMachine({("float32", None): 0.02})
    monkeypatch.setattr(machine, "make_keras", lambda model, precision: StandIn(machine, 0.02), raising=False)
    _, choice = chosen(machine, **settings)
    assert (choice.reason, machine.kept, machine.now_s) == ("", {}, 0.0)


def test_forced_workers_still_leave_the_precision_to_the_measurement():
    machine = OtherMachine({("float32", 1): 0.02, ("bfloat16", 1): 0.03})
    first, choice = chosen(machine, 2, workers=2)
    assert (first, choice.precision, choice.workers) == (("bfloat16", 2), Precision.FLOAT32, 2)


@pytest.mark.parametrize(("seconds", "budget_s"), [(0.03, QUICK_BUDGET_S), (0.4, SLOW_BUDGET_S)])
def test_the_budget_holds(seconds, budget_s):
    slow = 1.2 * seconds
    times = {("float32", None): slow, ("bfloat16", None): seconds, ("int8", None): slow}
    machine = OtherMachine({**times, **{("bfloat16", threads): seconds for threads in (8, 4, 2)}}, cores=16)
    machine.int8 = True
    chosen(machine, 2)
    assert machine.now_s < budget_s + 6 * slow, "a round that has begun is completed"


@pytest.mark.parametrize("record", [{"canvases": 3}, {"canvases": {"1x64x96": "float32"}}, {"last": ["1x64x96"]}])
def test_a_damaged_record_is_measured_anew(record, monkeypatch):
    machine = OtherMachine({("bfloat16", None): 0.039, ("float32", None): 0.027})
    monkeypatch.setattr(machine, "recall", lambda model, key: record)
    assert chosen(machine)[1].precision is Precision.FLOAT32


def test_a_named_precision_that_is_not_there_is_still_an_error():
    machine = OtherMachine({})
    with pytest.raises(InputError, match="optimize"):
        selection(machine, precision="int8")


def test_engines_for_which_there_is_no_memory_are_left_out_until_there_is(caplog):
    caplog.set_level(logging.INFO)
    machine = OtherMachine({("bfloat16", None): 0.04, ("float32", None): 0.02, ("bfloat16", 1): 0.06})
    machine.memory_bytes = 240
    assert chosen(machine, 2)[1].precision is Precision.BFLOAT16
    assert machine.made == [("bfloat16", None)]
    first, second, last = (record.message for record in caplog.records)
    assert first.startswith("left out of the comparison: float32: another engine needs 0 MB of memory")
    assert second.startswith("left out of the comparison: 2 side by side: another engine needs")
    assert last.endswith("had too little memory, to be sure; the next start measures again")
    machine.memory_bytes, machine.alive = 450, 0
    machine.times["float32", 1] = 0.06
    assert chosen(machine, 2)[1].precision is Precision.FLOAT32
