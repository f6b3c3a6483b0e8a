"""The command `doctor`: checks what a run needs on this machine, and says what to do about what is missing."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from queue import Empty, Queue

from pipeline.commands.doctor_checks import CHECKS, Check, Finding, Level
from pipeline.commands.program import PACKAGES, VERBOSE_FLAG, Parser, set_up_logging
from pipeline.installation import program_name
from pipeline.threads.stage import FirstError, Stage


def run(argv: Sequence[str]) -> int:
    """Check everything; return 0, or 1 if there is a problem."""
    parser = Parser(
        prog=f"{program_name()} doctor",
        description="Check cameras, screen, codecs, weights, engines, GPU, cache and disk. A problem keeps the program "
        "from working (exit code 1); a warning costs a feature.",
        allow_abbrev=False,
    )
    parser.add_flags("output", {"--json": {"action": "store_true", "help": "print JSON"}, "--verbose": VERBOSE_FLAG})
    arguments = parser.parse_args(argv)
    set_up_logging(arguments.verbose)
    if not arguments.verbose:
        for name in PACKAGES:  # what a run logs, such as that it exports the network, is no finding
            logging.getLogger(name).setLevel(logging.ERROR)
    findings = []
    for check in CHECKS:
        for finding in results(check):
            findings.append(finding)
            if not arguments.json:
                print(text(finding), flush=True)
    code = int(any(finding.level is Level.PROBLEM for finding in findings))
    if arguments.json:
        records = [{**asdict(finding), "level": finding.level.value} for finding in findings]
        print(json.dumps({"findings": records, "exit_code": code}, indent=1))
    else:
        print(conclusion(findings))
    return code


def results(check: Check) -> Iterator[Finding]:
    """What a check finds, as it comes; that it fails, or hangs, is a problem itself."""
    found: Queue[Finding | None] = Queue()
    errors = FirstError()

    def work() -> None:
        try:
            for finding in check.run():
                found.put(finding)
        finally:
            found.put(None)

    stage = Stage(f"the check of {check.topic}", work, errors)
    stage.start()
    advice = f"report it with what `{program_name()} doctor --verbose` prints"
    try:
        yield from iter(lambda: found.get(timeout=check.limit_s), None)
    except Empty:
        yield Finding(check.topic, Level.PROBLEM, f"no answer within {check.limit_s:g} s", advice)
        return
    stage.wait(check.limit_s)
    if errors.error is not None:
        yield Finding(check.topic, Level.PROBLEM, str(errors.error), advice)


def text(finding: Finding) -> str:
    """A finding as a line, and one with what to do."""
    line = f"{finding.level.value:8} {finding.topic:8} {finding.text}"
    return f"{line}\n{'':18}-> {finding.advice}" if finding.advice else line


def conclusion(findings: Sequence[Finding]) -> str:
    """Such as "1 problem, 2 warnings"."""
    counts = Counter(finding.level for finding in findings)
    parts = [
        f"{counts[level]} {level.value}{'s' if counts[level] > 1 else ''}"
        for level in (Level.PROBLEM, Level.WARNING)
        if counts[level]
    ]
    return ", ".join(parts) or "all is well"
