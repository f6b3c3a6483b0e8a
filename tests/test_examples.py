"""The example script, with a fake network: what it asks of the package, what it draws, how it refuses."""

import importlib.util
import json
import sys
import types
from pathlib import Path

import cv2
import numpy as np
import pytest

import mrcnn

EXAMPLES = Path(__file__).parents[1] / "examples"


class FakeMaskRCNN:
    """Records how it is used, and finds one cat."""

    made: list["FakeMaskRCNN"] = []  # noqa: RUF012  reset by the fixture

    def __init__(self, mode, config, model_dir):
        self.mode, self.config, self.model_dir = mode, config, model_dir
        self.loaded, self.images = [], []
        FakeMaskRCNN.made.append(self)

    def load_weights(self, path, by_name=False):
        self.loaded.append((path, by_name))
        if Path(path).stat().st_size == 0:
            raise ValueError(f"{path} is no weight file")

    def detect(self, images, verbose=0):
        assert verbose == 1
        self.images += [image.copy() for image in images]
        height, width = images[0].shape[:2]
        masks = np.zeros((height, width, 1), bool)
        masks[100:200, 50:150, 0] = True
        return [
            {
                "rois": np.array([[90, 40, 210, 160]], np.int32),
                "class_ids": np.array([16], np.int32),
                "scores": np.array([0.98765], np.float32),
                "masks": masks,
            }
        ]


@pytest.fixture
def script(monkeypatch):
    """The example as a module, the network replaced, no screen."""
    fake = types.ModuleType("mrcnn.model")
    fake.MaskRCNN = FakeMaskRCNN
    monkeypatch.setitem(sys.modules, "mrcnn.model", fake)
    monkeypatch.setattr(mrcnn, "model", fake, raising=False)
    monkeypatch.setattr(FakeMaskRCNN, "made", [])
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec = importlib.util.spec_from_file_location("maskrcnn_predict", EXAMPLES / "maskrcnn_predict.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def files(tmp_path):
    """Weights, a photograph of 60 x 91 pixels, and where to put the result."""
    (tmp_path / "weights.h5").write_bytes(b"weights")
    photo_bgr = np.full((60, 91, 3), (200, 100, 50), np.uint8)
    cv2.imwrite(str(tmp_path / "photo.png"), photo_bgr)
    return {"-w": tmp_path / "weights.h5", "-i": tmp_path / "photo.png", "-o": tmp_path / "out.png"}


def run(script, monkeypatch, files):
    arguments = [str(part) for option in files.items() for part in option]
    monkeypatch.setattr(sys, "argv", ["maskrcnn_predict.py", *arguments])
    return script.main()


def test_labels_are_the_81_of_coco():
    labels = (EXAMPLES / "coco_labels.txt").read_text().strip().split("\n")
    assert len(labels) == len(set(labels)) == 81
    assert [labels[i] for i in (0, 1, 16, 17, 80)] == ["BG", "person", "cat", "dog", "toothbrush"]


def test_the_network_is_asked_as_in_the_tutorial(script, monkeypatch, files):
    assert run(script, monkeypatch, files) == 0
    (model,) = FakeMaskRCNN.made
    assert model.mode == "inference"
    assert (model.config.NAME, model.config.NUM_CLASSES, model.config.BATCH_SIZE) == ("coco_inference", 81, 1)
    model.config.validate()
    assert model.loaded == [(str(files["-w"]), True)]
    (image,) = model.images
    assert image.shape == (337, 512, 3)  # 60 / 91 * 512 = 337.6
    assert image[5, 5].tolist() == [50, 100, 200]


def test_mask_box_and_background_have_their_colors(script, monkeypatch, files):
    run(script, monkeypatch, files)
    drawn = cv2.imread(str(files["-o"]))
    assert drawn.shape == (337, 512, 3)
    assert drawn[300, 400].tolist() == [200, 100, 50]
    color_bgr = np.array(script.class_colors(81)[16])[::-1] * 255
    np.testing.assert_allclose(drawn[150, 100], np.array([200, 100, 50]) / 2 + color_bgr / 2, atol=1)
    np.testing.assert_allclose(drawn[210, 100], color_bgr, atol=1)
    assert np.any(drawn[70:88, 40:160] != [200, 100, 50])  # the label, above the box


def test_colors_are_the_same_each_time_and_all_different(script):
    assert script.class_colors(81) == script.class_colors(81)
    assert len(set(script.class_colors(81))) == 81


@pytest.mark.parametrize("option", ["-w", "-i"])
def test_a_missing_file_is_named(script, monkeypatch, files, capsys, option):
    files[option] = files[option].with_name("missing")
    with pytest.raises(SystemExit, match="2"):
        run(script, monkeypatch, files)
    assert f"there is no file {files[option]}" in capsys.readouterr().err
    assert not files["-o"].exists()


@pytest.mark.parametrize("name", ["out.xyz", "out", "nowhere/out.png"])
def test_an_output_that_cannot_be_written_is_refused_first(script, monkeypatch, files, capsys, name):
    files["-o"] = files["-o"].parent / name
    with pytest.raises(SystemExit, match="2"):
        run(script, monkeypatch, files)
    assert "expected an image such as result.jpg" in capsys.readouterr().err
    assert FakeMaskRCNN.made == []


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="elsewhere a screen cannot be told from the environment"
)
def test_without_a_screen_output_is_asked_for(script, monkeypatch, files, capsys):
    del files["-o"]
    with pytest.raises(SystemExit, match="2"):
        run(script, monkeypatch, files)
    assert "save it with --output" in capsys.readouterr().err


