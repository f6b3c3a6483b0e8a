"""A small RTSP camera: plays a transport stream over RTP inside the RTSP connection (RFC 2326, RFC 2250)."""

from __future__ import annotations

import base64
import socketserver
import struct
import threading
import time
from pathlib import Path

PACKETS = 7
"""Transport stream packets of 188 bytes in one RTP packet."""

SDP = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=test\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:track1\r\n"


class RtspServer:
    """Serves one clip on a free port of this machine, then keeps the connection open in silence. Use with `with`.

    Args:
        clip: a transport stream.
        user: name and password that it requires.
        seconds: how long the clip is, whose frames are about equally large: it plays in real time from `began_s` on,
            for whoever comes later from where it is by then. None: as fast as possible, from the beginning.
        began_s: on `time.monotonic`.
    """

    def __init__(self, clip: Path, user: str | None = None, seconds: float | None = None, began_s: float = 0.0) -> None:
        self.data = clip.read_bytes()
        self.seconds, self.began_s = seconds, began_s
        self.wanted = None if user is None else "Basic " + base64.b64encode(user.encode()).decode()
        self.transports: list[str] = []
        self.stop = threading.Event()
        handler = type("Handler", (_Handler,), {"camera": self})
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="rtsp server")

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/live"

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def __enter__(self) -> RtspServer:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class _Handler(socketserver.StreamRequestHandler):
    camera: RtspServer

    def handle(self) -> None:
        try:
            while not self.camera.stop.is_set() and self._answer():
                pass
        except OSError:
            pass

    def _answer(self) -> bool:
        request = self.rfile.readline().decode()
        headers = {}
        while line := self.rfile.readline().decode().strip():
            key, _, value = line.partition(":")
            headers[key.lower()] = value.strip()
        if not request:
            return False
        method, url, _version = request.split()
        if self.camera.wanted and headers.get("authorization") != self.camera.wanted:
            self._send(401, headers, 'WWW-Authenticate: Basic realm="camera"\r\n')
            return True
        if method == "SETUP":
            self.camera.transports.append(headers["transport"])
        extra = {
            "OPTIONS": "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n",
            "DESCRIBE": f"Content-Base: {url}/\r\nContent-Type: application/sdp\r\nContent-Length: {len(SDP)}\r\n",
            "SETUP": "Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n",
        }.get(method, "Session: 1\r\n")
        self._send(200, headers, extra, SDP if method == "DESCRIBE" else "")
        if method == "PLAY":
            self._play()
        return method != "TEARDOWN"

    def _send(self, status: int, headers: dict[str, str], extra: str, body: str = "") -> None:
        self.wfile.write(f"RTSP/1.0 {status} -\r\nCSeq: {headers.get('cseq', 0)}\r\n{extra}\r\n{body}".encode())

    def _play(self) -> None:
        size = PACKETS * 188
        camera = self.camera
        length, seconds = len(camera.data), camera.seconds
        first = 0 if seconds is None else int((time.monotonic() - camera.began_s) / seconds * length / size)
        for number, start in enumerate(range(first * size, length, size)):
            if seconds is not None:
                due_s = camera.began_s + start / length * seconds
                if camera.stop.wait(max(0.0, due_s - time.monotonic())):
                    return
            rtp = struct.pack(">BBHII", 0x80, 33, number & 0xFFFF, number * 900, 7) + camera.data[start : start + size]
            self.wfile.write(b"$\0" + struct.pack(">H", len(rtp)) + rtp)
        camera.stop.wait(30)
