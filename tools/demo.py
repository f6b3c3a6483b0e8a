"""`make demo`: segments samples/people.mp4 without a window, and says which weights did it and where the results lie.

python tools/demo.py [more flags of stream_segment.py]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from pipeline.commands.main import print_any_text  # noqa: E402 - the path is set above
from pipeline.errors import InputError  # noqa: E402
from pipeline.segmentation.weights_file import SHIPPED_NAME, WeightsChoice, find_weights  # noqa: E402
from stream_segment import main as stream_segment  # noqa: E402

SAMPLE = ROOT / "samples" / "people.mp4"
VIDEO = ROOT / "out" / "people_segmented.mp4"
DETECTIONS = ROOT / "out" / "people.jsonl"


def main() -> int:
    """Exit code: that of stream_segment.py, whose summary names the results."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--weights", "--model")
    given, more_flags = parser.parse_known_args()
    choice = None if given.weights else find_or_download()
    if choice is None and not given.weights:
        return 2
    VIDEO.parent.mkdir(exist_ok=True)
    flags = ["--source", str(SAMPLE), "--no-window", "--output", str(VIDEO), "--detections", str(DETECTIONS)]
    if not any(flag.split("=")[0] in ("--output", "--detections") for flag in more_flags):
        flags.append("--overwrite")  # the files of an earlier demo
    if choice is not None and choice.path.name != SHIPPED_NAME:
        flags += ["--max-dim", "512"]  # ResNet-101 at 1024 takes seconds a frame on a processor
    weights = given.weights if choice is None else str(choice.path)
    print(f"Weights: {weights} ({'named by the user' if choice is None else choice.reason})")
    return stream_segment([*flags, "--weights", weights, *more_flags])


def find_or_download() -> WeightsChoice | None:
    """The weights that lie there; the COCO weights, if they can be downloaded; None, and the user was told."""
    try:
        return find_weights(None)
    except InputError:
        print("No weights here yet: downloading the COCO weights.")
    if stream_segment(["weights", "get", "coco"]) != 0:
        return None
    return find_weights(None)


if __name__ == "__main__":
    print_any_text()
    sys.exit(main())
