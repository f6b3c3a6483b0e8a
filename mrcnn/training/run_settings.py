"""The settings of a training run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """A training run.

    Attributes:
        steps: optimizer steps in all.
        batch: windows per step.
        learning_rate: peak, for the layers behind the backbone.
        backbone_factor: the backbone's share of it. Adam moves every weight by about the learning rate, however small
            its gradient: with 0.3 the ImageNet features were gone after a few hundred steps.
        warmup_steps: steps of rising learning rate.
        weight_decay: AdamW's.
        average: momentum of the moving average of the weights, 0 … 1; the weight files hold the average.
        layers: which layers are trained: "heads", "3+", "4+", "5+", "all" or a pattern of layer names.
        mask_regions: regions per window whose masks are trained.
        seed: of all random choices.
        log_every: steps.
        save_every: steps from checkpoint to checkpoint.
        validate_every: steps from validation to validation.
        loss_scaling: for float16: scales the loss up so that no gradient underflows (Micikevicius et al. 2018).
    """

    steps: int = 10000
    batch: int = 4
    learning_rate: float = 1e-3
    backbone_factor: float = 0.05
    warmup_steps: int = 200
    weight_decay: float = 0.05
    average: float = 0.999
    layers: str = "3+"
    mask_regions: int = 16
    seed: int = 1
    log_every: int = 50
    save_every: int = 500
    validate_every: int = 500
    loss_scaling: bool = False
