"""Which engine is chosen, and what follows when it cannot be made: with stand-ins, so that every machine is tried."""

import importlib.metadata
import importlib.util
import itertools
import logging
from pathlib import Path

import pytest

from mrcnn.engines.base import EngineError
from mrcnn.engines.create import ExportFault
from pipeline.errors import InputError
from pipeline.segmentation.backend import BackendChoice
from pipeline.segmentation.engine_choice import EngineChoice, EngineSelection
from pipeline.segmentation.machine import Machine
from pipeline.segmentation.network_model import NetworkModel
from pipeline.segmentation.weights_file import WeightsChoice
from pipeline.settings.model_settings import Backend, Device, EngineKind, ModelSettings, Precision


class OtherMachine(Machine):
    """What is installed, what the hardware can do, and what fails; `made` says what was made."""

    def __init__(self):
        self.installed = {EngineKind.OPENVINO, EngineKind.ONNX, EngineKind.KERAS}
        self.bfloat16 = self.int8 = self.gpu_signs = self.keras_sees_gpu = False
        self.providers = ["cpu"]
        self.failures = {}
        self.keras_loads = 0
        self.openvino_loads = True
        self.made = []
        self.given_threads = []

    def has(self, engine):
        return engine in self.installed

    def has_bfloat16(self):
        return self.openvino_loads and self.bfloat16

    def int8_is_prepared(self, model):
        return self.int8

    def int8_is_admissible(self, model):
        return self.int8_is_prepared(model)

    def onnx_providers(self):
        if isinstance(self.providers, Exception):
            raise self.providers
        return self.providers

    def gpu_is_likely(self):
        return self.gpu_signs

    def prepare_keras(self, backend, device):
        self.keras_loads += 1
        if EngineKind.KERAS not in self.installed:
            raise InputError("Keras needs a backend: pip install tensorflow (or jax, or torch)")
        chosen = Backend.JAX if backend is Backend.AUTO else backend
        if self.keras_sees_gpu and device is not Device.CPU:
            return BackendChoice(chosen, Device.GPU, "NVIDIA H100")
        if device is Device.GPU:
            raise InputError(f"--device gpu: {chosen.value} sees no GPU here")
        return BackendChoice(chosen, Device.CPU, "CPU")

    def make_keras(self, model, precision):
        return self.make("keras", precision.value)

    def make_openvino(self, model, precision, threads):
        self.given_threads.append(threads)
        return self.make("openvino", precision.value)

    def make_onnx(self, model, precision, provider):
        return self.make("onnx", precision.value, provider)

    def make(self, *what):
        """What stands for the engine; a failure is looked up by the whole of `what`, then by its first word."""
        self.made.append(what)
        failure = self.failures.get(what, self.failures.get(what[0]))
        if failure is not None:
            raise failure
        return what


@pytest.fixture
def machine():
    return OtherMachine()


def settings_of(**values):
    return ModelSettings.model_validate(values)


def selection(machine, **values):
    model = NetworkModel(settings_of(**values), WeightsChoice(Path("some.h5"), "of the tests"), None, ("BG", "thing"))
    return EngineSelection(model, machine)


def planned(machine, **values):
    """(engine, precision) of every choice."""
    return [(choice.engine.value, choice.precision.value) for choice in selection(machine, **values).choices]


def made(machine, caplog, **values):
    """The engine that was made, its choice, and the lines that were logged."""
    with caplog.at_level(logging.WARNING):
        engine, choice = selection(machine, **values).make()
    return engine, choice, [record.message for record in caplog.records]


# -- what is chosen ---------------------------------------------------------------------------------------------------


def test_a_gpu_that_keras_sees_gets_keras_in_half_precision(machine):
    machine.gpu_signs = machine.keras_sees_gpu = machine.int8 = True
    assert planned(machine) == [("keras", "float16")]
    assert planned(machine, precision="float32") == [("keras", "float32")]
    assert planned(machine, device="cpu", precision="float32") == [("openvino", "float32"), ("onnx", "float32")]
    assert planned(machine, precision="int8") == [("openvino", "int8")]


