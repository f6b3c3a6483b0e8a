"""Checks of output paths, and numbered names."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from mrcnn.weights.published import MODELS
from pipeline.errors import InputError
from pipeline.records import SourceKind
from pipeline.settings.loading import load_settings
from pipeline.settings.schema import Settings
from pipeline.sinks.factory import make_sinks
from pipeline.sinks.paths import (
    FOLDER_MARK,
    Inputs,
    Outputs,
    check_folder,
    check_output_file,
    create_new,
    identity,
    is_same_file,
    numbered,
    replace_file,
)
from tests.pipeline.sinks.presentations import context
from tests.unreadable import Refusals


def touch(path, text="x"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_inputs_are_found_through_paths_and_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    one, at_home = touch(tmp_path / "a.mp4"), touch(tmp_path / "b.txt")
    in_folder, other = touch(tmp_path / "photos" / "b.jpg"), touch(tmp_path / "d.png")
    inputs = Inputs.of([one, tmp_path / "photos", "~/b.txt", None, tmp_path / "later"])
    for path in (one, at_home, in_folder, tmp_path / "later", tmp_path / "photos" / ".." / "later"):
        assert path in inputs
    for path in (other, tmp_path / "not there"):
        assert path not in inputs


def test_links_lead_to_the_same_file(tmp_path, monkeypatch):
    source = touch(tmp_path / "a.mp4")
    (tmp_path / "soft").symlink_to(source)
    os.link(source, tmp_path / "hard")
    monkeypatch.chdir(tmp_path)
    inputs = Inputs.of(["a.mp4"])
    for name in ("soft", "hard", "./a.mp4", str(source)):
        assert Path(name) in inputs


def test_no_file_has_no_identity(tmp_path):
    assert identity(tmp_path / "none") is None
    assert identity(Path("bad\0name")) is None
    assert Path("bad\0name") not in Inputs()


def test_files_without_numbers_are_compared_by_name(tmp_path, monkeypatch):
    one, other = touch(tmp_path / "a.mp4"), touch(tmp_path / "b.mp4")
    (tmp_path / "photos").mkdir()
    stat = Path.stat

    def without_numbers(path, **how):
        status = list(stat(path, **how))
        status[1:3] = (0, 7) if path.suffix else status[1:3]  # folders have numbers
        return os.stat_result(status)

    monkeypatch.setattr(Path, "stat", without_numbers)
    assert identity(one) is None
    assert is_same_file(one, tmp_path / "photos" / ".." / "a.mp4")
    assert not is_same_file(one, other)
    assert one in Inputs.of([one])
    assert other not in Inputs.of([one])


def test_a_valid_path_passes(tmp_path):
    check_output_file(tmp_path / "out.mp4", "--output", Inputs())
    check_output_file(touch(tmp_path / "old.mp4"), "--output", Inputs())
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("folder", r"--output .*folder is a folder, expected a file name such as .*out"),
        ("none/out.mp4", r"--output .*: the folder .*none does not exist. Create it first"),
        ("file/out.mp4", r"is not a folder"),
    ],
)
def test_bad_paths_by_name(tmp_path, name, message):
    (tmp_path / "folder").mkdir()
    touch(tmp_path / "file")
    with pytest.raises(InputError, match=message):
        check_output_file(tmp_path / name, "--output", Inputs())


def test_folders_without_permission(tmp_path, monkeypatch):
    # Asked of the system, not tried: as root every place can be written to.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(InputError, match="cannot be written to"):
        check_folder(tmp_path, "--output x")
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) == tmp_path)
    with pytest.raises(InputError, match="exists and cannot be written"):
        check_output_file(touch(tmp_path / "old.mp4"), "--output", Inputs())


def test_numbers_for_names_that_are_taken() -> None:
    names = [path.name for path in itertools.islice(numbered(Path("out/a.00-01.480.png")), 3)]
    assert names == ["a.00-01.480.png", "a.00-01.480-2.png", "a.00-01.480-3.png"]


READ = {
    "source": "clip.mp4",
    "image": "photos/a.png",
    "weights": "weights/stream_segment_person.h5",
    "labels": "labels.txt",
    "config": "my.yaml",
    "background": "beach.jpg",
    "attract": "hello.jpg",
}
"""What a run can read, by what it is."""

SOURCES = {
    "absolute": "{folder}/clip.mp4",
    "relative": "clip.mp4",
    "dots": "./photos/../clip.mp4",
    "home": "~/clip.mp4",
    "address": "file://{folder}/clip.mp4",
    "address of a host": "file://localhost{folder}/clip.mp4",
    "quoted": "file://{folder}/%63lip.mp4",
    "link": "link-to-clip.mp4",
    "glob": "cl*.mp4",
}


@pytest.fixture
def reading(tmp_path, monkeypatch):
    """Makes the settings of a run that reads everything in READ from tmp_path."""
    for name in READ.values():
        touch(tmp_path / name)
    (tmp_path / "link-to-clip.mp4").symlink_to("clip.mp4")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("STREAM_SEGMENT_WEIGHTS_DIR", str(tmp_path / "weights"))
    (tmp_path / "my.yaml").write_text(
        "{window: {mode: off}, model: {labels: ~/labels.txt}, background: {picture: ./beach.jpg}, "
        "attract: {picture: hello.jpg}}"
    )

    def make(uri, **paths):
        values = {("source", "uri"): ("--source", uri)}
        values.update({(section, "path"): ("", str(path)) for section, path in paths.items()})
        return load_settings(tmp_path / "my.yaml", values)

    return make


@pytest.mark.parametrize(
    ("given", "file"),
    [
        ("coco", "weights/mask_rcnn_coco.h5"),
        ("coco-r50", "weights/coco-r50.h5"),
        ("coco-r50", "weights/{published}"),
        ("~/R50.pth", "R50.pth"),
        ("./R50.pkl", "R50.pkl"),
        ("R50.safetensors", "R50.safetensors"),
    ],
)
def test_weights_are_recognized_by_name_and_in_every_format(reading, tmp_path, given, file):
    path = touch(tmp_path / file.format(published=MODELS["coco-r50"].file_name))
    values = {"model": {"weights": given}, "source": {"uri": "clip.mp4"}, "detections": {"path": str(path)}}
    settings = Settings.model_validate({"window": {"mode": "off"}, **values})
    with pytest.raises(InputError, match="is a file that this run reads"):
        opened(settings)


def opened(settings, kind=SourceKind.RECORDED):
    for sink in make_sinks(settings, context(kind=kind).source):
        sink.open(context(kind=kind))


@pytest.mark.parametrize("source", SOURCES)
def test_a_source_is_recognized_however_it_is_written(reading, tmp_path, source):
    settings = reading(SOURCES[source].format(folder=tmp_path))
    assert tmp_path / "clip.mp4" in Inputs.of_run(settings)
    assert tmp_path / "other.mp4" not in Inputs.of_run(settings)


@pytest.mark.parametrize("uri", ["photos", "photos/", "photos/*.png", "**/a.png", "photos/a.png", "file://{}/photos"])
def test_source_images_are_recognized_however_they_are_written(reading, tmp_path, uri):
    assert tmp_path / "photos" / "a.png" in Inputs.of_run(reading(uri.format(tmp_path)))


@pytest.mark.parametrize("uri", ["0", "test:", "rtsp://host/clip.mp4", "serial:1", "no such file.mp4", ""])
def test_other_sources_have_no_files(uri):
    shipped = Inputs.of_run(Settings.model_validate({"source": {"uri": uri}}))
    assert Path("clip.mp4") not in shipped


LINKS = {
    "itself": lambda target, link: target,
    "soft link": lambda target, link: link.symlink_to(target) or link,
    "hard link": lambda target, link: os.link(target, link) or link,
    "through a folder": lambda target, link: link.parent / "photos" / ".." / target.relative_to(link.parent),
    "from home": lambda target, link: Path("~") / target.relative_to(link.parent),
}


OUTPUTS = {
    "video": ("output", "out.mp4", SourceKind.RECORDED),
    "image": ("output", "out.png", SourceKind.STILLS),
    "detections": ("detections", "out.jsonl", SourceKind.RECORDED),
}
"""Section of the settings, name of a link that passes as this output, kind of source."""


@pytest.mark.parametrize("what", READ)
@pytest.mark.parametrize(
    ("output", "how"),
    [
        (output, how)
        for output in OUTPUTS
        for how in LINKS
        if output == "detections" or how in ("soft link", "hard link")
    ],
)
def test_no_output_may_be_a_file_that_the_run_reads(reading, tmp_path, what, output, how):
    section, name, kind = OUTPUTS[output]
    path = LINKS[how](tmp_path / READ[what], tmp_path / name)
    before = {name: (tmp_path / name).read_bytes() for name in READ.values()}
    settings = reading("photos" if what == "image" else "clip.mp4", **{section: path})
    for overwrite in (False, True):
        chosen = settings.model_copy(update={"output": settings.output.model_copy(update={"overwrite": overwrite})})
        with pytest.raises(InputError, match="is a file that this run reads") as error:
            opened(chosen, kind)
        assert error.value.exit_code == 2
    assert {name: (tmp_path / name).read_bytes() for name in READ.values()} == before


def test_files_that_do_not_exist_yet_are_compared_by_folder_and_name(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to("a")
    assert is_same_file(tmp_path / "a" / "x.mp4", tmp_path / "link" / "x.mp4")
    assert is_same_file(tmp_path / "a" / ".." / "x.mp4", tmp_path / "x.mp4")
    assert not is_same_file(tmp_path / "a" / "x.mp4", tmp_path / "x.mp4")
    assert not is_same_file(tmp_path / "x.mp4", touch(tmp_path / "y.mp4"))


def test_a_folder_that_windows_refuses_to_write_is_probed_once(tmp_path, monkeypatch):
    refuse = Refusals()
    with monkeypatch.context() as patched:
        patched.setattr(os, "name", "nt")
        patched.setattr(os, "O_TEMPORARY", 0, raising=False)
        for name in ("open", "mkdir"):
            patched.setattr(os, name, refuse)
        assert not is_same_file(tmp_path / "X.mp4", tmp_path / "x.mp4")
    assert refuse.count == 1


@pytest.mark.parametrize("ignores_case", [False, True])
def test_case_counts_where_the_folder_says_so(tmp_path, monkeypatch, ignores_case):
    if ignores_case:
        exists = Path.exists
        monkeypatch.setattr(
            Path,
            "exists",
            lambda path: exists(path) or any(one.name.upper() == path.name for one in path.parent.iterdir()),
        )
    assert is_same_file(tmp_path / "X.mp4", tmp_path / "x.mp4") is ignores_case
    assert not is_same_file(tmp_path / "X.mp4", tmp_path / "y.mp4")
    assert list(tmp_path.iterdir()) == []


def claimed(folder, overwrite=False):
    outputs = Outputs(overwrite=overwrite)
    outputs.claim_file(folder / "out.mp4", "--output")
    outputs.claim_file(folder / "out.jsonl", "--detections")
    return outputs


def names_of(outputs, folder):
    return [outputs.name_of(folder / name).name for name in ("out.mp4", "out.jsonl")]


def test_all_outputs_get_the_same_number(tmp_path, caplog):
    caplog.set_level("INFO")
    claims = claimed(tmp_path)
    assert list(tmp_path.iterdir()) == []  # a claim writes nothing
    assert names_of(claims, tmp_path) == ["out.mp4", "out.jsonl"]
    assert caplog.messages == []
    touch(tmp_path / "out-2.jsonl")
    assert names_of(claimed(tmp_path), tmp_path) == ["out-3.mp4", "out-3.jsonl"]
    assert len(caplog.messages) == 1
    assert "out-3.mp4 and" in caplog.messages[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "out-2.jsonl", "out-3.jsonl", "out-3.mp4", "out.jsonl", "out.mp4",
    ]  # fmt: skip
    assert names_of(claimed(tmp_path, overwrite=True), tmp_path) == ["out.mp4", "out.jsonl"]


def test_a_name_without_content_is_released(tmp_path):
    claims = claimed(tmp_path)
    claims.name_of(tmp_path / "out.mp4").write_bytes(b"x")
    for path in (tmp_path / "out.mp4", tmp_path / "out.jsonl"):
        claims.release(path)
        claims.release(path)
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_a_dangling_link_is_not_written_through(tmp_path):
    (tmp_path / "out.mp4").symlink_to(tmp_path / "elsewhere.mp4")
    assert names_of(claimed(tmp_path), tmp_path) == ["out-2.mp4", "out-2.jsonl"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_devices_and_pipes_have_no_second_name(tmp_path):
    os.mkfifo(tmp_path / "out.mp4")
    touch(tmp_path / "out.jsonl")
    assert names_of(claimed(tmp_path), tmp_path) == ["out.mp4", "out-2.jsonl"]
    for name in ("/dev/null", "/dev/stdout"):
        outputs = Outputs()
        outputs.claim_file(Path(name), "--output")
        assert outputs.name_of(Path(name)) == Path(name)


def folder_of(path, overwrite=False):
    outputs = Outputs(overwrite=overwrite)
    outputs.claim_folder(path, "--output")
    return outputs, outputs.name_of(path)


def test_a_folder_with_content_gets_a_second_one_beside_it(tmp_path):
    path = tmp_path / "deep" / "v1.2"
    outputs, first = folder_of(path)
    assert first == path
    _, second = folder_of(path)  # the first run has written nothing yet
    assert second == tmp_path / "deep" / "v1.2-2"
    touch(first / "a.png")
    outputs.release(path)
    assert [entry.name for entry in first.iterdir()] == ["a.png"]
    _, third = folder_of(path)
    assert third.name == "v1.2-3"
    assert [entry.name for entry in third.iterdir()] == [FOLDER_MARK]
    assert folder_of(path, overwrite=True)[1] == path


def test_an_empty_folder_is_used_and_a_new_one_without_content_is_removed(tmp_path):
    (tmp_path / "empty").mkdir()
    outputs, name = folder_of(tmp_path / "empty")
    assert name == tmp_path / "empty"
    outputs.release(name)
    outputs, name = folder_of(tmp_path / "new")
    outputs.release(name)
    assert [entry.name for entry in tmp_path.iterdir()] == ["empty"]
    assert list((tmp_path / "empty").iterdir()) == []


def test_a_reservation_that_fails_leaves_nothing(tmp_path, monkeypatch):
    claims = claimed(tmp_path)

    def full(paths):
        (path,) = paths
        if path.suffix == ".jsonl":
            raise OSError(28, "No space left on device")
        return create_new([path])

    monkeypatch.setattr("pipeline.sinks.paths.create_new", full)
    with pytest.raises(OSError, match="No space left"):
        names_of(claims, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_two_names_are_never_the_same(tmp_path):
    paths = [create_new(numbered(tmp_path / "a.png")) for _ in range(3)]
    assert [path.name for path in paths] == ["a.png", "a-2.png", "a-3.png"]
    with pytest.raises(FileExistsError):
        create_new([paths[0]])


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch, durable):
    path = touch(tmp_path / "list", "old")
    replace_file(path, b"new", durable)
    assert path.read_bytes() == b"new"

    def fails(*_):
        raise OSError(5, "broken")

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(OSError, match="broken"):
        replace_file(path, b"newer", durable)
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["list"]


@pytest.mark.parametrize("letter", ["a", "日", "😀"])
def test_a_file_may_have_the_longest_name_that_there_is(tmp_path, letter):
    path = tmp_path / (letter * (251 // len(letter.encode())) + ".png")
    replace_file(path, b"new")
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [(path.name, b"new")]


def test_what_was_given_up_is_not_reserved_for_others(tmp_path):
    """One output fails at its first frame and gives its claim up; the other ones begin after that."""
    outputs = Outputs()
    for name in ("out.mp4", "out.jsonl"):
        outputs.claim_file(tmp_path / name, "--output")
    outputs.release(tmp_path / "out.mp4")
    assert outputs.name_of(tmp_path / "out.jsonl") == tmp_path / "out.jsonl"
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]
