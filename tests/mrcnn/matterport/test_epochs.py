"""The optimizer by hand, the loop's files and callbacks, and a disk that is full."""

import json
import sys

import keras
import numpy as np
import pytest
from keras import ops

from mrcnn.config import Config
from mrcnn.matterport.dataset_batches import DatasetBatches
from mrcnn.matterport.epochs import (
    DatasetModel,
    check_config,
    check_dataset,
    check_schedule,
    file_callbacks,
    make_model,
    run_epochs,
    run_metadata,
)
from mrcnn.training.training_model import LOSS_NAMES, set_trainable
from mrcnn.utils import Dataset
from mrcnn.weights.load_save import load_weights
from tests.mrcnn.tiny import TinyTrainConfig, tiny_network
from tests.mrcnn.training.shapes import Shapes

NO_LOSS = dict.fromkeys(LOSS_NAMES[:5], 0.0)


@pytest.fixture
def config():
    return TinyTrainConfig()


def train(model, dataset, val_dataset, folder, epochs=1, callbacks=()):
    """Run the epochs with the callbacks that write files."""
    own = file_callbacks(str(folder), str(folder / "mask_rcnn_tiny_{epoch:04d}.h5"))
    batches = DatasetBatches(dataset, model.network.config)
    return run_epochs(model, batches, val_dataset, [*callbacks, *own], range(epochs))


def values_of(network):
    return {
        f"{name}/{variable.name}": ops.convert_to_numpy(variable).copy()
        for name, layer in network.layers_by_name().items()
        for variable in layer.weights
    }


class Scripted(DatasetModel):
    """A model whose steps cost nothing: what they return, by step, comes from `script`."""

    def __init__(self, network, script=(1.5,)):
        super().__init__(network, 0, 4)
        self.compile(optimizer=keras.optimizers.SGD(0.001))
        self.script, self.done = script, 0

    def train_on_batch(self, *_arguments, **_settings):
        """The next loss."""
        self.done += 1
        value = self.script[min(self.done, len(self.script)) - 1]
        return dict.fromkeys(["loss", *LOSS_NAMES], value)

    def test_on_batch(self, batch, **_settings):
        """The number of objects of the batch."""
        return dict.fromkeys(["loss", *LOSS_NAMES], batch["gt_used"].sum())


@pytest.mark.skipif(
    keras.backend.backend() == "jax",
    reason="its compiler takes half a minute; a training step runs in test_model_training",
)
def test_steps_of_the_optimizer_by_hand(config):
    config.LOSS_WEIGHTS, config.WEIGHT_DECAY, config.GRADIENT_CLIP_NORM = NO_LOSS, 3.0, 0.25
    network = tiny_network(config)
    set_trainable(network, "mrcnn_.*|fpn_p3")
    before = values_of(network)
    model = make_model(network, learning_rate=2.0, momentum=0.9)
    model.run_eagerly = keras.backend.backend() == "tensorflow"  # two steps cost less than a graph
    batch = DatasetBatches(Shapes().fill(), config).make()
    for _ in range(2):
        model.train_on_batch(batch)
    after = values_of(network)

    # d/dw of the penalty 3 sum(w^2) / n is 6 w / n, for all trained weights but gamma and beta; cut at a norm of 0.25
    expected = {name: value.astype(np.float64) for name, value in before.items()}
    counted = [name for name in before if name.startswith(("mrcnn_", "fpn_p3/")) and name.endswith(("kernel", "bias"))]
    velocity = dict.fromkeys(counted, 0.0)
    for _ in range(2):
        gradients = {name: 6.0 * expected[name] / expected[name].size for name in counted}
        norm = np.sqrt(sum(np.square(gradient).sum() for gradient in gradients.values()))
        assert norm > 0.5
        for name in counted:
            velocity[name] = 0.9 * velocity[name] - 2.0 * gradients[name] * 0.25 / norm
            expected[name] = expected[name] + velocity[name]
    for name, value in expected.items():
        np.testing.assert_allclose(after[name], value, rtol=1e-4, atol=1e-6, err_msg=name)
        assert (name in counted) == bool((before[name] != after[name]).any()), name


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="half a minute without its compiler; nothing of a backend")
def test_losses_on_random_regions_and_full_masks(config):
    config.USE_RPN_ROIS = config.USE_MINI_MASK = False
    found = make_model(tiny_network(config), 0.1, 0.9)(DatasetBatches(Shapes().fill(), config).make())
    values = {name: float(ops.convert_to_numpy(value)) for name, value in found.items()}
    assert all(0 < value < 50 for value in values.values())
    assert set(values) == set(LOSS_NAMES[:5])


