"""Which weight file a run takes, in the order of preference, and what it says when there is none."""

from pathlib import Path

import pytest

from pipeline.errors import InputError
from pipeline.segmentation import weights_file
from pipeline.segmentation.weights_file import COCO_NAME, SHIPPED_NAME, find_weights, weights_dir


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("STREAM_SEGMENT_WEIGHTS_DIR", str(tmp_path))
    return tmp_path


def put(folder, *names):
    for name in names:
        (folder / name).write_bytes(b"x")


def test_order_of_preference(folder):
    put(folder, "b.h5")
    assert find_weights(None).path == folder / "b.h5"
    put(folder, COCO_NAME)
    assert find_weights(None).path == folder / COCO_NAME
    put(folder, SHIPPED_NAME)
    assert find_weights(None).path == folder / SHIPPED_NAME
    assert find_weights(str(folder / "b.h5")).path == folder / "b.h5"
    assert find_weights(str(folder / "b.h5")).reason == "named by the user"


def test_none_says_how_to_get_some(folder):
    put(folder, "notes.txt", f"{COCO_NAME}.part")
    with pytest.raises(InputError) as caught:
        find_weights(None)
    text = str(caught.value)
    assert str(folder) in text
    assert "python stream_segment.py weights coco" in text
    assert f"put {COCO_NAME} there by hand" in text


def test_several_strangers_are_not_guessed_between(folder):
    put(folder, "a.h5", "b.h5")
    with pytest.raises(InputError, match="2 files lie there, name one with --weights"):
        find_weights(None)


def test_a_named_file_must_be_there(folder):
    put(folder, COCO_NAME)
    with pytest.raises(InputError, match="does not exist"):
        find_weights(str(folder / "none.h5"))
    with pytest.raises(InputError, match="is a folder"):
        find_weights(str(folder))


def test_the_folder_is_the_clones_unless_it_is_installed(tmp_path, monkeypatch):
    monkeypatch.delenv("STREAM_SEGMENT_WEIGHTS_DIR", raising=False)
    found = {"clone": ("pyproject.toml", "stream_segment.py"), "site-packages": ("stream_segment.py",)}
    for folder, names in found.items():
        (tmp_path / folder).mkdir()
        put(tmp_path / folder, *names)
    module = Path("pipeline", "segmentation", "weights_file.py")
    monkeypatch.setattr(weights_file, "__file__", str(tmp_path / "clone" / module))
    assert weights_dir() == (tmp_path / "clone" / "weights").resolve()
    monkeypatch.setattr(weights_file, "__file__", str(tmp_path / "site-packages" / module))
    assert weights_dir().parts[-2:] == ("stream_segment", "weights")
    assert tmp_path not in weights_dir().parents
