"""Multi-object tracking, and what builds on track ids: counts, line crossings, dwell times, events."""
