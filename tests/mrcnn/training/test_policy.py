import keras
import pytest

from mrcnn.training.policy import keras_policy


def test_the_policy_is_restored_after_nested_blocks_and_errors():
    def fail():
        with keras_policy("mixed_bfloat16"):
            with keras_policy("float32"):
                assert keras.layers.Dense(1).compute_dtype == "float32"
            assert keras.layers.Dense(1).compute_dtype == "bfloat16"
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert keras.mixed_precision.global_policy().name == "float32"
