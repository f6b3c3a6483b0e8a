"""Which folder a training run writes to: a new one, unless it resumes the run that lies there."""

import json

import pytest

from pipeline.commands import train, train_run
from pipeline.errors import InputError


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the command without training; returns the name of the folder that it writes to."""
    folders = []

    class NoTraining:
        def __init__(self, settings, output, *_):
            folders.append(output)

        def run(self):
            if folders[-1].is_dir():
                (folders[-1] / "best.h5").write_text("trained")
            return 0

    monkeypatch.setattr(train_run, "TrainRun", NoTraining)
    (tmp_path / "images").mkdir()
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "some.h5").write_text("weights")
    data = ["--images", str(tmp_path / "images"), "--annotations", str(tmp_path / "a.json")]

    def start(output, *more):
        assert train.run([*data, "--weights", str(tmp_path / "some.h5"), "--output", str(output), *more]) == 0
        return folders[-1].name

    return start


def begin(folder, tmp_path):
    folder.mkdir()
    files = {"images": "images", "annotations": "a.json", "weights": "some.h5"}
    stored = {name: str(tmp_path / path) for name, path in files.items()}
    (folder / "run.json").write_text(json.dumps({"settings": stored}))


def test_files_of_somebody_else_stay(run, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "best.h5").write_text("precious")
    assert run(tmp_path / "run") == "run-2"
    assert run(tmp_path / "run") == "run-3"
    assert (tmp_path / "run" / "best.h5").read_text() == "precious"
    assert [path.name for path in (tmp_path / "run-2").iterdir()] == ["best.h5"]


def test_a_new_or_empty_folder_is_used(run, tmp_path):
    (tmp_path / "empty").mkdir()
    assert run(tmp_path / "empty") == "empty"
    assert run(tmp_path / "new") == "new"


def test_resume_writes_to_the_run_itself(run, tmp_path):
    begin(tmp_path / "run", tmp_path)
    assert run(tmp_path / "run", "--resume") == "run"
    assert run(tmp_path / "run") == "run-2"  # it has no checkpoint: its files would be replaced


@pytest.mark.parametrize("output", ["images", "."])
def test_a_folder_that_holds_what_is_read_is_refused(run, tmp_path, output):
    (tmp_path / "images" / "1.png").write_text("picture")
    with pytest.raises(InputError, match="which this run reads: give another folder"):
        run(tmp_path / output)
    assert not list(tmp_path.rglob("best.h5"))
