"""Mask R-CNN inference in Keras 3, with the public names of Matterport's package of the same name."""

import os

# TensorFlow's graph optimizer warns of every crop whose number of boxes only the run will tell, with ten lines each;
# errors are still shown. It reads this when it is imported; a value that is set already stays.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
