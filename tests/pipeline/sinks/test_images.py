"""Annotated stills: one file or a folder."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipeline.errors import InputError, RunError
from pipeline.records import SourceKind
from pipeline.settings.output_settings import RecorderSettings
from pipeline.sinks.images import ENCODING, Images, write_image
from pipeline.sinks.paths import Inputs, Outputs
from tests.pipeline.sinks.presentations import context, picture, presentation


def stills(frame_count=None):
    return context(kind=SourceKind.STILLS, frame_count=frame_count)


def still(index, name):
    return presentation(index, image=picture(index), source_id=name)


def write(path, items, outputs=None, frame_count=None):
    sink = Images(RecorderSettings(path=str(path)), outputs)
    sink.open(stills(frame_count))
    for one in items:
        sink.write(one)
    sink.close()
    return sink


@pytest.mark.parametrize("suffix", [*ENCODING, ".PNG"])
def test_one_image_in_every_format(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    sink = write(path, [still(3, "photo.jpg")], frame_count=1)
    assert sink.outputs == (str(path),)
    assert np.abs(cv2.imread(str(path)).astype(int) - picture(3)).mean() < 6
    assert [child.name for child in tmp_path.iterdir()] == [path.name]


def test_png_is_exact(tmp_path):
    write(tmp_path / "out.png", [still(3, "photo.jpg")])
    assert (cv2.imread(str(tmp_path / "out.png")) == picture(3)).all()


@pytest.mark.parametrize("name", ["new", "deep/er", "results.v2/"])
def test_a_folder_is_made_and_keeps_the_names(tmp_path, name):
    sink = Images(RecorderSettings(path=f"{tmp_path}/{name}"))
    sink.open(stills(3))
    folder = tmp_path / name
    assert not folder.exists()
    for i, source in enumerate(["b.png", "a.jpg", "c.JPG"]):
        sink.write(still(i, source))
    sink.close()
    assert sorted(child.name for child in folder.iterdir()) == ["a.jpg", "b.png", "c.JPG"]
    assert (cv2.imread(str(folder / "b.png")) == picture(0)).all()


def test_an_existing_folder_may_have_a_suffix(tmp_path):
    folder = tmp_path / "results.v2"
    folder.mkdir()
    write(folder, [still(0, "a.png")])
    assert (folder / "a.png").is_file()


def test_colliding_names_get_numbers_and_unsupported_formats_become_png(tmp_path):
    write(tmp_path / "out", [still(i, name) for i, name in enumerate(["a.png", "A.png", "a.gif", "b.heic"])])
    assert sorted(child.name for child in (tmp_path / "out").iterdir()) == ["A-2.png", "a-3.png", "a.png", "b.png"]


def test_an_input_is_never_overwritten(tmp_path):
    source = tmp_path / "a.png"
    write_image(source, picture(9))
    before = source.read_bytes()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.png").symlink_to(source)
    for overwrite in (False, True):
        with pytest.raises(InputError, match="is a file that this run reads"):
            write(source, [], Outputs(Inputs.of([tmp_path]), overwrite))
        for folder in (tmp_path, tmp_path / "out"):
            with pytest.raises(InputError, match=r"contains a\.png, which this run reads"):
                write(folder, [still(0, "a.png")], Outputs(Inputs.of([tmp_path]), overwrite))
    assert source.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "frame_count", "message"),
    [
        ("out.mp4", 1, "is a video, but the source consists of images"),
        ("out.xyz", 1, "the image formats are"),
        ("out.png", 3, r"is one image, but the source has 3: give a folder"),
        ("missing/out.png", 1, "does not exist"),
        ("file.txt/out", 2, "is not a folder"),
    ],
)
def test_impossible_paths_are_errors_before_anything_is_written(tmp_path, name, frame_count, message):
    (tmp_path / "file.txt").write_text("x")
    with pytest.raises(InputError, match=message):
        write(tmp_path / name, [], frame_count=frame_count)
    assert [child.name for child in tmp_path.iterdir()] == ["file.txt"]


def test_the_images_of_an_older_run_stay(tmp_path):
    for expected in ("out", "out-2", "out-3"):
        write(tmp_path / "out", [still(0, "a.png")])
        assert [child.name for child in (tmp_path / expected).iterdir()] == ["a.png"]
    assert len(list(tmp_path.iterdir())) == 3


def test_a_second_image_for_one_file_is_an_error_when_the_count_was_unknown(tmp_path):
    with pytest.raises(RunError, match="the source has more"):
        write(tmp_path / "out.png", [still(0, "a.png"), still(1, "b.png")])


def test_a_video_source_is_refused(tmp_path):
    sink = Images(RecorderSettings(path=str(tmp_path / "out")))
    with pytest.raises(InputError, match=r"the source is a video; .*\.mp4"):
        sink.open(context())


def test_a_failed_write_is_an_error_and_leaves_nothing(tmp_path):
    folder = tmp_path / "out"
    (folder / "a.png").mkdir(parents=True)
    with pytest.raises(RunError, match=r"Writing .*a\.png failed"):
        write(folder, [still(0, "a.png")], Outputs(overwrite=True))
    assert [child.name for child in folder.iterdir()] == ["a.png"]
    with pytest.raises(OSError, match="does not support images of 20000x1"):
        write_image(tmp_path / "wide.webp", np.zeros((1, 20000, 3), np.uint8))
    assert not (tmp_path / "wide.webp").exists()
