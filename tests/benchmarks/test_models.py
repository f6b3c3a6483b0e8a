import pickle
from pathlib import Path

import pytest

from benchmarks import models
from benchmarks.options import Options
from pipeline.errors import InputError
from pipeline.settings.model_settings import ModelSettings
from tests.pipeline.fakes import FakeSegmenter


def test_weights_that_are_given_then_cocos_then_seeded_ones(monkeypatch, tmp_path):
    made = []

    def seeded_file():
        made.append(1)
        return tmp_path / "seeded.h5"

    monkeypatch.setattr(models, "seeded_file", seeded_file)
    monkeypatch.setenv("STREAM_SEGMENT_WEIGHTS_DIR", str(tmp_path))
    assert models.resnet101(Options(weights="/x/mine.h5")).what == "mine.h5, as given"
    assert models.resnet101(Options()).seeded
    assert made == [1]
    (tmp_path / "mask_rcnn_coco.h5").touch()
    found = models.resnet101(Options())
    assert (found.path.name, found.seeded) == ("mask_rcnn_coco.h5", False)
    assert made == [1]


def test_seeded_weights_are_made_once(monkeypatch, tmp_path):
    recipe = tmp_path / "oracle" / "make_weights.py"
    recipe.parent.mkdir()
    recipe.write_text("def main(out):\n    print('noise')\n    out.write_text('weights')\n")
    monkeypatch.setattr(models, "RECIPES", tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = models.seeded_file()
    assert path.read_text() == "weights"
    assert [found.name for found in path.parent.iterdir()] == ["seeded_r101_coco.h5"]
    recipe.write_text("def main(out):\n    raise AssertionError\n")
    assert models.seeded_file() == path
    path.unlink()
    recipe.unlink()
    with pytest.raises(InputError, match="run the benchmark in a clone"):
        models.seeded_file()


def test_random_weights_in_the_layout_of_torchvision_are_written_once(monkeypatch, tmp_path):
    recipe = tmp_path / "torchvision" / "random_weights.py"
    recipe.parent.mkdir()
    recipe.write_text("def state_dict(flavor):\n    return {flavor: [0, 1, 2]}\n")
    monkeypatch.setattr(models, "RECIPES", tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    weights = models.random_torchvision("v1")
    assert weights.seeded
    assert pickle.loads(weights.path.read_bytes()) == {"v1": [0, 1, 2]}
    recipe.unlink()
    assert models.random_torchvision("v1").path == weights.path


def test_settings_of_reference_and_of_what_is_measured():
    weights = models.Weights(Path("/x/w.h5"), "w")
    square = models.keras_square(weights, 512)
    assert ModelSettings.model_validate(square).canvas.value == "square"
    assert (square["max_dim"], square["device"]) == (512, "cpu")
    best = models.best(weights, None, Options(model={"device": "auto"}))
    assert best == {"weights": "/x/w.h5", "device": "auto"}


def test_choices_of_a_setting():
    assert models.choices("canvas") == ["tight", "pad64", "square"]
    assert "auto" not in models.choices("backend")


def test_a_segmenter_is_opened_and_closed(monkeypatch, capsys):
    made = []

    class Segmenter(FakeSegmenter):
        def __init__(self, model, detections, workers):
            super().__init__(opening=lambda: made.append((model.settings, detections.report_score, self)))

    monkeypatch.setattr(models, "MaskRCNNSegmenter", Segmenter)
    weights = str(models.small().path)
    with models.opened({"weights": weights, "canvas": "square"}, 0.4) as segmenter:
        assert segmenter.closed == 0
    ((settings, report_from, opened),) = made
    assert (settings.weights, settings.canvas.value, report_from) == (weights, "square", 0.4)
    assert (opened, opened.closed) == (segmenter, 1)
    assert capsys.readouterr().err == "    ready: fake segmenter\n"
