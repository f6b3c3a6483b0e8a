from benchmarks.measuring import at_least
from benchmarks.options import Options
from benchmarks.rows import automatic
from pipeline.segmentation.machine import Machine
from tests.benchmarks.rows.fakes import by_name, opening

TIMES = {"auto": 0.6, "bfloat16, 1": 0.5, "bfloat16, 2": 0.55, "float32, 1": 0.9, "float32, 2": 0.8}


def test_the_automatic_choice_against_the_best_combination(monkeypatch):
    engines = opening(monkeypatch, automatic)
    monkeypatch.setattr(Machine, "has_bfloat16", lambda self: True)
    monkeypatch.setattr(Machine, "int8_is_admissible", lambda self, model: False)

    def alternate(sides, rounds):
        for run in sides.values():
            run()
        return {label: [TIMES[label.removesuffix(" at a time")]] * rounds for label in sides}

    monkeypatch.setattr(automatic, "alternate", alternate)
    report = automatic.measure(Options())
    values = by_name(report)
    share = values["rate of the best combination that auto reaches"]
    assert (round(share.spread.median, 3), share.target, share.reached) == (0.833, at_least(0.95), False)
    assert values["frames a second, float32, 2 at a time"].spread.median == 30
    assert report.settings["best"] == "bfloat16, 1 at a time"
    forced = [(one.settings.get("precision"), one.settings.get("workers")) for one in engines]
    assert forced == [(None, None), ("bfloat16", 1), ("bfloat16", 2), ("float32", 1), ("float32", 2)]
    assert all(len(engine.seen) == automatic.FRAMES for engine in engines)
