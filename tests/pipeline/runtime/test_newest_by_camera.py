import threading

import pytest

from pipeline.runtime.newest_by_camera import NewestByCamera
from tests.pipeline.fakes import DEADLINE_S


def test_the_newest_of_each_camera_in_turn():
    newest = NewestByCamera()
    for camera, item in (("a", 1), ("b", 2), ("a", 3)):
        newest.put(camera, item, waits=False)
    assert newest.get(0.0) == ("a", 3)
    newest.put("a", 4, waits=False)
    assert [newest.get(0.0), newest.get(0.0)] == [("b", 2), ("a", 4)]
    with pytest.raises(TimeoutError):
        newest.get(0.0)


@pytest.mark.parametrize(
    "release", [lambda newest: newest.get(0.0), lambda newest: newest.forget("a"), NewestByCamera.close]
)
def test_one_that_waits_goes_on_when_its_item_was_taken_or_is_not_wanted(release):
    newest = NewestByCamera()
    newest.put("a", 1, waits=True)
    thread = threading.Thread(target=newest.put, args=("a", 2, True), daemon=True)
    thread.start()
    release(newest)
    thread.join(DEADLINE_S)
    assert not thread.is_alive()
    assert newest.get(0.0) == ("a", 2)
