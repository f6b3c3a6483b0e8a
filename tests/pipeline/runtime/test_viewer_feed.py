"""A camera's frames reach the viewer's thread with what is known of their source, the newest in place of older ones."""

import pytest

from pipeline.runtime.newest_by_camera import NewestByCamera
from pipeline.runtime.viewer_feed import ViewerFeed
from tests.pipeline.runtime.shaded_cameras import Wall


def test_the_newest_frame_waits_with_its_context():
    wall = Wall(lambda _: False)
    shown = NewestByCamera()
    feed = ViewerFeed("hall", wall, shown)
    context, first, second = (object() for _ in range(3))
    feed.open(context)
    feed.write(first)
    feed.write(second)
    feed.close()
    assert shown.get(0.0) == ("hall", (second, context))
    with pytest.raises(TimeoutError):
        shown.get(0.0)
    assert wall.calls == []  # the run opens, fills and closes it


def test_the_viewer_says_what_it_wants_of_each_camera():
    wall = Wall(lambda _: False)
    wall.wants_overlay, wall.paced = False, True
    feed = ViewerFeed("hall", wall, NewestByCamera())
    assert (feed.wants_overlay, feed.paced, feed.paused) == (False, True, False)
    wall.paused = True
    assert feed.paused
