"""Makes the pictures of docs/gallery.md, and so of the README, by running the commands of that page.

    python tools/make_gallery.py [NAME …]

Without names (`window`, `page` …), makes all of them. A recording gives a frame or, where the picture is a `.webp`, an
animation; anything else is photographed on a screen of its own: the program's window, or Chromium with its page. Needs
Xvfb, openbox, scrot and Chromium on PATH, and fails with a message if one is missing.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tools.make_sample import write_video  # noqa: E402 - the path is set above

PAGE = ROOT / "docs" / "gallery.md"
SAMPLE = ROOT / "samples" / "people.mp4"
PROGRAMS = ("Xvfb", "openbox", "scrot", "chromium")
SHOTS = {"webcam.mp4": (33, 143), "hall.mp4": (150, 242), "desk.mp4": (320, 398)}
"""Frames of the sample, the first and the one after the last."""
FRAMES = {"debug": 215, "private": 60, "call": 60, "counted": 375}
"""The frame of a recording that is shown."""
SCREEN_WH = (1280, 800)
BROWSER_HEIGHTS = {"grid": 400}
"""Of windows that are not as high as the screen."""
WINDOW_S = 60.0
"""At most this long until there is a window."""
SETTLE_S = 15.0
"""From then on, until it has frames, and a page a few seconds of them to plot, on two cores."""
JPEG_QUALITY = 85
ANIMATION = {"width": 640, "every": 2, "quality": 75}
"""15 of 30 frames a second."""


def main() -> None:
    """Command line: the names of the pictures."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        sys.exit(f"{missing[0]} is not on PATH: install {', '.join(PROGRAMS)}")
    page = PAGE.read_text(encoding="utf-8")
    found = entries(page)
    names = sys.argv[1:] or list(found)
    unknown = [name for name in names if name not in found]
    if unknown:
        sys.exit(f"{PAGE.name} has no picture {unknown[0]}: expected {', '.join(found)}")
    for name in names:
        commands, target = found[name]
        with tempfile.TemporaryDirectory() as folder:
            make_files(page, Path(folder))
            make(commands, target, Path(folder))
        print(f"{target.relative_to(ROOT)}: {target.stat().st_size:,} bytes", flush=True)


def entries(page: str) -> dict[str, tuple[list[list[str]], Path]]:
    """By the picture's name: the commands above it, as the arguments of stream_segment.py, and its path."""
    found = {}
    for block, picture in re.findall(r"((?:^ {4}.+\n)+)\n!\[[^\]]+\]\(([^)]+)\)", page, re.MULTILINE):
        commands = [shlex.split(line)[2:] for line in block.splitlines()]
        found[Path(picture).stem] = commands, PAGE.parent / picture
    return found


def settings_files(page: str) -> dict[str, str]:
    """By its name, the text of each settings file that the page shows."""
    found = re.findall(r"`(\w+\.yaml)`:\n\n((?:^ {4}.+\n)+)", page, re.MULTILINE)
    return {name: textwrap.dedent(text) for name, text in found}


def make_files(page: str, folder: Path) -> None:
    """The files that the commands name."""
    for name, text in settings_files(page).items():
        (folder / name).write_text(text, encoding="utf-8")
    shutil.copy(SAMPLE, folder / "clip.mp4")
    images = read_video(SAMPLE)
    for name, (first, end) in SHOTS.items():
        write_video(folder / name, images[first:end])


def make(commands: list[list[str]], target: Path, folder: Path) -> None:
    """Runs the commands and makes the picture of the last one."""
    *earlier, last = commands
    recording = last[last.index("--output") + 1] if "--output" in last else None
    with screen() as display:
        for arguments in [*earlier, *([last] if recording or last[0] == "report" else [])]:
            subprocess.run(program(arguments), cwd=folder, check=True, env=os.environ | {"DISPLAY": ""})
        if recording:
            save(read_video(folder / recording), target)
        elif last[0] == "report":
            [report] = folder.glob("*_report.html")
            with browser(report.as_uri(), SCREEN_WH[1], display, folder):
                photograph(display, "--focused", target)
        else:
            with process(program(last), folder, DISPLAY=display):
                address = f"http://127.0.0.1:{last[-1]}/" if "--serve" in last else None
                height = BROWSER_HEIGHTS.get(target.stem, SCREEN_WH[1])
                with browser(address, height, display, folder) if address else contextlib.nullcontext():
                    photograph(display, *(() if "--kiosk" in last else ("--focused", "--border")), target)


