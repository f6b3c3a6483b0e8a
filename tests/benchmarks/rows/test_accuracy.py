from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.measuring import at_most
from benchmarks.models import Weights
from benchmarks.options import Options
from benchmarks.rows import accuracy
from tests.benchmarks.rows.fakes import by_name, opening
from tests.pipeline.fakes import make_instances


@pytest.fixture
def engines(monkeypatch, tmp_path):
    choices = {"engine": ["keras", "other"], "precision": ["float32", "int8"]}
    monkeypatch.setattr(accuracy.models, "choices", choices.__getitem__)
    monkeypatch.setattr(accuracy.models, "seeded_file", lambda: tmp_path / "seeded.h5")
    monkeypatch.setattr(accuracy.models, "precisions", lambda settings: ["float32"])
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


def test_int8_is_measured_by_what_a_pixel_changes(monkeypatch):
    """Of ten objects, float32 loses two when the picture moves, and int8 three; F1 is 2 · 8 / 18 and 2 · 7 / 17."""
    monkeypatch.setattr(accuracy.models, "precisions", lambda settings: ["int8", "float32"])
    pictures = [np.arange(24, dtype=np.uint8).reshape(2, 4, 3)]

    def found_by(model, given):
        moved = given[0][0, 1, 0] == 0
        assert moved == (given[0][1, 3, 0] != pictures[0][1, 3, 0])
        found = make_instances(8 if moved else 7 if model["precision"] == "int8" else 10)
        boxes = found.boxes_xyxy + np.float32([1, 0, 1, 0]) if moved else found.boxes_xyxy
        return [replace(found, boxes_xyxy=boxes)]

    monkeypatch.setattr(accuracy, "found_by", found_by)
    moved, int8, quotient = accuracy.shift_values(Weights(Path("w.h5"), "some"), pictures)
    assert moved.spread.median == pytest.approx(1600 / 18)
    assert int8.spread.median == pytest.approx(1400 / 17)
    assert quotient.spread.median == pytest.approx((3 / 17) / (2 / 18))
    assert (quotient.target, quotient.reached) == (at_most(1.2), False)
