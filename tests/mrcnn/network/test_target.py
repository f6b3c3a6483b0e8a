"""What a program is compiled for: the default, and what is asked for while one is traced."""

import threading

import pytest

from mrcnn.network.target import Target, default_target, target, tracing_for
from tests.mrcnn.conftest import on_tensorflow


def test_outside_of_a_block_it_is_where_the_backend_computes_but_tensorflow_keeps_its_own_ops(monkeypatch):
    assert target() is (Target.PROCESSOR if on_tensorflow() else default_target())
    monkeypatch.setattr("mrcnn.network.target.default_target", lambda: Target.ACCELERATOR)
    assert target() is (Target.PROCESSOR if on_tensorflow() else Target.ACCELERATOR)


@pytest.mark.parametrize("asked", list(Target))
def test_inside_a_block_it_is_what_was_asked_for_even_when_that_fails(asked):
    outside = target()
    other = next(choice for choice in Target if choice is not asked)

    def fail():
        with tracing_for(asked):
            assert target() is asked
            with tracing_for(other):
                assert target() is other
            assert target() is asked
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert target() is outside


def test_other_threads_are_not_touched():
    seen = []
    outside = target()
    other = next(choice for choice in Target if choice is not outside)
    with tracing_for(other):
        thread = threading.Thread(target=lambda: seen.append(target()))
        thread.start()
        thread.join(10)
    assert seen == [outside]
