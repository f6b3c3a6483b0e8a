"""The arguments of a run: what they set, and one clear line for every mistake. Whole runs are in test_end_to_end.py."""

import os
from types import SimpleNamespace

import pytest
import yaml

import stream_segment
from pipeline.commands.run import build_parser, exit_code, settings_of_runs
from pipeline.errors import InputError, OutputClosedError, RunError
from pipeline.ledger import EndReason, RunLedger, RunSummary
from pipeline.records import SourceInfo, SourceKind
from pipeline.runtime.camera_summaries import CamerasSummary, CameraSummary
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
        (["--sorce", "clip.mp4"], ["--sorce; did you mean --source?"]),
        (["--source=1", "--source=2", "--realtime"], ["--realtime: source.realtime is a setting of one source"]),
        (
            ["--source=1", "--source=2", "--output=o.mp4"],
            ["output.path of the cameras camera-1 and camera-2 is the same"],
        ),
        (["--source=1", "--source=absent.mp4"], ["absent.mp4 does not exist"]),
        (["clip.mp4", "--source", "0"], ["clip.mp4 and --source are both sources"]),
        (["wieghts", "list"], ["wieghts is no source; did you mean the command weights?"]),
        (["clip.mp4"], ["clip.mp4"]),
        (["--source"], ["--source"]),
        (["--max-frames", "0"], ["--max-frames", "expected at least 1, got '0'"]),
        (["--max-frames", "many"], ["--max-frames", "expected a whole number, got 'many'"]),
        (["--max-dim", "500"], ["--max-dim", "expected a multiple of 64"]),
        (["--min-score", "7"], ["--min-score", "expected at most 1"]),
        (["--device", "tpu"], ["--device", "expected 'auto', 'cpu' or 'gpu', got 'tpu'"]),
        (["--start", "-3"], ["--start", "expected at least 0"]),
        (["--duration", "0"], ["--duration", "expected more than 0"]),
        (
            ["--serve", "localhost"],
            ["--serve", "address: expected [HOST:]PORT such as 8080 or 0.0.0.0:8080, got 'localhost'"],
        ),
        (["--serve-token", "short"], ["--serve-token", "expected at least 12 characters, got 5 characters"]),
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


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Videos and images by name in the present folder; nothing reads them."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.mp4", "b.avi", "c.MKV", "d.jpg", "e.jp2", "photos/1.png", "photos/2.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"content")
    return tmp_path


def runs_of(*arguments):
    return settings_of_runs(build_parser().parse_args([*arguments]))


def test_each_source_without_a_flag_is_a_run_and_gets_a_name_beside_it(files):
    runs = runs_of("a.mp4", "--no-window", "b.avi", "c.MKV", "d.jpg", "e.jp2", "photos", "photos/*.png", ".")
    assert [(run.source.uri.reveal(), run.output.path) for run in runs] == [
        ("a.mp4", "a_segmented.mp4"),
        ("b.avi", "b_segmented.mp4"),
        ("c.MKV", "c_segmented.MKV"),
        ("d.jpg", "d_segmented.jpg"),
        ("e.jp2", "e_segmented.png"),
        ("photos", f"photos_segmented{os.sep}"),
        ("photos/*.png", f"photos_segmented{os.sep}"),
        (".", f"{files}_segmented{os.sep}"),
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--source", "a.mp4", "--no-window"),
        ("a.mp4", "--no-window", "--detections", "a.jsonl"),
        ("a.mp4", "--no-window", "--serve", "8080"),
        ("a.mp4", "--no-window", "--virtual-camera"),
        ("test:64x48", "--no-window"),
    ],
)
def test_nothing_is_written_beside_the_source_where_its_frames_are_taken_or_nobody_asked(files, arguments):
    assert [run.output.path for run in runs_of(*arguments)] == [None]


def test_a_given_output_is_that_of_every_run(files):
    assert [run.output.path for run in runs_of("a.mp4", "b.avi", "--output", "out.mp4", "--no-window")] == [
        "out.mp4",
        "out.mp4",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.mp4", "0"), "camera 0 may never end: give it by itself, as --source 0"),
        (("rtsp://joe:secret@host/live", "a.mp4"), "as --source rtsp://***@host/live"),
        (("a.mp4", "absent.mp4"), "absent.mp4 does not exist"),
        (("a.mp4", "b.avi", "--overwrite"), "--overwrite goes with one source"),
        (("a.mp4", "b.avi", "--loop"), "--loop goes with one source"),
    ],
)
def test_several_sources_must_end_and_keep_what_the_others_write(files, arguments, message):
    with pytest.raises(InputError) as caught:
        runs_of(*arguments, "--no-window")
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_folder_named_like_a_command_has_its_own_mistake(files):
    (files / "trains").mkdir()
    with pytest.raises(InputError, match="the folder trains contains no images"):
        runs_of("trains", "--no-window")


def cameras_of(*arguments):
    (settings,) = runs_of(*arguments, "--no-window")
    return [(camera.name, camera.uri.reveal()) for camera in settings.cameras]


def test_several_sources_with_flags_are_cameras(files):
    uris = ["0", "rtsp://joe:secret@10.0.0.7:554/live", "http://10.0.0.7/a", "test:", "a.mp4", "a.mp4"]
    names = ["camera-0", "10.0.0.7", "10.0.0.7-2", "test", "a", "a-2"]
    assert cameras_of(*(f"--source={uri}" for uri in uris)) == list(zip(names, uris, strict=True))


