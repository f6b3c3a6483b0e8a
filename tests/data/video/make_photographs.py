"""Makes photographs.mp4: slow pans and zooms across CC BY COCO val2017 photographs, with a soft chord as sound.

    python -m tests.data.video.make_photographs PHOTOS_FOLDER tests/data/video/photographs.mp4

PHOTOS_FOLDER holds the photographs named in SHOTS (COCO val2017, `000000184324.jpg` and so on); CREDITS.txt
says where each comes from. Fails with a message if one is missing or has another size than the shots were laid out for.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from tools.make_sample import write_video

SIZE_WH = (640, 360)
FPS = 25
SHOT_FRAMES = 87
FADE_FRAMES = 16
CRF = 24


@dataclass(frozen=True)
class Shot:
    """A photograph and the way the camera takes across it.

    Attributes:
        coco_id: number in COCO val2017.
        size_wh: its width and height, pixels.
        start, end: (center x, center y, width) of the part shown, in pixels of the photograph; its height follows
            from SIZE_WH.
    """

    coco_id: int
    size_wh: tuple[int, int]
    start: tuple[float, float, float]
    end: tuple[float, float, float]


SHOTS = (
    Shot(184324, (640, 425), (320, 222, 640), (265, 256, 530)),
    Shot(397133, (640, 427), (290, 237, 560), (360, 202, 540)),
    Shot(343937, (640, 428), (300, 182, 600), (330, 212, 640)),
    Shot(5001, (640, 480), (270, 170, 500), (320, 230, 640)),
)


def main() -> None:
    """Command line: the folder of photographs, the file to write."""
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    photos = [read_photo(Path(sys.argv[1]), shot) for shot in SHOTS]
    target = Path(sys.argv[2])
    count = len(SHOTS) * SHOT_FRAMES - (len(SHOTS) - 1) * FADE_FRAMES
    write_video(target, [frame_at(photos, index) for index in range(count)], FPS, CRF)
    print(f"{target}: {count} frames, {count / FPS:.2f} s, {target.stat().st_size:,} bytes")


def read_photo(folder: Path, shot: Shot) -> np.ndarray:
    """The photograph, uint8 (H, W, 3) BGR."""
    path = folder / f"{shot.coco_id:012d}.jpg"
    photo = cv2.imread(str(path))
    if photo is None:
        sys.exit(f"{path} is missing or cannot be read; CREDITS.txt says where it comes from")
    if photo.shape[1::-1] != shot.size_wh:
        sys.exit(f"{path} must be {shot.size_wh[0]}x{shot.size_wh[1]}, it is {photo.shape[1]}x{photo.shape[0]}")
    return photo


def view(photo: np.ndarray, shot: Shot, progress: float) -> np.ndarray:
    """What the camera sees at `progress` (0 … 1) of a shot, uint8 (360, 640, 3)."""
    eased = progress * progress * (3.0 - 2.0 * progress)
    center_x, center_y, width = (a + (b - a) * eased for a, b in zip(shot.start, shot.end, strict=True))
    scale = SIZE_WH[0] / width
    matrix = np.array(
        [[scale, 0.0, SIZE_WH[0] / 2 - scale * center_x], [0.0, scale, SIZE_WH[1] / 2 - scale * center_y]], np.float64
    )
    return cv2.warpAffine(photo, matrix, SIZE_WH, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def frame_at(photos: list[np.ndarray], index: int) -> np.ndarray:
    """Frame `index` of the video, uint8 (360, 640, 3) BGR: one shot, or two while they cross-fade."""
    spacing = SHOT_FRAMES - FADE_FRAMES
    number = min(index // spacing, len(SHOTS) - 1)
    local = index - number * spacing
    image = view(photos[number], SHOTS[number], local / (SHOT_FRAMES - 1))
    if number == 0 or local >= FADE_FRAMES:
        return image
    before = view(photos[number - 1], SHOTS[number - 1], (local + spacing) / (SHOT_FRAMES - 1))
    share = (local + 1) / (FADE_FRAMES + 1)
    return cv2.addWeighted(image, share, before, 1.0 - share, 0.0)


if __name__ == "__main__":
    main()
