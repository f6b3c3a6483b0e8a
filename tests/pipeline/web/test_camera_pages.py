"""The sinks behind the grid: what is drawn and encoded for whom."""

import asyncio

import aiohttp
import cv2
import numpy as np
import pytest

from pipeline.settings.output_settings import ServeSettings
from pipeline.web.camera_pages import CameraPages
from pipeline.web.view import RunView
from tests.pipeline.sinks.presentations import context, presentation
from tests.pipeline.web.served_cameras import DEADLINE_S, served_cameras
from tests.pipeline.web.test_tiles import unpacked
from tests.pipeline.web.test_view import Watched


class OneCamera:
    """A camera, and the run that it belongs to."""

    def __init__(self, name):
        self.name, self.enabled, self.state = name, True, ""
        self.run = Watched()

    @property
    def view(self) -> RunView:
        return self.run.monitor.view


class Run:
    def __init__(self, *cameras):
        self.entries = {camera.name: camera for camera in cameras}


def drawn(width=1000, height=500):
    made = presentation(0, image=np.zeros((height, width, 3), np.uint8))
    return type(made)(made.segmented, made.annotated_bgr.copy())


def test_the_grid_gets_small_pictures_and_only_so_many_are_drawn(monkeypatch):
    camera = OneCamera("hall")
    pages = CameraPages(ServeSettings(address="0"), Run(camera))
    sink = pages.make_sink(camera)
    sink.open(context())
    published, publish = [], pages.tiles.publish
    monkeypatch.setattr(pages.tiles, "publish", lambda *given: (published.append(given), publish(*given)))
    assert not sink.wants_overlay
    sink.write(drawn())
    assert published == []
    with pages.tiles.viewers.watching():
        assert sink.wants_overlay
        sink.write(drawn())
        assert not sink.wants_overlay  # the next one is due in a fifth of a second
        sink.write(drawn())
        ((name, picture),) = published
        assert name == "hall"
        assert cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR).shape == (240, 480, 3)


def test_the_feed_of_a_camera_stays_until_the_camera_is_another():
    camera = OneCamera("hall")
    run = Run(camera, OneCamera("gate"))
    pages = CameraPages(ServeSettings(address="0"), run)
    first = pages.feeds()
    assert list(first) == ["hall", "gate"]
    pages.make_sink(camera)  # enabled again
    assert pages.feeds() == first
    again = OneCamera("hall")
    run.entries = {"hall": again}
    second = pages.feeds()
    assert list(second) == ["hall"]
    assert second["hall"] is not first["hall"]
    assert (first["hall"].ended.is_set(), first["gate"].ended.is_set()) == (True, True)
    assert second["hall"].monitor.view is again.view


def test_the_feed_of_a_camera_whose_name_another_gets_at_once_ends():
    camera, again = OneCamera("hall"), OneCamera("hall")
    run = Run(camera)
    pages = CameraPages(ServeSettings(address="0"), run)
    first = pages.feeds()["hall"]
    run.entries = {"hall": again}
    pages.make_sink(again)  # before the page looks at the cameras
    second = pages.feeds()["hall"]
    assert second.monitor.view is again.view
    assert (first.ended.is_set(), second.ended.is_set()) == (True, False)


async def tile_messages(run, count):
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{run.url}live") as socket:
        messages = []
        while len(messages) < count:
            messages.append(unpacked((await socket.receive(timeout=DEADLINE_S)).data))
            await socket.send_str("shown")
        return messages


def test_pictures_of_all_cameras_come_over_one_connection():
    with served_cameras("hall", "gate") as run:
        run.until_state("hall", "")
        run.until_state("gate", "")
        messages = asyncio.run(tile_messages(run, 6))
        assert {camera for message in messages for camera in message} == {"hall", "gate"}
        pictures = [jpeg for message in messages for jpeg in message.values()]
        shapes = {cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).shape for jpeg in pictures}
        assert shapes == {(180, 322, 3)}
        run.until(lambda: run.cameras.pages.tiles.viewers.count == 0)


@pytest.mark.parametrize("again", [1, 2])
def test_recordings_of_a_camera_stay_when_it_is_disabled_and_enabled(tmp_path, again):
    with served_cameras("hall", "gate", output={"record_dir": str(tmp_path)}) as run:
        run.until_state("hall", "")
        for number in range(again):
            run.post("/cameras/hall/api/recording", {"on": True})
            run.until(lambda: run.json("/cameras/hall/api/status")["recording"]["file"] is not None)
            run.post("/api/cameras", {"camera": "hall", "enabled": False})
            run.until(lambda: not run.cameras.entries["hall"].running)
            listed = run.json("/cameras/hall/api/recordings")["recordings"]
            assert [one["writing"] for one in listed] == [False] * (number + 1)
            assert all(one["name"].startswith("hall_20") for one in listed)
            run.post("/api/cameras", {"camera": "hall", "enabled": True})
            run.until_state("hall", "")
        assert run.json("/cameras/gate/api/recordings") == {"recordings": []}
        assert run.get(f"/cameras/gate/recordings/{listed[0]['name']}")[0] == 404
        status, _, body = run.get(f"/cameras/hall/recordings/{listed[0]['name']}")
        assert (status, len(body)) == (200, listed[0]["bytes"])
