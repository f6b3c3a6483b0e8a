"""In place of NNCF: what it is asked to quantize stays as it is."""

from importlib.machinery import ModuleSpec
from types import SimpleNamespace


class FakeNncf:
    """The module.

    Attributes:
        calibrated: (inputs, preset) of each model that was to be quantized.
    """

    __spec__ = ModuleSpec("nncf", None)
    QuantizationPreset = SimpleNamespace(PERFORMANCE="performance")
    IgnoredScope, Dataset = SimpleNamespace, list

    def __init__(self):
        self.calibrated = []

    def quantize(self, model, dataset, *, subset_size, preset, ignored_scope):
        assert subset_size == len(dataset)
        self.calibrated.append((dataset, preset))
        return model
