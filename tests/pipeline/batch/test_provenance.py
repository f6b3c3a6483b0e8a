"""What the results of a batch depend on, and what is said when that has changed."""

import copy
import hashlib
import socket

import pytest

from pipeline.batch import provenance
from pipeline.batch.provenance import check_same_versions, check_unchanged, depends_on, versions
from pipeline.errors import InputError
from pipeline.settings.schema import Settings


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "net.h5"
    path.write_bytes(b"weights")
    return path


def made(weights, outputs=("video",), **values):
    model = {"weights": str(weights), **values.pop("model", {})}
    return depends_on(Settings.model_validate({"model": model, **values}), outputs)


def test_settings_that_make_no_results_do_not_count(weights):
    before = made(weights)
    for values in (
        {"source": {"uri": "b.mp4"}},
        {"window": {"mode": "off"}},
        {"progress": "off"},
        {"output": {"path": "x.mp4", "min_free_bytes": 0}},
    ):
        assert made(weights, **values) == before


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"model": {"min_score": 0.5}}, "model.min_score was not set and is 0.5"),
        ({"tracking": {"enabled": False}}, "tracking.enabled was True and is False"),
        ({"output": {"crf": 30}}, "output.crf was 23 and is 30"),
        ({"source": {"start_s": 2.0}}, "source.start_s was 0.0 and is 2.0"),
        ({"outputs": ("video", "detections")}, r"outputs was \['video'\] and is \['video', 'detections'\]"),
    ],
)
def test_a_change_is_named(weights, tmp_path, values, text):
    with pytest.raises(InputError, match=f"results that were made otherwise: {text}. Give another --output"):
        check_unchanged(made(weights), made(weights, **values), tmp_path)


def test_other_content_of_a_file_of_the_same_name(weights, tmp_path):
    before = made(weights)
    weights.write_bytes(b"others!")
    with pytest.raises(InputError, match=r"files\.weights was \w{37}… and is \w{37}…"):
        check_unchanged(before, made(weights), tmp_path)
    weights.write_bytes(b"weights")
    weights.with_name("net.int8.npz").write_bytes(b"ranges")
    with pytest.raises(InputError, match=r"files\.calibration was not set and is"):
        check_unchanged(before, made(weights), tmp_path)


def test_a_calibration_in_the_users_cache_counts(weights, tmp_path, monkeypatch):
    monkeypatch.setattr("mrcnn.engines.calibration.user_cache", lambda: tmp_path / "cache")
    before = made(weights)
    digest = hashlib.sha256(b"weights").hexdigest()
    (tmp_path / "cache" / "int8").mkdir(parents=True)
    (tmp_path / "cache" / "int8" / f"{digest[:32]}.npz").write_bytes(b"ranges")
    with pytest.raises(InputError, match=r"files\.calibration was not set and is"):
        check_unchanged(before, made(weights), tmp_path)


def test_the_same_weights_elsewhere_are_the_same(weights, tmp_path):
    (tmp_path / "copy.h5").write_bytes(b"weights")
    check_unchanged(made(weights), made(tmp_path / "copy.h5"), tmp_path)


def test_many_changes_are_counted(weights, tmp_path):
    values = {"output": {"crf": 30, "preset": "slow"}, "source": {"start_s": 1.0, "max_frames": 3}}
    with pytest.raises(InputError, match=r"and 1 more\. Give another"):
        check_unchanged(made(weights), made(weights, **values), tmp_path)


def test_versions_hold_the_code_and_what_is_installed(monkeypatch):
    found = versions()
    assert {"stream_segment", "code", "numpy", "av", "opencv-contrib-python"} <= set(found)
    assert "no-such-package" not in found
    monkeypatch.setattr(provenance, "ROOT", provenance.ROOT / "tests")
    assert versions.__wrapped__()["code"] != found["code"]


def test_a_machine_with_other_versions_is_refused():
    here = versions()
    check_same_versions(here)
    other = copy.copy(here) | {"numpy": "1.0.0"}
    with pytest.raises(InputError, match=f"{socket.gethostname()} has other versions .*: numpy was 1.0.0 and is"):
        check_same_versions(other)
