"""The folder that a training run writes to, its precision, and a whole small run: stopped by a signal and resumed."""

import json
import os
import signal

import cv2
import numpy as np
import pytest
import tensorflow as tf

from mrcnn.network.backbones import BACKBONES
from mrcnn.network.network import MaskRCNNNetwork
from mrcnn.weights.checkpoint import read_metadata
from mrcnn.weights.load_save import load_weights, save_weights
from mrcnn.weights.metadata import class_names_from_metadata, config_from_metadata, describe
from pipeline.commands import train
from pipeline.console.progress import TrainProgress
from pipeline.errors import InputError, RunError
from pipeline.segmentation.backend import BackendChoice
from pipeline.segmentation.comparison import Verdict
from pipeline.segmentation.machine import Machine
from pipeline.settings.model_settings import Backend, Device
from tests.mrcnn.tiny import TinyConfig, seed_weights, tiny_backbone

CPU_TF = BackendChoice(Backend.TENSORFLOW, Device.CPU, "CPU")
CPU_JAX = BackendChoice(Backend.JAX, Device.CPU, "CPU")
GPU = BackendChoice(Backend.TENSORFLOW, Device.GPU, "some GPU")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the command without training; returns the name of the folder that it writes to."""
    folders = []

    class NoTraining:
        def __init__(self, settings, output, *_):
            folders.append(output)

        def stop(self):
            return False

        def run(self):
            if folders[-1].is_dir():
                (folders[-1] / "best.h5").write_text("trained")
            return False

    monkeypatch.setattr(train, "TrainRun", NoTraining)
    (tmp_path / "images").mkdir()
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "some.h5").write_text("weights")
    data = ["--images", str(tmp_path / "images"), "--annotations", str(tmp_path / "a.json")]

    def start(output, *more):
        assert train.run([*data, "--weights", str(tmp_path / "some.h5"), "--output", str(output), *more]) == 0
        return folders[-1].name

    return start


def begin(folder, tmp_path):
    folder.mkdir()
    files = {"images": "images", "annotations": "a.json", "weights": "some.h5"}
    stored = {name: str(tmp_path / path) for name, path in files.items()}
    (folder / "run.json").write_text(json.dumps({"settings": stored}))


def test_files_of_somebody_else_stay(run, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "best.h5").write_text("precious")
    assert run(tmp_path / "run") == "run-2"
    assert run(tmp_path / "run") == "run-3"
    assert (tmp_path / "run" / "best.h5").read_text() == "precious"
    assert [path.name for path in (tmp_path / "run-2").iterdir()] == ["best.h5"]


def test_a_new_or_empty_folder_is_used(run, tmp_path):
    (tmp_path / "empty").mkdir()
    assert run(tmp_path / "empty") == "empty"
    assert run(tmp_path / "new") == "new"


def test_resume_writes_to_the_run_itself(run, tmp_path):
    begin(tmp_path / "run", tmp_path)
    assert run(tmp_path / "run", "--resume") == "run"
    assert run(tmp_path / "run") == "run-2"  # it has no checkpoint: its files would be replaced


@pytest.mark.parametrize("output", ["images", "."])
def test_a_folder_that_holds_what_is_read_is_refused(run, tmp_path, output):
    (tmp_path / "images" / "1.png").write_text("picture")
    with pytest.raises(InputError, match="which this run reads: give another folder"):
        run(tmp_path / output)
    assert not list(tmp_path.rglob("best.h5"))


@pytest.mark.parametrize(
    ("wanted", "choice", "bfloat16", "capability", "expected"),
    [
        ("auto", CPU_TF, True, None, ["float32", "mixed_bfloat16"]),
        ("auto", CPU_TF, False, None, ["float32"]),
        ("auto", CPU_JAX, True, None, ["float32"]),
        ("mixed", CPU_TF, False, None, ["mixed_bfloat16"]),
        ("float32", CPU_TF, True, None, ["float32"]),
        ("auto", GPU, False, (7, 5), ["mixed_float16"]),
        ("auto", GPU, False, (8, 0), ["mixed_bfloat16"]),
        ("mixed", GPU, False, None, ["mixed_float16"]),
        ("float32", GPU, False, (9, 0), ["float32"]),
    ],
)
def test_precisions_to_choose_from(monkeypatch, wanted, choice, bfloat16, capability, expected):
    class OtherMachine(Machine):
        def has_bfloat16(self):
            return bfloat16

    monkeypatch.setattr(train, "gpu_capability", lambda backend: capability)
    assert train.policies_for(wanted, choice, OtherMachine()) == expected


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Three photographs, two categories; --images, --annotations and --output of a run."""
    # it holds for the whole process, and other tests count on chance without a seed
    monkeypatch.setattr(train, "make_repeatable", lambda choice: None)
    rng = np.random.default_rng(3)
    for index in range(3):
        cv2.imwrite(str(tmp_path / f"{index}.png"), rng.integers(0, 256, (100, 150, 3)).astype(np.uint8))
    images = [{"id": index, "file_name": f"{index}.png", "height": 100, "width": 150} for index in range(3)]
    polygon = [30, 20, 110, 20, 110, 80, 30, 80]
    annotations = [
        {"id": 1 + n, "image_id": n % 3, "category_id": 5 + n % 2, "segmentation": [polygon], "iscrowd": 0}
        for n in range(4)
    ]
    annotations.append({"id": 9, "image_id": 0, "category_id": 5, "segmentation": [[1, 1, 9, 1, 5, 1]], "iscrowd": 0})
    categories = [{"id": 5, "name": "cup"}, {"id": 6, "name": "dog"}, {"id": 7, "name": "owl"}]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "a.json").write_text(json.dumps(document))
    return ["--images", str(tmp_path), "--annotations", str(tmp_path / "a.json"), "--output", str(tmp_path / "run")]


