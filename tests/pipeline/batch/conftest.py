import pytest

from pipeline.batch.results_folder import ResultsFolder
from tests.pipeline.batch.scripted_driver import Scene
from tests.pipeline.fakes import FakeClock


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path, FakeClock())


@pytest.fixture
def results(tmp_path):
    """An empty folder of results."""
    folder = ResultsFolder(tmp_path / "out")
    folder.make()
    return folder
