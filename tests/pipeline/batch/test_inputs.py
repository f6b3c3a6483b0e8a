"""Recordings of folders, lists and globs; nothing is left out in silence."""

import hashlib
import os
import sys
from pathlib import Path

import pytest

from pipeline.batch.inputs import Recording, find_recordings, ignored_text, partial_hash
from pipeline.errors import InputError


def tree(folder, *names, content=b"123"):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def names_of(found):
    return [recording.name for recording in found.recordings]


def test_a_folder_gives_its_recordings_with_sizes_and_times(tmp_path):
    tree(tmp_path / "in", "b/c/2.MOV", "a.mp4", "b/1.mkv", content=b"12345")
    os.utime(tmp_path / "in/a.mp4", ns=(5, 1_700_000_000_000_000_123))
    found = find_recordings([str(tmp_path / "in")], tmp_path / "out")
    assert names_of(found) == ["a.mp4", "b/1.mkv", "b/c/2.MOV"]
    assert found.recordings[0] == Recording("a.mp4", str(tmp_path / "in/a.mp4"), 5, 1_700_000_000_000_000_123)
    assert not found.ignored


def test_what_is_left_out_is_counted(tmp_path):
    tree(tmp_path, "a.mp4", "notes.TXT", "b/more.txt", ".cam.mp4", "README")
    found = find_recordings([str(tmp_path)], tmp_path / "out")
    assert names_of(found) == ["a.mp4"]
    assert found.ignored == {".txt": 2, "hidden": 1, "without suffix": 1}
    assert ignored_text(found.ignored) == (
        "4 files that are no recordings by their names: 2 .txt, 1 hidden, 1 without suffix"
    )


def test_the_folder_of_the_results_is_not_searched(tmp_path):
    tree(tmp_path, "a.mp4", "results/a.mp4")
    assert names_of(find_recordings([str(tmp_path)], tmp_path / "results")) == ["a.mp4"]


@pytest.mark.skipif(os.name != "posix", reason="needs links")
def test_links_are_followed_once_and_broken_ones_are_reported(tmp_path):
    tree(tmp_path, "in/day/a.mp4", "elsewhere/b.mp4")
    (tmp_path / "in/loop").symlink_to(tmp_path / "in")
    (tmp_path / "in/other").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    found = find_recordings([str(tmp_path / "in")], tmp_path / "out")
    assert names_of(found) == ["day/a.mp4", "gone.mp4", "other/b.mp4"]
    assert (found.recordings[1].size, found.recordings[1].mtime_ns) == (0, 0)


@pytest.mark.skipif(os.name != "posix", reason="needs links")
def test_a_link_that_cannot_be_followed_is_taken_for_a_file(tmp_path):
    tree(tmp_path, "in/a.mp4")
    for name in ("loop.mp4", "loop"):
        (tmp_path / "in" / name).symlink_to(tmp_path / "in" / name)
    found = find_recordings([str(tmp_path / "in")], tmp_path / "out")
    assert [(one.name, one.size) for one in found.recordings] == [("a.mp4", 3), ("loop.mp4", 0)]
    assert found.ignored == {"without suffix": 1}


def test_a_file_on_another_drive_is_named_by_its_whole_path(tmp_path, monkeypatch):
    def relpath(path):
        raise ValueError("path is on mount 'D:', start on mount 'C:'")

    tree(tmp_path, "a.mp4")
    monkeypatch.setattr(os.path, "relpath", relpath)
    found = find_recordings([str(tmp_path / "a.mp4")], tmp_path / "out")
    assert names_of(found) == [(tmp_path / "a.mp4").as_posix().lstrip("/")]


def test_lists_and_globs(tmp_path, monkeypatch):
    tree(tmp_path, "day1/a.mp4", "day1/b.bin", "day2/a.mp4", "day2/c.mp4")
    (tmp_path / "list.txt").write_bytes(b"day1/b.bin\r\n\nday2/missing.mp4\n")
    monkeypatch.chdir(tmp_path)
    found = find_recordings(["@list.txt", "day?/a.mp4", str(tmp_path / "day2" / "c.mp4")], tmp_path / "out")
    assert names_of(found) == ["day1/a.mp4", "day1/b.bin", "day2/a.mp4", "day2/c.mp4", "day2/missing.mp4"]
    assert found.recordings[-1].size == 0


def test_files_elsewhere_are_named_by_their_whole_path(tmp_path, monkeypatch):
    tree(tmp_path, "far/a.mp4", "here/x")
    monkeypatch.chdir(tmp_path / "here")
    found = find_recordings(["../far/a.mp4"], tmp_path / "out")
    assert names_of(found) == [(tmp_path / "far/a.mp4").as_posix().lstrip("/")]


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_names_that_differ_in_case_only_are_refused_where_they_are_one(tmp_path, monkeypatch, platform):
    """Whichever is done last would replace the results of the other."""
    folders = [str(tree(tmp_path / "hall", "Clip.mp4")), str(tree(tmp_path / "gate", "clip.mp4"))]
    monkeypatch.setattr(sys, "platform", "linux")
    assert names_of(find_recordings(folders, tmp_path / "out")) == ["Clip.mp4", "clip.mp4"]
    monkeypatch.setattr(sys, "platform", platform)
    with pytest.raises(InputError, match=r"Clip\.mp4 and clip\.mp4 would both give clip\.mp4: rename one"):
        find_recordings(folders, tmp_path / "out")