def test_a_source_on_the_command_line_takes_the_place_of_the_cameras_in_the_file(files):
    (files / "cameras.yaml").write_text("cameras: [{name: hall, uri: 0}, {name: gate, uri: 1}]")
    assert cameras_of("--config=cameras.yaml") == [("hall", "0"), ("gate", "1")]
    assert cameras_of("--config=cameras.yaml", "--source=a.mp4") == []
    assert cameras_of("--config=cameras.yaml", "a.mp4") == []
    assert cameras_of("--config=cameras.yaml", "--source=test:", "--source=1") == [("test", "test:"), ("camera-1", "1")]


def test_the_sub_stream_in_the_file_goes_with_its_source(files, monkeypatch):
    def sub_stream_of(*arguments):
        (settings,) = runs_of("--config=camera.yaml", "--no-window", *arguments)
        return settings.source.detect_uri and settings.source.detect_uri.reveal()

    monkeypatch.setenv("SUB", "rtsp://cam/sub")
    for sub_stream in ("detect_uri: rtsp://cam/sub", "detect_uri_env: SUB"):
        (files / "camera.yaml").write_text(f"source: {{uri: rtsp://cam/main, {sub_stream}}}")
        assert sub_stream_of() == "rtsp://cam/sub"
        assert sub_stream_of("--source=rtsp://other/main") is None
        assert sub_stream_of("a.mp4") is None
        assert (
            sub_stream_of("--source=rtsp://other/main", "--set=source.detect_uri=rtsp://other/sub")
            == "rtsp://other/sub"
        )


def summary_of(*errors, end=EndReason.FINISHED, live=True):
    kind = SourceKind.LIVE if live else SourceKind.RECORDED
    run = RunSummary(SourceInfo("s", kind, 8, 8), live, "m", RunLedger().overall(), 0, [], end, 1.0)
    cameras = tuple(CameraSummary(str(number), (run,), error) for number, error in enumerate(errors))
    return CamerasSummary(cameras, "m", 0, 1.0, end is EndReason.STOPPED)


@pytest.mark.parametrize(
    ("summary", "signal", "code"),
    [
        (summary_of(None, None), None, 0),
        (summary_of(None, RunError("x")), None, 1),
        (summary_of(InputError("x"), None), None, 2),
        (summary_of(InputError("x"), RunError("x")), None, 1),
        (summary_of(RunError("x"), OutputClosedError("x")), None, 141),
        (summary_of(None, end=EndReason.STOPPED), 2, 0),
        (summary_of(None, end=EndReason.STOPPED, live=False), 15, 143),
        (summary_of(InputError("x"), end=EndReason.STOPPED, live=False), 2, 2),
    ],
)
def test_the_exit_code_is_that_of_the_worst_camera(summary, signal, code):
    assert exit_code(summary, signal) == code


def stub_streams(monkeypatch, live, *ends):
    """Streams that end at once, the first one with the first end …; one that fails raises. Returns their sources."""
    sources = []

    class StubStream:
        opened, sinks = True, ["a sink"]

        def __init__(self, settings):
            self.end = ends[len(sources)]
            sources.append(settings.source.uri.reveal())

        def __enter__(self):
            if self.end is EndReason.FAILED:
                raise RunError("it failed")
            return self

        def __exit__(self, *_):
            pass

        def summary(self):
            return SimpleNamespace(live=live, end=self.end)

    monkeypatch.setattr("pipeline.commands.run.Stream", StubStream)
    monkeypatch.setattr("pipeline.commands.run.with_progress", lambda stream: [])
    monkeypatch.setattr("pipeline.commands.run.summary_text", lambda summary: "")
    return sources


@pytest.mark.parametrize(
    ("ends", "code", "count"),
    [
        ([EndReason.FINISHED, EndReason.FINISHED], 0, 2),
        ([EndReason.STOPPED, EndReason.FINISHED], 130, 1),
        ([EndReason.FAILED, EndReason.FINISHED], 1, 1),
        ([EndReason.FINISHED, EndReason.FAILED], 1, 2),
    ],
)
def test_the_first_run_that_does_not_succeed_is_the_last(files, monkeypatch, ends, code, count):
    sources = stub_streams(monkeypatch, False, *ends)
    assert stream_segment.main(["a.mp4", "b.avi", "--no-window"]) == code
    assert sources == ["a.mp4", "b.avi"][:count]


@pytest.mark.parametrize(
    ("flags", "live", "end", "code"),
    [
        ([], False, EndReason.STOPPED, 130),
        (["--loop"], False, EndReason.STOPPED, 0),  # nothing else ends it
        ([], True, EndReason.STOPPED, 0),
        ([], False, EndReason.FINISHED, 0),
    ],
)
def test_a_file_that_was_stopped_was_interrupted_unless_it_repeats(files, monkeypatch, flags, live, end, code):
    stub_streams(monkeypatch, live, end)
    assert stream_segment.main(["a.mp4", "--no-window", *flags]) == code


def test_no_labels_leaves_no_scores_either(capsys):
    _, out, _ = run_main(capsys, "--no-labels", "--print-config")
    overlay = yaml.safe_load(out)["overlay"]
    assert (overlay["labels"], overlay["scores"]) == (False, False)


@pytest.mark.parametrize(("flags", "device"), [("", None), ("--virtual-camera", "auto"), ("--virtual-camera x", "x")])
def test_the_virtual_camera_flag_may_name_a_device(capsys, flags, device):
    code, out, _ = run_main(capsys, "--print-config", *flags.split())
    assert (code, yaml.safe_load(out)["virtual_camera"]["device"]) == (0, device)
