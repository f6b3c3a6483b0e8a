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
from mrcnn.training.trainer import CHECKPOINT_FILE, TrainSettings
from mrcnn.weights.checkpoint import read_metadata
from mrcnn.weights.load_save import load_weights, save_weights
from mrcnn.weights.metadata import class_names_from_metadata, config_from_metadata
from tests.mrcnn.tiny import tiny_config
from tools import train_person
from tools.train_person import (
    CROWDED_REPEATS,
    HELD_OUT_COMPLETE,
    HELD_OUT_PEOPLE,
    LEAST_SCORE,
    MASK_LOGIT_SHIFT,
    Stage,
    both_sets,
    finish,
    held_out,
    main,
    only_held_out,
    person_config,
    stages,
    train,
)


def test_finished_file_is_half_as_large_and_loads_by_itself(tmp_path):
    person_config().validate()
    network = MaskRCNNNetwork(person_config())
    variance = network.layers_by_name()["mrcnn_class_bn1"].moving_variance
    variance.assign(np.full(variance.shape, 70000.0))  # more than float16 holds
    save_weights(network, tmp_path / "whole.h5")
    finish(tmp_path / "whole.h5", tmp_path / "person.h5")
    assert (tmp_path / "person.h5").stat().st_size < 0.6 * (tmp_path / "whole.h5").stat().st_size

    metadata = read_metadata(tmp_path / "person.h5")
    assert class_names_from_metadata(metadata) == ["BG", "person"]
    assert config_from_metadata(metadata).DETECTION_MIN_CONFIDENCE == LEAST_SCORE
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


@pytest.mark.parametrize("missing", ["--people-images", "--people-annotations", "--backbone", "--output"])
def test_all_that_the_recipe_needs_must_be_given(missing, monkeypatch, capsys):
    names = ["--images", "--annotations", "--people-images", "--people-annotations", "--backbone", "--output"]
    given = [text for name in names if name != missing for text in (name, "x")]
    monkeypatch.setattr("sys.argv", ["train_person.py", *given])
    with pytest.raises(SystemExit):
        main()
    assert f"required: {missing}" in capsys.readouterr().err


def test_every_stage_has_a_valid_schedule_and_random_choices_of_its_own():
    found = stages()
    assert all(one.settings.warmup_steps < one.last_step <= one.settings.steps for one in found)
    assert len({one.settings.seed for one in found}) == len({one.name for one in found}) == len(found)


@pytest.mark.slow
def test_stages_follow_each_other_and_a_second_call_trains_nothing(tmp_path, monkeypatch):
    picture = np.random.default_rng(0).integers(0, 256, (100, 150, 3)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "0.png"), picture)
    instance = Instance(1, 1, np.array([20, 30, 80, 60]), np.full((60, 30), 255, np.uint8))
    image = AnnotatedImage(0, tmp_path / "0.png", 100, 150, (instance,), np.zeros((0, 4), np.float32))
    data = AnnotatedImages(("BG", "person"), ("person", "cup"), (image,))
    settings = TrainSettings(
        steps=4, batch=1, layers="heads", mask_regions=4, warmup_steps=1, average=0.5, semantic_weight=0.5
    )
    short = [Stage("one", settings, last_step=2), Stage("two", replace(settings, steps=3, layers="5+"), last_step=3)]
    monkeypatch.setattr(train_person, "stages", lambda: short)
    config = tiny_config("matterport")
    output = tmp_path / "run"
    network = MaskRCNNNetwork(config)
    assert train(network, data, output) == output / "two" / "last.h5"
    states = []
    for name in ("one", "two"):
        with np.load(output / name / CHECKPOINT_FILE) as file:
            states.append(json.loads(str(file["state"])))
    assert [state["step"] for state in states] == [2, 3]
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    assert train(MaskRCNNNetwork(config), data, output) == output / "two" / "last.h5"
    assert {path: path.read_bytes() for path in output.rglob("*") if path.is_file()} == before
