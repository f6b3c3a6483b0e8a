from benchmarks.options import Options
from benchmarks.rows import resnet_512


def test_fewer_rounds_when_quick_are_left_to_the_options(monkeypatch):
    asked = {}
    monkeypatch.setattr(resnet_512, "resnet_row", lambda *args, rounds: asked.update(options=args[3], rounds=rounds))
    resnet_512.measure(Options(quick=True))
    assert asked == {"options": Options(quick=True), "rounds": 7}
