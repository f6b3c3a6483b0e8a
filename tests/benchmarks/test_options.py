from benchmarks.options import Options


def test_options_survive_a_command_line():
    options = Options(quick=True, weights="/a b.h5", model={"precision": "int8", "proposals": 300})
    assert Options.from_text(options.to_text()) == options
    assert "\n" not in options.to_text()


def test_quick_makes_fewer_rounds():
    assert [Options(quick=quick).rounds(7) for quick in (False, True)] == [7, 2]
    assert Options(quick=True).rounds(1) == 1
