"""The script of faults, and a camera that plays one."""

import http.client
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

from benchmarks.faulty_camera import SIZES_WH, Fault, FaultKind, FaultyCamera, plan, spoiled

DEADLINE_S = 20.0


def test_faults_are_spread_evenly_each_kind_in_turn():
    faults = plan(6, 24.0, longest_s=1.5)
    assert [fault.kind.value for fault in faults] == ["stall", "drop", "size", "away", "corrupt", "stall"]
    assert [fault.at_s for fault in faults] == pytest.approx([1.0, 5.0, 9.0, 13.0, 17.0, 21.0])
    assert {fault.lasts_s for fault in faults} == {1.5}
    assert plan(10, 20.0, longest_s=1.5)[0].lasts_s == pytest.approx(0.9)


def test_a_corrupt_picture_keeps_its_length_and_cannot_be_decoded_as_it_was():
    picture = np.random.default_rng(1).integers(0, 255, (96, 160, 3), np.uint8)
    whole = cv2.imencode(".jpg", picture)[1].tobytes()
    corrupt = spoiled(whole)
    assert len(corrupt) == len(whole)
    assert corrupt[:4] == whole[:4]
    decoded = cv2.imdecode(np.frombuffer(corrupt, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is None or not np.array_equal(decoded, cv2.imdecode(np.frombuffer(whole, np.uint8), 1))


class Viewer:
    """Reads pictures over one connection, until it is cut."""

    def __init__(self, url):
        parts = urlsplit(url)
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=DEADLINE_S)
        self.connection.request("GET", parts.path)
        self.answer = self.connection.getresponse()

    def size_wh(self):
        """The next picture's; None when the connection was cut."""
        try:
            while not (line := self.answer.readline()).startswith(b"Content-Length"):
                if not line:
                    return None
            self.answer.readline()
            image = cv2.imdecode(np.frombuffer(self.answer.read(int(line.split()[1])), np.uint8), cv2.IMREAD_COLOR)
        except OSError:
            return None
        return (image.shape[1], image.shape[0])


def test_a_camera_changes_its_size_drops_and_returns():
    faults = [Fault(FaultKind.SIZE, 0.1, 0.1), Fault(FaultKind.STALL, 0.4, 0.1), Fault(FaultKind.AWAY, 0.8, 0.2)]
    with FaultyCamera() as camera:
        viewer = Viewer(camera.url)
        assert viewer.size_wh() == SIZES_WH[0]
        camera.begin(faults)
        sizes = []
        while (size := viewer.size_wh()) is not None:
            sizes.append(size)
        viewer.connection.close()
        report = camera.report(DEADLINE_S)
        again = Viewer(camera.url)
        assert again.size_wh() == SIZES_WH[2]
        again.connection.close()
    assert list(dict.fromkeys(sizes)) == [SIZES_WH[0], SIZES_WH[1]]
    assert [(fault.kind, fault.size_wh) for fault in report.faults] == [
        (FaultKind.SIZE, SIZES_WH[1]),
        (FaultKind.STALL, SIZES_WH[1]),
        (FaultKind.AWAY, SIZES_WH[2]),
    ]
    assert all(0.2 <= fault.ended_s - fault.began_s for fault in report.faults if fault.kind is FaultKind.AWAY)
    assert report.connections == 1
    assert report.pictures >= len(sizes)
