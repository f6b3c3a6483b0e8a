"""A real HTTP server that streams, stalls, drops connections, changes its picture size, and clips served as files."""

from __future__ import annotations

import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from types import SimpleNamespace

import pytest

from pipeline.errors import InputError, RunError
from pipeline.records import Frame, SourceKind
from pipeline.settings.source_settings import Policy, ReconnectSettings, RtspTransport, SourceSettings
from pipeline.sources.base import Pacer, Source
from pipeline.sources.factory import make_source
from pipeline.sources.pattern import read_frame_number
from pipeline.sources.video import StreamDevice, is_finite
from tests.pipeline.sources.clips import write_clip
from tests.pipeline.sources.conftest import ManualClock
from tests.pipeline.sources.mjpeg_server import MjpegServer
from tests.pipeline.sources.rtsp_server import RtspServer

RECONNECT = ReconnectSettings(read_timeout_s=0.5, first_delay_s=0.05, longest_delay_s=0.1)


@pytest.fixture
def server():
    with MjpegServer() as running:
        yield running


def source_of(url: str, **arguments: object) -> Source:
    return make_source(SourceSettings(uri=url, reconnect=RECONNECT, **arguments))


def read_until(source: Source, wanted, limit_s: float = 10.0) -> list[Frame]:
    """Reads frames up to and including the first for which `wanted` is true."""
    frames: list[Frame] = []
    deadline_s = time.monotonic() + limit_s
    while time.monotonic() < deadline_s:
        frame = source.read()
        assert frame is not None
        frames.append(frame)
        if wanted(frame):
            return frames
    raise AssertionError(f"not seen within {limit_s} s; got {len(frames)} frames")


def test_frames_carry_their_arrival_time(server: MjpegServer) -> None:
    source = source_of(server.url)
    info = source.open()
    assert (info.kind, info.width, info.height, info.fps) == (SourceKind.LIVE, 96, 64, None)
    frames = read_until(source, lambda frame: frame.index == 20)
    assert [frame.index for frame in frames] == list(range(21))
    pts = [frame.pts for frame in frames]
    assert pts[0] == 0
    assert pts == sorted(set(pts))
    taken_s = frames[-1].captured_at_s - frames[0].captured_at_s
    assert frames[-1].pts_s == pytest.approx(taken_s, abs=1e-5)
    assert taken_s > 0.2
    assert abs(frames[5].image_bgr[10, 90].astype(int) - (40, 90, 200)).max() < 8
    source.close()


def test_dropped_connection_and_new_size(server: MjpegServer) -> None:
    source = source_of(server.url)
    source.open()
    before = read_until(source, lambda frame: frame.index == 3)
    server.size_wh = (128, 48)
    server.drop()
    after = read_until(source, lambda frame: frame.width == 128 and source.state.reconnects > 0)
    assert after[-1].image_bgr.shape == (48, 128, 3)
    assert source.state.reconnects == 1
    assert server.connections == 2
    everything = before + after
    assert [frame.index for frame in everything] == list(range(len(everything)))
    assert all(first.pts < second.pts for first, second in pairwise(everything))
    source.close()


def test_a_size_change_within_a_connection(server: MjpegServer) -> None:
    source = source_of(server.url)
    source.open()
    read_until(source, lambda frame: frame.index == 3)
    server.size_wh = (128, 48)
    assert read_until(source, lambda frame: frame.width == 128)[-1].height == 48
    assert source.state.reconnects == 0
    source.close()


def test_reconnects_after_a_stall(server: MjpegServer) -> None:
    source = source_of(server.url)
    source.open()
    last = read_until(source, lambda frame: frame.index == 3)[-1]
    server.running.clear()
    seen: list[str] = []

    def watch() -> None:
        deadline_s = time.monotonic() + 5
        while not source.state.text and time.monotonic() < deadline_s:
            threading.Event().wait(0.005)
        seen.append(source.state.text)
        server.running.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    frames = read_until(source, lambda _frame: source.state.reconnects > 0)
    watcher.join(5)
    assert seen == [f"{server.url} is disconnected, retrying …"]
    assert frames[-1].pts_s - last.pts_s > RECONNECT.read_timeout_s * 0.9
    source.close()


def test_a_server_that_refuses_connections_for_a_while(server: MjpegServer) -> None:
    source = source_of(server.url)
    source.open()
    source.read()
    server.refuse = True
    server.drop()
    threading.Timer(0.4, lambda: setattr(server, "refuse", False)).start()
    read_until(source, lambda _frame: source.state.reconnects == 1)
    source.close()


