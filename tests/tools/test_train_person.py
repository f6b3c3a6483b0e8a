"""The settings of the shipped model, and how its file is finished."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from keras import ops

from mrcnn.network.network import MaskRCNNNetwork
from mrcnn.training.annotated_images import AnnotatedImage, AnnotatedImages, Instance
from mrcnn.training.augment import AugmentSettings
from mrcnn.training.trainer import CHECKPOINT_FILE, TrainSettings
from mrcnn.weights.checkpoint import read_metadata
from mrcnn.weights.load_save import load_weights, save_weights
from mrcnn.weights.metadata import class_names_from_metadata, config_from_metadata
from tests.mrcnn.tiny import tiny_config
from tools.train_person import (
    CROWDED_REPEATS,
    HELD_OUT_COMPLETE,
    HELD_OUT_PEOPLE,
    MASK_LOGIT_SHIFT,
    Stage,
    average,
    both_sets,
    finish,
    first_stages,
    held_out,
    last_stage,
    main,
    only_held_out,
    person_config,
    train,
)


def test_finished_file_is_half_as_large_and_loads_by_itself(tmp_path):
    person_config().validate()
    network = MaskRCNNNetwork(person_config())
    variance = network.layers_by_name()["mrcnn_class_bn1"].moving_variance
    variance.assign(np.full(variance.shape, 70000.0))  # more than float16 holds
    save_weights(network, tmp_path / "whole.h5")
    finish(tmp_path / "whole.h5", tmp_path / "person.h5", person_config(0.6), MASK_LOGIT_SHIFT)
    assert (tmp_path / "person.h5").stat().st_size < 0.6 * (tmp_path / "whole.h5").stat().st_size

    metadata = read_metadata(tmp_path / "person.h5")
    assert class_names_from_metadata(metadata) == ["BG", "person"]
    assert config_from_metadata(metadata).DETECTION_MIN_CONFIDENCE == 0.6
    again = MaskRCNNNetwork(config_from_metadata(metadata))
    load_weights(again, tmp_path / "person.h5")
    bias = again.layers_by_name()["mrcnn_mask"].bias
    bias.assign_sub(np.full(bias.shape, MASK_LOGIT_SHIFT))
    for mine, theirs in zip(again.variables, network.variables, strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(mine), ops.convert_to_numpy(theirs), rtol=1e-3, atol=1e-6)
    with h5py.File(tmp_path / "person.h5") as file:
        assert file["mrcnn_mask"]["mrcnn_mask/kernel:0"].dtype == np.float16


def record_of(complete, people):
    images = [{"id": number} for number in complete] + [{"id": number, "only_people": True} for number in people]
    return {"info": {}, "images": images, "annotations": [{"image_id": image["id"]} for image in images]}


def test_held_out_photographs_are_evenly_spaced_by_id_in_both_parts():
    record = record_of(range(208, 0, -2), range(1, 273, 2))
    found = held_out(record)
    assert len(found) == HELD_OUT_COMPLETE + HELD_OUT_PEOPLE == 120
    # of 104 and of 136 photographs, the second one of each two
    assert sorted(one for one in found if one % 2 == 0) == list(range(4, 209, 4))
    assert sorted(one for one in found if one % 2) == list(range(3, 273, 4))
    aside = only_held_out(record)
    assert {image["id"] for image in aside["images"]} == {one["image_id"] for one in aside["annotations"]} == found
    assert len(aside["annotations"]) == 120


def test_both_sets_leave_the_held_out_photographs_aside():
    def images_of(numbers):
        images = (AnnotatedImage(number, Path("x.png"), 9, 9, (), np.zeros((0, 4))) for number in numbers)
        return AnnotatedImages(("BG", "person"), ("person", "cup"), tuple(images))

    record = record_of(range(1000, 1104), range(136))
    found = both_sets(images_of([5, 7]), images_of([*range(1000, 1104), *range(136)]), record)
    numbers = [image.image_id for image in found.images]
    assert numbers[: 2 * CROWDED_REPEATS] == [5, 7] * CROWDED_REPEATS
    people = found.images[2 * CROWDED_REPEATS :]
    assert {image.image_id for image in people} == {*range(1000, 1104), *range(136)} - held_out(record)
    assert [image.is_complete for image in people] == [image.image_id >= 1000 for image in people]


def test_weights_are_averaged_by_their_shares(tmp_path):
    for name, kernel, bias in (("one.h5", 4.0, 1.0), ("other.h5", 1.0, 100001.0)):
        with h5py.File(tmp_path / name, "w") as file:
            file["layer/layer/kernel:0"] = np.full((2, 3), kernel, np.float32)
            file["layer/layer/bias:0"] = np.full(3, bias, np.float32)
    average(tmp_path / "one.h5", tmp_path / "other.h5", 0.75, tmp_path / "mean.h5")
    with h5py.File(tmp_path / "mean.h5") as file:
        np.testing.assert_allclose(file["layer/layer/kernel:0"][...], np.full((2, 3), 3.25))
        np.testing.assert_allclose(file["layer/layer/bias:0"][...], np.full(3, 25001.0))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--backbone", "b.h5", "--people-images", "x"], "are given together"),
        (["--start", "person.h5"], "--start needs the second set"),
        ([], "one of the arguments --backbone --start is required"),
    ],
)
def test_arguments_that_do_not_fit_together(given, message, monkeypatch, capsys):
    always = ["train_person.py", "--images", "i", "--annotations", "a.json", "--output", "o"]
    monkeypatch.setattr("sys.argv", always + given)
    with pytest.raises(SystemExit):
        main()
    assert message in capsys.readouterr().err


def test_every_stage_has_a_valid_schedule_and_begins_where_the_last_one_ended():
    stages = first_stages(None)
    stages.append(last_stage(stages[-1], None))
    assert [stage.name for stage in stages] == ["stage1", "stage2", "stage3", "stage4"]
    assert [stage.from_average for stage in stages] == [False, False, True, True]
    assert all(stage.settings.warmup_steps < (stage.last_step or stage.settings.steps) for stage in stages)
    assert len({stage.settings.seed for stage in stages}) == 4


@pytest.mark.slow
def test_stages_follow_each_other_and_a_second_call_trains_nothing(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (100, 150, 3)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "0.png"), picture)
    instance = Instance(1, 1, np.array([20, 30, 80, 60]), np.full((60, 30), 255, np.uint8))
    image = AnnotatedImage(0, tmp_path / "0.png", 100, 150, (instance,), np.zeros((0, 4), np.float32))
    data = AnnotatedImages(("BG", "person"), ("person", "cup"), (image,))
    augment = AugmentSettings(window=64, smallest_scale=0.8, largest_scale=1.2)
    settings = TrainSettings(steps=4, batch=2, layers="heads", mask_regions=4, warmup_steps=1, average=0.5)
    stages = [
        Stage("one", data, augment, settings, last_step=2),
        Stage("two", data, augment, replace(settings, steps=3, layers="5+"), from_average=True),
    ]
    config = tiny_config("matterport")
    output = tmp_path / "run"
    assert train(MaskRCNNNetwork(config), stages, output) == output / "two" / "last.h5"
    steps = []
    for name in ("one", "two"):
        with np.load(output / name / CHECKPOINT_FILE) as file:
            steps.append(json.loads(str(file["state"]))["step"])
    assert steps == [2, 3]
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    assert train(MaskRCNNNetwork(config), stages, output) == output / "two" / "last.h5"
    assert {path: path.read_bytes() for path in output.rglob("*") if path.is_file()} == before
