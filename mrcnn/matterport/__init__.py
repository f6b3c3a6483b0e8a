"""Compatibility with scripts written for Matterport's package; nothing else uses this folder."""
