import pytest

from benchmarks.measuring import at_least
from benchmarks.options import Options
from benchmarks.rows import resnet_512, resnet_1024


@pytest.mark.parametrize(
    ("row", "size", "targets"),
    [
        (resnet_1024, 1024, {"of Keras": at_least(4), "of the original": at_least(8)}),
        (resnet_512, 512, {"fps": at_least(5), "of the original": at_least(25)}),
    ],
)
def test_sizes_and_targets(monkeypatch, row, size, targets):
    asked = []
    monkeypatch.setattr(row, "resnet_row", lambda *args, rounds: asked.append(args))
    row.measure(Options())
    ((name, title, max_dim, _, given),) = asked
    assert (name, title, max_dim, given) == (row.__name__.rpartition(".")[2], row.TITLE, size, targets)
