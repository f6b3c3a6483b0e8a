"""A server for weights that resumes, refuses to, cuts the line, and serves the wrong thing; and small files
that look like them."""

import hashlib
import http.server
import io
import re
import threading

import h5py
import numpy as np

from mrcnn.weights.published import PublishedModel
from tests.mrcnn.weights.checkpoints import DATA

NAME = "mask_rcnn_coco.h5"


class FakeServer:
    """Serves `data` over HTTP; what it does wrong is set by its attributes.

    Attributes:
        data: the file.
        etag: its ETag, or None.
        ranges: whether Range is understood.
        cuts: for each request in turn, after how many bytes the line is cut (None: not at all); then never.
        statuses: for each request in turn, an error status to answer with (None: none); then none.
        redirects: how many of the following requests are sent to another path.
        sends_length: whether Content-Length is sent.
        requests: the Range header of each request, None where it had none.
    """

    def __init__(self, data):
        self.data, self.etag, self.ranges, self.sends_length = data, '"one"', True, True
        self.cuts, self.statuses, self.requests, self.redirects = [], [], [], 0
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        self.mirror = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.url = f"{self.mirror}/{NAME}"

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
                if fake.redirects:
                    fake.redirects -= 1
                    self.send_response(302)
                    self.send_header("Location", "/elsewhere")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
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
    """A small file with some of the layer names of Matterport's ResNet-101."""
    stage_4 = [f"res4{letter}_branch2a" for letter in "abcdefghijklmnopqrstuvw"]
    layers = [
        name
        for name in ("conv1", *stage_4, "fpn_p5", "rpn_model", "mrcnn_class_logits", "mrcnn_bbox_fc", "mrcnn_mask")
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


def published(data, url, **changes):
    """A model like coco whose published file has this content."""
    facts = {
        "name": "coco",
        "file_name": NAME,
        "url": url,
        "megabytes": 1,
        "size": len(data),
        "digest": f"sha256:{hashlib.sha256(data).hexdigest()}",
        "architecture": "matterport",
        "backbone": "resnet101",
        "num_classes": 81,
        "license": "none",
    }
    return PublishedModel(**{**facts, **changes})


def published_v1(url, **changes):
    """A model like coco-r50 whose published file is the small one in tests/data, and that file's content."""
    data = (DATA / "torchvision_v1.pth").read_bytes()
    facts = {"name": "coco-r50", "file_name": "v1.pth", "architecture": "torchvision", "backbone": "resnet50"}
    return published(data, url, **{**facts, "num_classes": 91, **changes}), data
