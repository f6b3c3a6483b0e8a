"""What pyproject.toml cannot say: files of the top level in the wheel, and sdists that are the same to the byte."""

import gzip
import os
import tarfile
import time
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

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


class ReproducibleSdist(sdist):
    """Archives files in order of their names, without owners, with one mode and one time: SOURCE_DATE_EPOCH or now."""

    def make_archive(self, base_name, format, root_dir=None, base_dir=None, owner=None, group=None):
        if format != "gztar":
            raise ValueError(f"expected the format gztar, got {format}")
        built_s = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))

        def anonymous(entry):
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mtime = built_s
            entry.mode = 0o755 if entry.isdir() else 0o644
            return entry

        path = f"{base_name}.tar.gz"
        with (
            open(path, "wb") as raw,
            gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=built_s) as zipped,
            tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for entry in (Path(base_dir), *sorted(Path(base_dir).rglob("*"))):
                archive.add(entry, recursive=False, filter=anonymous)
        return path


setup(cmdclass={"build_py": BuildWithData, "sdist": ReproducibleSdist})
