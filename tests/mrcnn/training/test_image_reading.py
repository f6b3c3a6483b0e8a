"""Images from any path, as they are stored."""

import cv2
import numpy as np
import pytest
from PIL import Image

from mrcnn.training.image_reading import read_image_bgr

PICTURE_BGR = np.random.default_rng(4).integers(0, 256, (13, 21, 3)).astype(np.uint8)


def test_name_with_letters_of_no_code_page(tmp_path, monkeypatch):
    monkeypatch.setattr(cv2, "imread", None)
    path = tmp_path / "Füße 视频.png"
    path.write_bytes(cv2.imencode(".png", PICTURE_BGR)[1].tobytes())
    assert (read_image_bgr(path) == PICTURE_BGR).all()
    assert (read_image_bgr(str(path)) == PICTURE_BGR).all()


def test_rotation_tag_and_alpha_do_not_count(tmp_path):
    turned = Image.fromarray(PICTURE_BGR)
    exif = turned.getexif()
    exif[274] = 6  # a quarter to the right
    turned.save(tmp_path / "turned.jpg", exif=exif)
    assert read_image_bgr(tmp_path / "turned.jpg").shape == (13, 21, 3)
    Image.fromarray(PICTURE_BGR[..., ::-1]).convert("RGBA").save(tmp_path / "alpha.png")
    assert (read_image_bgr(tmp_path / "alpha.png") == PICTURE_BGR).all()


def test_what_is_no_image(tmp_path):
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_bytes(b"not a picture")
    assert read_image_bgr(tmp_path / "empty.png") is None
    assert read_image_bgr(tmp_path / "text.png") is None
    with pytest.raises(FileNotFoundError):
        read_image_bgr(tmp_path / "missing.png")
