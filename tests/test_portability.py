"""Other systems, as far as this one stands in for them: missing modules, odd names, no home, locale or rights."""

import json
import os
import shutil
import stat
import sys
import tempfile
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import yaml

import stream_segment
from pipeline.commands import COMMANDS
from tests.portable_program import (
    FRAMES,
    NO_CHOICE,
    SYSTEMS,
    as_user,
    check_clean,
    check_lines,
    check_results,
    check_video,
    copy_program,
    owner,
    segment,
    start,
    without_choice,
)

FOLDER = "Zoë's Vídeos 视频 ü"
UNKNOWN_USER = 54321
"""Has no entry among the users, and so no home."""
NOBODY = 65534

needs_posix = pytest.mark.skipif(os.name != "posix", reason="locales, users and modes of files are those of POSIX")


@pytest.fixture(scope="module")
def place():
    """A folder that every user may enter; pytest's own are this user's alone."""
    folder = Path(tempfile.mkdtemp(prefix="portability-"))
    folder.chmod(0o755)
    yield folder
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def read_only(place):
    """A copy of the program in which nobody may write, without exported networks."""
    if os.name != "posix":
        pytest.skip("users and modes of files are those of POSIX")
    if os.getuid() == 0:
        probe = start(as_user(NOBODY, [sys.executable, "-c", "import os; print(os.getuid())"]))
        if probe.stdout.split() != [str(NOBODY).encode()]:
            pytest.skip(f"root cannot become another user here: {probe.stderr.decode().strip()}")
    folder = place / "read only"
    folder.mkdir()
    copy_program(folder, "__pycache__")
    for path in (folder, *folder.rglob("*")):
        path.chmod(path.stat().st_mode & ~0o222)
    return folder


@pytest.fixture(scope="module")
def first_run(place, read_only):
    """A run of a user with a home in the read-only program: (the process's end, the user's folder)."""
    folder = owner(place / "somebody", NOBODY)
    program = read_only / "stream_segment.py"
    flags = ("--output", folder / "out.mp4", "--detections", folder / "out.jsonl", "--no-window")
    command = [sys.executable, program, "--source", read_only / "samples" / "people.mp4", *flags]
    return start(as_user(NOBODY, [*command, "--max-frames", FRAMES]), HOME=str(folder)), folder


@pytest.fixture(scope="module")
def clone(place, first_run):
    """The program and a video under names with spaces and letters from everywhere; its networks are exported."""
    folder = place / FOLDER
    folder.mkdir()
    copy_program(folder)
    shutil.copytree(first_run[1] / ".cache" / "stream_segment" / "engines", folder / "weights" / "cache")
    shutil.copy(folder / "samples" / "people.mp4", folder / "Straße im März.mp4")
    return folder


@pytest.fixture(scope="module")
def video(clone):
    return clone / "Straße im März.mp4"


# Modules and names of one system alone

RUN = (
    SYSTEMS
    + """
import openvino, aiohttp.web, concurrent.futures, multiprocessing, subprocess
import stream_segment
hide()
import stream_segment

sys.exit(stream_segment.main(sys.argv[1:]))
"""
)


@needs_posix
def test_a_run_and_its_page_without_what_other_systems_lack(clone, video, tmp_path):
    out, lines = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    flags = ("--source", video, "--max-frames", FRAMES, "--no-window", "--output", out, "--detections", lines)
    done = start(
        [sys.executable, "-c", RUN, *flags, *without_choice(), "--serve", "127.0.0.1:0"],
        cwd=clone,
        NOTIFY_SOCKET=str(tmp_path / "nobody"),
        HOME=str(tmp_path),
    )
    assert "http://127.0.0.1:" in check_clean(done)
    check_results(out, lines)


# Paths


def test_everything_under_names_with_spaces_and_other_letters(clone, video, tmp_path):
    folder = tmp_path / "Çikti  klasörü é"
    folder.mkdir()
    settings, labels = folder / "eigene Ösen.yaml", folder / "Namen ß.txt"
    labels.write_text("BG\nFußgänger\n", encoding="utf-8")
    settings.write_text(f"model:\n  labels: {json.dumps(str(labels))}\n", encoding="utf-8")
    out, lines = folder / "résultat 1.mp4", folder / "трек.jsonl"
    done = segment(clone, video, "--config", settings, "--output", out, "--detections", lines, PATH="", PYTHONUTF8="1")
    assert "preparing" not in check_clean(done), "the exported network was not found"
    check_results(out, lines, "Fußgänger")
    assert json.loads(lines.read_bytes().splitlines()[0])["source"] == video.name
    assert str(out) in done.stdout.decode("utf-8")


