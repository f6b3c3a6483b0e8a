"""ResNet-101, 81 classes, 1024 px, 1280x720 frames, one at a time."""

from benchmarks.engine_rate import resnet_row
from benchmarks.measuring import RowReport, at_least
from benchmarks.options import Options

TITLE = "ResNet-101, 81 classes, 1024 px, 1280x720 frames"


def measure(options: Options) -> RowReport:
    """See the title."""
    targets = {"of Keras": at_least(4), "of the original": at_least(8)}
    return resnet_row("resnet_1024", TITLE, 1024, options, targets, rounds=4)
