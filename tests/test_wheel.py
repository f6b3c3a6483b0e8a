"""The program as pip installs it: built, installed without a network, started from another folder."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DEADLINE_S = 240.0
TOP_LEVEL = ("pipeline", "mrcnn", "stream_segment.py", "stream_segment-")
WEIGHTS = {"weights/stream_segment_person.h5", "weights/stream_segment_person.int8.npz"}
DATA = {"config.yaml", "samples/people.mp4", "samples/CREDITS.txt"} | WEIGHTS

pytestmark = pytest.mark.slow


def run(*command, cwd, **variables):
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "STREAM_SEGMENT_"))
    }
    done = subprocess.run(
        list(map(str, command)),
        capture_output=True,
        encoding="utf-8",
        cwd=cwd,
        env=environment | variables,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


BUILT_S = 1767225600
"""SOURCE_DATE_EPOCH of the builds: the first second of 2026."""


def copy_of_clone(clone):
    """What a clone holds that its distributions are built from, and more."""
    ignored = shutil.ignore_patterns("__pycache__", "cache", "*.part")
    for name in ("pipeline", "mrcnn", "weights", "samples", "tests", "LICENSES"):
        shutil.copytree(ROOT / name, clone / name, ignore=ignored)
    for path in ROOT.iterdir():
        if path.is_file() and not path.name.startswith("."):
            shutil.copy(path, clone)
    return clone


def build_sdist(clone):
    """The source distribution, beside the clone."""
    build = "import setuptools.build_meta as backend; backend.build_sdist('..')"
    run(sys.executable, "-c", build, cwd=clone, SOURCE_DATE_EPOCH=str(BUILT_S))
    [archive] = clone.parent.glob("*.tar.gz")
    return archive


def build_wheel(source, folder):
    """The wheel that pip builds from an archive or folder."""
    flags = ("--no-deps", "--no-index", "--no-build-isolation")
    run(
        *(sys.executable, "-m", "pip", "wheel", *flags, "-w", folder, source),
        cwd=folder,
        SOURCE_DATE_EPOCH=str(BUILT_S),
    )
    [path] = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """The source distribution of a copy of the clone, unpacked."""
    folder = tmp_path_factory.mktemp("sdist")
    archive = build_sdist(copy_of_clone(folder / "clone"))
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def wheel(sdist):
    """The wheel that pip builds from the source distribution."""
    return build_wheel(sdist, sdist.parent)


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The folder of programs of a fresh environment, which sees this one's packages and has the wheel."""
    venv = tmp_path_factory.mktemp("installed") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", venv, cwd=venv.parent)
    programs = venv / ("Scripts" if os.name == "nt" else "bin")
    packages = run(programs / "python", "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=venv)
    theirs = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    Path(packages.stdout.strip(), "dependencies.pth").write_text("\n".join(theirs) + "\n", encoding="utf-8")
    pip = (sys.executable, "-m", "pip", "--python", programs / "python")
    run(*pip, "install", "--no-deps", "--no-index", wheel, cwd=venv)
    return programs


def names_in(wheel):
    with zipfile.ZipFile(wheel) as file:
        return set(file.namelist())


def test_the_source_distribution_has_what_builds_the_wheel_and_no_tests(sdist):
    assert {path.name for path in sdist.iterdir() if path.is_dir()} == {
        "pipeline",
        "mrcnn",
        "samples",
        "weights",
        "LICENSES",
        "stream_segment.egg-info",
    }
    assert {path.name for path in (sdist / "weights").iterdir()} == {Path(name).name for name in WEIGHTS}


def test_another_build_gives_the_same_bytes(sdist, wheel, tmp_path):
    """From a clone in another folder, of another time, of somebody whose files only they can read."""
    clone = copy_of_clone(tmp_path / "elsewhere" / "copy")
    for path in clone.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
        os.utime(path, (1_000_000_000, 1_000_000_000))
    again = build_sdist(clone)
    [first] = sdist.parent.glob("*.tar.gz")
    assert again.read_bytes() == first.read_bytes()
    assert build_wheel(again, again.parent).read_bytes() == wheel.read_bytes()


def test_the_wheel_has_the_license_of_each_part(wheel):
    with zipfile.ZipFile(wheel) as file:
        [metadata] = [name for name in file.namelist() if name.endswith(".dist-info/METADATA")]
        text = file.read(metadata).decode()
    folder = metadata.replace("METADATA", "licenses/")
    files = re.findall(r"^License-File: (.+)$", text, re.MULTILINE)
    assert {folder + name for name in files} == {name for name in names_in(wheel) if name.startswith(folder)}
    assert set(files) == {
        "LICENSE",
        "NOTICE",
        "LICENSES/Apache-2.0.txt",
        "pipeline/drawing/fonts/LICENSE.txt",
        "samples/CREDITS.txt",
    }
    for identifier in re.search(r"^License-Expression: (.+)$", text, re.MULTILINE).group(1).split(" AND "):
        assert identifier in (ROOT / "NOTICE").read_text(encoding="utf-8"), identifier


def test_the_wheel_holds_two_packages_a_module_and_every_file_of_theirs(wheel):
    names = names_in(wheel)
    assert [name for name in names if not name.startswith(TOP_LEVEL)] == []
    assert {name.removeprefix("pipeline/data/") for name in names if name.startswith("pipeline/data/")} == DATA
    theirs = {
        path.relative_to(ROOT).as_posix()
        for top in ("pipeline", "mrcnn")
        for path in (ROOT / top).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert theirs <= names


def test_the_installed_program_segments_from_another_folder(installed, tmp_path):
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    shutil.copy(ROOT / "samples" / "people.mp4", elsewhere / "clip.mp4")
    variables = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "LOCALAPPDATA": str(home / "cache")}
    packages = {path for path in installed.parent.rglob("*") if "__pycache__" not in path.parts}
    flags = ("--source", "clip.mp4", "--detections", "found.jsonl", "--max-frames", "3", "--no-window")
    run(installed / "stream-segment", *flags, cwd=elsewhere, **variables)
    records = [json.loads(line) for line in (elsewhere / "found.jsonl").read_text().splitlines()]
    assert [record["frame"] for record in records] == [0, 1, 2]
    assert all({found["label"] for found in record["objects"]} == {"person"} for record in records)
    assert {path for path in installed.parent.rglob("*") if "__pycache__" not in path.parts} == packages
    assert sorted(path.name for path in elsewhere.iterdir()) == ["clip.mp4", "found.jsonl"]
    assert list((home / "cache" / "stream_segment" / "engines").iterdir())


def test_the_installed_program_calls_itself_by_its_name_and_has_its_settings(installed, tmp_path):
    told = run(installed / "stream-segment", "optimize", "--help", cwd=tmp_path).stdout
    assert told.startswith("usage: stream-segment optimize [")
    assert "stream_segment.py" not in told + run(installed / "stream-segment", "--help", cwd=tmp_path).stdout
    shown = run(installed / "stream-segment", "--kiosk", "--print-config", cwd=tmp_path).stdout
    assert "fullscreen: true" in shown


def test_the_installed_program_finds_its_files(installed, tmp_path):
    script = (
        "from pipeline.installation import shipped_file; from pipeline.commands.optimize import SAMPLE; "
        "from pipeline.segmentation.weights_file import find_weights; from pipeline.web import routes; "
        "from pathlib import Path; "
        "print(find_weights(None).path, SAMPLE, shipped_file('config.yaml'), Path(routes.__file__).parent / 'page')"
    )
    done = run(installed / "python", "-c", script, cwd=tmp_path)
    for path in map(Path, done.stdout.split()):
        assert path.exists()
        assert installed.parent in path.parents
