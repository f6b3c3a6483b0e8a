import socket

import pytest

from pipeline.sinks.systemd import SystemdNotifier, make_systemd_notifier
from tests.pipeline.fakes import FakeClock
from tests.pipeline.sinks.presentations import context, presentation


def test_ready_first_then_watchdog_notifications_at_the_interval():
    told, clock = [], FakeClock()
    sink = SystemdNotifier(told.append, every_s=4.0, clock=clock)
    sink.open(context())
    assert told == []
    sink.idle("loading the model")
    assert told == ["READY=1", "STATUS=loading the model\nWATCHDOG=1"]
    for _ in range(3):
        clock.now_s += 1.9
        sink.write(presentation(0))
    assert told[2:] == ["STATUS=running\nWATCHDOG=1"]
    clock.now_s += 4.0
    sink.write(presentation(1))
    assert told[3:] == ["WATCHDOG=1"]
    sink.close()
    sink.close()
    assert told[4:] == ["STOPPING=1"]


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="systemd runs where there are such sockets")
@pytest.mark.parametrize("kind", ["/", "@"])
def test_messages_reach_the_notify_socket(tmp_path, kind):
    address = str(tmp_path / "notify") if kind == "/" else f"@stream-segment-test-{tmp_path.name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + address[1:] if kind == "@" else address)
        manager.settimeout(5.0)
        sink = make_systemd_notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "5000000"})
        sink.open(context())
        sink.idle("")
        assert manager.recv(100) == b"READY=1"
        assert manager.recv(100) == b"STATUS=waiting for frames\nWATCHDOG=1"
        make_systemd_notifier({"NOTIFY_SOCKET": address}).idle("\udce4.mp4 is gone")  # a name that is no text
        assert manager.recv(100) == b"READY=1"
        assert manager.recv(100) == b"STATUS=\\udce4.mp4 is gone\nWATCHDOG=1"
        sink.close()
        assert manager.recv(100) == b"STOPPING=1"


def test_no_sink_without_a_manager_and_a_missing_socket_is_harmless(tmp_path):
    assert make_systemd_notifier({}) is None
    assert make_systemd_notifier({"NOTIFY_SOCKET": "vsock:2:1234"}) is None
    sink = make_systemd_notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")})
    sink.open(context())
    sink.write(presentation(0))
    sink.close()
