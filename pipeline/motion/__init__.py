"""Carries masks from one result to the next along the optical flow, so that every presented frame has them."""
