"""Covering people and replacing backgrounds before anything else sees a frame."""
