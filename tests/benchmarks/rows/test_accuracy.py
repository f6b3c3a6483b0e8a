import pytest

from benchmarks.options import Options
from benchmarks.rows import accuracy
from tests.benchmarks.rows.fakes import by_name, opening


@pytest.fixture
def engines(monkeypatch, tmp_path):
    choices = {"engine": ["keras", "other"], "precision": ["float32", "int8"]}
    monkeypatch.setattr(accuracy.models, "choices", choices.__getitem__)
    monkeypatch.setattr(accuracy.models, "seeded_file", lambda: tmp_path / "seeded.h5")
    monkeypatch.setenv("STREAM_SEGMENT_WEIGHTS_DIR", str(tmp_path))
    return opening(monkeypatch, accuracy, refused=["int8"])


CANVASES = ("keras float32, canvas padded to 64", "keras float32, tight canvas")


def test_every_engine_in_every_precision(engines):
    report = accuracy.measure(Options(quick=True))
    values = by_name(report)
    # Weights that were never trained say nothing about another canvas.
    assert set(values) == {"ResNet-101: other float32", "small model: other float32"} | {
        f"small model: {canvas}" for canvas in CANVASES
    }
    assert all(value.spread.median == pytest.approx(80) for value in values.values())
    assert [values[f"small model: {canvas}"].target.bound for canvas in CANVASES] == [90, 90]
    assert values["ResNet-101: other float32"].target.bound == 97
    assert "ResNet-101, other int8: not measured: int8 is not here" in report.notes
    assert accuracy.SEEDED in report.notes
    assert report.settings["ResNet-101"]["objects"] == 6


def test_trained_resnet_weights_have_every_target(engines):
    report = accuracy.measure(Options(quick=True, weights="trained.h5"))
    values = by_name(report)
    assert set(values) == {
        f"{name}: {what}" for name in ("ResNet-101", "small model") for what in (*CANVASES, "other float32")
    }
    assert [values[f"ResNet-101: {canvas}"].target.bound for canvas in CANVASES] == [90, 90]
    assert accuracy.SEEDED not in report.notes


def test_ap_is_told_as_points_lost(engines, monkeypatch):
    def mask_ap(model, images, annotations):
        assert (images, annotations) == ("photos", "a.json")
        if model["precision"] == "int8":
            raise accuracy.StreamSegmentError("not here")
        if model["engine"] == "keras" and model["canvas"] == "square":
            return {"AP": 0.17, "AP50": 0.405}
        return {"AP": 0.172, "AP50": 0.399}

    monkeypatch.setattr(accuracy.coco, "mask_ap", mask_ap)
    missing = []
    values = accuracy.average_precision(Options(coco_images="photos", coco_annotations="a.json"), missing)
    assert [value.spread.median for value in values] == pytest.approx([17.0, 40.5, *3 * (0.2, -0.6)])
    assert [value.reached for value in values] == [None, None, *3 * (True, False)]
    assert missing == []


def test_ap_that_was_not_measured_is_said(engines):
    missing = []
    assert accuracy.average_precision(Options(), missing) == []
    assert "give --coco-images" in missing[0]
