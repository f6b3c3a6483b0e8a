"""Compiles a function of tensors with whatever the Keras backend has for it: tf.function (under XLA on an accelerator),
jax.jit, torch.inference_mode."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import keras

from mrcnn.network.target import Target, default_target, tracing_for

logger = logging.getLogger(__name__)


def compile_function(function: Callable, variables: Sequence[keras.Variable], target: Target | None = None) -> Callable:
    """A fast version of `function`, compiled once for each set of argument shapes and dtypes.

    Args:
        function: takes tensors (or lists of them) and returns tensors (or lists, tuples of them). It reads
            `variables` and writes none. Static shapes are those of the arguments.
        variables: every Keras variable that it reads.
        target: what it is compiled for; None for where the backend computes.

    Returns:
        The same function; it also takes numpy arrays.
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
        """Run and keep the program for these shapes: XLA says only now what it cannot do, or not on this machine."""
        if target is Target.ACCELERATOR:
            program = trace(specs, Target.ACCELERATOR)
            try:
                answer = program(*tensors)
            except tf.errors.ResourceExhaustedError:
                raise
            except tf.errors.OpError as error:
                logger.warning("XLA cannot compile the network here, running without it: %s", _first_line(error))
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
        # The weights enter as arguments: captured, they would be constants of the compiled program.
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
