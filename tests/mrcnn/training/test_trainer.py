"""A run: its files, its log, its best weights, and that a resumed run goes on as if it had never stopped."""

import json
import shutil

import keras
import numpy as np
import pytest
from keras import ops

from mrcnn.network.network import MaskRCNNNetwork
from mrcnn.training import trainer as trainer_module
from mrcnn.training.data import WindowMaker
from mrcnn.training.trainer import (
    BEST_WEIGHTS_FILE,
    CHECKPOINT_FILE,
    LAST_WEIGHTS_FILE,
    LOG_FILE,
    GroupedAdamW,
    Trainer,
    TrainSettings,
    build_optimizer,
)
from mrcnn.weights.checkpoint import read_metadata
from mrcnn.weights.load_save import load_weights
from tests.mrcnn.tiny import TinyConfig, seed_weights, set_bias, tiny_network

METADATA = {"config": {"NAME": "tiny"}, "class_names": ["BG", "person"]}
LAYERS = r"(?!tiny2_).*"


class SmallConfig(TinyConfig):
    """Few classes, few regions."""

    NUM_CLASSES = 2
    PRE_NMS_LIMIT = 50
    POST_NMS_ROIS_TRAINING = 10
    TRAIN_ROIS_PER_IMAGE = 12
    ROI_POSITIVE_RATIO = 0.34


class Canned:
    """A validation whose results are known beforehand."""

    def __init__(self, *results):
        """Results are (AP50, loss)."""
        self.results = list(results)
        self.kernels = []

    def measure(self, model, stopped):
        if stopped():
            return None
        self.kernels.append(logits_kernel(model.network))
        ap50, loss = self.results.pop(0)
        return {"val_loss": loss, "mask_ap50": ap50}


def make_network():
    network = MaskRCNNNetwork(SmallConfig())
    seed_weights(network, 7)
    return network


def trainer(network, windows, folder, validation, **settings):
    settings = {"steps": 4, "log_every": 2, "validate_every": 2, **settings}
    chosen = TrainSettings(
        batch=1, warmup_steps=1, average=0.5, layers=LAYERS, save_every=9, mask_regions=4, **settings
    )
    return Trainer(network, windows, chosen, folder, METADATA, validation)


@pytest.fixture
def windows(tiny_data, tiny_augment):
    return WindowMaker(tiny_data, tiny_augment, TrainSettings().seed)


def log_of(folder):
    return [json.loads(line) for line in (folder / LOG_FILE).read_text().splitlines()]


def logits_kernel(network):
    return network.layers_by_name()["mrcnn_class_logits"].get_weights()[0].copy()


def kernel_in(path):
    network = MaskRCNNNetwork(SmallConfig())
    load_weights(network, path)
    return logits_kernel(network)


def stop_after(run, step):
    def report(line):
        if line["step"] == step:
            run.stop()

    return report


@pytest.mark.slow
def test_a_stopped_run_leaves_its_files_and_a_resumed_one_has_the_same_loss_curve(windows, tmp_path):
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    network, validation = make_network(), Canned((0.5, 1.0), (0.3, 1.0))
    first = trainer(network, windows, straight, validation)
    assert not first.resume()
    learning = {name for name, layer in network.layers_by_name().items() if layer.trainable_variables}
    assert "tiny2_conv" not in learning
    assert {"tiny3_conv", "rpn_conv_shared", "mrcnn_mask"} <= learning
    first.run(stop_after(first, 3))  # in the middle of a line of the log
    assert (first.step, first.stopped) == (3, True)
    assert [line["step"] for line in log_of(straight)] == [2, 2]
    shutil.copytree(straight, resumed)

    # the weight file holds the average, the run itself goes on with its own weights
    own = logits_kernel(network)
    with first.averaged_weights():
        average = logits_kernel(network)
    assert not np.allclose(own, average, atol=1e-7)
    np.testing.assert_array_equal(logits_kernel(network), own)
    np.testing.assert_allclose(kernel_in(straight / LAST_WEIGHTS_FILE), average, atol=1e-6)
    assert read_metadata(straight / LAST_WEIGHTS_FILE) == METADATA
    np.testing.assert_allclose(kernel_in(straight / BEST_WEIGHTS_FILE), validation.kernels[0], atol=1e-6)

    first.stopped = False
    first.run()
    with (resumed / LOG_FILE).open("a") as file:
        file.write('{"step": 4, "loss": 9}\n{"ste')  # what a power cut leaves
    continued = make_network()
    second = trainer(continued, windows, resumed, Canned((0.3, 1.0)))
    assert second.resume()
    assert (second.step, second.best) == (3, {"step": 2, "val_loss": 1.0, "mask_ap50": 0.5})
    np.testing.assert_array_equal(logits_kernel(continued), own)
    second.run()
    assert [line["step"] for line in log_of(resumed)] == [2, 2, 4, 4]
    for found, expected in zip(log_of(resumed), log_of(straight), strict=True):
        assert {name: value for name, value in found.items() if name != "seconds_per_step"} == pytest.approx(
            {name: value for name, value in expected.items() if name != "seconds_per_step"}, rel=1e-4
        )
    # the second validation was worse: the best weights are still those of the first
    assert second.best["step"] == 2
    np.testing.assert_allclose(kernel_in(resumed / BEST_WEIGHTS_FILE), validation.kernels[0], atol=1e-6)
    check_failures(second, continued, resumed)
    check_ranking(first, validation)
    check_that_a_validation_is_made_up_for(first, validation)


