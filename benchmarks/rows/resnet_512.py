"""ResNet-101, 81 classes, 512 px, 1280x720 frames, one at a time."""

from benchmarks.engine_rate import resnet_row
from benchmarks.measuring import RowReport, at_least
from benchmarks.options import Options

TITLE = "ResNet-101, 81 classes, 512 px, 1280x720 frames"


def measure(options: Options) -> RowReport:
    """See the title."""
    return resnet_row(
        "resnet_512", TITLE, 512, options, {"fps": at_least(5), "of the original": at_least(25)}, rounds=7
    )