def test_interrupt_returns_at_once_while_the_server_stalls(server: MjpegServer) -> None:
    source = make_source(SourceSettings(uri=server.url, reconnect=ReconnectSettings(read_timeout_s=600.0)))
    source.open()
    read_until(source, lambda frame: frame.index == 1)
    server.running.clear()
    threading.Timer(0.1, source.interrupt).start()
    while source.read() is not None:  # without the interrupt, it hangs longer than a test may take
        pass
    source.close()
    server.drop()  # ends the connection, and with it the thread that was left behind


def test_with_the_recorded_policy_a_lost_stream_is_an_error(server: MjpegServer) -> None:
    source = source_of(server.url, policy=Policy.RECORDED)
    source.open()
    read_until(source, lambda frame: frame.index == 3)
    server.drop()
    with pytest.raises(RunError, match=r"reading failed|stream ended"):
        read_until(source, lambda _frame: False)
    source.close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://user:secret@127.0.0.1:9/video?token=abc", "connection refused"),
        ("rtsp://user:secret@127.0.0.1:9/video?token=abc", "connection refused"),
        ("udp://127.0.0.1:{free}", "timed out"),
    ],
)
def test_a_missing_server_is_a_one_line_error_without_passwords(url: str, message: str) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as taken:
        free = taken.server_port
    with pytest.raises(InputError, match=message) as caught:
        source_of(url.format(free=free)).open()
    text = str(caught.value)
    assert "\n" not in text
    assert "secret" not in text
    assert "abc" not in text


