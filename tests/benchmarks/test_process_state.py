"""Memory, threads and handles of a process."""

import os

import numpy as np

from benchmarks.process_state import footprint, release_memory, resident_bytes


def test_footprint_sees_a_new_handle_and_memory_that_is_used(tmp_path):
    release_memory()  # what earlier tests have left would be freed meanwhile
    before, used = footprint(), resident_bytes()
    with open(tmp_path / "held", "wb"):
        after = footprint()
        block = np.ones(8 * 2**20)  # 64 MB
        assert resident_bytes() - used > 32e6
    assert len(after.handles) == len(before.handles) + 1
    assert any(name.endswith(f"{os.sep}held") for name in after.handles)
    assert "MainThread" in before.threads
    del block
