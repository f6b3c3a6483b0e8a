import numpy as np
import pytest

from pipeline.errors import InputError
from pipeline.privacy.redaction import make_redactor
from pipeline.records import Detections, SegmentedFrame, StageTimes, UnredactedFrame
from pipeline.settings.schema import Settings
from tests.pipeline.fakes import make_frame, make_instances

LABELS = ("BG", "person", "dog")


def captured():
    frame = make_frame(60)
    return UnredactedFrame(frame, make_instances(1), 60, StageTimes(0.0), Detections(frame, make_instances(1)))


def test_without_privacy_and_background_the_frame_is_the_same():
    given = captured()
    redacted = make_redactor(Settings(), LABELS).apply(given)
    assert redacted.frame is given.frame
    assert type(redacted) is SegmentedFrame


def test_with_both_the_person_is_redacted_and_the_rest_replaced():
    settings = Settings.model_validate(
        {
            "privacy": {"mode": "silhouette", "color": "#ff0000", "margin": 0.0},
            "background": {"mode": "color", "color": "#00ff00"},
        }
    )
    given = captured()
    redacted = make_redactor(settings, LABELS).apply(given)
    image = redacted.frame.image_bgr
    assert (image[15, 10] == (0, 0, 255)).all()
    assert (image[45, 70] == (0, 255, 0)).all()
    assert not (image == 60).all(axis=2).any()
    assert not image.flags.writeable
    assert (redacted.frame.index, redacted.frame.pts) == (given.frame.index, given.frame.pts)
    assert (given.frame.image_bgr == np.uint8(60)).all()


@pytest.mark.parametrize("section", ["privacy", "background"])
def test_classes_that_are_not_there_are_refused_at_once(section):
    with pytest.raises(InputError, match=rf"{section}\.classes"):
        make_redactor(Settings.model_validate({section: {"mode": "blur", "classes": ["horse"]}}), LABELS)
