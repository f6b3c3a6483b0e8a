"""The optimizer's own additions: a rate per variable, and the schedule."""

import keras
import numpy as np
import pytest
from keras import ops

from mrcnn.training.optimizer import GroupedAdamW, WarmupCosine, build_optimizer
from mrcnn.training.run_settings import TrainSettings
from tests.mrcnn.tiny import tiny_network


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
    ("step", "expected"),
    [(0, 0.02), (50, 0.11), (100, 0.2), (200, 0.2 * (0.1 + 0.9 / 2)), (300, 0.02), (5000, 0.02)],
)
def test_schedule_rises_falls_and_stays(step, expected):
    schedule = WarmupCosine(peak=0.2, warmup=100, total=300, last=0.1)
    assert float(ops.convert_to_numpy(schedule(step))) == pytest.approx(expected, rel=1e-5)


def test_schedule_can_be_rebuilt_from_its_config():
    schedule = WarmupCosine(0.3, 10, 50)
    again = WarmupCosine(**schedule.get_config())
    assert float(again(33)) == float(schedule(33))


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
