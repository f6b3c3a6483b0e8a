"""AdamW with a learning rate per layer group, a moving average of the weights, and the schedule of the rate."""

from __future__ import annotations

import math

import keras
from keras import ops

from mrcnn.network.network import MaskRCNNNetwork
from mrcnn.training.run_settings import TrainSettings


def build_optimizer(network: MaskRCNNNetwork, settings: TrainSettings) -> keras.optimizers.Optimizer:
    """AdamW with a smaller rate for the backbone, gradients clipped to the config's GRADIENT_CLIP_NORM."""
    layers = network.layers_by_name()
    backbone = [variable for name in network.backbone_layer_names() for variable in layers[name].trainable_variables]
    optimizer = GroupedAdamW(
        factors={variable.path: settings.backbone_factor for variable in backbone},
        learning_rate=WarmupCosine(settings.learning_rate, settings.warmup_steps, settings.steps),
        weight_decay=settings.weight_decay,
        global_clipnorm=float(network.config.GRADIENT_CLIP_NORM),
        use_ema=settings.average > 0,
        ema_momentum=settings.average if settings.average > 0 else 0.99,
    )
    # the normalization is folded into EfficientNet-Lite0's weights, or frozen: decay would change their scale
    optimizer.exclude_from_weight_decay(var_list=backbone, var_names=["bias", "beta", "gamma"])
    return keras.optimizers.LossScaleOptimizer(optimizer) if settings.loss_scaling else optimizer


class GroupedAdamW(keras.optimizers.AdamW):
    """AdamW (Loshchilov & Hutter 2019) whose learning rate is multiplied by a factor for some variables."""

    def __init__(self, factors: dict[str, float] | None = None, **settings):
        """Store the factors.

        Args:
            factors: variable path to factor, for the variables that `build` gets; 1 where a path is not named.
            settings: those of keras.optimizers.AdamW.
        """
        super().__init__(**settings)
        self._factors = dict(factors or {})
        self._factor_by_index: list[float] = []

    def build(self, variables):
        """Create the optimizer's state and look up each variable's factor."""
        super().build(variables)
        self._factor_by_index = [self._factors.get(variable.path, 1.0) for variable in variables]

    def update_step(self, gradient, variable, learning_rate):
        """One variable's step, with its own learning rate."""
        # under TensorFlow `variable` is the backend's own, which has no path
        factor = self._factor_by_index[self._get_variable_index(variable)]
        super().update_step(gradient, variable, learning_rate * factor)


class WarmupCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Rises linearly from a tenth to `peak`, then falls along a half cosine to `last` * peak at `total` steps."""

    def __init__(self, peak: float, warmup: int, total: int, last: float = 0.02):
        """Store: `warmup` and `total` in steps, `last` as a share of the peak."""
        super().__init__()
        self.peak, self.warmup, self.total, self.last = peak, warmup, total, last

    def __call__(self, step):
        """The learning rate of a step, float32."""
        step = ops.cast(step, "float32")
        rise = 0.1 + 0.9 * step / max(self.warmup, 1)
        share = ops.clip((step - self.warmup) / max(self.total - self.warmup, 1), 0.0, 1.0)
        fall = self.last + (1 - self.last) * 0.5 * (1 + ops.cos(math.pi * share))
        return self.peak * ops.where(step < self.warmup, rise, fall)

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {"peak": self.peak, "warmup": self.warmup, "total": self.total, "last": self.last}
