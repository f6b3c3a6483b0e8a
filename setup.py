"""Adds to the wheel what a clone has at its top level: weights, settings and the sample, as pipeline/data/."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

WEIGHTS = ("weights/stream_segment_person.h5", "weights/stream_segment_person.int8.npz")
DATA = ("config.yaml", "samples/CREDITS.txt", "samples/people.mp4", *WEIGHTS)


class BuildWithData(build_py):
    """Builds the packages, then copies DATA into `pipeline/data/`; an editable installation reads the clone's."""

    def run(self):
        super().run()
        for name in () if self.editable_mode else DATA:
            target = Path(self.build_lib, "pipeline", "data", name)
            self.mkpath(str(target.parent))
            self.copy_file(name, str(target))

    def get_source_files(self):
        """Files of the source distribution."""
        return [*super().get_source_files(), *DATA]


setup(cmdclass={"build_py": BuildWithData})
