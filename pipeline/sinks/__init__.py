"""Sinks for presented frames: window, recordings, detections, virtual camera."""
