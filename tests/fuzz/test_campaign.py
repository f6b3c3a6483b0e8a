"""Fuzzes every input for a few seconds, and shows that the campaign finds what it looks for."""

import sys

import pytest

from tests.fuzz.campaign import run_targets, shares
from tests.fuzz.harmful import HARMFUL
from tests.fuzz.targets import TARGETS

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits and watches are Linux's")
FILES = [name for name in TARGETS if name != "page"]
"""The page has a test of its own in the fast tier: tests/pipeline/web/test_fuzz.py."""


def failures_of(counts, seed):
    outcomes = run_targets(counts, seed)
    assert {outcome.target: outcome.done for outcome in outcomes} == counts
    return [str(failure) for outcome in outcomes for failure in outcome.failures]


def test_no_input_does_harm():
    assert failures_of(shares(150, FILES), seed=0) == []


@pytest.mark.slow
def test_no_input_does_harm_in_many_cases():
    assert failures_of(shares(2000, list(TARGETS)), seed=2) == []


def test_shares_add_up():
    counts = shares(20_000, list(TARGETS))
    assert set(counts) == set(TARGETS)
    assert sum(counts.values()) == 20_000
    assert min(shares(3, list(TARGETS)).values()) == 1


@pytest.mark.slow
def test_harm_is_found():
    found = {outcome.target: outcome for outcome in run_targets(dict.fromkeys(HARMFUL, 2), seed=0, case_s=3.0)}
    texts = {name: "".join(failure.what for failure in outcome.failures) for name, outcome in found.items()}
    assert {name: text for name, text in texts.items() if HARMFUL[name][1] not in text} == {}
    assert {outcome.done for outcome in found.values()} == {2}
