"""Frames, threads, drawing and output: everything of stream_segment but the network itself (see ARCHITECTURE.md)."""

# OpenCV must be loaded before PyAV: both bring an X11 library of their own, and with PyAV's first, OpenCV's windows
# hang for ever on Linux (opencv/opencv issue 29195).
import cv2  # noqa: F401