def test_without_signs_of_a_gpu_keras_is_not_loaded(machine):
    machine.keras_sees_gpu = True
    assert planned(machine)[0][0] == "openvino"
    assert machine.keras_loads == 0


@pytest.mark.parametrize("keras", [True, False])
def test_a_gpu_that_keras_does_not_see_leaves_the_fastest_on_the_processor(machine, keras):
    machine.gpu_signs = True
    if not keras:
        machine.installed.remove(EngineKind.KERAS)
    assert planned(machine)[0] == ("openvino", "float32")
    assert machine.keras_loads == 1


def test_openvino_in_the_fastest_precision_that_is_there_then_onnx(machine):
    machine.int8 = machine.bfloat16 = True
    assert planned(machine) == [
        ("openvino", "int8"),
        ("openvino", "bfloat16"),
        ("openvino", "float32"),
        ("onnx", "float32"),
    ]
    machine.int8 = False
    assert planned(machine) == [("openvino", "bfloat16"), ("openvino", "float32"), ("onnx", "float32")]
    machine.bfloat16 = False
    assert planned(machine, engine="openvino") == [("openvino", "float32")]
    assert planned(machine, precision="bfloat16") == [("openvino", "bfloat16")]
    machine.installed.remove(EngineKind.OPENVINO)
    assert planned(machine) == [("onnx", "float32")]
    machine.installed.remove(EngineKind.ONNX)
    assert planned(machine) == [("keras", "float32")]


def test_a_named_backend_or_a_gpu_means_keras(machine):
    assert planned(machine, backend="torch") == [("keras", "float32")]
    machine.keras_sees_gpu = True
    assert planned(machine, device="gpu") == [("keras", "float16")]
    assert planned(machine, device="gpu", precision="bfloat16") == [("keras", "bfloat16")]
    assert planned(machine, engine="keras", device="cpu") == [("keras", "float32")]


def test_every_combination_is_a_plan_or_one_line(machine):
    machine.int8 = True
    plans, refusals = 0, []
    fields = {"engine": EngineKind, "precision": Precision, "device": Device, "backend": (Backend.AUTO, Backend.JAX)}
    for values in itertools.product(*fields.values()):
        chosen = dict(zip(fields, values, strict=True))
        try:
            found = selection(machine, **chosen).choices
        except InputError as error:
            refusals.append(str(error))
            continue
        plans += 1
        for plan in found:
            assert chosen["engine"] in (EngineKind.AUTO, plan.engine)
            assert chosen["precision"] in (Precision.AUTO, plan.precision)
            assert EngineKind.AUTO is not plan.engine
            assert Precision.AUTO is not plan.precision
    assert plans > 30
    assert refusals
    assert not any("\n" in line for line in refusals)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"engine": "openvino", "backend": "jax"}, "backend jax is a backend of Keras: leave it out with .* openvino"),
        ({"engine": "onnx", "backend": "torch"}, "backend torch is a backend of Keras: leave it out with .* onnx"),
        ({"engine": "openvino", "device": "gpu"}, "openvino runs on the CPU here: use device cpu"),
        ({"engine": "openvino", "precision": "float16"}, "openvino has no .* float16; it has int8, bfloat16, float32"),
        ({"engine": "onnx", "precision": "bfloat16"}, "onnx has no precision bfloat16; it has float32, float16"),
        ({"engine": "keras", "precision": "int8"}, "keras has no precision int8; it has float32, float16, bfloat16"),
        ({"backend": "jax", "precision": "int8"}, "keras has no precision int8"),
        ({"engine": "onnx", "device": "gpu"}, "neither CUDA nor TensorRT: pip install onnxruntime-gpu"),
        ({"device": "gpu"}, "sees no GPU"),
    ],
)
def test_contradictions_are_one_line(machine, values, line):
    with pytest.raises(InputError, match=line):
        planned(machine, **values)


