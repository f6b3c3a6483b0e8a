"""The command `cameras`: lists the cameras with what they offer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from itertools import groupby

from pipeline.commands.program import Parser
from pipeline.installation import program_name
from pipeline.sources.camera import NO_CAMERA
from pipeline.sources.camera_list import CameraLister, ListedCamera
from pipeline.sources.v4l2 import CameraMode


def run(argv: Sequence[str]) -> int:
    """Print the cameras; return 0 if one can be used, otherwise 1."""
    parser = Parser(
        prog=f"{program_name()} cameras",
        description="List the cameras with what --source takes, names, sizes and rates.",
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args(argv)
    cameras = CameraLister().cameras()
    if arguments.json:
        print(json.dumps([asdict(camera) for camera in cameras], indent=1))
    else:
        print("\n".join(line for camera in cameras for line in lines(camera)) or f"none: {NO_CAMERA}")
    return 0 if any(camera.fault is None for camera in cameras) else 1


def lines(camera: ListedCamera) -> list[str]:
    """A camera as text: its number and name, its stable path, then a line for each pixel format."""
    indent = "   "
    stable = [f"{indent}--source {camera.by_id}"] if camera.by_id else []
    return [
        f"{camera.source:<2} {camera.name}",
        *stable,
        *([f"{indent}cannot be used: {camera.fault}"] if camera.fault else []),
        *(
            f"{indent}{pixels:4} {'; '.join(map(mode_text, modes))}".rstrip()
            for pixels, modes in groupby(largest_first(camera.modes), lambda mode: mode.pixels)
        ),
    ]


def largest_first(modes: Iterable[CameraMode]) -> list[CameraMode]:
    """The modes, those of the same pixel format together in the camera's order of formats."""
    formats = list(dict.fromkeys(mode.pixels for mode in modes))
    return sorted(modes, key=lambda mode: (formats.index(mode.pixels), -mode.width * mode.height))


def mode_text(mode: CameraMode) -> str:
    """Such as "1280x720 at 60, 30 fps"."""
    rates = ", ".join(f"{rate:g}" for rate in mode.rates)
    return f"{mode.width}x{mode.height}" + (f" at {rates} fps" if rates else "")