def test_with_a_screen_the_result_is_shown(script, monkeypatch, files):
    shown = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(cv2, "imshow", lambda title, image: shown.append(image.shape))
    monkeypatch.setattr(cv2, "waitKey", lambda: None)
    del files["-o"]
    assert run(script, monkeypatch, files) == 0
    assert shown == [(337, 512, 3)]


def test_a_broken_photograph_and_broken_weights_are_one_line(script, monkeypatch, files, capsys):
    files["-i"].write_bytes(b"no image")
    assert run(script, monkeypatch, files) == 2
    assert "not an image that OpenCV can read" in capsys.readouterr().err
    cv2.imwrite(str(files["-i"]), np.zeros((9, 7, 3), np.uint8))
    files["-w"].write_bytes(b"")
    assert run(script, monkeypatch, files) == 2
    assert "is no weight file" in capsys.readouterr().err
    assert not files["-o"].exists()


@pytest.mark.slow
def test_shapes_are_trained_from_the_models_file_to_an_answer(monkeypatch, tmp_path, capsys):
    spec = importlib.util.spec_from_file_location("train_shapes", EXAMPLES / "train_shapes.py")
    script = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec.loader.exec_module(script)
    monkeypatch.setattr(script.ShapesConfig, "VALIDATION_STEPS", 0)
    arguments = ["--steps", "1", "--epochs", "1", "--pictures", "2", "--logs", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["train_shapes.py", *arguments])
    script.main()
    files = sorted(path.name for path in tmp_path.glob("shapes2*/*"))
    assert files == ["log.jsonl", "mask_rcnn_shapes_0001.h5"]
    last = capsys.readouterr().out.splitlines()[-1]
    assert "mask_rcnn_shapes_0001.h5: mask AP50 " in last
    assert last.endswith("on 2 new pictures")


def test_shapes_are_the_same_each_time_and_none_hides_another(monkeypatch):
    spec = importlib.util.spec_from_file_location("train_shapes", EXAMPLES / "train_shapes.py")
    script = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec.loader.exec_module(script)
    dataset, again = script.shapes(30), script.shapes(30)
    assert dataset.class_names == ["BG", "circle", "box"]
    found = set()
    for image_id in dataset.image_ids:
        masks, class_ids = dataset.load_mask(image_id)
        assert masks.shape == (128, 128, len(class_ids))
        assert masks.any(axis=(0, 1)).all()
        assert masks.sum(axis=2).max() == 1
        np.testing.assert_array_equal(dataset.load_image(image_id), again.load_image(image_id))
        found |= {(len(class_ids), class_id) for class_id in class_ids.tolist()}
    assert found == {(count, class_id) for count in (1, 2, 3) for class_id in (1, 2)}


@pytest.mark.slow
def test_every_cell_of_the_notebook_runs(monkeypatch, capsys):
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.setenv("MPLBACKEND", "agg")
    names = {"__name__": "__main__"}
    for cell in json.loads((EXAMPLES / "notebook.ipynb").read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None), "kept without outputs"
            exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
    lines = capsys.readouterr().out.splitlines()
    assert len(names["people"]) > 0
    assert "<img " in names["people"]._repr_html_()
    assert len(names["times"]) == len(names["counts"]) > 90
    assert f"{len(names['times'])} frames, {len(names['ids'] - {0})} people by track" in lines
    assert str(names["largest"].picture.shape) in lines
    assert names["axes"].lines
    names["plt"].close(names["figure"])