@pytest.fixture
def files(tmp_path: Path):
    """A web server for the test's folder; its URL."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_arguments: object) -> None:
            """Tests are quiet."""

    running = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path)))
    thread = threading.Thread(target=running.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()
    thread.join(5)


PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n"
MANIFEST = """<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S"><Period>
<AdaptationSet contentType="video"><Representation id="1" bandwidth="1000"><BaseURL>{}</BaseURL></Representation>
</AdaptationSet></Period></MPD>"""
CONCAT = "ffconcat version 1.0\nfile '{}'\n"


@pytest.fixture
def tcp_server():
    """Sends a text to whoever connects: a function from the text to the URL."""
    servers: list[ThreadingTCPServer] = []

    def serve(text: str, suffix: str) -> str:
        class Handler(BaseRequestHandler):
            def handle(self) -> None:
                self.request.sendall(text.encode())

        servers.append(ThreadingTCPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.02,), daemon=True).start()
        return f"tcp://127.0.0.1:{servers[-1].server_address[1]}/list.{suffix}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    "name", ["file:///etc/passwd", "{}", "file:{}", "file://{}", "concat:{}", "subfile,,start,0,end,0,,:{}"]
)
@pytest.mark.parametrize(
    ("format", "suffix"), [(PLAYLIST, "m3u8"), (MANIFEST, "mpd"), (CONCAT, "ffconcat")], ids=["hls", "dash", "concat"]
)
@pytest.mark.parametrize("scheme", ["http", "tcp"])
def test_what_a_server_sends_opens_no_local_file(
    tmp_path: Path, tmp_path_factory, files: str, tcp_server, scheme: str, format: str, suffix: str, name: str
) -> None:
    secret = write_clip(tmp_path_factory.mktemp("private") / "secret.ts", 5)
    text = format.format(name.format(secret))
    (tmp_path / f"list.{suffix}").write_text(text)
    url = f"{files}/list.{suffix}" if scheme == "http" else tcp_server(text, suffix)
    device = StreamDevice(url, "list", timeout_s=2)
    with pytest.raises(InputError, match=r"^list"):
        device.open()
    device.close()


def test_a_playlist_on_a_web_server_plays_its_own_segments(tmp_path: Path, files: str) -> None:
    write_clip(tmp_path / "one.ts", 5)
    (tmp_path / "list.m3u8").write_text(PLAYLIST.format("one.ts"))
    device = StreamDevice(f"{files}/list.m3u8", "list", timeout_s=5)
    assert device.open().width == 96
    device.close()


def test_a_clip_on_a_web_server_plays_in_real_time_and_ends(tmp_path: Path, files: str, clock: ManualClock) -> None:
    write_clip(tmp_path / "a.mp4", 30)
    device = StreamDevice(f"{files}/a.mp4", "clip", timeout_s=5, clock=clock, pacer=Pacer(clock, clock.wait))
    info = device.open()
    assert (info.width, info.height, info.fps) == (96, 64, 25)
    pictures = [device.grab() for _ in range(30)]
    assert device.grab() is None
    assert [read_frame_number(picture.image_bgr) for picture in pictures] == list(range(30))
    assert [picture.captured_at_s for picture in pictures] == pytest.approx([100 + n / 25 for n in range(30)])
    device.close()


def test_clip_as_a_source_ends_without_reconnecting(tmp_path: Path, files: str) -> None:
    write_clip(tmp_path / "a.mp4", 8)
    source = source_of(f"{files}/a.mp4")
    source.open()
    assert len(list(iter(source.read, None))) == 8
    assert source.state.reconnects == 0
    source.close()


def test_a_transport_stream_with_a_size_is_a_clip(tmp_path: Path, files: str) -> None:
    write_clip(tmp_path / "a.ts", 8, options={"bf": "0"})
    source = source_of(f"{files}/a.ts")
    source.open()
    frames = [source.read() for _ in range(8)]
    assert None not in frames
    assert source.read() is None, "the end, not a loss"
    source.close()


def test_an_image_on_a_web_server_is_one_frame(tmp_path: Path, files: str, server: MjpegServer) -> None:
    (tmp_path / "snapshot.jpg").write_bytes(server.jpeg(3))
    source = source_of(f"{files}/snapshot.jpg")
    source.open()
    assert [frame.image_bgr.shape for frame in iter(source.read, None)] == [(64, 96, 3)]
    source.close()


@pytest.mark.parametrize(
    ("name", "duration", "size", "finite"),
    [
        ("mov,mp4,m4a,3gp,3g2,mj2", 1_000_000, -1, True),
        ("mov,mp4,m4a,3gp,3g2,mj2", None, -1, False),
        ("mpjpeg", None, -1, False),
        ("rtsp", None, -22, False),
        ("flv", 0, -1, False),
        ("flv", 5_000_000, -1, False),
        ("mpegts", 5_000_000, 1000, True),
        ("mpegts", None, 1000, True),
        ("mpegts", None, -38, False),
        ("jpeg_pipe", None, -1, False),
        ("jpeg_pipe", None, 1000, True),
        ("hls", 5_000_000, -22, True),
        ("hls", None, -22, False),
    ],
)
def test_clips_and_cameras_are_distinguished(name: str, duration: int | None, size: int, finite: bool) -> None:
    container = SimpleNamespace(format=SimpleNamespace(name=name), duration=duration, size=size)
    assert is_finite(container) is finite


def test_clip_with_recorded_policy_is_read_as_a_file(tmp_path: Path, files: str) -> None:
    write_clip(tmp_path / "a.mp4", 50)
    source = source_of(f"{files}/a.mp4", policy=Policy.RECORDED, start_s=1.0)
    assert source.open().kind is SourceKind.RECORDED
    assert [read_frame_number(frame.image_bgr) for frame in iter(source.read, None)] == list(range(25, 50))
    source.close()


@pytest.mark.parametrize(("name", "message"), [("page.html", "not a readable video"), ("gone.mp4", "404")])
def test_urls_without_a_stream(tmp_path: Path, files: str, name: str, message: str) -> None:
    (tmp_path / "page.html").write_text("<html><body>welcome</body></html>" * 20)
    with pytest.raises(InputError, match=message):
        source_of(f"{files}/{name}").open()


def test_a_rotated_phone_stream_is_upright(tmp_path: Path, files: str, clock: ManualClock) -> None:
    write_clip(tmp_path / "a.mp4", 3, display_matrix=[0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30])
    device = StreamDevice(f"{files}/a.mp4", "clip", timeout_s=5, clock=clock, pacer=Pacer(clock, clock.wait))
    info = device.open()
    assert (info.width, info.height) == (64, 96)
    assert device.grab().image_bgr.shape == (96, 64, 3)
    device.close()


def test_rtsp_with_a_password(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.ts", 60, options={"g": "12", "bf": "0"})
    with RtspServer(clip, user="joe:secret") as camera:
        source = source_of(f"rtsp://joe:secret@127.0.0.1:{camera.port}/live")
        info = source.open()
        assert info.source_id == f"rtsp://***@127.0.0.1:{camera.port}/live"
        assert (info.width, info.height) == (96, 64)
        frames = read_until(source, lambda frame: frame.index == 40)
        seen = [read_frame_number(frame.image_bgr) for frame in frames]
        assert seen == list(range(seen[0], seen[0] + 41))
        assert all("TCP" in transport for transport in camera.transports)
        source.interrupt()
        source.close()
    with RtspServer(clip, user="joe:secret") as camera, pytest.raises(InputError, match="user name and password"):
        source_of(f"rtsp://joe:wrong@127.0.0.1:{camera.port}/live").open()


@pytest.mark.parametrize("transport", list(RtspTransport))
def test_rtsp_transport_reaches_ffmpeg(transport: RtspTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, str]] = []

    def refuse(_url: str, _name: str, _warnings: object, options: dict[str, str], _timeout_s: float) -> None:
        asked.append(options)
        raise InputError("no")

    monkeypatch.setattr("pipeline.sources.video.open_video", refuse)
    with pytest.raises(InputError):
        StreamDevice("rtsp://host/x", "x", timeout_s=1, rtsp_transport=transport).open()
    assert asked == [{"rtsp_transport": transport.value}]
