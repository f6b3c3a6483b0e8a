"""torchvision's Mask R-CNN R50-FPN v2, 91 classes, 800 to 1333 px, with random weights."""

from benchmarks.measuring import RowReport
from benchmarks.options import Options
from benchmarks.torchvision_rate import torchvision_row

TITLE = "torchvision's Mask R-CNN R50-FPN v2, 91 classes, 800 to 1333 px, 1280x720 frames"


def measure(options: Options) -> RowReport:
    """See the title."""
    return torchvision_row("coco_r50_v2", TITLE, "v2", "maskrcnn_resnet50_fpn_v2", options)