def check_failures(run, network, folder):
    """What a run leaves when it fails; here because a trainer takes long to make."""
    before = (folder / CHECKPOINT_FILE).read_bytes()
    run.step = 1
    set_bias(network, "mrcnn_class_logits", [np.nan, np.nan])
    with pytest.raises(FloatingPointError, match="the loss is nan after 2 steps: try a smaller learning rate"):
        run.run()
    assert (folder / CHECKPOINT_FILE).read_bytes() == before

    def interrupt(line):
        raise KeyboardInterrupt

    assert run.resume()
    run.step = 1
    with pytest.raises(KeyboardInterrupt):
        run.run(interrupt)
    assert (folder / CHECKPOINT_FILE).read_bytes() != before
    before = (folder / CHECKPOINT_FILE).read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer_module, "save_checkpoint", full)
        with pytest.raises(OSError, match="No space"):
            run.run(stop_after(run, run.step + 1))
    assert (folder / CHECKPOINT_FILE).read_bytes() == before


def check_ranking(run, validation):
    """A higher AP50 is better, and among equals a smaller loss; here because a trainer takes long to make."""
    results = [(None, 1.0), (None, 1.1), (None, 0.9), (0.0, 1.0), (0.0, 0.9), (0.1, 1.0), (0.1, 1.0), (0.2, 3.0)]
    validation.results = list(results)
    run.best, bettered = None, []
    for _ in results:
        before, run.step = run.best, 3
        run.run()
        bettered.append(run.best is not before)
    assert bettered == [True, False, True, True, True, True, False, True]


def check_that_a_validation_is_made_up_for(run, validation):
    """A stop during the last validation leaves it to the resumed run; here because a trainer takes long to make."""
    validation.results = [(0.9, 1.0)]
    run.step = 3
    run.run(stop_after(run, 4))
    assert (run.step, run.validation_due, len(validation.results)) == (4, True, 1)
    run.validation_due, run.stopped = False, False
    assert run.resume()
    run.run()
    assert (run.step, run.validation_due, run.best["mask_ap50"]) == (4, False, 0.9)
    assert run.resume()
    assert not run.validation_due


def test_a_checkpoint_of_other_settings_is_refused_by_name(windows, tmp_path):
    run = trainer(make_network(), windows, tmp_path, Canned())
    run.save()
    with np.load(tmp_path / CHECKPOINT_FILE) as file:
        arrays = dict(file)
    state = json.loads(str(arrays["state"]))
    state["settings"]["learning_rate"] = 0.5
    state["augment"]["flip"] = 0.0
    np.savez(tmp_path / CHECKPOINT_FILE, **arrays | {"state": np.array(json.dumps(state))})
    with pytest.raises(ValueError, match=r"other settings: learning_rate was 0.5, is 0.001; flip was 0.0, is 0.5"):
        run.resume()


def test_factor_scales_the_step_of_its_variable_only():
    whole, tenth = keras.Variable(np.ones(2), name="whole"), keras.Variable(np.ones(2), name="tenth")
    optimizer = GroupedAdamW({tenth.path: 0.1}, learning_rate=0.5, weight_decay=0.0)
    optimizer.build([whole, tenth])
    gradient = ops.convert_to_tensor(np.array([3.0, -0.2], "float32"))
    optimizer.apply([gradient, gradient], [whole, tenth])
    # Adam's first step is the learning rate in the direction against the gradient, whatever its size
    np.testing.assert_allclose(ops.convert_to_numpy(whole), [0.5, 1.5], atol=1e-4)
    np.testing.assert_allclose(ops.convert_to_numpy(tenth), [0.95, 1.05], atol=1e-4)


@pytest.mark.parametrize(
    ("schedule", "step", "expected"),
    [
        *(("cosine", *pair) for pair in [(200, 0.2 * (0.02 + 0.98 / 2)), (300, 0.004), (5000, 0.004)]),
        *(("step", *pair) for pair in [(199, 0.2), (200, 0.02), (266, 0.02), (267, 0.002), (5000, 0.002)]),
        *(("constant", *pair) for pair in [(300, 0.2), (5000, 0.2)]),
        *(
            (schedule, *pair)
            for schedule in ("cosine", "step", "constant")
            for pair in [(0, 0.02), (50, 0.11), (100, 0.2)]
        ),
    ],
)
def test_schedule_rises_falls_and_stays(schedule, step, expected):
    settings = TrainSettings(steps=300, learning_rate=0.2, schedule=schedule, warmup_steps=100)
    optimizer = build_optimizer(tiny_network(), settings)
    optimizer.build([keras.Variable(np.ones(2))])
    optimizer.iterations.assign(step)
    assert float(ops.convert_to_numpy(optimizer.learning_rate)) == pytest.approx(expected, rel=1e-5)


