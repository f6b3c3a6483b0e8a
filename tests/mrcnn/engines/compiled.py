"""Runs an OpenVINO model in float32."""

from mrcnn.engines.openvino_runtime import core


def run(model, inputs):
    """Outputs by name, in the type that the model gives."""
    options = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}
    values = core().compile_model(model, "CPU", options)(inputs)
    return {name: values[name].copy() for output in values for name in output.get_names()}
