"""Identity: which object of this frame is which object of an earlier one, and what follows from it (counts, events)."""