def small(weights):
    sizes = ["--size", "128", "--window", "128", "--batch", "1", "--layers", "heads", "--precision", "float32"]
    return [*sizes, "--weights", str(weights), "--steps", "2", "--validate-every", "1"]


@pytest.fixture
def tiny_weights(tmp_path, monkeypatch):
    """A weight file of a backbone of four convolutions, which is known by its name for the time of a test."""
    monkeypatch.setitem(BACKBONES, "tiny", lambda image, config: tiny_backbone(image, True, config.TRAIN_BN)[-4:])
    monkeypatch.setattr("mrcnn.config.BACKBONES", ("tiny",))
    monkeypatch.setattr("mrcnn.training.initialization.backbone_of", lambda arrays: "tiny")
    few = {"POST_NMS_ROIS_TRAINING": 10, "TRAIN_ROIS_PER_IMAGE": 12, "PRE_NMS_LIMIT": 50}
    monkeypatch.setattr("mrcnn.training.initialization.LARGE_TRAINING", few)

    class NamedConfig(TinyConfig):
        BACKBONE = "tiny"
        IMAGE_MAX_DIM = IMAGE_MIN_DIM = 256

    network = MaskRCNNNetwork(NamedConfig())
    seed_weights(network, 5)
    save_weights(network, tmp_path / "tiny.h5", describe(network.config, ["BG", "person", "dog"]))
    return tmp_path / "tiny.h5"


