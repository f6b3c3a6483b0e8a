"""Mask R-CNN inference in Keras 3, with the public names of Matterport's package of the same name."""
