"""The tag of the program's own recordings, from which `report` learns whether a video was redacted."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.settings.presentation_settings import PrivacyMode

_PREFIX = "recorded by stream_segment; privacy: "


def recording_tag(privacy: PrivacyMode) -> dict[str, str]:
    """The metadata of a container that holds frames of a run with this privacy mode."""
    return {"comment": f"{_PREFIX}{privacy.value}"}


def tagged_privacy(metadata: Mapping[str, str]) -> PrivacyMode | None:
    """The privacy mode of the run that recorded a container with this metadata; None if it is no recording of ours."""
    # Matroska stores the names of tags in capitals.
    comment = {name.lower(): text for name, text in metadata.items()}.get("comment", "")
    return next((mode for mode in PrivacyMode if comment == f"{_PREFIX}{mode.value}"), None)
