"""Redacts people and replaces backgrounds before a frame is shown, stored or served."""
