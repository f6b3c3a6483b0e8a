"""The network: Keras 3 layers and pure functions, one file per box of the paper's figure."""
