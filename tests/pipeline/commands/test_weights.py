"""`stream_segment.py weights`: what it lists, gets and describes, and what is said meanwhile and afterwards."""

import contextlib
import io
import logging
import os
import re
import shutil
from collections import namedtuple
from pathlib import Path
from types import MappingProxyType

import pytest

import stream_segment
from mrcnn.weights import download, published
from mrcnn.weights.checkpoint import read_checkpoint
from mrcnn.weights.download import DownloadSettings
from pipeline.commands import weights
from pipeline.commands.weights import get_weights
from pipeline.errors import InputError, RunError
from pipeline.segmentation import weights_file
from tests.mrcnn.weights.checkpoints import FILES
from tests.unreadable import Refusals
from tests.weights_server import NAME, FakeServer, published_v1, weights_bytes
from tests.weights_server import published as published_model

GOOD = weights_bytes()


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """The weights folder, which does not exist yet; an empty cache; no mirror."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("STREAM_SEGMENT_WEIGHTS_DIR", str(tmp_path / "weights"))
    monkeypatch.delenv("STREAM_SEGMENT_WEIGHTS_MIRROR", raising=False)
    return tmp_path / "weights"


@pytest.fixture
def server():
    with contextlib.closing(FakeServer(GOOD)) as fake:
        yield fake


@pytest.fixture
def fetch(server, places):
    """Gets a model like coco; `fetch.pauses` are the pauses it made, `fetch.text` what it showed."""

    def run(model=None, **changes):
        settings = {"timeout_s": 10.0, "sleep": run.pauses.append} | changes
        model = published_model(GOOD, server.url) if model is None else model
        return get_weights(model, run.folder, DownloadSettings(**settings), run.text)

    run.pauses, run.text, run.folder = [], io.StringIO(), places
    return run


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_whole_download_makes_the_folder_and_leaves_nothing_else(fetch):
    path = fetch()
    assert path == fetch.folder / NAME
    assert path.read_bytes() == GOOD
    assert names(fetch.folder) == [NAME]
    lines = fetch.text.getvalue().splitlines()
    assert lines[0].startswith(f"{NAME}: 0 %")
    assert lines[-1].startswith(f"{NAME}: 100 %")


def test_on_a_terminal_there_is_a_bar(fetch, terminal):
    fetch.text = terminal
    fetch()
    assert "━" in fetch.text.getvalue()
    assert f"{len(GOOD) / 1000:.1f}/" in fetch.text.getvalue()


def test_a_valid_file_is_left_alone(fetch, server, caplog):
    path = fetch()
    before = path.stat().st_mtime_ns
    with caplog.at_level(logging.INFO, "pipeline.commands.weights"):
        assert fetch() == path
    assert path.stat().st_mtime_ns == before
    assert len(server.requests) == 1
    assert "already there" in caplog.text


def test_a_damaged_file_in_place_is_kept_under_another_name_and_fetched_again(fetch, caplog):
    fetch.folder.mkdir()
    (fetch.folder / NAME).write_bytes(GOOD[:-3])
    assert fetch().read_bytes() == GOOD
    assert f"expected {len(GOOD):,} bytes, it has {len(GOOD) - 3:,}" in caplog.text
    kept = fetch.folder / NAME.replace(".h5", "-2.h5")
    assert kept.read_bytes() == GOOD[:-3]
    assert f"kept as {kept}" in caplog.text


def test_a_file_in_the_place_of_the_folder(fetch):
    fetch.folder.write_text("not a folder")
    with pytest.raises(InputError, match="choose another with --dir"):
        fetch()


def test_a_folder_that_windows_refuses_to_write(fetch, monkeypatch):
    refuse = Refusals(3)
    fetch.folder.mkdir()
    with monkeypatch.context() as patched:
        patched.setattr(os, "name", "nt")
        patched.setattr(os, "open", refuse)
        with pytest.raises(RunError, match=f"cannot write .*{NAME}: Permission denied"):
            fetch()
    assert names(fetch.folder) == []


def test_a_folder_that_may_not_be_written_is_said_beforehand(fetch, server, monkeypatch):
    fetch.folder.mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: path != fetch.folder)
    with pytest.raises(InputError, match=r"cannot write the weights to .*: Permission denied; choose another"):
        fetch()
    assert server.requests == []


def test_too_little_room_is_said_beforehand(fetch, server, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 0, 10))
    with pytest.raises(InputError, match="has 10 bytes free"):
        fetch()
    assert server.requests == []
    assert names(fetch.folder) == []


def test_a_folder_without_room_keeps_the_part_that_is_there(fetch, server, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 0, len(GOOD) - 78))
    fetch.folder.mkdir()
    (fetch.folder / f"{NAME}.part").write_bytes(GOOD[:77])
    with pytest.raises(InputError, match=f"need {len(GOOD) - 77:,} more"):
        fetch()
    assert names(fetch.folder) == [f"{NAME}.part"]


def test_a_cut_line_is_told_and_a_later_call_goes_on(fetch, server):
    server.cuts = [2000, 0]
    kept = f"2,000 of {len(GOOD):,} bytes are kept"
    with pytest.raises(RunError, match=rf"cannot download {server.url}: .*{kept}.* save it as {fetch.folder}"):
        fetch(attempts=2)
    assert "retrying in 1 s\n" in fetch.text.getvalue()
    assert fetch().read_bytes() == GOOD
    assert server.requests == [None, "bytes=2000-", "bytes=2000-"]


def test_a_disk_that_fills_up_meanwhile_is_not_tried_again(fetch, monkeypatch):
    def full(path, **_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "touch", full)
    with pytest.raises(RunError, match=rf"cannot write .*{NAME}: No space left on device"):
        fetch()
    assert fetch.pauses == []
    assert names(fetch.folder) == []


@pytest.mark.parametrize("foreign", [False, True])
def test_of_two_processes_that_download_a_file_the_later_one_finds_it(fetch, server, monkeypatch, caplog, foreign):
    model, server.data = published_v1(server.url) if foreign else (published_model(GOOD, server.url), GOOD)
    fetch_weights = download.fetch_weights

    def fetch_twice(model, target, listener, settings):
        check_file = download.check_file

        def other_is_faster(checked, path):
            monkeypatch.setattr(download, "check_file", check_file)
            fetch_weights(model, target, listener, settings)
            check_file(checked, path)

        monkeypatch.setattr(download, "check_file", other_is_faster)
        fetch_weights(model, target, listener, settings)

    monkeypatch.setattr(weights, "fetch_weights", fetch_twice)
    with caplog.at_level(logging.INFO, "pipeline.commands.weights"):
        path = fetch(model)
    assert "downloaded by another process meanwhile" in caplog.text
    assert names(fetch.folder) == [path.name]
    assert read_checkpoint(path).num_classes == (91 if foreign else 81)


# Other programs' files


def test_a_file_of_another_program_is_converted_once(fetch, server):
    model, server.data = published_v1(server.url)
    path = fetch(model)
    assert path == fetch.folder / "coco-r50.h5"
    assert names(fetch.folder) == ["coco-r50.h5"]
    before = path.stat().st_mtime_ns
    assert fetch(model) == path
    assert path.stat().st_mtime_ns == before
    assert len(server.requests) == 1


def test_the_published_file_put_there_by_hand_is_converted(fetch, server):
    model, data = published_v1(server.url)
    fetch.folder.mkdir()
    (fetch.folder / "v1.pth").write_bytes(data)
    assert read_checkpoint(fetch(model)).num_classes == 91
    assert names(fetch.folder) == ["coco-r50.h5", "v1.pth"]
    assert server.requests == []


def test_another_file_of_that_name_is_left_alone(fetch, server, caplog):
    model, server.data = published_v1(server.url)
    fetch.folder.mkdir()
    (fetch.folder / "v1.pth").write_bytes(b"something else")
    assert read_checkpoint(fetch(model)).num_classes == 91
    assert (fetch.folder / "v1.pth").read_bytes() == b"something else"
    assert (
        f"v1.pth is not the published file (expected {len(server.data):,} bytes, it has 14): downloading" in caplog.text
    )


def test_the_conversion_needs_room_as_well(fetch, server, monkeypatch):
    model, server.data = published_v1(server.url)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 0, len(server.data) + 5))
    with pytest.raises(InputError, match=f"need {2 * len(server.data):,} more"):
        fetch(model)


# The command


@pytest.fixture
def run(server, monkeypatch, capsys):
    """Runs the command with two models that the server has; returns exit code, output and errors."""
    v1, server.data = published_v1("http://127.0.0.1:1/v1.pth", mask_ap=12.3, license="unclear")
    models = MappingProxyType({**published.MODELS, v1.name: v1})
    for module in (weights, weights_file):
        monkeypatch.setattr(module, "MODELS", models)
    monkeypatch.setenv("STREAM_SEGMENT_WEIGHTS_MIRROR", server.mirror)

    def call(*argv):
        code = stream_segment.main(["weights", *argv])
        return code, *capsys.readouterr()

    return call


def test_a_model_is_listed_downloaded_and_described(run, places):
    def line(text):
        return next(line.split() for line in text.splitlines() if line.startswith("coco-r50 "))

    code, out, _ = run("list")
    assert code == 0
    assert line(out) == ["coco-r50", "torchvision", "resnet50", "COCO's", "80", "12.3", "1", "no", "-", "unclear"]
    assert "not reproduced here" in out
    path = places / "coco-r50.h5"
    code, out, _ = run("get", "coco-r50")
    assert (code, out) == (0, f"coco-r50: {path} (license: unclear). Use it with --model coco-r50\n")
    assert line(run("list")[1])[-3:-1] == ["yes", "-"]
    code, out, _ = run("info", "coco-r50")
    facts = {
        name: " ".join(value.split()) for name, value in (x.split(":", 1) for x in out.splitlines() if x[0] != " ")
    }
    assert (code, facts["file"], facts["architecture"], facts["backbone"]) == (0, str(path), "torchvision", "resnet50")
    assert facts["size"] == f"{path.stat().st_size:,} bytes"
    assert facts["classes"].startswith("90 and the background: person, bicycle, car")
    assert (facts["settings"], facts["IMAGE_MIN_DIM"], facts["IMAGE_MAX_DIM"]) == ("from the file", "800", "1333")


def test_another_folder_is_named_by_its_file(run, tmp_path):
    code, out, _ = run("get", "coco-r50", "--dir", str(tmp_path / "other"))
    assert code == 0
    assert f"Use it with --weights {tmp_path / 'other' / 'coco-r50.h5'}\n" in out


def test_a_file_of_another_program_is_described_as_it_is(run):
    path = FILES["torchvision_v2"]
    code, out, _ = run("info", str(path))
    assert code == 0
    assert f"{path.stat().st_size:,} bytes" in out
    assert "3 and the background: without names" in out
    assert "those of the published weights" in out
    with_numbers = next(line for line in out.splitlines() if line.startswith("parameters"))
    assert int(with_numbers.split()[1].replace(",", "")) > 10_000


def test_the_shipped_model_needs_no_download(run, server):
    code, out, _ = run("get", "person")
    assert code == 0
    assert "stream_segment_person.h5 (license: MIT" in out
    assert out.endswith("Use it with --model person\n")
    assert server.requests == []


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], r"required: COMMAND \(see python stream_segment.py weights --help\)"),
        (["imagenet"], "weights --help"),
        (["get"], r"required: NAME \(see python stream_segment.py weights get --help\)"),
        (["get", "coco", "--fast"], "unrecognized arguments: --fast"),
        (["get", "coco-r5"], "there is no such model; did you mean coco-r50"),
        (["get", "zzz"], "expected one of person, coco, coco-r50"),
        (["info", "absent.h5"], "absent.h5: the file does not exist"),
        (["info", "coco-50"], "neither a model nor a file coco-50; did you mean coco-r50"),
        (["info", "coco"], "the model coco is not in .*weights: get it with `.* weights get coco`"),
        (["info", __file__], "test_weights.py is not an HDF5 file"),
    ],
)
def test_mistakes_are_one_line(run, argv, message):
    code, out, err = run(*argv)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert re.search(message, err), err


@pytest.mark.parametrize(
    "mirror",
    [
        "example.org/w",
        "file:///etc",
        "ftp://host/w",
        "http://joe:geheim@host/w",
        "http://host/?key=geheim",
        "http://[::1/w",
        "http://höst/w",
    ],
)
def test_a_mirror_that_is_no_folder_is_refused_and_not_repeated(run, monkeypatch, mirror):
    monkeypatch.setenv("STREAM_SEGMENT_WEIGHTS_MIRROR", mirror)
    code, _, err = run("get", "coco-r50")
    assert code == 2
    assert "STREAM_SEGMENT_WEIGHTS_MIRROR must be an address like https://host/folder" in err
    assert "geheim" not in err


def test_a_key_in_the_path_of_a_mirror_is_not_shown(run, server, monkeypatch):
    monkeypatch.setenv("STREAM_SEGMENT_WEIGHTS_MIRROR", f"{server.mirror}/geheim/key=geheim/")
    server.statuses = [404]
    code, out, err = run("get", "coco-r50")
    assert (code, out) == (1, "")
    assert f"cannot download {server.mirror}/***/***/v1.pth: the server answers 404" in err
    assert "geheim" not in err


def test_a_wrong_checksum_is_one_line_and_leaves_nothing(run, server, places):
    server.data = server.data[:-1] + b"x"
    code, out, err = run("get", "coco-r50")
    assert (code, out) == (1, "")
    assert "expected the SHA-256 " in err.splitlines()[-1]
    assert f"save it as {places / 'v1.pth'}" in err.splitlines()[-1]
    assert names(places) == []
