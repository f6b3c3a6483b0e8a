"""Mask R-CNN in Keras 3 and engines for it, with the public names of Matterport's package."""

import os

# TensorFlow's graph optimizer logs ten lines of warnings for every crop with a dynamic number of boxes. TensorFlow
# reads this variable when it is imported; errors are still logged, and an existing value is kept.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