def test_an_unknown_schedule_is_an_error_when_the_settings_are_made():
    with pytest.raises(ValueError, match=r"^schedule: expected one of cosine, step, constant, got 'linear'$"):
        TrainSettings(schedule="linear")


def test_accumulated_gradients_are_one_step_of_their_mean_on_the_schedule_of_single_steps():
    network = tiny_network()
    network.config.GRADIENT_CLIP_NORM = 1e9
    common = {"learning_rate": 0.1, "weight_decay": 0.0, "average": 0.0}
    optimizer = build_optimizer(network, TrainSettings(steps=300, warmup_steps=100, accumulate=2, **common))
    single = build_optimizer(network, TrainSettings(steps=300, warmup_steps=100, **common))
    variable = network.layers_by_name()["mrcnn_mask"].kernel
    before = ops.convert_to_numpy(variable).copy()
    optimizer.build([variable])
    single.build([keras.Variable(np.ones(2))])
    # the rate of step 1 of 100 between a tenth of the peak and the peak
    for gradient, moved in ((0.75, 0.0), (-0.25, 0.0109)):
        optimizer.apply([ops.ones(variable.shape) * gradient], [variable])
        np.testing.assert_allclose(before - ops.convert_to_numpy(variable), moved, rtol=1e-3, atol=1e-7)
    for step in (50, 100, 200, 300):
        rates = []
        for one in (optimizer, single):
            (iteration,) = (variable for variable in one.variables if variable.name == "iteration")
            iteration.assign(step)
            rates.append(float(ops.convert_to_numpy(one.learning_rate)))
        assert rates[0] == pytest.approx(rates[1], rel=1e-5)


def test_accumulation_and_loss_scaling_go_together():
    if keras.backend.backend() == "jax":
        pytest.skip("under JAX Keras scales losses inside its own compiled step only")
    network = tiny_network()
    settings = TrainSettings(
        steps=100, learning_rate=0.1, warmup_steps=0, weight_decay=0.0, accumulate=2, loss_scaling=True
    )
    optimizer = build_optimizer(network, settings)
    variable = network.layers_by_name()["mrcnn_mask"].kernel
    before = ops.convert_to_numpy(variable).copy()
    optimizer.build([variable])
    scale = float(ops.convert_to_numpy(optimizer.scale_loss(1.0)))
    for gradient, has_moved in ((0.75, False), (-0.25, True)):
        optimizer.apply([ops.ones(variable.shape) * gradient * scale], [variable])
        assert (ops.convert_to_numpy(variable) < before).all() == has_moved
        assert (ops.convert_to_numpy(variable) == before).all() != has_moved


@pytest.mark.parametrize("loss_scaling", [False, True])
def test_the_backbone_moves_less_and_loss_scaling_changes_nothing_else(loss_scaling):
    if loss_scaling and keras.backend.backend() == "jax":
        pytest.skip("under JAX Keras scales losses inside its own compiled step only")
    network = tiny_network()
    network.config.GRADIENT_CLIP_NORM = 1e9
    settings = TrainSettings(
        steps=100, learning_rate=0.1, warmup_steps=0, weight_decay=0.0, average=0.5, loss_scaling=loss_scaling
    )
    optimizer = build_optimizer(network, settings)
    layers = network.layers_by_name()
    # PyTorch wants one variable that weight decay may shrink
    variables = [layers["tiny4_conv"].bias, layers["mrcnn_mask"].bias, layers["mrcnn_mask"].kernel]
    before = [ops.convert_to_numpy(variable).copy() for variable in variables]
    optimizer.build(variables)
    scale = float(ops.convert_to_numpy(optimizer.scale_loss(1.0))) if loss_scaling else 1.0
    assert (scale > 1000) == loss_scaling
    optimizer.apply([ops.ones(variable.shape) * 0.25 * scale for variable in variables], variables)
    # Adam's first step is the learning rate, whatever the gradient
    moved = [old - ops.convert_to_numpy(variable) for old, variable in zip(before, variables, strict=True)]
    np.testing.assert_allclose(moved[0], 0.005, rtol=1e-3)
    np.testing.assert_allclose(moved[1], 0.1, rtol=1e-3)
    optimizer.finalize_variable_values(variables)  # the average begins with the first step
    np.testing.assert_allclose(before[1] - ops.convert_to_numpy(variables[1]), 0.1, rtol=1e-3)
