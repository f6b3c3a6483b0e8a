"""What a source inherits from the base class."""

from __future__ import annotations

import pytest

from pipeline.records import Frame, SourceInfo, SourceKind
from pipeline.sources.base import Source


class Smallest(Source):
    """Only the abstract methods."""

    closed = False

    def open(self) -> SourceInfo:
        return SourceInfo("smallest", SourceKind.RECORDED, 2, 1)

    def read(self) -> Frame | None:
        return None

    def close(self) -> None:
        self.closed = True

    def interrupt(self) -> None:
        pass


def test_defaults_and_context_manager() -> None:
    source = Smallest()
    with source as opened:
        assert opened is source
        assert source.state_text == ""
        assert (source.reconnects, source.warnings.texts()) == (0, [])
        assert not source.closed
    assert source.closed


def test_an_error_in_the_block_closes_the_source_and_propagates() -> None:
    source = Smallest()
    with pytest.raises(KeyError), source:
        raise KeyError
    assert source.closed
