"""Masks on frames that were not inferred: optical flow between frames, and instances propagated along it."""