class Seen(keras.callbacks.Callback):
    """Records what it is told; stops after `last` epochs."""

    def __init__(self, last=99):
        super().__init__()
        self.calls, self.last = [], last

    def on_train_begin(self, logs=None):
        self.calls.append("begin")

    def on_train_batch_end(self, batch, logs=None):
        self.calls.append(batch)

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append((epoch, sorted(logs)))
        self.model.stop_training = epoch + 1 >= self.last

    def on_train_end(self, logs=None):
        self.calls.append("end")


LOSSES = sorted(["loss", *LOSS_NAMES[:5]])


def test_a_run_tells_callbacks_and_leaves_a_log_and_a_file_for_each_epoch(config, tmp_path, capsys):
    seen = Seen(last=2)
    model = Scripted(tiny_network(config), script=(4.0, 3.0, 2.0, 1.0))
    history = train(model, Shapes().fill(), Shapes().fill(2), tmp_path / "logs", 9, [seen])
    names = sorted([*LOSSES, *(f"val_{name}" for name in LOSSES)])
    assert seen.calls == ["begin", 0, 1, (0, names), 0, 1, (1, names), "end"]
    lines = [json.loads(line) for line in (tmp_path / "logs" / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert history.history["loss"] == [line["loss"] for line in lines] == [3.0, 1.0]
    assert history.history["val_rpn_bbox_loss"] == [3.0, 3.0]  # the two images' one and two objects, each time
    files = sorted(path.name for path in (tmp_path / "logs").glob("*.h5"))
    assert files == ["mask_rcnn_tiny_0001.h5", "mask_rcnn_tiny_0002.h5"]
    other = tiny_network(config, seed=3)
    load_weights(other, tmp_path / "logs" / files[1])
    np.testing.assert_array_equal(values_of(other)["fpn_p2/kernel"], values_of(model.network)["fpn_p2/kernel"])
    assert "Epoch 2/9: loss " in capsys.readouterr().out


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of a file")
def test_a_full_disk_leaves_the_files_of_earlier_epochs(config, tmp_path):
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    class FillDisk(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))

    config.VALIDATION_STEPS = 0
    model = Scripted(tiny_network(config))
    try:
        with pytest.raises(OSError, match=r"cannot write the weights of epoch 2 to .*0002\.h5.*Earlier files"):
            train(model, Shapes().fill(), None, tmp_path, 3, [FillDisk()])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.jsonl", "mask_rcnn_tiny_0001.h5"]
    load_weights(tiny_network(config), tmp_path / "mask_rcnn_tiny_0001.h5")


def test_a_loss_that_is_no_number_ends_the_run(config, tmp_path):
    model = Scripted(tiny_network(config), script=(1.0, float("nan")))
    with pytest.raises(FloatingPointError, match="the loss is nan at step 2 of epoch 1: try a smaller learning rate"):
        train(model, Shapes().fill(), None, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_data_set_comes_through(config, tmp_path):
    class Broken(Shapes):
        def load_mask(self, image_id):
            masks, class_ids = super().load_mask(image_id)
            return masks, class_ids + 5

    with pytest.raises(ValueError, match=r"image \d \(shapes\.\d, None\): load_mask must return class ids"):
        train(Scripted(tiny_network(config)), Broken().fill(), None, tmp_path)


def test_files_carry_settings_and_names_where_the_network_has_a_name(config):
    assert run_metadata(config, Shapes().fill(1)) is None
    config.BACKBONE = "efficientnet_lite0"
    metadata = run_metadata(config, Shapes().fill(1))
    assert metadata["class_names"] == ["BG", "disc", "cross"]
    assert metadata["config"]["BACKBONE"] == "efficientnet_lite0"


class Right(Config):
    NAME = "right"
    NUM_CLASSES = 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STEPS_PER_EPOCH", 0),
        ("STEPS_PER_EPOCH", 1.5),
        ("VALIDATION_STEPS", -1),
        ("MAX_GT_INSTANCES", True),
        ("TRAIN_ROIS_PER_IMAGE", "200"),
        ("NAME", None),
        ("ROI_POSITIVE_RATIO", 0),
        ("ROI_POSITIVE_RATIO", 1),
        ("LEARNING_MOMENTUM", 1),
        ("WEIGHT_DECAY", -1e-4),
        ("GRADIENT_CLIP_NORM", 0),
        ("TRAIN_BN", "yes"),
        ("MASK_SHAPE", [56, 56]),
        ("MINI_MASK_SHAPE", (56,)),
        ("LOSS_WEIGHTS", {"rpn_loss": 1.0}),
        ("LOSS_WEIGHTS", {"rpn_class_loss": -1.0}),
        ("LOSS_WEIGHTS", None),
    ],
)
def test_a_wrong_setting_is_named(name, value):
    config = Right()
    check_config(config)
    setattr(config, name, value)
    with pytest.raises(ValueError, match=f"^Right\\.{name} must be .*, got ") as caught:
        check_config(config)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GRADIENT_CLIP_NORM", None),
        ("VALIDATION_STEPS", 0),
        ("TRAIN_BN", None),
        ("STEPS_PER_EPOCH", np.int64(3)),
        ("LOSS_WEIGHTS", {"mrcnn_mask_loss": 2}),
    ],
)
def test_unusual_settings_are_right(name, value):
    config = Right()
    setattr(config, name, value)
    check_config(config)


