"""Which engine is chosen, and what follows when it cannot be made: with stand-ins, so that every machine is tried."""

import importlib.metadata
import importlib.util
import itertools
import logging
from pathlib import Path

import pytest

from mrcnn.engines import create, onnx_runtime, openvino_runtime
from mrcnn.engines.base import EngineError
from mrcnn.engines.exported import ExportFault
from mrcnn.weights.checkpoint import WeightsError
from pipeline.errors import InputError
from pipeline.segmentation import engine_choice as module
from pipeline.segmentation.backend import BackendChoice
from pipeline.segmentation.engine_choice import EnginePlan, gpu_is_likely, make_engine, plan_engines
from pipeline.settings.model_settings import Backend, Device, EngineKind, ModelSettings, Precision

WEIGHTS = Path("some.h5")
ENGINES = {"openvino": EngineKind.OPENVINO, "onnxruntime": EngineKind.ONNX, "keras": EngineKind.KERAS}


class Machine:
    """What is installed, what the hardware can do, and what fails; `made` says what was asked for."""

    def __init__(self):
        self.installed = {"openvino", "onnxruntime", "keras"}
        self.bfloat16 = self.int8 = self.gpu_signs = self.keras_sees_gpu = False
        self.providers = ["cpu"]
        self.failures = {}
        self.keras_loads = 0
        self.openvino_loads = True
        self.made = []
        self.threads = []

    def prepare_backend(self, backend, device):
        self.keras_loads += 1
        if "keras" not in self.installed:
            raise InputError("Keras needs a backend: pip install tensorflow (or jax, or torch)")
        chosen = Backend.JAX if backend is Backend.AUTO else backend
        if self.keras_sees_gpu and device is not Device.CPU:
            return BackendChoice(chosen, Device.GPU, "NVIDIA H100")
        if device is Device.GPU:
            raise InputError(f"--device gpu: {chosen.value} sees no GPU here")
        return BackendChoice(chosen, Device.CPU, "CPU")

    def make(self, *what):
        """What stands for the engine; a failure is looked up by the whole of `what`, then by its first word."""
        self.made.append(what)
        failure = self.failures.get(what, self.failures.get(what[0]))
        if failure is not None:
            raise failure
        return what


@pytest.fixture
def machine(monkeypatch):
    it = Machine()
    real = importlib.util.find_spec

    def find_spec(name, package=None):
        if name in ENGINES:
            return object() if name in it.installed else None
        return real(name, package)

    def create_onnx_engine(_weights, _config, precision, provider):
        return it.make("onnx", precision, provider)

    def create_openvino_engine(_weights, _config, precision, threads=None):
        it.threads.append(threads)
        return it.make("openvino", precision)

    def has_bfloat16():
        if not it.openvino_loads:
            raise EngineError("the engine openvino is not there: pip install openvino")
        return it.bfloat16

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    monkeypatch.setattr(module, "gpu_is_likely", lambda: it.gpu_signs)
    monkeypatch.setattr(module, "prepare_backend", it.prepare_backend)
    monkeypatch.setattr(create, "int8_is_there", lambda *_: it.int8)
    monkeypatch.setattr(create, "create_keras_engine", lambda _w, _c, precision: it.make("keras", precision))
    monkeypatch.setattr(create, "create_openvino_engine", create_openvino_engine)
    monkeypatch.setattr(create, "create_onnx_engine", create_onnx_engine)
    monkeypatch.setattr(openvino_runtime, "cpu_has_bfloat16", has_bfloat16)
    monkeypatch.setattr(onnx_runtime, "available_providers", lambda: it.providers)
    return it


def settings_of(**values):
    return ModelSettings.model_validate(values)


def planned(**values):
    """(engine, precision) of every plan."""
    return [(plan.engine.value, plan.precision.value) for plan in plan_engines(settings_of(**values), WEIGHTS, None)]


def made(caplog, **values):
    """What make_engine gave, its plan, and the lines that it logged."""
    settings = settings_of(**values)
    with caplog.at_level(logging.WARNING):
        engine, plan = make_engine(plan_engines(settings, WEIGHTS, None), settings, WEIGHTS, None)
    return engine, plan, [record.message for record in caplog.records]


# -- what is chosen ---------------------------------------------------------------------------------------------------


def test_a_gpu_that_keras_sees_gets_keras_in_half_precision(machine):
    machine.gpu_signs = machine.keras_sees_gpu = machine.int8 = True
    assert planned() == [("keras", "float16")]
    assert planned(precision="float32") == [("keras", "float32")]
    assert planned(device="cpu", precision="float32") == [("openvino", "float32"), ("onnx", "float32")]
    assert planned(precision="int8") == [("openvino", "int8")]


def test_without_signs_of_a_gpu_keras_is_not_loaded(machine):
    machine.keras_sees_gpu = True
    assert planned()[0][0] == "openvino"
    assert machine.keras_loads == 0


