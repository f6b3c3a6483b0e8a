"""Modules that take long to import: not while the program starts, and not while frames come."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "make",
    [
        "from pipeline.tracking.tracker import Tracker as make; make(TrackingSettings())",
        "from pipeline.motion.carry import make_carrier as make; make(MotionSettings(), live=True)",
    ],
    ids=["tracker", "carrier"],
)
def test_scipy_is_imported_after_the_program_and_before_the_first_frame(make):
    program = f"""
import sys
import pipeline.runtime.stream
from pipeline.settings.presentation_settings import MotionSettings, TrackingSettings
print("scipy.optimize" in sys.modules)
{make}
print("scipy.optimize" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
