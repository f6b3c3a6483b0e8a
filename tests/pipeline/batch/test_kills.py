"""kill -9 of workers, of the driver, of everything: the next start ends as an undisturbed batch does."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.batch import leases
from pipeline.batch.results_folder import ResultsFolder
from pipeline.batch.shared_files import read_record
from pipeline.batch.stretches import Splitting
from tests.pipeline.batch.driver_process import run
from tests.pipeline.batch.fakes import Here, outputs_in, summary_in, write_recordings
from tests.syntax_trees import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the processes in /proc"),
]
DEADLINE_S = 60.0


@dataclass(frozen=True)
class Case:
    """Recordings, what an undisturbed batch makes of them in one piece, and how recordings are split."""

    recordings: Path
    names: tuple[str, ...]
    undisturbed: tuple[dict, dict]
    split: Splitting | None


@pytest.fixture(scope="module", params=["whole", "split"])
def case(request, tmp_path_factory):
    """Eight short clips; or two that are split in three."""
    is_split = request.param == "split"
    names = ("a.mp4", "d/b.mp4") if is_split else tuple(f"{folder}/{name}.mp4" for folder in "de" for name in "abcd")
    recordings = write_recordings(tmp_path_factory.mktemp("in"), *names, frames=40 if is_split else 6)
    results = tmp_path_factory.mktemp("whole")
    run(recordings, results, Here())
    return Case(recordings, names, (outputs_in(results), summary_in(results)), Splitting(0.5) if is_split else None)


@contextlib.contextmanager
def batch_process(case, results, workers=2, frame_s=0.02):
    """A driver in a session of its own, so that it and its workers can be ended together."""
    command = [sys.executable, "-m", "tests.pipeline.batch.driver_process", case.recordings, results]
    command += [workers, frame_s, *([case.split.stretch_s] if case.split is not None else [])]
    process = subprocess.Popen(
        list(map(str, command)),
        cwd=ROOT,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGCONT)
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(DEADLINE_S)
        process.stdout.close()


def lines_until(process, word):
    """The lines that a driver prints, up to one that begins with a word."""
    lines = []
    for line in process.stdout:
        lines.append(line.split())
        if lines[-1][0] == word:
            return lines
    raise AssertionError(f"{word!r} was not printed: {lines}")


def workers_of(process):
    """The processes that segment: the children of the driver that hold a pipe to it."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
    commands = {int(child): Path(f"/proc/{child}/cmdline").read_bytes() for child in children}
    return [child for child, command in commands.items() if b"spawn_main" in command]


def assert_undisturbed(results, case):
    assert (outputs_in(results), summary_in(results)) == case.undisturbed
    folder = ResultsFolder(results)
    folders = (folder.work, folder.claims, folder.stretches)
    assert [path for part in folders for path in part.rglob("*") if path.is_file()] == []


def test_a_killed_worker_costs_its_recording_and_nothing_else(case, tmp_path):
    with batch_process(case, tmp_path / "out") as process:
        lines_until(process, "started")
        os.kill(workers_of(process)[0], signal.SIGKILL)
        output, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, output
    assert output.count("worker_ended") == 1
    assert_undisturbed(tmp_path / "out", case)
    assert list(ResultsFolder(tmp_path / "out").logs.iterdir()) == []


def test_workers_end_with_a_killed_driver(case, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/hold").touch()
    with batch_process(case, tmp_path / "out") as process:
        lines_until(process, "started")
        workers = workers_of(process)
        process.kill()
        process.wait(DEADLINE_S)
        until = time.monotonic() + DEADLINE_S
        while any(Path(f"/proc/{worker}").exists() for worker in workers):
            assert time.monotonic() < until, "workers outlive their driver"


@pytest.mark.parametrize("whom", ["driver", "everything"])
def test_killed_ten_times_in_a_row(case, tmp_path, whom):
    """Each time at another moment: while it starts, works, or commits. Nothing that is done is done again."""
    moments = random.Random(f"kill {whom}")
    results, done = tmp_path / "out", set()
    for _ in range(10):
        with batch_process(case, results, frame_s=0.05) as process:
            before = units_done(results)
            begun = []
            with contextlib.suppress(AssertionError):  # it may have ended already
                begun = lines_until(process, "started")
            process.poll()
            time.sleep(moments.uniform(0.0, 0.3))  # the moment is what this test is about
            (process.kill if whom == "driver" else lambda: os.killpg(process.pid, signal.SIGKILL))()
            begun += [line.split() for line in process.communicate(timeout=DEADLINE_S)[0].splitlines()]
        names_done = {unit[0] for unit in before if len(unit) == 1}
        assert {unit for unit in done if unit[0] not in names_done} <= before
        started = {tuple(line[1:-1]) for line in begun if line[0] == "started"}
        assert not before & started
        assert not names_done & {unit[0] for unit in started}
        done = before
    with batch_process(case, results) as process:
        output, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, output
    assert_undisturbed(results, case)


def units_done(results):
    """Recordings as (name,), stretches as (name, "1/3")."""
    folder = ResultsFolder(results)
    found = {(read_record(path)["name"],) for path in folder.records.glob("*/*.json")}
    for path in folder.stretches.glob("*/[0-9]*.json"):
        split = read_record(path.with_name("split.json"))
        found.add((read_record(path)["name"], f"{int(path.stem) + 1}/{len(split['seams_ms']) + 1}"))
    return found


def test_two_drivers_share_a_folder(case, tmp_path):
    results = tmp_path / "out"
    with batch_process(case, results, 1) as one, batch_process(case, results, 1) as two:
        outputs = [process.communicate(timeout=DEADLINE_S)[0] for process in (one, two)]
    assert (one.returncode, two.returncode) == (0, 0), outputs
    done = [line for output in outputs for line in output.splitlines() if line.startswith("done")]
    assert sorted(done) == sorted(f"done {name}" for name in case.names)
    assert_undisturbed(results, case)


def test_a_driver_that_was_paused_past_its_lease_wakes_up_too_late(case, tmp_path, monkeypatch):
    """It and its workers are stopped (SIGSTOP) in the middle of a recording and go on (SIGCONT) when all is done."""
    monkeypatch.setattr(leases, "LEASE_S", 2.0)
    results = tmp_path / "out"
    results.mkdir()
    (results / "hold").touch()
    with batch_process(case, results, 2) as process:
        while len(lines_until(process, "started")[-1]) < (4 if case.split is not None else 3):
            pass  # a worker has only decided that a recording is split
        os.killpg(process.pid, signal.SIGSTOP)
        (results / "hold").unlink()
        batch = run(case.recordings, results, Here(), split=case.split)
        assert batch.state.done == len(case.names)
        assert outputs_in(results) == case.undisturbed[0]
        os.killpg(process.pid, signal.SIGCONT)
        output, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, output
    assert_undisturbed(results, case)