@pytest.mark.parametrize("keras", [True, False])
def test_a_gpu_that_keras_does_not_see_leaves_the_fastest_on_the_processor(machine, keras):
    machine.gpu_signs = True
    if not keras:
        machine.installed.remove("keras")
    assert planned()[0] == ("openvino", "float32")
    assert machine.keras_loads == 1


def test_openvino_in_the_fastest_precision_that_is_there_then_onnx(machine):
    machine.int8 = machine.bfloat16 = True
    assert planned() == [("openvino", "int8"), ("openvino", "bfloat16"), ("openvino", "float32"), ("onnx", "float32")]
    machine.int8 = False
    assert planned() == [("openvino", "bfloat16"), ("openvino", "float32"), ("onnx", "float32")]
    machine.bfloat16 = False
    assert planned(engine="openvino") == [("openvino", "float32")]
    assert planned(precision="bfloat16") == [("openvino", "bfloat16")]
    machine.installed.remove("openvino")
    assert planned() == [("onnx", "float32")]
    machine.installed.remove("onnxruntime")
    assert planned() == [("keras", "float32")]


def test_a_named_backend_or_a_gpu_means_keras(machine):
    assert planned(backend="torch") == [("keras", "float32")]
    machine.keras_sees_gpu = True
    assert planned(device="gpu") == [("keras", "float16")]
    assert planned(device="gpu", precision="bfloat16") == [("keras", "bfloat16")]
    assert planned(engine="keras", device="cpu") == [("keras", "float32")]


def test_every_combination_is_a_plan_or_one_line(machine):
    machine.int8 = True
    plans, refusals = 0, []
    fields = {"engine": EngineKind, "precision": Precision, "device": Device, "backend": (Backend.AUTO, Backend.JAX)}
    for values in itertools.product(*fields.values()):
        chosen = dict(zip(fields, values, strict=True))
        try:
            found = plan_engines(settings_of(**chosen), WEIGHTS, None)
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
        planned(**values)


@pytest.mark.parametrize(("engine", "package"), [("openvino", "openvino"), ("onnx", "onnxruntime")])
def test_an_engine_that_was_asked_for_must_be_installed(machine, engine, package):
    machine.installed.remove(package)
    with pytest.raises(InputError, match=f"the engine {engine} is not installed: pip install {package}"):
        planned(engine=engine)


def test_int8_needs_openvino(machine):
    machine.installed.remove("openvino")
    with pytest.raises(InputError, match="precision int8 needs the engine openvino: pip install openvino"):
        planned(precision="int8")


@pytest.mark.parametrize("engine", ["auto", "openvino"])
def test_int8_that_was_asked_for_must_be_prepared(machine, engine):
    with pytest.raises(InputError, match=r"int8 is not prepared for some\.h5: run `.* optimize --weights some\.h5`"):
        planned(engine=engine, precision="int8")
    machine.int8 = True
    assert planned(engine=engine, precision="int8") == [("openvino", "int8")]


@pytest.mark.parametrize(("hidden", "signs"), [("", False), ("-1", False), ("0", True), ("1,2", True)])
def test_a_hidden_gpu_is_none(monkeypatch, tmp_path, hidden, signs):
    (tmp_path / "version").touch()
    monkeypatch.setattr(module, "_NVIDIA_SIGNS", (str(tmp_path / "version"),))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert gpu_is_likely() is signs


def test_no_driver_and_no_tool_are_no_gpu(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "_NVIDIA_SIGNS", (str(tmp_path / "missing"),))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert not gpu_is_likely()
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    assert gpu_is_likely()


# -- what follows a failure -------------------------------------------------------------------------------------------


def test_the_first_that_can_be_made_is_taken(machine, caplog):
    machine.int8 = True
    assert made(caplog) == (("openvino", "int8"), EnginePlan(EngineKind.OPENVINO, Precision.INT8), [])
    assert machine.keras_loads == 0


def test_each_failure_is_a_line_that_names_what_comes_next(machine, caplog):
    machine.int8 = machine.bfloat16 = True
    machine.failures["openvino", "int8"] = EngineError("int8 is not prepared (cut off): run optimize")
    machine.failures["openvino", "bfloat16"] = EngineError("no bfloat16")
    machine.failures["openvino", "float32"] = EngineError("no float32")
    machine.failures["onnx"] = EngineError("no onnx")
    engine, plan, lines = made(caplog)
    assert engine == ("keras", "float32")
    assert plan.backend == BackendChoice(Backend.JAX, Device.CPU, "CPU")
    starts = ["int8 is not prepared (cut off): run optimize", "no bfloat16", "no float32", "no onnx"]
    assert [line.split("; going on with ")[0] for line in lines] == starts
    following = [line.split("; going on with ")[1] for line in lines]
    assert following[0].startswith("OpenVINO ")
    assert following[0].endswith(" on the CPU, bfloat16")
    assert following[2].startswith("ONNX Runtime ")
    assert following[3] == "Keras"


