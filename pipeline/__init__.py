"""Frames, threads, drawing and output: everything of stream_segment but the network itself (see ARCHITECTURE.md)."""