@pytest.fixture
def eager():
    """Two steps are not worth a compilation."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.slow
def test_a_run_is_stopped_and_resumed(data, tmp_path, tiny_weights, monkeypatch, capsys, eager):
    report = TrainProgress.report

    def stop_at_the_first_step(self, line):
        report(self, line)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    more = ["--accumulate", "2", "--dice", "0.5", "--semantic", "0.25", "--augmentation", "video", "--schedule", "step"]
    with monkeypatch.context() as patch:
        patch.setattr(TrainProgress, "report", stop_at_the_first_step)
        assert train.run([*data, *small(tiny_weights), *more]) == 143
    output = tmp_path / "run"
    with np.load(output / "checkpoint.npz") as file:
        state = json.loads(str(file["state"]))
    assert (state["settings"]["accumulate"], state["settings"]["dice_weight"]) == (2, 0.5)
    assert state["settings"]["semantic_weight"] == 0.25
    assert state["settings"]["schedule"] == "step"
    assert (state["augment"]["degrade"], state["augment"]["pastes"]) == (0.15, 2)
    text = capsys.readouterr().out
    assert "train: 3 images, 4 objects of 2 classes (cup, dog)" in text
    assert "warning: 1 x object without area, left out: 9" in text
    assert "warning: 1 x category that no annotation has, left out of the classes: owl" in text
    assert "and its class rows of dog" in text
    assert f"stopped after step 1 of 2; resume with: python stream_segment.py train --resume --output {output}" in text
    assert {"best.h5", "last.h5", "checkpoint.npz", "log.jsonl", "run.json"} <= {file.name for file in output.iterdir()}
    assert signal.getsignal(signal.SIGTERM) is before

    with pytest.raises(InputError, match=r"other settings: --seed was 1, is 2"):
        train.run([*data, *small(tiny_weights), *more, "--seed", "2"])
    assert train.run(["--resume", "--output", str(output), "--float16"]) == 0
    captured = capsys.readouterr()
    assert f"resuming the run in {output} at step 1 of 2" in captured.out
    assert "step 2: validation loss" in captured.err
    lines = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2]
    assert {file.name for file in output.iterdir()} == {
        *("best.h5", "last.h5", "checkpoint.npz", "log.jsonl", "run.json", "curves.png", "predictions.png")
    }
    for name in ("best.h5", "last.h5"):
        metadata = read_metadata(output / name)
        assert class_names_from_metadata(metadata) == ["BG", "cup", "dog"]
        network = MaskRCNNNetwork(config_from_metadata(metadata))
        load_weights(network, output / name)
        assert network.config.IMAGE_MAX_DIM == 128
    assert cv2.imread(str(output / "predictions.png")) is not None


@pytest.mark.slow
def test_the_precision_is_measured_once_and_kept(data, tiny_weights, tmp_path, monkeypatch, capsys, eager):
    compared = []

    def compare(sides, until_s):
        for rehearse in sides.values():
            rehearse()
        compared.append(list(sides))
        return Verdict("mixed_bfloat16", {"float32": 0.72, "mixed_bfloat16": 0.37}, True)

    monkeypatch.setattr(Machine, "has_bfloat16", lambda self: True)
    monkeypatch.setattr(train, "compare", compare)
    arguments = [*data, *small(tiny_weights), "--precision", "auto", "--device", "cpu", "--backend", "tensorflow"]
    assert train.run([*arguments, "--validate-every", "9"]) == 0
    assert "mixed_bfloat16 (a step takes float32 0.72 s, mixed_bfloat16 0.37 s)" in capsys.readouterr().out
    assert json.loads((tmp_path / "run" / "run.json").read_text())["policy"] == "mixed_bfloat16"
    assert train.run(["--resume", "--output", str(tmp_path / "run")]) == 0
    assert "CPU, mixed_bfloat16\n" in capsys.readouterr().out
    assert compared == [["float32", "mixed_bfloat16"]]


def test_a_full_disk_is_one_line_with_what_to_do(data, tmp_path, seeded_small_weights, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device", "checkpoint.npz")

    monkeypatch.setattr("mrcnn.training.validation.Validator", full)
    with pytest.raises(RunError, match=r"No space left on device.* resume with .* --resume --output .*run"):
        train.run([*data, *small(seeded_small_weights)])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--classes", "person"], "has no category person; it has cup, dog, owl"),
        (["--classes", "owl"], "no usable object of the class owl"),
        (["--backbone", "resnet50"], "has the backbone efficientnet_lite0, expected resnet50"),
        (["--layers", "nothing_of_this_name"], "no layer"),
        (["--batch", "two"], "argument --batch: invalid int value"),
        (["--annotations", "gone.json"], "annotation file .*gone.json does not exist"),
    ],
)
def test_mistakes_are_one_line_before_anything_is_written(data, tmp_path, seeded_small_weights, more, message):
    with pytest.raises(InputError, match=message) as caught:
        train.run([*data, *small(seeded_small_weights), *more])
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_the_output_must_not_be_a_file(data, tmp_path):
    (tmp_path / "run").touch()
    with pytest.raises(InputError, match="expected a folder, it is a file"):
        train.run(data)


def test_without_matplotlib_the_extra_is_named_before_anything_is_read(monkeypatch, tmp_path):
    monkeypatch.setattr(train.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'training needs .*: pip install -e "\.\[train\]"$'):
        train.run(["--images", "gone", "--annotations", "gone.json", "--output", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()