@pytest.mark.parametrize(("engine", "package"), [("openvino", "openvino"), ("onnx", "onnxruntime")])
def test_an_engine_that_was_asked_for_must_be_installed(machine, engine, package):
    machine.installed.remove(EngineKind(engine))
    with pytest.raises(InputError, match=f"the engine {engine} is not installed: pip install {package}"):
        planned(machine, engine=engine)


def test_int8_needs_openvino(machine):
    machine.installed.remove(EngineKind.OPENVINO)
    with pytest.raises(InputError, match="precision int8 needs the engine openvino: pip install openvino"):
        planned(machine, precision="int8")


@pytest.mark.parametrize("engine", ["auto", "openvino"])
def test_int8_that_was_asked_for_must_be_prepared(machine, engine):
    with pytest.raises(InputError, match=r"int8 is not prepared for some\.h5: run `.* optimize --weights some\.h5`"):
        planned(machine, engine=engine, precision="int8")
    machine.int8 = True
    assert planned(machine, engine=engine, precision="int8") == [("openvino", "int8")]


# -- what follows a failure -------------------------------------------------------------------------------------------


def test_the_first_that_can_be_made_is_taken(machine, caplog):
    machine.int8 = True
    assert made(machine, caplog) == (("openvino", "int8"), EngineChoice(EngineKind.OPENVINO, Precision.INT8), [])
    assert machine.keras_loads == 0


def test_each_failure_is_a_line_that_names_what_comes_next(machine, caplog):
    machine.int8 = machine.bfloat16 = True
    machine.failures["openvino", "int8"] = EngineError("int8 is not prepared (cut off): run optimize")
    machine.failures["openvino", "bfloat16"] = EngineError("no bfloat16")
    machine.failures["openvino", "float32"] = EngineError("no float32")
    machine.failures["onnx"] = EngineError("no onnx")
    engine, plan, lines = made(machine, caplog)
    assert engine == ("keras", "float32")
    assert plan.backend == BackendChoice(Backend.JAX, Device.CPU, "CPU")
    starts = ["int8 is not prepared (cut off): run optimize", "no bfloat16", "no float32", "no onnx"]
    assert [line.split("; falling back to ")[0] for line in lines] == starts
    following = [line.split("; falling back to ")[1] for line in lines]
    assert following[0].startswith("OpenVINO ")
    assert following[0].endswith(" on the CPU, bfloat16")
    assert following[2].startswith("ONNX Runtime ")
    assert following[3] == "Keras"


def test_a_package_that_does_not_load_is_passed_over(machine, caplog):
    machine.openvino_loads = False
    machine.failures["openvino"] = EngineError("broken")
    engine, plan, lines = made(machine, caplog)
    assert engine == ("onnx", "float32", "cpu")
    assert (plan.engine, plan.provider) == (EngineKind.ONNX, "cpu")
    assert len(lines) == 1
    with pytest.raises(InputError, match="broken"):
        made(machine, caplog, engine="openvino")


def test_a_network_that_cannot_be_exported_is_tried_once(machine, caplog):
    machine.bfloat16 = True
    machine.failures["openvino"] = machine.failures["onnx"] = ExportFault("to export the network onnx is needed")
    engine, _, lines = made(machine, caplog)
    assert engine == ("keras", "float32")
    assert machine.made == [("openvino", "bfloat16"), ("keras", "float32")]
    assert lines == ["to export the network onnx is needed; falling back to Keras"]


def test_an_engine_or_precision_that_was_asked_for_is_not_replaced(machine, caplog):
    machine.failures["openvino", "float32"] = EngineError("cannot be made")
    with pytest.raises(InputError, match="cannot be made"):
        made(machine, caplog, engine="openvino")
    machine.failures["openvino", "int8"] = EngineError("features.bin is cut off: run optimize")
    machine.int8 = True
    with pytest.raises(InputError, match="is cut off"):
        made(machine, caplog, precision="int8")
    machine.int8 = False
    machine.failures["openvino", "bfloat16"] = EngineError("this CPU does not compute in bfloat16")
    with pytest.raises(InputError, match="does not compute in bfloat16"):
        made(machine, caplog, engine="openvino", precision="bfloat16")
    assert not caplog.records
    assert made(machine, caplog, precision="bfloat16")[0] == ("keras", "bfloat16")


