import pipeline  # noqa: F401 - loads OpenCV before PyAV, without which windows hang
