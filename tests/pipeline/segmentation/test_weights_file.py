"""Which weight file a run takes, in the order of preference, and what it says when there is none."""

import pytest

from pipeline import installation
from pipeline.errors import InputError
from pipeline.segmentation.weights_file import COCO_NAME, SHIPPED_NAME, find_weights, weights_dir


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("STREAM_SEGMENT_WEIGHTS_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A folder that stands in for site-packages, with no weights in it; the user has an empty cache."""
    packages = tmp_path / "site-packages"
    monkeypatch.setattr(installation, "ROOT", packages)
    monkeypatch.setattr(installation, "WHEEL_DATA", packages / "pipeline" / "data")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    return packages


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


def test_downloads_go_to_the_users_cache_when_the_program_is_installed(installed, monkeypatch):
    monkeypatch.delenv("STREAM_SEGMENT_WEIGHTS_DIR", raising=False)
    assert weights_dir().parts[-2:] == ("stream_segment", "weights")
    assert installed not in weights_dir().parents
    with pytest.raises(InputError, match=r"there is none\. Get .* `stream-segment weights coco`, or put"):
        find_weights(None)
    shipped = installed / "pipeline" / "data" / "weights"
    shipped.mkdir(parents=True)
    put(shipped, SHIPPED_NAME)
    assert find_weights(None).path == shipped / SHIPPED_NAME


def test_the_folder_that_a_variable_names_is_the_only_one(installed, folder):
    shipped = installed / "pipeline" / "data" / "weights"
    shipped.mkdir(parents=True)
    put(shipped, SHIPPED_NAME)
    put(folder, COCO_NAME)
    assert find_weights(None).path == folder / COCO_NAME
