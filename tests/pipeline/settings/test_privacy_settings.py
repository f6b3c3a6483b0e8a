import pytest
from pydantic import ValidationError

from pipeline.settings.schema import Settings


def test_nothing_of_it_is_on_by_itself():
    settings = Settings()
    assert not settings.privacy.on
    assert settings.background.mode.value == "off"
    assert settings.attract.after_s is None
    assert not settings.supervision.restart
    assert settings.virtual_camera.device is None
    assert settings.output.segment_s is None


@pytest.mark.parametrize(
    ("section", "values"),
    [
        ("privacy", {"mode": "fog"}),
        ("privacy", {"classes": []}),
        ("privacy", {"color": "red"}),
        ("privacy", {"cells": 1}),
        ("privacy", {"late_after_s": 0}),
        ("background", {"edge": 0.3}),
        ("background", {"color": "#12345"}),
        ("attract", {"after_s": 0}),
        ("supervision", {"timeout_s": 0}),
        ("supervision", {"restarts": -1}),
        ("window", {"monitor": -1}),
        ("output", {"segment_s": 0.5}),
        ("output", {"keep_bytes": 10}),
        ("virtual_camera", {"device": ""}),
    ],
)
def test_what_cannot_be_meant_is_refused(section, values):
    with pytest.raises(ValidationError, match=f"{section}.{next(iter(values))}"):
        Settings.model_validate({section: values})
