"""Threads and where they meet: slots, stages, OpenCV's own threads."""