def program(arguments: list[str]) -> list[str]:
    """The command of an argument list."""
    return [sys.executable, str(ROOT / "stream_segment.py"), *arguments]


@contextlib.contextmanager
def process(command: list[str], folder: Path, **variables: str) -> Iterator[None]:
    """A process that is ended with the block."""
    told = None if command[0] == sys.executable else subprocess.DEVNULL
    with subprocess.Popen(command, cwd=folder, env=os.environ | variables, stdout=told, stderr=told) as running:
        try:
            yield
        finally:
            running.send_signal(signal.SIGTERM)


@contextlib.contextmanager
def screen() -> Iterator[str]:
    """The name of an X display with a window manager."""
    read_end, write_end = os.pipe()
    size = "x".join(map(str, SCREEN_WH))
    flags = ["-displayfd", str(write_end), "-screen", "0", f"{size}x24", "-nolisten", "tcp"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(["Xvfb", *flags], pass_fds=[write_end], **quiet) as server:
        try:
            os.close(write_end)
            with os.fdopen(read_end) as answer:
                display = f":{answer.readline().strip()}"
            with process(["openbox"], ROOT, DISPLAY=display):
                yield display
        finally:
            server.terminate()


def browser(address: str, height: int, display: str, folder: Path) -> contextlib.AbstractContextManager[None]:
    """Chromium with nothing but this page, as wide as the screen."""
    flags = ["--no-sandbox", "--no-first-run", "--disable-gpu", "--disable-background-networking", "--test-type"]
    size = [f"--window-size={SCREEN_WH[0]},{height}", "--window-position=0,0", f"--user-data-dir={folder / 'profile'}"]
    return process(["chromium", *flags, *size, f"--app={address}"], folder, DISPLAY=display)


def photograph(display: str, *flags_and_target: str | Path) -> None:
    """Saves what the screen, or its focused window, shows once it has settled."""
    *flags, target = flags_and_target
    environment = os.environ | {"DISPLAY": display}
    with tempfile.TemporaryDirectory() as folder:
        shown = Path(folder, "shown.png")
        deadline = time.monotonic() + WINDOW_S
        while subprocess.run(["scrot", "--focused", str(shown)], capture_output=True, env=environment).returncode != 0:
            if time.monotonic() > deadline:
                sys.exit(f"{Path(target).name}: no window after {WINDOW_S:.0f} s")
            time.sleep(0.5)
        time.sleep(SETTLE_S)
        subprocess.run(["scrot", "--overwrite", *map(str, flags), str(shown)], check=True, env=environment)
        save([cv2.imread(str(shown))], Path(target))


def read_video(path: Path) -> list[np.ndarray]:
    """The frames, uint8 (H, W, 3) BGR."""
    with av.open(str(path)) as container:
        return [picture.to_ndarray(format="bgr24") for picture in container.decode(video=0)]


def save(images: list[np.ndarray], target: Path) -> None:
    """Writes a frame as JPEG, or all of them as an animation."""
    target.parent.mkdir(exist_ok=True)
    if target.suffix == ".webp":
        write_animation(images, target)
        return
    image = images[FRAMES[target.stem] if len(images) > 1 else 0]
    target.write_bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes())


def write_animation(images: list[np.ndarray], target: Path) -> None:
    """Writes an animated WebP that repeats."""
    from PIL import Image

    height, width = images[0].shape[:2]
    size_wh = ANIMATION["width"], round(height * ANIMATION["width"] / width)
    small = [cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA) for image in images[:: ANIMATION["every"]]]
    first, *others = [Image.fromarray(image[..., ::-1]) for image in small]
    duration_ms = round(1000 * ANIMATION["every"] / 30)
    options = {"duration": duration_ms, "loop": 0, "quality": ANIMATION["quality"], "method": 4}
    first.save(target, save_all=True, append_images=others, **options)


if __name__ == "__main__":
    main()
