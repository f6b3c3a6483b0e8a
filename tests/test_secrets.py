"""No secret of a source or of the page leaves the program: every kind of URI, through every exit."""

import json
import logging
import re
import threading
import time

import pytest
import yaml

import stream_segment
from pipeline.commands import run as run_command
from pipeline.console.run_report import summary_text
from pipeline.errors import InputError
from pipeline.safe_uri import refuse_address
from pipeline.settings.loading import dump_settings, load_settings
from pipeline.settings.schema import Settings
from pipeline.settings.source_settings import SourceSettings
from pipeline.sources.factory import make_source
from tests.pipeline.nasty_uris import NASTY_URIS, SECRET
from tests.pipeline.sources.mjpeg_server import MjpegServer
from tests.pipeline.web.served import served

PATH_SETTINGS = (
    *("output.path", "detections.path", "output.record_dir", "window.stills_dir"),
    *("model.weights", "model.labels", "background.picture", "attract.picture"),
)
TOKEN = f"token-{SECRET}-of-the-page"


def opens(uri):
    """Whether the program takes this for an address, which it tries to open."""
    try:
        make_source(SourceSettings(uri=uri))
    except InputError:
        return False
    return True


ADDRESSES = [uri for uri in NASTY_URIS if opens(uri)]


def test_the_table_has_both_kinds():
    assert len(ADDRESSES) > 15
    assert len(NASTY_URIS) - len(ADDRESSES) > 8


@pytest.fixture
def exits(capsys, caplog):
    """Collects everything that is printed or logged."""
    caplog.set_level(logging.DEBUG)

    def collected():
        printed = capsys.readouterr()
        return printed.out + printed.err + caplog.text

    return collected


@pytest.fixture
def no_shipped_settings(monkeypatch, tmp_path):
    """config.yaml holds the defaults and nothing secret; reading it is most of what a usage error takes."""
    monkeypatch.setattr(run_command, "shipped_file", lambda name: tmp_path / "absent" / name)


@pytest.mark.usefixtures("no_shipped_settings")
@pytest.mark.parametrize("uri", NASTY_URIS)
def test_errors_of_the_command_line(uri, exits, tmp_path):
    quick = ["--no-window", "--verbose", "--set", "source.reconnect.read_timeout_s=0.5"]
    config = tmp_path / "nasty.yaml"
    config.write_text(yaml.safe_dump({"source": uri}))
    for arguments in (
        ["--source", uri, *quick, "--policy", "recorded"],
        [uri, *quick],
        ["--sorce", uri],
        [f"--sorce={uri}"],
        ["--set", uri],
        ["--set", f"source={uri}"],
        ["--set", f"serve={uri}"],
        ["--set", f"source.width={uri}"],
        ["--source", uri, "--set", "source.wdth=3"],
        ["--source", uri, "--width", "wide"],
        ["optimize", uri],
        ["evaluate", "--set", f"source.uri={uri}"],
        ["--config", str(config)],
    ):
        assert stream_segment.main(arguments) == 2, arguments
    assert SECRET not in exits()


@pytest.mark.parametrize(
    "text", ["source: {uri: *SECRET}", "source: {uri: !SECRET x}", "SECRET", "serve: {token: SECRET, max_viewers: x}"]
)
def test_errors_of_a_settings_file(text, exits, tmp_path):
    path = tmp_path / "some.yaml"
    path.write_text(text.replace("SECRET", SECRET))
    assert stream_segment.main(["--config", str(path)]) == 2
    assert SECRET not in exits()


