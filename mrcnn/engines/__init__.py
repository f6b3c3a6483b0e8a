"""What runs the network: Keras itself, or OpenVINO and ONNX Runtime on graphs exported from it. One interface."""
