import time
from fractions import Fraction

import cv2
import numpy as np
import pytest

from pipeline.controls import Controls
from pipeline.errors import RunError
from pipeline.ledger import RunLedger
from pipeline.settings.output_settings import OverlaySettings, ServeSettings
from pipeline.web.feed import Feed
from pipeline.web.view import RunView
from tests.pipeline.sinks.presentations import presentation


def sent(monkeypatch, height, width, aspect=1, **values):
    """Height and width of what a viewer gets of a picture."""
    view = RunView(RunLedger(), Controls(OverlaySettings()), time.monotonic)
    one, offered = Feed(ServeSettings.model_validate(values), lambda: view), []
    assert not one.is_watched
    with one.pictures.watching():
        assert one.is_watched
        monkeypatch.setattr(one.pictures, "publish", offered.append)
        made = presentation(0, image=np.zeros((height, width, 3), np.uint8), sample_aspect_ratio=Fraction(aspect))
        one.present(type(made)(made.segmented, made.annotated_bgr.copy()))
    return cv2.imdecode(np.frombuffer(offered[0], np.uint8), cv2.IMREAD_COLOR).shape[:2]


def test_wide_pictures_are_sent_smaller_and_none_larger_than_it_is(monkeypatch):
    assert sent(monkeypatch, 101, 400, max_width=200) == (50, 200)
    assert sent(monkeypatch, 101, 400, max_width=400) == (101, 400)
    assert sent(monkeypatch, 101, 400, max_width=None) == (101, 400)
    assert sent(monkeypatch, 1, 4000, max_width=200) == (1, 200)
    assert sent(monkeypatch, 101, 100, aspect=2, max_width=400) == (101, 200)  # pixels that are not square


def test_a_picture_too_large_for_jpeg_is_an_error_with_a_way_out(monkeypatch):
    with pytest.raises(RunError, match=r"serve\.max_width"):
        sent(monkeypatch, 1, 70000, max_width=None)