@pytest.mark.parametrize("uri", NASTY_URIS)
def test_printed_settings_name_a_variable_and_can_be_read_back(uri, exits, tmp_path, monkeypatch, capsys):
    detect = f"source.detect_uri={json.dumps(uri)}"
    assert stream_segment.main(["--source", uri, "--set", detect, "--serve-token", TOKEN, "--print-config"]) == 0
    text = capsys.readouterr().out
    assert SECRET not in text + exits()
    assert "  uri_env: STREAM_SEGMENT_SOURCE\n" in text
    assert "  detect_uri_env: STREAM_SEGMENT_DETECT_SOURCE\n" in text
    assert "  token_env: STREAM_SEGMENT_TOKEN\n" in text
    path = tmp_path / "printed.yaml"
    path.write_text(text)
    monkeypatch.setenv("STREAM_SEGMENT_SOURCE", uri)
    monkeypatch.setenv("STREAM_SEGMENT_DETECT_SOURCE", uri)
    monkeypatch.setenv("STREAM_SEGMENT_TOKEN", TOKEN)
    settings = load_settings(path)
    assert settings.source.uri.reveal() == uri
    assert settings.source.detect_uri is not None
    assert settings.source.detect_uri.reveal() == uri
    assert settings.serve.token is not None
    assert settings.serve.token.get_secret_value() == TOKEN
    assert dump_settings(settings) == text
    for shown in (repr(settings), str(settings), settings.model_dump_json(), str(settings.model_dump())):
        assert SECRET not in shown


@pytest.mark.parametrize("uri", [uri for uri in NASTY_URIS if uri not in ADDRESSES])
def test_a_sub_stream_that_is_none(uri, exits):
    detect = f"source.detect_uri={json.dumps(uri)}"
    assert stream_segment.main(["--source", "test:64x48", "--set", detect, "--no-window"]) == 2
    assert SECRET not in exits()


@pytest.mark.parametrize("uri", ADDRESSES)
def test_a_camera_that_is_not_there(uri, exits, monkeypatch):
    """The page, its API and what is logged while the program tries to connect."""
    monkeypatch.setattr("pipeline.web.run_routes.STILL_TIMEOUT_S", 0.05)
    reconnect = {"at_start": True, "read_timeout_s": 0.5, "first_delay_s": 0.05}
    source_settings = {"uri": uri, "detect_uri": uri, "reconnect": reconnect}
    source = make_source(SourceSettings.model_validate(source_settings))
    with served(source, serve={"stalled_after_s": 0.1}, source=source_settings) as run:
        answers = [run.get(path) for path in ("/", "/api/status", "/healthz", "/metrics", "/snapshot.jpg")]
        text = repr(answers) + source.state.text + run.stream.info.source_id + run.stream.info.description
        text += summary_text(run.stream.summary()) + str(run.stream.plan)
    assert b"not connected yet" in answers[1][2]
    assert json.loads(answers[2][2])["reason"] == "no frame shown yet"
    assert SECRET not in text + exits()


def test_a_camera_that_delivers(exits, tmp_path, caplog, monkeypatch):
    """JSON lines, summary, page and log of a run whose address has secrets in all places."""
    monkeypatch.setattr("pipeline.runtime.substream.STALE_S", 0.2)
    results = tmp_path / "results.jsonl"
    with MjpegServer() as server, MjpegServer() as sub:
        uri, sub_uri = (
            one.url.replace("http://", f"http://joe:{SECRET}@") + f"?token={SECRET}" for one in (server, sub)
        )
        source = make_source(SourceSettings(uri=uri))
        settings = {"uri": uri, "detect_uri": sub_uri}
        with served(source, source=settings, detections={"path": str(results)}) as run:
            run.wait_for_masks()
            sub.running.clear()
            until_s = time.monotonic() + 30
            while "the network gets the main stream" not in caplog.text and time.monotonic() < until_s:
                threading.Event().wait(0.01)
            assert "the network gets the main stream" in caplog.text
            source_id = run.stream.info.source_id
            answers = [run.get(page) for page in ("/", "/api/status", "/healthz", "/metrics")]
    assert re.fullmatch(r"http://\*\*\*@127\.0\.0\.1:\d+/\S*\?\*\*\*", source_id)
    text = repr(answers) + results.read_text() + summary_text(run.stream.summary())
    assert SECRET not in text + exits()


