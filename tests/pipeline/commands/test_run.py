"""The arguments of a run: what they set, and one clear line for every mistake. Whole runs are in test_end_to_end.py."""

import pytest
import yaml

import stream_segment
from pipeline.settings.schema import Settings


def run_main(capsys, *arguments):
    code = stream_segment.main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def assert_one_line_error(code, err, *parts):
    assert code == 2
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("stream_segment: error: ")
    for part in parts:
        assert part in lines[0]


def test_print_config_shows_the_flags_over_the_defaults(capsys):
    code, out, _ = run_main(
        capsys,
        "--print-config",
        "--source",
        "a b.mp4",
        "--max-dim",
        "512",
        "--min-score",
        "0.9",
        "--classes",
        "person, dog",
        "--no-window",
        "--realtime",
        "--fullscreen",
        "--set",
        "overlay.mask_alpha=0.3",
        "--no-audio",
    )
    settings = Settings.model_validate(yaml.safe_load(out))
    assert code == 0
    assert settings.source.uri.reveal() == "a b.mp4"
    assert settings.source.realtime
    assert settings.model.max_dim == 512
    assert settings.model.min_score == 0.9
    assert settings.model.classes == ("person", "dog")
    assert settings.window.mode.value == "off"
    assert settings.window.fullscreen
    assert settings.overlay.mask_alpha == 0.3
    assert settings.output.audio.value == "off"


def test_no_flags_are_the_defaults_camera_0_in_a_window(capsys):
    _, out, _ = run_main(capsys, "--print-config")
    assert Settings.model_validate(yaml.safe_load(out)) == Settings()
    assert Settings().source.uri.reveal() == "0"
    assert Settings().window.mode.value == "auto"


def test_a_settings_file_and_its_mistakes(capsys, tmp_path):
    path = tmp_path / "kiosk.yaml"
    path.write_text("window:\n  fullscreen: true\n")
    code, out, _ = run_main(capsys, "--config", str(path), "--print-config")
    assert code == 0
    assert yaml.safe_load(out)["window"]["fullscreen"] is True
    path.write_text("window:\n  fulscreen: true\n")
    code, _, err = run_main(capsys, "--config", str(path), "--print-config")
    assert_one_line_error(code, err, "kiosk.yaml:2", "window.fulscreen", "did you mean window.fullscreen?")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--nonsense"], ["--nonsense", "--help"]),
        (["clip.mp4"], ["clip.mp4"]),
        (["--source"], ["--source"]),
        (["--max-frames", "0"], ["--max-frames", "greater than or equal to 1", "'0'"]),
        (["--max-frames", "many"], ["--max-frames", "'many'"]),
        (["--max-dim", "500"], ["--max-dim", "multiple of 64"]),
        (["--min-score", "7"], ["--min-score", "less than or equal to 1"]),
        (["--device", "tpu"], ["--device", "'auto', 'cpu' or 'gpu'", "'tpu'"]),
        (["--start", "-3"], ["--start", "greater than or equal to 0"]),
        (["--duration", "0"], ["--duration", "greater than 0"]),
        (["--serve", "localhost"], ["--serve", "[HOST:]PORT", "'localhost'"]),
        (["--serve-token", "short"], ["--serve-token", "at least 12"]),
        (["--set", "overlay.alpha=1"], ["--set overlay.alpha:", "overlay.alpha", "mask_alpha"]),
        (["--set", "overlay"], ["--set needs KEY=VALUE"]),
        (["--config", "absent.yaml"], ["absent.yaml", "No such file"]),
        (["--source", "absent.mp4"], ["absent.mp4"]),
        (["--source", "ftp://example.org/a.mp4"], ["ftp://example.org/***"]),
        (["--source", "test:banana"], ["test:"]),
        (["weights"], ["COMMAND"]),
        (["weights", "imagenet"], ["imagenet", "get"]),
        (["--model", "coco", "--weights", "a.h5"], ["--model and --weights exclude each other"]),
        (["--model", "coco-r51", "--source", "test:64x48"], ["coco-r51", "did you mean coco-r50?"]),
    ],
)
def test_bad_usage_is_one_clear_line_and_exit_code_2(capsys, arguments, parts):
    code, out, err = run_main(capsys, *arguments)
    assert_one_line_error(code, err, *parts)
    assert out == ""


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--weights", "absent.h5"], ["absent.h5"]),
        (["--output", "out.avi"], ["out.avi", ".mp4"]),
        (["--output", "no/such/folder/out.mp4"], ["no/such/folder"]),
        (["--detections", "no/such/folder/out.jsonl"], ["no/such/folder"]),
    ],
)
def test_bad_outputs_and_weights_are_refused_before_anything_is_written(
    capsys, tmp_path, monkeypatch, arguments, parts, seeded_small_weights
):
    monkeypatch.chdir(tmp_path)
    common = ["--source", "test:64x48@30", "--max-frames", "2", "--no-window"]
    if "--weights" not in arguments:
        common += ["--weights", str(seeded_small_weights)]
    code, out, err = run_main(capsys, *common, *arguments)
    assert_one_line_error(code, err, *parts)
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_the_kiosk_preset_lies_over_config_yaml_and_under_everything_else(capsys, tmp_path):
    code, out, _ = run_main(capsys, "--kiosk", "--print-config")
    values = yaml.safe_load(out)
    assert code == 0
    assert values["window"] | {"mode": "on", "fullscreen": True, "cursor": False} == values["window"]
    assert values["source"]["reconnect"]["at_start"] is True
    assert values["supervision"]["restart"] is True
    assert values["attract"]["after_s"] == 30.0
    mine = tmp_path / "mine.yaml"
    mine.write_text("window: {cursor: true}\nattract: {after_s: 7}\n")
    flags = ["--set", "supervision.restart=false", "--no-window"]
    code, out, _ = run_main(capsys, "--kiosk", "--config", str(mine), *flags, "--print-config")
    values = yaml.safe_load(out)
    assert code == 0
    assert values["window"] | {"mode": "off", "fullscreen": True, "cursor": True} == values["window"]
    assert values["attract"]["after_s"] == 7.0
    assert values["supervision"]["restart"] is False
    assert values["source"]["reconnect"]["at_start"] is True


@pytest.mark.parametrize("text", ["attract: {after_s: -1}", "privacy: {mode: fog}", "nonsense: 1"])
def test_mistakes_in_a_file_over_the_preset_name_the_file(capsys, tmp_path, text):
    mine = tmp_path / "mine.yaml"
    mine.write_text(text + "\n")
    code, _, err = run_main(capsys, "--kiosk", "--config", str(mine), "--print-config")
    assert_one_line_error(code, err, "mine.yaml:1: ")


@pytest.mark.parametrize(("flags", "device"), [("", None), ("--virtual-camera", "auto"), ("--virtual-camera x", "x")])
def test_the_virtual_camera_flag_may_name_a_device(capsys, flags, device):
    code, out, _ = run_main(capsys, "--print-config", *flags.split())
    assert (code, yaml.safe_load(out)["virtual_camera"]["device"]) == (0, device)
