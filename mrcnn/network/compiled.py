"""Compiles a function of tensors with whatever the Keras backend has for it: tf.function, jax.jit,
torch.inference_mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras


def compile_function(function: Callable, variables: Sequence[keras.Variable]) -> Callable:
    """A fast version of `function`, compiled once for each set of argument shapes and dtypes.

    Args:
        function: takes tensors (or lists of them) and returns tensors (or lists, tuples of them). It reads
            `variables` and writes none. Static shapes are those of the arguments.
        variables: every Keras variable that it reads.

    Returns:
        The same function; it also takes numpy arrays.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return _compile_tensorflow(function)
    if backend == "jax":
        return _compile_jax(function, variables)
    return _compile_torch(function)


def _compile_tensorflow(function):
    import tensorflow as tf

    traced = {}

    def run(*arguments):
        specs = keras.tree.map_structure(lambda a: tf.TensorSpec(a.shape, tf.as_dtype(a.dtype)), arguments)
        key = tuple((tuple(spec.shape), spec.dtype) for spec in keras.tree.flatten(specs))
        if key not in traced:
            traced[key] = tf.function(function, autograph=False).get_concrete_function(*specs)
        return traced[key](*keras.tree.map_structure(tf.convert_to_tensor, arguments))

    return run


def _compile_jax(function, variables):
    import jax

    def pure(values, *arguments):
        # The weights enter as arguments: captured, they would be constants of the compiled program.
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return function(*arguments)

    jitted = jax.jit(pure)
    return lambda *arguments: jitted([variable.value for variable in variables], *arguments)


def _compile_torch(function):
    import torch

    def run(*arguments):
        with torch.inference_mode():
            return function(
                *(keras.tree.map_structure(keras.ops.convert_to_tensor, argument) for argument in arguments)
            )

    return run