def test_the_size_of_mini_masks_does_not_count_without_them():
    config = Right()
    config.USE_MINI_MASK, config.MINI_MASK_SHAPE = False, None
    check_config(config)


def test_data_sets():
    config = Right()
    check_dataset(Shapes().fill(1), config, "train_dataset")
    with pytest.raises(ValueError, match=r"val_dataset must be a utils\.Dataset, got NoneType"):
        check_dataset(None, config, "val_dataset")
    empty = Dataset()
    empty.prepare()
    with pytest.raises(ValueError, match="train_dataset has no images"):
        check_dataset(empty, config, "train_dataset")
    unprepared = Shapes()
    unprepared.add_image("shapes", 1, None)
    with pytest.raises(ValueError, match=r"val_dataset is not prepared: call its prepare\(\)"):
        check_dataset(unprepared, config, "val_dataset")
    late = Shapes().fill(1)
    late.add_image("shapes", 2, None)
    with pytest.raises(ValueError, match="is not prepared"):
        check_dataset(late, config, "train_dataset")
    config.NUM_CLASSES = 4
    with pytest.raises(ValueError, match="train_dataset has 3 classes including the background, NUM_CLASSES is 4"):
        check_dataset(Shapes().fill(1), config, "train_dataset")


@pytest.mark.parametrize("rate", [0, -0.1, float("nan"), float("inf"), "0.1", None, True])
def test_learning_rates(rate):
    with pytest.raises(ValueError, match="learning_rate must be a positive number, got"):
        check_schedule(rate, 1, 0)


def test_epochs_count_those_that_are_done():
    check_schedule(0.1, 4, 3)
    with pytest.raises(ValueError, match=r"3 are completed, got 3\. For one more, use epochs=4"):
        check_schedule(0.1, 3, 3)
    for wrong in (0, 1.5, None):
        with pytest.raises(ValueError, match="epochs must be a whole number of 1 or more"):
            check_schedule(0.1, wrong, 0)
