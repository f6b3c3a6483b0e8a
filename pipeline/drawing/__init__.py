"""Draws masks, boxes, labels, status, lines and zones."""