def test_a_list_that_powershell_has_written(tmp_path, monkeypatch):
    """With a byte order mark; by default in UTF-16, or in a code page, where Windows cannot decode it."""
    monkeypatch.chdir(tree(tmp_path, "a.mp4"))
    path = tmp_path / "list.txt"
    path.write_text("a.mp4\n", encoding="utf-8-sig", newline="\r\n")
    assert names_of(find_recordings(["@list.txt"], tmp_path / "out")) == ["a.mp4"]
    monkeypatch.setattr(os, "fsdecode", lambda name: name.decode("utf-8", "surrogatepass"))
    for encoding in ("utf-16", "cp1252"):
        path.write_text("Zoë.mp4\n", encoding=encoding)
        with pytest.raises(InputError, match=r"the list list\.txt is not UTF-8: .* -Encoding utf8"):
            find_recordings(["@list.txt"], tmp_path / "out")


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such names")
def test_names_that_are_no_text(tmp_path):
    (tmp_path / "in").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/in/caf\xe9.mp4")).write_bytes(b"1")
    found = find_recordings([str(tmp_path / "in")], tmp_path / "out")
    assert names_of(found) == ["caf\udce9.mp4"]


def test_two_recordings_of_one_name_are_an_error(tmp_path):
    tree(tmp_path, "one/a.mp4", "two/a.mp4")
    with pytest.raises(InputError, match=r"both give results named a\.mp4"):
        find_recordings([str(tmp_path / "one"), str(tmp_path / "two")], tmp_path / "out")
    found = find_recordings([str(tmp_path / "one"), str(tmp_path / "one")], tmp_path / "out")
    assert names_of(found) == ["a.mp4"]


def test_two_recordings_that_give_one_video_are_an_error(tmp_path):
    tree(tmp_path, "a.avi", "a.avi.mp4")
    with pytest.raises(InputError, match=r"a\.avi and a\.avi\.mp4 would both give a\.avi\.mp4"):
        find_recordings([str(tmp_path)], tmp_path / "out")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ("one/day.mp4", "two/day.mp4/b/c.mp4"),
            r"day\.mp4 would give the file day\.mp4, a folder for day\.mp4/b/c\.mp4",
        ),
        (("one/a.avi", "one/a.avi.mp4/b.mp4"), r"a\.avi would give the file a\.avi\.mp4, a folder for a\.avi\.mp4/b"),
        (
            ("one/a.mp4", "one/a.mp4.jsonl/b.mp4"),
            r"a\.mp4 would give the file a\.mp4\.jsonl, a folder for .*: rename one",
        ),
    ],
)
def test_a_recording_whose_results_are_a_folder_of_another_one_is_an_error(tmp_path, names, message):
    tree(tmp_path, *names, "one/other/x.mp4")
    folders = sorted({str(tmp_path / name.partition("/")[0]) for name in names})
    with pytest.raises(InputError, match=message):
        find_recordings(folders, tmp_path / "out")


def test_results_beside_the_recordings_are_an_error(tmp_path):
    tree(tmp_path, "a.mp4")
    with pytest.raises(InputError, match="has the recordings and gets the results: give another --output"):
        find_recordings([f"{tmp_path}{os.sep}."], tmp_path)


def test_nothing_found(tmp_path):
    tree(tmp_path / "in", "a.txt")
    with pytest.raises(InputError, match=r"no recordings found in .*in; left out: 1 files .* 1 \.txt"):
        find_recordings([str(tmp_path / "in")], tmp_path / "out")
    with pytest.raises(InputError, match=r"there is no file or folder .*nowhere"):
        find_recordings([str(tmp_path / "nowhere")], tmp_path / "out")
    with pytest.raises(InputError, match=r"no file matches .*\*\.mp4"):
        find_recordings([str(tmp_path / "in" / "*.mp4")], tmp_path / "out")
    with pytest.raises(InputError, match=r"the list .*none\.txt cannot be read"):
        find_recordings([f"@{tmp_path / 'none.txt'}"], tmp_path / "out")


def test_partial_hash_covers_size_beginning_and_end(tmp_path):
    path = tmp_path / "file"
    head, middle, tail = b"h" * 65536, b"m" * 100_000, b"t" * 65536
    path.write_bytes(head + middle + tail)
    assert partial_hash(path) == hashlib.sha256(b"231072 " + head + tail).hexdigest()
    path.write_bytes(b"short")
    assert partial_hash(path) == hashlib.sha256(b"5 short").hexdigest()
    path.write_bytes(head + b"tail")
    assert partial_hash(path) == hashlib.sha256(b"65540 " + head + b"tail").hexdigest()


def test_names_of_outputs():
    names = {name: Recording(name, "", 0, 0).video_name for name in ("d/a.mp4", "a.AVI", "b.MKV", "c")}
    assert names == {"d/a.mp4": "d/a.mp4", "a.AVI": "a.AVI.mp4", "b.MKV": "b.MKV", "c": "c.mp4"}
    assert Recording("d/a.mp4", "", 0, 0).detections_name == "d/a.mp4.jsonl"
