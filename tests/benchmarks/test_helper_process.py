"""A process that answers, one that does not, and one that ends by itself."""

import pytest

from benchmarks.helper_process import HelperProcess
from pipeline.errors import RunError

DEADLINE_S = 60.0


def doubling(pipe):
    pipe.send("ready")
    while (order := pipe.recv()) != "end":
        if order == "leave":
            return
        if order is not None:
            pipe.send(2 * order)


def test_orders_are_answered_until_it_is_gone():
    with HelperProcess("doubler", doubling) as helper:
        assert helper.greeting == "ready"
        helper.send([3, "a"])
        assert helper.receive(DEADLINE_S) == [3, "a", 3, "a"]
        helper.send(None)
        with pytest.raises(RunError, match=r"the process of the doubler did not answer within 0\.01 s"):
            helper.receive(0.01)
        helper.send("leave")
        with pytest.raises(RunError, match="the process of the doubler has ended"):
            helper.receive(DEADLINE_S)
        with pytest.raises(RunError, match="the process of the doubler has ended"):
            helper.send(1)


def leaving(pipe):
    """Ends before it is ready."""


def test_one_that_cannot_begin():
    with pytest.raises(RunError, match="the process of the leaver has ended"):
        HelperProcess("leaver", leaving).__enter__()
