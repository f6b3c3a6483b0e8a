"""The logic of the GPU row; its numbers need a GPU."""

import sys
from types import SimpleNamespace

import pytest

from benchmarks.options import Options
from benchmarks.rows import gpu
from pipeline.errors import InputError
from tests.benchmarks.rows.fakes import by_name, opening


@pytest.fixture
def engines(monkeypatch, tmp_path):
    card = SimpleNamespace(device_name="NVIDIA H100 80GB HBM3", backend=SimpleNamespace(value="jax"))
    monkeypatch.setattr(gpu, "prepare_backend", lambda backend, device: card)
    monkeypatch.setattr(gpu.models, "seeded_file", lambda: tmp_path / "seeded.h5")
    monkeypatch.setenv("STREAM_SEGMENT_WEIGHTS_DIR", str(tmp_path))

    def alternate(sides, rounds, warm_ups):
        for run in sides.values():
            run()
        seconds = {"tight": 0.25, "square": 0.5, "torchvision": 0.6}
        return {name: [seconds[name]] * rounds for name in sides}

    monkeypatch.setattr(gpu, "alternate", alternate)
    return opening(monkeypatch, gpu)


def test_rate_share_of_the_peak_and_torchvision(engines, monkeypatch):
    monkeypatch.setattr(gpu, "torchvision_side", lambda pictures, notes: lambda: None)
    report = gpu.measure(Options())
    values = by_name(report)
    assert (values["frames a second"].spread.median, values["frames a second"].reached) == (120, True)
    # 770 GFLOP x 60 frames a second = 46.2 TFLOP/s of 989
    assert values["achieved on the square canvas"].spread.median == pytest.approx(46.2)
    assert values["share of the card's peak"].spread.median == pytest.approx(100 * 46.2 / 989)
    ratio = values["times as fast as torchvision's maskrcnn_resnet50_fpn"]
    assert (ratio.spread.median, ratio.reached) == (pytest.approx(2.4), True)
    agreed = values["objects as the square float32 engine finds them, on the same canvas"]
    assert (agreed.spread.median, agreed.target.bound) == (pytest.approx(80), 95)
    assert report.settings["card"] == "NVIDIA H100 80GB HBM3"
    assert [engine.settings["device"] for engine in engines] == ["gpu"] * 3
    assert [engine.settings["canvas"] for engine in engines[1:]] == ["square", "square"]


def test_without_torchvision_it_says_so(engines, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    report = gpu.measure(Options(quick=True))
    assert "torchvision: not measured, it is not installed" in report.notes
    assert not any("torchvision" in name for name in by_name(report))


def test_a_card_that_is_not_known_has_no_share():
    assert [value.name for value in gpu.share_of_peak("GPU", [1.0], 30)] == ["achieved on the square canvas"]


def test_no_gpu_is_an_error(monkeypatch):
    def none(backend, device):
        raise InputError("sees no GPU here")

    monkeypatch.setattr(gpu, "prepare_backend", none)
    with pytest.raises(InputError, match="sees no GPU"):
        gpu.measure(Options())