def test_a_masked_secret_is_refused_with_its_line(tmp_path):
    path = tmp_path / "masked.yaml"
    path.write_text("source:\n  width: 640\n  uri: rtsp://***@cam/live\nserve:\n  token: '************'\n")
    with pytest.raises(InputError) as caught:
        load_settings(path)
    assert f"{path}:3: source.uri: expected" in str(caught.value)
    assert f"{path}:5: serve.token: " in str(caught.value)
    assert "***" in str(caught.value)


def test_variables(tmp_path, monkeypatch):
    path = tmp_path / "variables.yaml"
    path.write_text("source:\n  width: 640\n  uri_env: CAMERA\nserve:\n  token_env: DOOR\n")
    monkeypatch.delenv("CAMERA", raising=False)
    monkeypatch.setenv("DOOR", "")
    with pytest.raises(InputError) as caught:
        load_settings(path)
    assert f"{path}:3: source.uri_env: the environment variable CAMERA is not set" in str(caught.value)
    assert f"{path}:5: serve.token_env: the environment variable DOOR is not set" in str(caught.value)
    monkeypatch.setenv("CAMERA", "rtsp://joe:pw@cam/live")
    monkeypatch.setenv("DOOR", TOKEN)
    settings = load_settings(path)
    assert (settings.source.uri.reveal(), settings.source.uri.name) == ("rtsp://joe:pw@cam/live", "rtsp://***@cam/live")
    assert settings.serve.token is not None
    assert settings.serve.token.get_secret_value() == TOKEN
    flag = load_settings(path, {("source", "uri"): ("--source", "clip.mp4")})
    assert (flag.source.uri.reveal(), flag.source.uri_env) == ("clip.mp4", None)


@pytest.mark.usefixtures("no_shipped_settings")
@pytest.mark.parametrize("uri", NASTY_URIS)
def test_an_address_in_place_of_a_path_is_refused_and_not_shown(uri, exits, tmp_path):
    """No setting that holds a path takes an address, so that none is printed, logged, or shown by the page."""
    config = tmp_path / "nasty.yaml"
    config.write_text(yaml.safe_dump({"output": {"path": uri}}))
    run = ["--source", "test:64x48", "--max-frames", "1", "--no-window"]
    for arguments in (
        *(["--output", path, *more] for path in (uri, f"{uri}/out.mp4") for more in (run, ["--print-config"])),
        *([flag, uri, "--print-config"] for flag in ("--detections", "--weights", "--labels")),
        *(["--set", f"{key}={json.dumps(uri)}", "--print-config"] for key in PATH_SETTINGS),
        ["--config", str(config), "--print-config"],
        ["evaluate", "--json", uri],
        ["train", "--output", uri],
        ["weights", "get", "coco", "--dir", uri],
    ):
        assert stream_segment.main(arguments) == 2, arguments
    assert SECRET not in exits()


@pytest.mark.parametrize("path", ["out.mp4", "-", "~/a@b.mp4", "C:\\a@b.mp4", "/a:b/c.mp4", "a?x.mp4"])
def test_paths_are_no_addresses(path):
    assert refuse_address(path) == path


def test_a_folder_that_looks_like_an_address_can_be_used(tmp_path):
    folder = tmp_path / "joe:a@cam"
    with pytest.raises(ValueError, match="not an address"):
        refuse_address(f"{folder}/out.mp4")
    folder.mkdir()
    assert refuse_address(f"{folder}/out.mp4") == f"{folder}/out.mp4"


def test_errors_for_scripts_do_not_repeat_values():
    with pytest.raises(InputError, match=r"serve\.token") as caught:
        Settings.model_validate({"source": {"uri": f"***://{SECRET}"}, "serve": {"token": SECRET}})
    assert SECRET not in str(caught.value)
