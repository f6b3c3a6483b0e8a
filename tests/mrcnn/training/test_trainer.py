"""A run: its files, its log, and that a resumed run goes on as if it had never stopped."""

import json
import shutil

import numpy as np
import pytest

from mrcnn.network.network import MaskRCNNNetwork
from mrcnn.training.trainer import LAST_WEIGHTS_FILE, LOG_FILE, Trainer, TrainSettings
from mrcnn.weights import load_weights, read_metadata

METADATA = {"config": {"NAME": "tiny"}, "class_names": ["BG", "person"]}


class Stopped(Exception):
    """Ends a run from its report."""


def stop_after_two(line):
    if line["step"] == 2:
        raise Stopped


def trainer(config, data, augment, folder):
    settings = TrainSettings(steps=4, batch=1, warmup_steps=1, average=0.5, log_every=1, save_every=9, mask_regions=4)
    return Trainer(MaskRCNNNetwork(config), data, augment, settings, folder, METADATA)


def log_of(folder):
    return [json.loads(line) for line in (folder / LOG_FILE).read_text().splitlines()]


def logits_kernel(network):
    return network.layers_by_name()["mrcnn_class_logits"].get_weights()[0].copy()


def test_stopped_run_leaves_its_files_and_a_resumed_one_has_the_same_loss_curve(
    tiny_config, tiny_data, tiny_augment, tmp_path
):
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    first = trainer(tiny_config, tiny_data, tiny_augment, straight)
    assert not first.resume()
    with pytest.raises(Stopped):
        first.run(stop_after_two)
    assert first.step == 2
    shutil.copytree(straight, resumed)

    # the weight file holds the average, the run itself goes on with its own weights
    own = logits_kernel(first._network)
    with first.averaged_weights():
        average = logits_kernel(first._network)
    assert not np.allclose(own, average, atol=1e-7)
    np.testing.assert_array_equal(logits_kernel(first._network), own)
    saved = MaskRCNNNetwork(tiny_config)
    load_weights(saved, straight / LAST_WEIGHTS_FILE)
    np.testing.assert_allclose(logits_kernel(saved), average, atol=1e-6)
    assert read_metadata(straight / LAST_WEIGHTS_FILE) == METADATA

    first.run()
    second = trainer(tiny_config, tiny_data, tiny_augment, resumed)
    assert second.resume()
    assert second.step == 2
    np.testing.assert_array_equal(logits_kernel(second._network), own)
    second.run()
    assert [line["step"] for line in log_of(resumed)] == [1, 2, 3, 4]
    for found, expected in zip(log_of(resumed), log_of(straight), strict=True):
        assert found["loss"] == pytest.approx(expected["loss"], rel=1e-3)


