"""The network as ONNX graphs, for engines other than Keras. Needs the package `onnx`."""
