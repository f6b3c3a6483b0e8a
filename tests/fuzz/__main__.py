"""Fuzzes every input of the program: python -m tests.fuzz --cases 20000. Exit code 1 if anything was found."""

from __future__ import annotations

import argparse
import sys

from tests.fuzz.campaign import run_targets, shares
from tests.fuzz.targets import TARGETS


def main() -> int:
    """Run the campaign and print what it found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=2000, help="of all targets together (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="another one gives other cases (default: %(default)s)")
    parser.add_argument("--target", action="append", choices=list(TARGETS), help="may be repeated (default: all)")
    parser.add_argument("--first", type=int, default=0, help="number of the first case, to repeat one")
    given = parser.parse_args()
    found = 0
    for target, count in shares(given.cases, given.target or list(TARGETS)).items():
        (outcome,) = run_targets({target: count}, given.seed, given.first)  # each in a process of its own
        print(outcome, flush=True)
        found += len(outcome.failures)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
