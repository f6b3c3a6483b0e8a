"""Constants that the Keras network, the exported graphs and the engines share; imports no Keras."""

from __future__ import annotations

CANVAS_MULTIPLE = 32
"""Canvas height and width are multiples of this, the stride of P5. (P6, every second cell of P5, may be odd.)"""

CANONICAL_SIDE = 224.0
"""Side in pixels of a region that is pooled from P4: ImageNet's crop size (Lin et al. 2017, equation 1)."""

LITE0_MEAN_PIXEL = (127.0, 127.0, 127.0)
"""MEAN_PIXEL of EfficientNet-Lite0, RGB: what its ImageNet weights were trained with."""

PART_NAMES = ("features", "proposals", "boxes", "masks")
"""The parts in which the network is exported, see `mrcnn.export.parts`."""

LEVELS = (2, 3, 4, 5)
"""Pyramid levels from which regions are pooled."""

PYRAMID = ("p2", "p3", "p4", "p5")
"""Names of the feature maps of LEVELS in the exported graphs."""

STEM = "stem"
"""Name of the tensor in the part `features` that ends the stem; all data passes through it."""

EXACT_STEMS = ("resnet50", "resnet101")
"""Backbones whose stem is computed in float32 also beside bfloat16: it is a small share of the network. In
EfficientNet-Lite0 it is a third of the features, and bfloat16 costs the shipped model less than a hundredth of the
objects that it has in common with float32."""
