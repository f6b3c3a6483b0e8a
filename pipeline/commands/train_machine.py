"""The precision of training on this machine, and reproducibility."""

from __future__ import annotations

from pipeline.segmentation.backend import BackendChoice
from pipeline.segmentation.machine import Machine
from pipeline.settings.model_settings import Backend, Device

BFLOAT16_CAPABILITY = (8, 0)
"""NVIDIA's Ampere, the first GPUs with convolutions in bfloat16."""


def choose_precision(wanted: str, choice: BackendChoice, machine: Machine | None = None) -> str:
    """The name of Keras' policy: "float32", "mixed_bfloat16" or "mixed_float16".

    Args:
        wanted: "auto" (mixed where it is faster), "float32" or "mixed".
        choice: what Keras runs on.
        machine: None for this one.
    """
    if wanted == "float32":
        return "float32"
    if choice.device is Device.GPU:
        # float16 needs loss scaling and is for the GPUs before Ampere
        return (
            "mixed_bfloat16" if (gpu_capability(choice.backend) or (0, 0)) >= BFLOAT16_CAPABILITY else "mixed_float16"
        )
    # without the instructions bfloat16 is emulated and slower; XLA for CPUs, which JAX uses, is not faster with it
    is_faster = choice.backend is Backend.TENSORFLOW and (machine or Machine()).has_bfloat16()
    return "mixed_bfloat16" if wanted == "mixed" or is_faster else "float32"


def gpu_capability(backend: Backend) -> tuple[int, int] | None:
    """NVIDIA's compute capability of the first GPU; None if the backend reports none."""
    if backend is Backend.TENSORFLOW:
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        found = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability") if gpus else None
    elif backend is Backend.JAX:
        import jax

        text = str(getattr(jax.devices()[0], "compute_capability", ""))
        found = tuple(int(part) for part in text.split(".")) if "." in text else None
    else:
        import torch

        found = torch.cuda.get_device_capability() if torch.cuda.is_available() else None
    return (int(found[0]), int(found[1])) if found else None


def make_repeatable(choice: BackendChoice) -> None:
    """Make a run that is repeated or resumed on this machine deterministic.

    Only on CPUs: for GPUs, TensorFlow has no deterministic gradient of its cropping op. JAX is deterministic as it is.
    """
    if choice.backend is Backend.TENSORFLOW and choice.device is Device.CPU:
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
