"""What this machine offers to engines: packages, processor features, GPUs; and how each engine is made.

Tests put another machine in its place. Loads no framework earlier than needed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import math
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import InputError
from pipeline.segmentation.backend import BackendChoice, prepare_backend
from pipeline.segmentation.network_model import NetworkModel
from pipeline.settings.model_settings import Backend, Device, EngineKind, Precision

if TYPE_CHECKING:
    from mrcnn.engines.base import Engine
    from mrcnn.engines.calibration import Calibration

logger = logging.getLogger(__name__)

MODULES = {EngineKind.OPENVINO: "openvino", EngineKind.ONNX: "onnxruntime", EngineKind.KERAS: "keras"}


class Machine:
    """This machine."""

    nvidia_signs = ("/proc/driver/nvidia/version", "/dev/nvidia0", "/dev/dxg")
    """Files that an NVIDIA driver makes."""

    control_groups = Path("/sys/fs/cgroup")
    own_group = Path("/proc/self/cgroup")
    meminfo = Path("/proc/meminfo")
    own_status = Path("/proc/self/status")
    """Where Linux says how much processor time and memory this process may use."""

    def processor(self) -> str:
        """The processor's name."""
        with contextlib.suppress(OSError):
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
        return platform.processor() or platform.machine()

    def cores(self) -> int:
        """Cores whose whole time this process may use: those that it may run on, or fewer where a quota says so."""
        shown = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        quota = self._quota()
        return shown if quota is None else max(1, min(shown, math.ceil(quota)))

    def threads(self, workers: int) -> int | None:
        """Threads of each of several engines side by side; None for one on all cores, which then counts them itself."""
        if workers == 1 and self._quota() is None:
            return None
        return max(1, self.cores() // workers)

    def _quota(self) -> float | None:
        """Cores' worth of processor time that a container or service may use; None without a limit.

        See control groups of version 2, cpu.max, and 1, cpu.cfs_quota_us, in Linux' documentation.
        """
        found = [_quotient(group / "cpu.cfs_quota_us", group / "cpu.cfs_period_us") for group in self._groups("cpu")]
        found += [_quotient(group / "cpu.max") for group in self._groups()]
        return min((quota for quota in found if quota is not None), default=None)

    def spare_memory(self) -> int | None:
        """Bytes that this process may still take before the machine, or its control group, has none left.

        None where the system does not say. See MemAvailable in proc_meminfo(5) and, in Linux' documentation of control
        groups, version 2, memory.max, and 1, memory.limit_in_bytes; cached files give way and count as spare.
        """
        available_kb = _number(self.meminfo, "MemAvailable:")
        found = [] if available_kb is None else [1024 * available_kb]
        for groups, limit, usage, cached in (
            (self._groups(), "memory.max", "memory.current", "inactive_file"),
            (self._groups("memory"), "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            for group in groups:
                most, used = _number(group / limit), _number(group / usage)
                if most is not None and used is not None:
                    found.append(most - used + (_number(group / "memory.stat", cached) or 0))
        return max(0, min(found)) if found else None

    def used_memory(self) -> int | None:
        """Bytes of memory that this process occupies; None where the system does not say."""
        used_kb = _number(self.own_status, "VmRSS:")
        return None if used_kb is None else 1024 * used_kb

    def _groups(self, controller: str = "") -> Iterator[Path]:
        """Folders of this process's control group and those around it: of version 2, or of a controller of 1."""
        root = self.control_groups / controller
        own = ""
        with contextlib.suppress(OSError):
            for line in self.own_group.read_text(encoding="utf-8", errors="replace").splitlines():
                controllers, _, path = line.partition(":")[2].partition(":")
                if controller in controllers.split(","):
                    own = path.strip("/")
        group = root / own
        while group.is_relative_to(root):
            yield group
            group = group.parent

    def has(self, engine: EngineKind) -> bool:
        """Whether the package of an engine is installed; that it loads is another matter."""
        return importlib.util.find_spec(MODULES[engine]) is not None

    def has_bfloat16(self) -> bool:
        """Whether the processor computes in bfloat16. False also where OpenVINO does not load: making it says why."""
        from mrcnn.engines.base import EngineError
        from mrcnn.engines.openvino_runtime import cpu_has_bfloat16

        try:
            return bool(cpu_has_bfloat16())
        except EngineError:
            return False

    def int8_is_prepared(self, model: NetworkModel) -> bool:
        """Whether the weights have a calibration for int8."""
        return self._calibration(model) is not None

    def int8_is_admissible(self, model: NetworkModel) -> bool:
        """Whether int8 was measured to find what float32 finds, so that its speed may decide."""
        calibration = self._calibration(model)
        return calibration is not None and bool(calibration.is_admissible)

    def _calibration(self, model: NetworkModel) -> Calibration | None:
        from mrcnn.engines.calibration import CalibrationFault, read_calibration

        try:
            return read_calibration(model.weights.path)
        except (CalibrationFault, OSError) as fault:
            logger.debug("%s", fault)
            return None

    def recall(self, model: NetworkModel, key: str) -> dict[str, Any]:
        """What was measured of a network under this key; empty if nothing was, or it cannot be read."""
        with contextlib.suppress(OSError, ValueError, InputError):
            record = json.loads(self._measured(model, key).read_text(encoding="utf-8"))
            if isinstance(record, dict):
                return record
        return {}

    def remember(self, model: NetworkModel, key: str, record: Mapping[str, Any]) -> None:
        """Keep a measurement beside the network's exported graphs; a folder that cannot be written costs only that."""
        from mrcnn.weights.whole_file import write_whole

        path = self._measured(model, key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, json.dumps(record, indent=1) + "\n")
        except OSError as error:
            logger.debug("the measured times cannot be kept: %s", error)

    def _measured(self, model: NetworkModel, key: str) -> Path:
        from mrcnn.engines.cache import cache_folder

        calibration = self._calibration(model)  # another one makes another int8 network
        name = key if calibration is None else f"{key}-{calibration.digest[:8]}"
        return Path(cache_folder(model.weights.path, model.config)) / "measured" / f"{name}.json"

    def onnx_providers(self) -> Sequence[str]:
        """What ONNX Runtime computes with: "tensorrt", "cuda", "cpu", fastest first. Raises EngineError."""
        from mrcnn.engines.onnx_runtime import available_providers

        return list(available_providers())

    def gpu_is_likely(self) -> bool:
        """Whether there are signs of a GPU that Keras can use; looking for it by a framework would take seconds."""
        if sys.platform == "win32" and importlib.util.find_spec("torch") is None:
            return False  # TensorFlow and JAX see none there
        if os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1"):
            return False
        return any(Path(sign).exists() for sign in self.nvidia_signs) or shutil.which("nvidia-smi") is not None

    def prepare_keras(self, backend: Backend, device: Device) -> BackendChoice:
        """Load Keras with a backend; see `prepare_backend`."""
        return prepare_backend(backend, device)

    def make_keras(self, model: NetworkModel, precision: Precision) -> Engine:
        """See `mrcnn.engines.create.create_keras_engine`; raises InputError when the weights do not fit."""
        from mrcnn.engines.create import create_keras_engine
        from mrcnn.weights.checkpoint import WeightsError

        try:
            return create_keras_engine(model.weights.path, model.config, precision.value)
        except WeightsError as error:
            raise InputError(str(error)) from None

    def make_openvino(self, model: NetworkModel, precision: Precision, threads: int | None) -> Engine:
        """See `mrcnn.engines.create.create_openvino_engine`; raises InputError when the weights do not fit."""
        from mrcnn.engines.create import create_openvino_engine
        from mrcnn.weights.checkpoint import WeightsError

        try:
            return create_openvino_engine(model.weights.path, model.config, precision.value, threads)
        except WeightsError as error:
            raise InputError(str(error)) from None

    def make_onnx(self, model: NetworkModel, precision: Precision, provider: str) -> Engine:
        """See `mrcnn.engines.create.create_onnx_engine`; raises InputError when the weights do not fit."""
        from mrcnn.engines.create import create_onnx_engine
        from mrcnn.weights.checkpoint import WeightsError

        try:
            return create_onnx_engine(model.weights.path, model.config, precision.value, provider)
        except WeightsError as error:
            raise InputError(str(error)) from None


def _quotient(*files: Path) -> float | None:
    """The first number in the files over the second; None where they are not there, or say "max" or -1."""
    try:
        quota, period = (float(word) for file in files for word in file.read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return None
    return quota / period if quota > 0 and period > 0 else None


def _number(file: Path, name: str = "") -> int | None:
    """The whole number that follows a name at the beginning of a line; None where it is not there."""
    try:
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            words = line.removeprefix(name).split()
            if line.startswith(name) and words:
                return int(words[0])
    except (OSError, ValueError):
        pass
    return None
