import pytest

from benchmarks.agreement_targets import least_percent


@pytest.mark.parametrize(
    ("words", "percent"),
    [
        ("OpenVINO, CPU, int8", 90),
        ("OpenVINO, CPU, bfloat16", 95),
        ("GPU, float16", 95),
        ("CPU, float32", 97),
        ("", 97),
    ],
)
def test_what_is_asked_of_a_precision(words, percent):
    assert least_percent(words) == percent
