"""The command `weights`: gets weights."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.commands.coco_weights import download_coco_weights
from pipeline.commands.program import Parser, set_up_logging
from pipeline.file_names import user_path
from pipeline.installation import program_name
from pipeline.segmentation.weights_file import weights_dir


def run(argv: Sequence[str]) -> int:
    """Download weights and print their path; return the exit code."""
    parser = Parser(prog=f"{program_name()} weights", description="Get weights.", allow_abbrev=False)
    parser.add_argument("what", choices=["coco"], help="coco: Matterport's mask_rcnn_coco.h5, 81 classes, 257 MB")
    parser.add_argument(
        "--dir", metavar="DIR", help="where to put it (default: a clone's weights/, else the user's cache)"
    )
    arguments = parser.parse_args(argv)
    set_up_logging()
    path = download_coco_weights(user_path(arguments.dir, "--dir") if arguments.dir else weights_dir())
    print(f"COCO weights: {path}")
    return 0
