"""The gallery: every command is one that the program takes, and every picture is there."""

import re

import cv2
import numpy as np
import pytest
from PIL import Image

from pipeline.commands.main import main
from pipeline.commands.run import build_parser, settings_of_runs
from tools import make_gallery

PAGE = make_gallery.PAGE.read_text(encoding="utf-8")
ENTRIES = make_gallery.entries(PAGE)
COMMANDS = [command for commands, _ in ENTRIES.values() for command in commands]
README = (make_gallery.ROOT / "README.md").read_text(encoding="utf-8")


def test_every_picture_of_the_page_has_a_command_above_it():
    pictures = re.findall(r"!\[.+?\]\((.+?)\)", PAGE)
    assert [path for _, path in ENTRIES.values()] == [make_gallery.PAGE.parent / picture for picture in pictures]
    assert len(pictures) == PAGE.count("\n## ")
    assert len(re.findall(r"^ {4}python stream_segment\.py ", PAGE, re.MULTILINE)) == len(COMMANDS)


def test_the_page_shows_what_the_program_is_for():
    assert {"demo", "window", "debug", "private", "call", "counted", "page", "cameras", "report", "kiosk"} <= set(
        ENTRIES
    )


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_is_one_that_the_program_takes(command, tmp_path, monkeypatch, capsys):
    """With settings that are valid and files that are there; `report` gets as far as the missing detections."""
    monkeypatch.chdir(tmp_path)
    for name in ("clip.mp4", *make_gallery.SHOTS):
        (tmp_path / name).write_bytes(b"video")
    for name, text in make_gallery.settings_files(PAGE).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    if command[0] == "report":
        assert main(command) == 2
        assert f"cannot read {command[1]}: " in capsys.readouterr().err
        return
    for settings in settings_of_runs(build_parser().parse_args(command)):
        uris = [camera.uri for camera in settings.cameras] or [settings.source.uri]
        for uri in uris:
            assert (tmp_path / uri.reveal()).is_file(), uri.reveal()


def test_every_picture_can_be_shown_and_all_are_small():
    pictures = [path for _, path in ENTRIES.values()]
    for path in pictures:
        if path.suffix == ".jpg":
            assert min(cv2.imread(str(path)).shape[:2]) >= 360, path.name
    total = sum(path.stat().st_size for path in pictures if path.suffix == ".jpg")
    assert total <= 3_000_000
    assert {path.name for path in (make_gallery.PAGE.parent / "gallery").iterdir()} == {
        path.name for path in pictures if path.suffix == ".jpg"
    }


def test_the_readme_begins_with_the_animation_and_shows_the_three_uses():
    pictures = re.findall(r"!\[.+?\]\((.+?)\)", README)
    assert pictures == [
        "docs/demo.webp",
        "docs/gallery/window.jpg",
        "docs/gallery/counted.jpg",
        "docs/gallery/kiosk.jpg",
    ]
    path = make_gallery.ROOT / pictures[0]
    assert path.stat().st_size <= 3_000_000
    with Image.open(path) as animation:
        assert animation.n_frames > 100


def test_frames_are_named_for_recordings_only():
    recordings = {name for name, (commands, _) in ENTRIES.items() if "--output" in commands[-1]}
    assert set(make_gallery.FRAMES) | {"demo"} == recordings


def test_a_frame_and_an_animation_are_written(tmp_path, monkeypatch):
    images = [np.full((36, 64, 3), (0, 0, 20 * index), np.uint8) for index in range(7)]
    monkeypatch.setattr(make_gallery, "FRAMES", {"still": 5})
    monkeypatch.setattr(make_gallery, "ANIMATION", {"width": 32, "every": 3, "quality": 90})
    make_gallery.save(images, tmp_path / "still.jpg")
    make_gallery.save(images, tmp_path / "moving.webp")
    still = cv2.imread(str(tmp_path / "still.jpg"))
    assert still.shape == (36, 64, 3)
    np.testing.assert_allclose(still.mean(axis=(0, 1)), (0, 0, 100), atol=3)
    with Image.open(tmp_path / "moving.webp") as animation:
        assert (animation.size, animation.n_frames, animation.info["loop"]) == ((32, 18), 3, 0)
        animation.seek(2)
        np.testing.assert_allclose(np.asarray(animation.convert("RGB")).mean(axis=(0, 1)), (120, 0, 0), atol=6)
        assert animation.info["duration"] == 100


def test_a_picture_that_the_page_lacks_is_refused(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda program: program)
    monkeypatch.setattr("sys.argv", ["make_gallery.py", "windw"])
    with pytest.raises(SystemExit, match=r"no picture windw: expected demo, window, "):
        make_gallery.main()


def test_a_missing_program_is_named(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda program: None if program == "scrot" else program)
    with pytest.raises(SystemExit, match="scrot is not on PATH"):
        make_gallery.main()
