"""Fetches the COCO weights that Matterport published."""

from __future__ import annotations

import http.client
import os
import shutil
import urllib.error
import urllib.request
from pathlib import Path

COCO_MODEL_URL = "https://github.com/matterport/Mask_RCNN/releases/download/v2.0/mask_rcnn_coco.h5"
TIMEOUT_S = 30.0


def download_trained_weights(coco_model_path: str | os.PathLike[str], verbose: int = 1) -> None:
    """Download the COCO weights (257,557,808 bytes) to a file; it appears only when it is complete.

    Args:
        coco_model_path: where to put the file.
        verbose: print what is going on if 1 or more.

    Raises:
        OSError: no network, a cut transfer, or a folder that cannot be written.
    """
    path = Path(coco_model_path)
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    if verbose:
        print(f"Downloading pretrained model to {path} ...")
    try:
        with urllib.request.urlopen(COCO_MODEL_URL, timeout=TIMEOUT_S) as response, partial.open("wb") as file:
            shutil.copyfileobj(response, file, 1 << 20)
            expected = response.headers.get("Content-Length")
            if expected is not None and file.tell() != int(expected):
                raise ConnectionError(f"the transfer ended after {file.tell()} of {expected} bytes")
        partial.replace(path)
    except (urllib.error.URLError, ConnectionError, TimeoutError, http.client.HTTPException) as error:
        raise ConnectionError(
            f"cannot download {COCO_MODEL_URL}: {getattr(error, 'reason', error)}. "
            f"Download it by other means and put it at {path}"
        ) from error
    finally:
        partial.unlink(missing_ok=True)
    if verbose:
        print("... done downloading pretrained model!")