def test_a_package_that_does_not_load_is_passed_over(machine, caplog):
    machine.openvino_loads = False
    machine.failures["openvino"] = EngineError("broken")
    engine, plan, lines = made(caplog)
    assert engine == ("onnx", "float32", "cpu")
    assert (plan.engine, plan.provider) == (EngineKind.ONNX, "cpu")
    assert len(lines) == 1
    with pytest.raises(InputError, match="broken"):
        made(caplog, engine="openvino")


def test_a_network_that_cannot_be_exported_is_tried_once(machine, caplog):
    machine.bfloat16 = True
    machine.failures["openvino"] = machine.failures["onnx"] = ExportFault("to export the network onnx is needed")
    engine, _, lines = made(caplog)
    assert engine == ("keras", "float32")
    assert machine.made == [("openvino", "bfloat16"), ("keras", "float32")]
    assert lines == ["to export the network onnx is needed; going on with Keras"]


def test_an_engine_or_precision_that_was_asked_for_is_not_replaced(machine, caplog):
    machine.failures["openvino", "float32"] = EngineError("cannot be made")
    with pytest.raises(InputError, match="cannot be made"):
        made(caplog, engine="openvino")
    machine.failures["openvino", "int8"] = EngineError("features.bin is cut off: run optimize")
    machine.int8 = True
    with pytest.raises(InputError, match="is cut off"):
        made(caplog, precision="int8")
    machine.int8 = False
    machine.failures["openvino", "bfloat16"] = EngineError("this CPU does not compute in bfloat16")
    with pytest.raises(InputError, match="does not compute in bfloat16"):
        made(caplog, engine="openvino", precision="bfloat16")
    assert not caplog.records
    assert made(caplog, precision="bfloat16")[0] == ("keras", "bfloat16")


def test_with_a_forced_engine_the_precision_may_still_give_way(machine, caplog):
    machine.bfloat16 = True
    machine.failures["openvino", "bfloat16"] = EngineError("no bfloat16")
    engine, _, lines = made(caplog, engine="openvino")
    assert engine == ("openvino", "float32")
    assert len(lines) == 1


def test_weights_that_do_not_fit_end_it(machine, caplog):
    machine.failures["keras"] = WeightsError("some.h5 has no layer fpn_p2")
    with pytest.raises(InputError, match=r"some\.h5 has no layer fpn_p2"):
        made(caplog, engine="keras")


# -- ONNX Runtime and the device --------------------------------------------------------------------------------------


def test_onnx_takes_the_fastest_provider_that_starts(machine, caplog):
    machine.providers = ["tensorrt", "cuda", "cpu"]
    assert made(caplog, engine="onnx")[0] == ("onnx", "float32", "tensorrt")
    machine.failures["onnx", "float32", "tensorrt"] = EngineError("TensorRT cannot be started")
    engine, plan, lines = made(caplog, engine="onnx")
    assert (engine, plan.provider, lines) == (("onnx", "float32", "cuda"), "cuda", [])
    machine.failures["onnx", "float32", "cuda"] = EngineError("CUDA cannot be started")
    assert made(caplog, engine="onnx")[1].provider == "cpu"
    with pytest.raises(InputError, match="CUDA cannot be started"):
        made(caplog, engine="onnx", device="gpu")


def test_the_device_chooses_among_the_providers(machine, caplog):
    machine.providers = ["tensorrt", "cuda", "cpu"]
    assert made(caplog, engine="onnx", device="cpu")[0] == ("onnx", "float32", "cpu")
    machine.providers = ["cuda", "cpu"]
    assert made(caplog, engine="onnx", device="gpu")[0] == ("onnx", "float32", "cuda")


def test_an_onnx_runtime_that_does_not_load_is_one_line(machine, monkeypatch):
    def fails():
        raise EngineError("the engine onnx is not there (libfoo)")

    monkeypatch.setattr(onnx_runtime, "available_providers", fails)
    with pytest.raises(InputError, match="onnx is not there"):
        planned(engine="onnx")


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
    assert str(EnginePlan(EngineKind.OPENVINO, Precision.INT8)) == "OpenVINO 2026.4 on the CPU, int8"
    assert str(EnginePlan(EngineKind.ONNX, half, provider="tensorrt")) == "ONNX Runtime 1.32 with TensorRT, float16"
    assert str(EnginePlan(EngineKind.ONNX, half, provider="cpu")) == "ONNX Runtime 1.32 on the CPU, float16"
    assert str(EnginePlan(EngineKind.ONNX, half)) == "ONNX Runtime 1.32, float16"
    assert str(EnginePlan(EngineKind.KERAS, half, gpu)) == "Keras 3.15 with jax 0.10 on NVIDIA H100, float16"
    in_full = Precision.FLOAT32
    assert str(EnginePlan(EngineKind.KERAS, in_full, cpu)) == "Keras 3.15 with tensorflow on the CPU, float32"
