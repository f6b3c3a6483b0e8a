"""The options of a training run, and whether a run goes on as it began."""

from argparse import Namespace
from pathlib import Path

import pytest

from pipeline.commands.train_settings import OPTIONS, RunSettings, read_run, settings_from, write_run
from pipeline.errors import InputError


@pytest.fixture
def given(tmp_path):
    """A function that gives what the command line says."""
    for name in ("a.json", "start.h5"):
        (tmp_path / name).write_text(name)

    def namespace(**options):
        base = {"images": str(tmp_path), "annotations": str(tmp_path / "a.json"), "weights": str(tmp_path / "start.h5")}
        return Namespace(**{**dict.fromkeys(OPTIONS), "resume": False, **base, **options})

    return namespace


@pytest.fixture
def begun(given, tmp_path):
    """The folder of a run that has a checkpoint."""
    output = tmp_path / "run"
    output.mkdir()
    settings = settings_from(given(batch=2, classes=["cup"], steps=50), output)
    write_run(output, settings, {"steps": 50})
    (output / "checkpoint.npz").touch()
    return output


def test_defaults_and_what_was_given(given, tmp_path):
    settings = settings_from(given(batch=8), tmp_path / "run")
    assert (settings.batch, settings.layers, settings.seed, settings.steps) == (8, "4+", 1, None)
    assert settings.weights == str(tmp_path / "start.h5")
    assert Path(settings.images).is_absolute()


def test_without_weights_the_shipped_ones_are_taken(given, tmp_path):
    assert settings_from(given(weights=None), tmp_path / "run").weights.endswith("stream_segment_person.h5")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images": None}, "--images is needed"),
        ({"annotations": None}, "--annotations is needed"),
        ({"val_images": "x"}, "--val-images and --val-annotations go together"),
        ({"epochs": 2.0, "steps": 5}, "give one"),
        ({"batch": 0}, "--batch must be 1 or more, got 0"),
        ({"accumulate": 0}, "--accumulate must be 1 or more, got 0"),
        ({"dice": -0.5}, "--dice must be 0 or more, got -0.5"),
        ({"validate_every": 0}, "--validate-every must be 1 or more"),
        ({"learning_rate": 0.0}, "--learning-rate must be a positive number, got 0.0"),
        ({"epochs": float("nan")}, "--epochs must be a positive number"),
        ({"size": 300}, "--size must be a multiple of 64"),
        ({"window": 0}, "--window must be a multiple of 64"),
        ({"seed": -1}, "--seed must be 0 or more"),
        ({"weights": "none.h5"}, "--weights none.h5: the file does not exist"),
        ({"weights": "imagenet", "backbone": "resnet101"}, "there are none for resnet101"),
        ({"resume": True}, "there is no run in"),
    ],
)
def test_mistakes_are_named(given, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        settings_from(given(**options), tmp_path / "run")


def test_the_name_of_a_model(given, tmp_path, monkeypatch):
    monkeypatch.setenv("STREAM_SEGMENT_WEIGHTS_DIR", str(tmp_path))
    (tmp_path / "coco-r50.h5").touch()
    assert settings_from(given(weights="coco-r50"), tmp_path / "run").weights == str(tmp_path / "coco-r50.h5")


@pytest.mark.parametrize("backbone", [None, "resnet50"])
def test_imagenet_weights_lie_in_the_weights_folder(given, tmp_path, monkeypatch, backbone):
    monkeypatch.setenv("STREAM_SEGMENT_WEIGHTS_DIR", str(tmp_path))
    with pytest.raises(InputError, match=r"--weights imagenet: .* is not there; (make it|it is https)"):
        settings_from(given(weights="imagenet", backbone=backbone), tmp_path / "run")
    (tmp_path / "efficientnet_lite0_imagenet.h5").touch()
    (tmp_path / "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5").touch()
    name = Path(settings_from(given(weights="imagenet", backbone=backbone), tmp_path / "run").weights).name
    assert name.startswith(backbone or "efficientnet_lite0")


def test_the_same_command_goes_on_and_resume_needs_no_other_option(given, begun):
    first = RunSettings(**read_run(begun)["settings"])
    assert settings_from(given(batch=2, classes=["cup"], steps=50), begun) == first
    nothing = {"images": None, "annotations": None, "weights": None}
    assert settings_from(given(**nothing, resume=True), begun) == first


def test_a_resumed_run_keeps_its_machine_and_size_of_files_unless_told_otherwise(given, tmp_path):
    first = settings_from(given(backend="jax", device="cpu", float16=True), tmp_path)
    write_run(tmp_path, first, {})
    (tmp_path / "checkpoint.npz").touch()
    assert settings_from(given(resume=True), tmp_path) == first
    other = settings_from(given(resume=True, backend="tensorflow"), tmp_path)
    assert (other.backend, other.device, other.float16) == ("tensorflow", "cpu", True)


def test_other_settings_are_refused_by_name(given, begun, tmp_path):
    with pytest.raises(
        InputError, match=r"--classes was cup, is cup,dog; --steps was 50, is not given; --batch was 2, is 4"
    ):
        settings_from(given(classes=["cup", "dog"]), begun)
    with pytest.raises(InputError, match=r"--seed was 1, is 3\. Give another --output"):
        settings_from(given(resume=True, seed=3), begun)
    (tmp_path / "a.json").write_text("changed")
    with pytest.raises(InputError, match="the annotations have changed"):
        settings_from(given(resume=True), begun)


def test_a_run_without_a_checkpoint_may_begin_anew(given, begun):
    (begun / "checkpoint.npz").unlink()
    assert settings_from(given(seed=3), begun).seed == 3


def test_a_moved_data_set_is_the_same(given, begun, tmp_path):
    moved = tmp_path / "moved"
    moved.mkdir()
    (moved / "b.json").write_text("a.json")
    settings = settings_from(given(resume=True, images=str(moved), annotations=str(moved / "b.json")), begun)
    assert settings.images == str(moved)


def test_moved_weights_are_the_same_and_others_are_not(given, tmp_path):
    path, moved, other = tmp_path / "w.h5", tmp_path / "moved.h5", tmp_path / "other.h5"
    path.write_bytes(b"weights")
    write_run(tmp_path, settings_from(given(weights=str(path)), tmp_path), {})
    (tmp_path / "checkpoint.npz").touch()
    path.rename(moved)
    other.write_bytes(b"others")
    with pytest.raises(InputError, match=r"w\.h5: the file does not exist"):
        settings_from(given(weights=None, resume=True), tmp_path)
    assert settings_from(given(weights=str(moved), resume=True), tmp_path).weights == str(moved)
    with pytest.raises(InputError, match=r"--weights was .*w\.h5, is .*other\.h5"):
        settings_from(given(weights=str(other), resume=True), tmp_path)


def test_a_torn_run_file_is_none(tmp_path):
    (tmp_path / "run.json").write_text('{"settings": {')
    assert read_run(tmp_path) is None
    assert read_run(tmp_path / "nowhere") is None
