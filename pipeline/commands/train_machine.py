"""What the machine can do for training: which precision pays."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mrcnn.engines.openvino_runtime import cpu_has_bfloat16
from pipeline.segmentation.backend import BackendChoice
from pipeline.settings.model_settings import Backend, Device

BFLOAT16_CAPABILITY = (8, 0)
"""NVIDIA's Ampere, the first whose convolutions know bfloat16."""


def choose_precision(wanted: str, choice: BackendChoice) -> str:
    """The name of Keras' policy: "float32", "mixed_bfloat16" or "mixed_float16".

    Args:
        wanted: "auto" (mixed where it pays), "float32" or "mixed".
        choice: what Keras runs on.
    """
    if wanted == "float32":
        return "float32"
    if choice.device is Device.GPU:
        # float16 needs loss scaling and is for the GPUs before Ampere
        return (
            "mixed_bfloat16" if (gpu_capability(choice.backend) or (0, 0)) >= BFLOAT16_CAPABILITY else "mixed_float16"
        )
    # without the instructions bfloat16 is emulated and takes longer; XLA for CPUs, which JAX uses, gains nothing
    pays = cpu_has_bfloat16() and choice.backend is Backend.TENSORFLOW
    return "mixed_bfloat16" if wanted == "mixed" or pays else "float32"


def gpu_capability(backend: Backend) -> tuple[int, int] | None:
    """NVIDIA's compute capability of the first GPU, None if there is none to be told."""
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
    """Let a run that is repeated or resumed on this machine have the same numbers to the last digit.

    Only on processors: TensorFlow has no such version of cropping's gradient for GPUs. JAX repeats itself as it is.
    """
    if choice.backend is Backend.TENSORFLOW and choice.device is Device.CPU:
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


@contextmanager
def keras_policy(name: str) -> Iterator[None]:
    """Inside, new layers compute with this policy."""
    import keras

    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(name)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)
