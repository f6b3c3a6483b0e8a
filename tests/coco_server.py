"""A server for the COCO weights that resumes, refuses to, cuts the line, and serves the wrong thing; and small files
that look like them."""

import http.server
import io
import re
import threading

import h5py
import numpy as np

NAME = "mask_rcnn_coco.h5"


class FakeServer:
    """Serves `data` over HTTP; what it does wrong is set by its attributes.

    Attributes:
        data: the file.
        etag: its ETag, or None.
        ranges: whether Range is understood.
        cuts: for each request in turn, after how many bytes the line is cut (None: not at all); then never.
        statuses: for each request in turn, an error status to answer with (None: none); then none.
        sends_length: whether Content-Length is sent.
        requests: the Range header of each request, None where it had none.
    """

    def __init__(self, data):
        self.data, self.etag, self.ranges, self.sends_length = data, '"one"', True, True
        self.cuts, self.statuses, self.requests = [], [], []
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/{NAME}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)

    def _handler(fake):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                asked = self.headers.get("Range")
                fake.requests.append(asked)
                status = fake.statuses.pop(0) if fake.statuses else None
                if status:
                    self.send_error(status)
                    return
                begin = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked and fake.ranges else 0
                self.send_response(206 if asked and fake.ranges else 200)
                if asked and fake.ranges:
                    self.send_header("Content-Range", f"bytes {begin}-{len(fake.data) - 1}/{len(fake.data)}")
                if fake.sends_length:
                    self.send_header("Content-Length", str(len(fake.data) - begin))
                if fake.etag:
                    self.send_header("ETag", fake.etag)
                self.end_headers()
                cut = fake.cuts.pop(0) if fake.cuts else None
                self.wfile.write(fake.data[begin : None if cut is None else begin + cut])

            def log_message(self, *arguments):
                pass

        return Handler


def weights_bytes(classes=81, leave_out=None):
    """A small file with the layer names of Matterport's."""
    layers = [
        name
        for name in ("conv1", "fpn_p5", "rpn_model", "mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_mask")
        if name != leave_out
    ]
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        file.attrs["layer_names"] = np.array([name.encode() for name in layers])
        for name in layers:
            width = classes if name == "mrcnn_class_logits" else 7
            file[f"{name}/{name}/bias:0"] = np.arange(width, dtype=np.float32)
            file[f"{name}/{name}/kernel:0"] = np.ones((30, width), np.float32)
            file[name].attrs["weight_names"] = [f"{name}/bias:0", f"{name}/kernel:0"]
    return memory.getvalue()


GOOD = weights_bytes()