def test_recordings_of_the_page(clone, video, tmp_path):
    folder = tmp_path / "Aufnahmen für später"
    folder.mkdir()
    script = f"""
import stream_segment, sys

settings = stream_segment.Settings.model_validate(
    {{
        "source": {{"uri": sys.argv[1], "max_frames": {FRAMES}}},
        "model": {NO_CHOICE},
        "serve": {{"address": "127.0.0.1:0"}},
        "output": {{"record_dir": sys.argv[2]}},
        "window": {{"mode": "off"}},
    }}
)
with stream_segment.Stream(settings) as stream:
    stream.controls.set_recording(True)
    for _ in stream:
        pass
"""
    check_clean(start([sys.executable, "-c", script, video, folder], cwd=clone))
    [recording] = folder.iterdir()
    check_video(recording)


def test_stills_and_the_picture_of_a_background(clone, video, tmp_path):
    folder = tmp_path / "été ☀"
    folder.mkdir()
    with av.open(str(video)) as container:
        still_bgr = next(container.decode(video=0)).to_ndarray(format="bgr24")
    picture_bgr = np.full((90, 160, 3), (200, 20, 20), np.uint8)
    for name, image_bgr in (("Füße.png", still_bgr), ("Küste.png", picture_bgr)):
        (folder / name).write_bytes(cv2.imencode(".png", image_bgr)[1].tobytes())
    setting = f"background.picture={json.dumps(str(folder / 'Küste.png'))}"
    files = ("--source", folder / "Füße.png", "--output", folder / "Größe.png")
    drawing = ("--no-masks", "--no-boxes", "--no-labels", "--no-status", "--set", setting, *without_choice())
    done = start(
        [sys.executable, clone / "stream_segment.py", *files, "--background", "picture", *drawing, "--no-window"],
        PYTHONUTF8="1",
    )
    check_clean(done)
    drawn_bgr = cv2.imdecode(np.fromfile(folder / "Größe.png", np.uint8), cv2.IMREAD_COLOR)
    is_background = (drawn_bgr == (200, 20, 20)).all(axis=2)
    assert 0.2 < is_background.mean() < 0.99
    assert (drawn_bgr == still_bgr).all(axis=2).mean() > 0.005, "no person is in front of the picture"


# No variables, no home


def test_a_run_without_variables(clone, video, tmp_path):
    out, lines = tmp_path / "out.mp4", tmp_path / "out.jsonl"
    check_clean(segment(clone, video, "--output", out, "--detections", lines))
    check_results(out, lines)


