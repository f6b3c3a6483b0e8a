import errno
import importlib
import importlib.util
import os
import sys
from types import SimpleNamespace

import pytest

from pipeline.errors import InputError
from pipeline.segmentation.backend import choose_backend, prepare_backend
from pipeline.settings.model_settings import Backend, Device


@pytest.fixture(autouse=True)
def _environment_is_put_back(monkeypatch):
    for name in ("KERAS_BACKEND", "TF_CPP_MIN_LOG_LEVEL", "CUDA_VISIBLE_DEVICES", "JAX_PLATFORMS"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
        if name not in os.environ or not os.environ[name]:
            monkeypatch.delenv(name)


@pytest.fixture
def installed(monkeypatch):
    def only(*modules):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if name in modules else None)

    return only


def test_the_first_installed_backend_is_taken(installed):
    installed("jax", "torch")
    assert choose_backend(Backend.AUTO, None) is Backend.JAX
    installed("tensorflow", "jax", "torch")
    assert choose_backend(Backend.AUTO, None) is Backend.TENSORFLOW


def test_the_environment_decides_unless_the_setting_does(installed):
    installed("tensorflow", "jax", "torch")
    assert choose_backend(Backend.AUTO, "torch") is Backend.TORCH
    assert choose_backend(Backend.JAX, "torch") is Backend.JAX


def test_what_is_not_there_is_said(installed):
    installed()
    with pytest.raises(
        InputError, match=r'Keras needs a backend: pip install -e "\.\[tensorflow\]" \(or .*gpu, jax or torch'
    ):
        choose_backend(Backend.AUTO, None)
    with pytest.raises(InputError, match=r'jax is not installed: pip install -e "\.\[jax\]"'):
        choose_backend(Backend.JAX, None)
    with pytest.raises(InputError, match="KERAS_BACKEND must be one of tensorflow, jax, torch, got 'theano'"):
        choose_backend(Backend.AUTO, "theano")


def test_a_loaded_backend_cannot_be_changed():
    assert choose_backend(Backend.AUTO, "jax", loaded="tensorflow") is Backend.TENSORFLOW
    assert choose_backend(Backend.TENSORFLOW, None, loaded="tensorflow") is Backend.TENSORFLOW
    with pytest.raises(InputError, match="already loaded with tensorflow"):
        choose_backend(Backend.JAX, None, loaded="tensorflow")


def tensorflow_with(*gpus):
    experimental = SimpleNamespace(
        set_memory_growth=lambda gpu, enable: None, get_device_details=lambda gpu: {"device_name": gpu}
    )
    return SimpleNamespace(
        config=SimpleNamespace(list_physical_devices=lambda kind: list(gpus), experimental=experimental)
    )


def jax_with(*gpus):
    devices = [SimpleNamespace(platform="gpu", device_kind=gpu) for gpu in gpus]
    return SimpleNamespace(devices=lambda: devices or [SimpleNamespace(platform="cpu", device_kind="cpu")])


def torch_with(*gpus):
    return SimpleNamespace(
        cuda=SimpleNamespace(is_available=lambda: bool(gpus), get_device_name=lambda index: gpus[index])
    )


@pytest.fixture(params=[("tensorflow", tensorflow_with), ("jax", jax_with), ("torch", torch_with)])
def machine_with(request, installed, monkeypatch):
    """Lets one backend be installed, which Keras has not loaded and which sees these GPUs."""
    name, module_with = request.param

    def make(*gpus):
        installed(name)
        monkeypatch.setenv("KERAS_BACKEND", "")  # which `prepare_backend` sets
        monkeypatch.delitem(sys.modules, "keras", raising=False)
        monkeypatch.setitem(sys.modules, name, module_with(*gpus))

    return make


def test_a_gpu_that_is_not_there_is_an_error(machine_with):
    machine_with()
    with pytest.raises(InputError, match="sees no GPU here"):
        prepare_backend(Backend.AUTO, Device.GPU)
    choice = prepare_backend(Backend.AUTO, Device.AUTO)
    assert (choice.device, choice.device_name) == (Device.CPU, "CPU")


def test_a_gpu_is_named(machine_with):
    machine_with("Fast One", "Slow One")
    choice = prepare_backend(Backend.AUTO, Device.AUTO)
    assert (choice.device, choice.device_name) == (Device.GPU, "Fast One")
    assert prepare_backend(Backend.AUTO, Device.CPU).device is Device.CPU


def test_only_known_noise_is_kept_from_standard_error(monkeypatch, capfd):
    def load(_):
        os.write(2, b"I0000 00:00:1795423659.215027 port.cc:153] oneDNN custom operations are on.\n")
        os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n")
        os.write(2, b"something that matters\n")

    monkeypatch.setattr(importlib, "import_module", load)
    prepare_backend(Backend.AUTO, Device.CPU)
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "something that matters\nafter\n"


def test_without_a_standard_error(machine_with, monkeypatch):
    """As under pythonw, and where it is closed."""

    def dup(_):
        raise OSError(errno.EBADF, "Bad file descriptor")

    machine_with("Fast One")
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setattr(os, "dup", dup)
    assert prepare_backend(Backend.AUTO, Device.AUTO).device_name == "Fast One"


def test_an_error_inside_gives_standard_error_back(monkeypatch, capfd):
    def load(_):
        os.write(2, b"before it broke\n")
        raise ZeroDivisionError

    monkeypatch.setattr(importlib, "import_module", load)
    with pytest.raises(ZeroDivisionError):
        prepare_backend(Backend.AUTO, Device.CPU)
    assert capfd.readouterr().err == "before it broke\n"
