"""Which weight file a run takes, in the order of preference, and what it says when there is none."""

import pytest

from pipeline import installation
from pipeline.errors import InputError
from pipeline.segmentation.weights_file import COCO_NAME, SHIPPED_NAME, WeightsChoice, find_weights, weights_dir
from tests.unreadable import refuse_below


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A folder that stands in for site-packages, with no weights in it; the user has an empty cache."""
    packages = tmp_path / "site-packages"
    monkeypatch.setattr(installation, "ROOT", packages)
    monkeypatch.setattr(installation, "WHEEL_DATA", packages / "pipeline" / "data")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "cache"))
    return packages


@pytest.fixture
def folder(installed, tmp_path, monkeypatch):
    """The folder that the variable names; no model is shipped."""
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
    assert "stream-segment weights get coco" in text
    assert f"put {COCO_NAME} there by hand" in text


def test_a_folder_that_may_not_be_read_holds_none(installed, tmp_path, monkeypatch):
    """Such as the cache of root, for a service whose HOME is left as it was."""
    shipped = installed / "pipeline" / "data" / "weights"
    shipped.mkdir(parents=True)
    put(shipped, SHIPPED_NAME)
    refuse_below(tmp_path / "cache", monkeypatch)
    assert find_weights(None).path == shipped / SHIPPED_NAME
    (shipped / SHIPPED_NAME).unlink()
    with pytest.raises(InputError, match="weights get coco"):
        find_weights(None)


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


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["coco-r50.h5", "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth", "other.h5"], "coco-r50.h5"),
        (["maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth", COCO_NAME], "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth"),
    ],
)
def test_a_model_is_found_converted_or_as_it_was_published(folder, names, found):
    put(folder, *names)
    assert find_weights("coco-r50") == WeightsChoice(folder / found, "the model coco-r50")


def test_a_models_name_comes_before_a_file_of_that_name(folder, tmp_path, monkeypatch):
    put(folder, COCO_NAME, "coco")
    monkeypatch.chdir(tmp_path)
    assert find_weights("coco").path == folder / COCO_NAME
    assert find_weights("./coco").path.name == "coco"


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("coco-r50", r"the model coco-r50 is not in .*: get it with `.* weights get coco-r50`"),
        ("person", "the model person comes with the program, but .*stream_segment_person.h5 is missing: install it"),
        ("coco-r05", r"there is neither a model nor a file coco-r05; did you mean coco-r50\?"),
        ("zebra", "neither a model nor a file zebra; the models are person, coco, coco-r50, "),
        ("zebra.pth", r"--weights zebra.pth: the file does not exist; expected \.h5, \.pth, \.pkl or \.safetensors"),
    ],
)
def test_a_name_that_leads_nowhere(folder, named, message):
    with pytest.raises(InputError, match=message):
        find_weights(named)


def test_downloads_go_to_the_users_cache_when_the_program_is_installed(installed, monkeypatch):
    monkeypatch.delenv("STREAM_SEGMENT_WEIGHTS_DIR", raising=False)
    assert weights_dir().parts[-2:] == ("stream_segment", "weights")
    assert installed not in weights_dir().parents
    with pytest.raises(InputError, match=r"there is none\. Get .* `stream-segment weights get coco`, or put"):
        find_weights(None)
    shipped = installed / "pipeline" / "data" / "weights"
    shipped.mkdir(parents=True)
    put(shipped, SHIPPED_NAME)
    assert find_weights(None).path == shipped / SHIPPED_NAME


def test_the_shipped_model_is_found_whatever_folder_the_variable_names(installed, folder):
    shipped = installed / "pipeline" / "data" / "weights"
    shipped.mkdir(parents=True)
    put(shipped, SHIPPED_NAME)
    put(folder, COCO_NAME)
    assert find_weights(None) == WeightsChoice(shipped / SHIPPED_NAME, "shipped with the program")
    assert find_weights("person").path == shipped / SHIPPED_NAME
    put(folder, SHIPPED_NAME)
    assert find_weights(None).path == find_weights("person").path == folder / SHIPPED_NAME
