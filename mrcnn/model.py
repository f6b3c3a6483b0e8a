"""The names that users of Matterport's package import from `mrcnn.model`."""

from mrcnn.matterport.dataset import load_image_gt
from mrcnn.matterport.mask_rcnn import MaskRCNN, compute_backbone_shapes, log
from mrcnn.matterport.molding import compose_image_meta, mold_image, parse_image_meta, unmold_image

__all__ = [
    "MaskRCNN",
    "compose_image_meta",
    "compute_backbone_shapes",
    "load_image_gt",
    "log",
    "mold_image",
    "parse_image_meta",
    "unmold_image",
]