@pytest.mark.parametrize(
    ("arguments", "setting"),
    [
        (["--config", "~nobody-here/a.yaml"], "--config"),
        (["--source", "~nobody-here/a.mp4"], "--source"),
        (["--source", "test:64x48@5", "--weights", "~nobody-here/a.h5"], "--weights"),
        (["--source", "test:64x48@5", "--labels", "~nobody-here/a.txt"], "--labels"),
        (["weights", "get", "coco", "--dir", "~nobody-here/w"], "--dir"),
        (["train", "--images", "i", "--annotations", "a", "--output", "~nobody-here/c"], "--output"),
        (["train", "--images", "~nobody-here/i", "--annotations", "a", "--output", "c"], "--images"),
    ],
)
def test_the_home_of_nobody(arguments, setting, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    more = [] if arguments[0] in COMMANDS else ["--no-window"]
    assert stream_segment.main([*arguments, *more]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"error: {setting} ~nobody-here/" in told
    assert "this user has no home folder; write out the path" in told
    assert not list(tmp_path.iterdir())


# No locale

NO_UTF8 = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
LOCALES = [{}, {"LC_ALL": "C"}, {"LC_ALL": "POSIX"}]
each_locale = pytest.mark.parametrize("locale", LOCALES, ids=["none", "C", "POSIX"])


@needs_posix
@pytest.mark.parametrize(
    ("locale", "more"),
    [
        ({}, {"HOME": "{place}"}),
        ({"LC_ALL": "C"}, {"HOME": "{place}/a file/home"}),
        ({"LC_ALL": "POSIX"}, {"HOME": "{place}", "PATH": "/no/programs"}),  # without PATH the system looks into /bin
    ],
    ids=["none", "C, no home", "POSIX, no programs"],
)
def test_a_run_without_a_locale_a_home_or_programs(clone, video, place, locale, more):
    (place / "a file").touch()
    out = place / "Ausgänge 出.mp4"
    variables = {name: value.format(place=place) for name, value in more.items()}
    done = segment(clone, video, "--output", out, "--detections", "-", **variables, **NO_UTF8, **locale)
    told = check_clean(done)
    assert {record["source"] for record in check_lines(done.stdout)} == {video.name}
    assert f"{video.name}: finished" in told
    assert str(out) in told
    check_video(out)
    out.unlink()


@needs_posix
@each_locale
def test_texts_without_a_locale(clone, locale):
    def told(*arguments):
        return start([sys.executable, clone / "stream_segment.py", *arguments], HOME="/", **NO_UTF8, **locale)

    shown = told("--help")
    check_clean(shown)
    assert b"512, 1024 ..." in shown.stdout
    missing = check_clean(told("--source", clone / "nicht da ö.mp4"), code=2)
    assert missing == f"stream_segment: error: {clone / 'nicht da ö.mp4'} does not exist\n"


HELP_OF = """
import contextlib, sys, stream_segment

for command in sys.argv[1:]:
    with contextlib.suppress(SystemExit):
        stream_segment.main([command, "--help"])
    print("that was", command)
"""


@needs_posix
def test_the_help_of_commands_without_a_locale(clone):
    done = start([sys.executable, "-c", HELP_OF, *COMMANDS], cwd=clone, **NO_UTF8, LC_ALL="C")
    check_clean(done)
    rest = done.stdout
    for command in COMMANDS:
        shown, _, rest = rest.partition(f"that was {command}\n".encode())
        assert shown.startswith(f"usage: python stream_segment.py {command}".encode())
    assert rest == b""


@needs_posix
def test_settings_printed_without_a_locale_are_read_back(clone, tmp_path):
    settings = tmp_path / "a.yaml"
    settings.write_text("source:\n  uri: Füße 视频.mp4\n", encoding="utf-8")
    done = start(
        [sys.executable, clone / "stream_segment.py", "--config", settings, "--print-config"], **NO_UTF8, LC_ALL="C"
    )
    check_clean(done)
    assert yaml.safe_load(done.stdout.decode("ascii"))["source"]["uri"] == "Füße 视频.mp4"


@needs_posix
@pytest.mark.parametrize("key", ["source.uri", "output.path", "model.weights"])
def test_a_name_that_the_locale_cannot_hold(clone, tmp_path, key):
    settings = tmp_path / "a.yaml"
    section, name = key.split(".")
    settings.write_text(f"{section}:\n  {name}: Füße.mp4\n", encoding="utf-8")
    flags = ("--no-window", "--config", settings) + (() if section == "source" else ("--source", "test:64x48@5"))
    done = start([sys.executable, clone / "stream_segment.py", *flags], cwd=tmp_path, **NO_UTF8, LC_ALL="C")
    told = check_clean(done, code=2)
    assert "file names are ascii in this locale, which cannot represent '\\xfc\\xdf'; set PYTHONUTF8=1" in told
    assert told.count("\n") == 1


@needs_posix
def test_a_name_that_is_no_text(clone, video, place):
    name = os.fsencode(place) + b"/\xff\xe9.mp4"
    os.link(video, name)
    done = segment(clone, os.fsdecode(name), "--detections", "-", PYTHONUTF8="1")
    os.unlink(name)
    assert "\udcff\udce9.mp4: finished" in check_clean(done)
    assert check_lines(done.stdout)[0]["source"] == "\udcff\udce9.mp4"


# A program in which nobody may write


def test_a_read_only_program(read_only, first_run):
    done, folder = first_run
    told = check_clean(done)
    kept = folder / ".cache" / "stream_segment" / "engines"
    assert f"the result is kept in {kept}" in told
    assert {path.name for path in kept.glob("*/*")} >= {"manifest.json", "features.onnx"}
    check_results(folder / "out.mp4", folder / "out.jsonl")
    assert not list(read_only.rglob("__pycache__"))
    assert not (read_only / "weights" / "cache").exists()
    assert not any(path.stat().st_mode & stat.S_IWUSR for path in read_only.rglob("*"))


@pytest.mark.slow
def test_nowhere_to_keep_anything(read_only, place):
    """Of a user without a home: the network is exported for this run alone, and nothing of it stays."""
    folder = owner(place / "unknown", UNKNOWN_USER)
    scratch = owner(place / "scratch", UNKNOWN_USER)
    flags = ("--output", folder / "out.mp4", "--detections", folder / "out.jsonl", "--no-window")
    command = [
        sys.executable,
        read_only / "stream_segment.py",
        "--source",
        read_only / "samples" / "people.mp4",
        *flags,
    ]
    home = {} if os.getuid() == 0 else {"HOME": str(read_only)}
    done = start(as_user(UNKNOWN_USER, [*command, "--max-frames", FRAMES]), **{"TMPDIR": str(scratch), **home})
    told = check_clean(done)
    cache = Path(home.get("HOME", "/"), ".cache", "stream_segment", "engines")
    assert f"for this run only: cannot write to {read_only / 'weights' / 'cache'} or {cache}, where" in told
    assert b"OpenVINO" in done.stdout
    check_results(folder / "out.mp4", folder / "out.jsonl")
    assert not [path for path in scratch.iterdir() if path.name.startswith("stream_segment")]


def test_a_home_that_is_another_users(read_only, place):
    """As with `sudo -u`, which keeps HOME: what lies in it cannot even be looked at."""
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    home = place / "root's"
    home.mkdir(mode=0o700)
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom mrcnn.config import Config\nfrom mrcnn.engines import cache\n"
        f"os.setgid({NOBODY})\nos.setuid({NOBODY})\n"
        "print(cache.cache_folder(Path(sys.argv[1]), Config()).parent.name)"
    )
    weights = read_only / "weights" / "stream_segment_person.h5"
    done = start([sys.executable, "-c", script, weights], cwd=read_only, HOME=str(home))
    check_clean(done)
    assert done.stdout.startswith(b"stream_segment-engines-")