def test_with_a_forced_engine_the_precision_may_still_give_way(machine, caplog):
    machine.bfloat16 = True
    machine.failures["openvino", "bfloat16"] = EngineError("no bfloat16")
    engine, _, lines = made(machine, caplog, engine="openvino")
    assert engine == ("openvino", "float32")
    assert len(lines) == 1


def test_weights_that_do_not_fit_end_it(machine, caplog):
    machine.failures["keras"] = InputError("some.h5 has no layer fpn_p2")
    with pytest.raises(InputError, match=r"some\.h5 has no layer fpn_p2"):
        made(machine, caplog, engine="keras")


# -- ONNX Runtime and the device --------------------------------------------------------------------------------------


def test_onnx_takes_the_fastest_provider_that_starts(machine, caplog):
    machine.providers = ["tensorrt", "cuda", "cpu"]
    assert made(machine, caplog, engine="onnx")[0] == ("onnx", "float32", "tensorrt")
    machine.failures["onnx", "float32", "tensorrt"] = EngineError("TensorRT cannot be started")
    engine, plan, lines = made(machine, caplog, engine="onnx")
    assert (engine, plan.provider, lines) == (("onnx", "float32", "cuda"), "cuda", [])
    machine.failures["onnx", "float32", "cuda"] = EngineError("CUDA cannot be started")
    assert made(machine, caplog, engine="onnx")[1].provider == "cpu"
    with pytest.raises(InputError, match="CUDA cannot be started"):
        made(machine, caplog, engine="onnx", device="gpu")


def test_the_device_chooses_among_the_providers(machine, caplog):
    machine.providers = ["tensorrt", "cuda", "cpu"]
    assert made(machine, caplog, engine="onnx", device="cpu")[0] == ("onnx", "float32", "cpu")
    machine.providers = ["cuda", "cpu"]
    assert made(machine, caplog, engine="onnx", device="gpu")[0] == ("onnx", "float32", "cuda")


def test_an_onnx_runtime_that_does_not_load_is_one_line(machine):
    machine.providers = EngineError("the engine onnx is not there (libfoo)")
    with pytest.raises(InputError, match="onnx is not there"):
        planned(machine, engine="onnx")


# -- in words ---------------------------------------------------------------------------------------------------------


def test_a_plan_in_words(monkeypatch):
    versions = {"openvino": "2026.4.1", "onnxruntime-gpu": "1.32.0", "keras": "3.15.1", "jax": "0.10.2"}

    def version(name):
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    gpu = BackendChoice(Backend.JAX, Device.GPU, "NVIDIA H100")
    cpu = BackendChoice(Backend.TENSORFLOW, Device.CPU, "CPU")
    half = Precision.FLOAT16
    assert str(EngineChoice(EngineKind.OPENVINO, Precision.INT8)) == "OpenVINO 2026.4 on the CPU, int8"
    assert str(EngineChoice(EngineKind.ONNX, half, provider="tensorrt")) == "ONNX Runtime 1.32 with TensorRT, float16"
    assert str(EngineChoice(EngineKind.ONNX, half, provider="cpu")) == "ONNX Runtime 1.32 on the CPU, float16"
    assert str(EngineChoice(EngineKind.ONNX, half)) == "ONNX Runtime 1.32, float16"
    assert str(EngineChoice(EngineKind.KERAS, half, gpu)) == "Keras 3.15 with jax 0.10 on NVIDIA H100, float16"
    in_full = Precision.FLOAT32
    assert str(EngineChoice(EngineKind.KERAS, in_full, cpu)) == "Keras 3.15 with tensorflow on the CPU, float32"
