"""A batch, each of whose system calls on the results fails once: the next start ends as an undisturbed batch does."""

from __future__ import annotations

import time

import pytest

from pipeline.batch.batch_run import Batch
from pipeline.batch.results_folder import ResultsFolder
from pipeline.errors import StreamSegmentError
from tests.faults.file_system import enumerate_faults
from tests.faults.outcomes import halves, one_line
from tests.pipeline.batch.fakes import Here, make_by_sum, outputs_in, request_for, summary_in, write_recordings


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return write_recordings(tmp_path_factory.mktemp("in"), "d/a.mp4", "b.mp4", frames=3)


def batch(recordings, results):
    """A whole batch in this process."""
    one = Batch(request_for(recordings, results), time.monotonic, make_by_sum)
    one.run(Here(), lambda what, **fields: None, lambda state: None)
    return one


@pytest.fixture(scope="module")
def make(recordings, tmp_path_factory):
    """Prepares a batch that fails once."""
    whole = tmp_path_factory.mktemp("whole")
    batch(recordings, whole)
    outputs, summary = outputs_in(whole), summary_in(whole)

    def prepare(results):
        def check(error):
            problems = one_line(error) + halves(results)
            given = outputs_in(results)
            problems += [f"{name} is not what it should be" for name in given if given[name] != outputs.get(name)]
            if error is None and (given, summary_in(results)) != (outputs, summary):
                problems.append(f"only {sorted(given)}, without an error")
            done = ResultsFolder(results).done()
            try:
                batch(recordings, results)
            except StreamSegmentError as again:
                return [*problems, f"the next start fails too: {again!r}"]
            if not done <= ResultsFolder(results).done():
                problems.append("something that was done is done no more")
            if (outputs_in(results), summary_in(results)) != (outputs, summary):
                problems.append(f"the next start gives {sorted(outputs_in(results))}")
            folder = ResultsFolder(results)
            left = [path for part in (folder.work, folder.claims, folder.drivers) for path in part.rglob("*")]
            return problems + [f"{path} is left" for path in left if path.is_file()]

        return lambda: batch(recordings, results), check

    return prepare


@pytest.mark.slow
def test_batch(tmp_path, make):
    runs, problems = enumerate_faults(tmp_path, make, most=1)
    assert problems == []
    assert runs > 100
