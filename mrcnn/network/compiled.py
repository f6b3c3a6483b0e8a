"""Compiles a function of tensors with the Keras backend: tf.function (with XLA on an accelerator), jax.jit or
torch.inference_mode."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import keras

from mrcnn.network.target import Target, default_target, tracing_for

logger = logging.getLogger(__name__)


def compile_function(
    function: Callable[..., Any], variables: Sequence[keras.Variable], target: Target | None = None
) -> Callable[..., Any]:
    """Compile a function, once for each combination of argument shapes and dtypes.

    Args:
        function: takes tensors or lists of tensors, with static shapes, and returns tensors, lists or tuples of them.
            It reads `variables` and assigns none.
        variables: every Keras variable that it reads.
        target: kind of device to compile for; None for the one that the backend computes on.

    Returns:
        The compiled function; it also takes NumPy arrays.
    """
    target = target or default_target()
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return _compile_tensorflow(function, target)
    if backend == "jax":
        return _compile_jax(function, variables, target)
    return _compile_torch(function, target)


def _compile_tensorflow(function, target):
    import tensorflow as tf

    programs = {}

    def trace(specs, traced_for):
        def traced(*arguments):
            with tracing_for(traced_for):
                return function(*arguments)

        under_xla = True if traced_for is Target.ACCELERATOR else None
        return tf.function(traced, autograph=False, jit_compile=under_xla).get_concrete_function(*specs)

    def first_run(key, specs, tensors):
        """Run the program for these shapes and cache it; only here XLA reports what it cannot compile."""
        if target is Target.ACCELERATOR:
            program = trace(specs, Target.ACCELERATOR)
            try:
                answer = program(*tensors)
            except tf.errors.ResourceExhaustedError:
                raise
            except tf.errors.OpError as error:
                logger.warning("XLA cannot compile the network here, running without XLA: %s", _first_line(error))
            else:
                programs[key] = program
                return answer
        programs[key] = trace(specs, Target.PROCESSOR)
        return programs[key](*tensors)

    def run(*arguments):
        specs = keras.tree.map_structure(lambda a: tf.TensorSpec(a.shape, tf.as_dtype(a.dtype)), arguments)
        key = tuple((tuple(spec.shape), spec.dtype) for spec in keras.tree.flatten(specs))
        tensors = keras.tree.map_structure(tf.convert_to_tensor, arguments)
        return programs[key](*tensors) if key in programs else first_run(key, specs, tensors)

    return run


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _compile_jax(function, variables, target):
    import jax

    def pure(values, *arguments):
        # The weights are arguments: captured, they would be constants of the compiled program.
        with tracing_for(target), keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return function(*arguments)

    jitted = jax.jit(pure)
    return lambda *arguments: jitted([variable.value for variable in variables], *arguments)


def _compile_torch(function, target):
    import torch

    def run(*arguments):
        with torch.inference_mode(), tracing_for(target):
            return function(
                *(keras.tree.map_structure(keras.ops.convert_to_tensor, argument) for argument in arguments)
            )

    return run
