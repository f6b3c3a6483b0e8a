"""An HTTP camera that a test can stall, disconnect, stop and restart with another picture size."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np

STEP_S = 0.02


class MjpegServer:
    """Serves multipart MJPEG on a free port of this machine. Use with `with`."""

    def __init__(self) -> None:
        self.size_wh = (96, 64)
        self.running = threading.Event()
        """Clear it and the server stalls: connections stay open, nothing is sent."""
        self.running.set()
        self.connections = 0
        self.refuse = False
        self._generation = 0
        self._stop = threading.Event()
        handler = type("Handler", (_Handler,), {"camera": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), name="mjpeg server")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/video"

    def drop(self) -> None:
        """Cut off every connection there is."""
        self._generation += 1

    def jpeg(self, number: int) -> bytes:
        width, height = self.size_wh
        image = np.full((height, width, 3), (40, 90, 200), np.uint8)
        image[:, : number % width] = 255
        return cv2.imencode(".jpg", image)[1].tobytes()

    def __enter__(self) -> MjpegServer:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self.running.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def serve(self, request: _Handler) -> None:
        if self.refuse:
            request.send_error(503)
            return
        self.connections += 1
        generation = self._generation
        request.send_response(200)
        request.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        request.end_headers()
        number = 0
        while generation == self._generation and not self._stop.wait(STEP_S):
            if not self.running.is_set():
                continue
            body = self.jpeg(number)
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n"
            request.wfile.write(head.encode() + body + b"\r\n")
            number += 1


class _Handler(BaseHTTPRequestHandler):
    camera: MjpegServer

    def do_GET(self) -> None:
        try:
            self.camera.serve(self)
        except OSError:
            self.close_connection = True

    def log_message(self, *_arguments: object) -> None:
        """Tests are quiet."""
