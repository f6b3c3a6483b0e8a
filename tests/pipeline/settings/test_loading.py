import itertools
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from pipeline.errors import InputError
from pipeline.settings.loading import dump_settings, load_settings, parse_assignment
from pipeline.settings.output_settings import Look, WindowMode
from pipeline.settings.presentation_settings import PresentationMode
from pipeline.settings.schema import Settings

SHIPPED = Path(__file__).parents[3] / "config.yaml"


@pytest.fixture
def write(tmp_path):
    def write_text(text):
        path = tmp_path / "mine.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write_text


def refused(path=None, overrides=None):
    with pytest.raises(InputError) as caught:
        load_settings(path, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def section_keys(model=Settings):
    """Every key path of the settings, depth first."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from ((name, *rest) for rest in section_keys(field.annotation))
        else:
            yield (name,)


def test_the_shipped_file_holds_every_setting_with_its_default():
    assert load_settings(SHIPPED) == Settings()
    shipped = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    for key_path in section_keys():
        node = shipped
        for key in key_path:
            assert key in node, f"config.yaml lacks {'.'.join(key_path)}"
            node = node[key]


def test_every_shipped_line_with_a_value_has_a_comment():
    lines = SHIPPED.read_text(encoding="utf-8").splitlines()
    bare = [line for line in lines if ": " in line and "#" not in line]
    assert bare == ["  title: stream_segment"]


def test_a_script_may_give_the_path_as_text(write):
    path = write("overlay:\n  mask_alpha: 0.25\n")
    settings = load_settings(str(path))
    assert settings == load_settings(path)
    assert settings.loaded_from == path
    assert refused(str(path.with_name("missing.yaml"))).startswith("cannot read the settings file")


def test_a_partial_file_changes_only_what_it_names(write):
    settings = load_settings(write("overlay:\n  mask_alpha: 0.25\n"))
    assert settings.overlay.mask_alpha == 0.25
    assert settings.model_copy(update={"overlay": Settings().overlay}) == Settings()


def test_an_empty_file_is_all_defaults(write):
    assert load_settings(write("# nothing\n")) == Settings()


def test_off_is_a_word_not_a_boolean(write):
    assert load_settings(write("window: {mode: off}")).window.mode is WindowMode.OFF
    assert load_settings(write("window: {mode: on}")).window.mode is WindowMode.ON


def test_a_number_may_stand_for_a_camera(write):
    assert load_settings(write("source: {uri: 1}")).source.uri.reveal() == "1"


def test_overrides_win_over_the_file(write):
    path = write("presentation: exact\nmodel:\n  max_dim: 512\n")
    settings = load_settings(
        path, {("presentation",): ("--present", "smooth"), ("source", "uri"): ("--source", "a.mp4")}
    )
    assert settings.presentation is PresentationMode.SMOOTH
    assert settings.model.max_dim == 512
    assert settings.source.uri.reveal() == "a.mp4"


def test_unknown_key_names_line_and_neighbor(write):
    message = refused(write("source:\n  uri: a\n  widht: 640\n"))
    assert "mine.yaml:3: unknown setting source.widht" in message
    assert "did you mean source.width?" in message


def test_unknown_section_lists_what_there_is(write):
    message = refused(write("zzz: 1\n"))
    assert "mine.yaml:1: unknown setting zzz" in message
    assert "overlay" in message


def test_bad_value_names_key_line_and_value(write):
    message = refused(write("model:\n  min_score: 1.5\n"))
    assert "mine.yaml:2: model.min_score:" in message
    assert "expected at most 1" in message
    assert "1.5" in message


def test_several_mistakes_are_all_named(write):
    message = refused(write("model:\n  min_score: x\npresentation: wobbly\n"))
    assert "mine.yaml:2" in message
    assert "mine.yaml:3" in message


def test_bad_flag_is_named_by_the_flag():
    message = refused(None, {("source", "max_frames"): ("--max-frames", "ten")})
    assert message.startswith("--max-frames: source.max_frames:")
    assert "'ten'" in message


def test_value_where_a_group_belongs(write):
    assert "source is a group of settings" in refused(write("source: 3\n"))
    message = refused(write("source: 3\n"), {("source", "uri"): ("--source", "a")})
    assert "--source: source is not a group of settings" in message


def test_a_group_left_empty_can_be_filled_by_a_flag(write):
    settings = load_settings(write("source:\n"), {("source", "uri"): ("--source", "a.mp4")})
    assert settings.source.uri.reveal() == "a.mp4"


def test_key_given_twice(write):
    assert "mine.yaml:2: progress is given twice" in refused(write("progress: bar\nprogress: off\n"))


def test_broken_yaml_names_the_line(write):
    assert "mine.yaml:2: not valid YAML" in refused(write("source:\n  uri: ]\nmodel: {}\n"))


@pytest.mark.parametrize("text", ["source: &a {uri: *a}", "lines: &b [*b]"])
def test_an_alias_to_itself_is_refused(write, text):
    assert "mine.yaml:1: " in (message := refused(write(text)))
    assert "contains itself" in message


def test_a_list_is_not_settings(write):
    assert "expected settings such as" in refused(write("- 1\n- 2\n"))


def test_missing_file_folder_and_binary(tmp_path):
    assert "cannot read the settings file" in refused(tmp_path / "absent.yaml")
    assert "cannot read the settings file" in refused(tmp_path)
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00\x01")
    assert "not UTF-8" in refused(tmp_path / "b.yaml")


def test_print_and_read_back(write):
    settings = load_settings(None, {("overlay", "line_width"): ("x", 3), ("model", "classes"): ("x", ["person"])})
    assert load_settings(write(dump_settings(settings))) == settings


LOOKS = [None, *(look.value for look in Look)]
SWITCH = [None, True, False]
EFFECTS = [{"privacy": {"mode": p}, "background": {"mode": b}} for p in ("off", "blur") for b in ("off", "blur")]


@pytest.mark.parametrize("look", LOOKS)
def test_every_overlay_is_printed_and_read_back(write, look):
    for effects, masks, boxes, labels in itertools.product(EFFECTS, SWITCH, SWITCH, (None, True)):
        overlay = {"look": look, "masks": masks, "boxes": boxes, "labels": labels}
        settings = Settings.model_validate({"overlay": overlay, **effects})
        assert load_settings(write(dump_settings(settings))) == settings


@pytest.mark.parametrize("masks", SWITCH)
@pytest.mark.parametrize("look", LOOKS)
def test_every_overlay_of_a_camera_is_printed_and_read_back(write, look, masks):
    overlays = [{}, {"look": "clean"}, {"look": "debug"}, {"masks": False}, {"masks": True, "boxes": False}]
    cameras = [
        {"name": f"{number}", "uri": "test:", "overlay": overlay, **effects}
        for number, (overlay, effects) in enumerate(itertools.product(overlays, [{}, *EFFECTS]))
    ]
    for effects in EFFECTS:
        run = {"overlay": {"look": look, "masks": masks}, "cameras": cameras, **effects}
        settings = Settings.model_validate(run)
        again = load_settings(write(dump_settings(settings)))
        for before, after in zip(settings.cameras, again.cameras, strict=True):
            assert again.of_camera(after) == settings.of_camera(before)


@pytest.mark.parametrize("look", LOOKS[1:])
@pytest.mark.parametrize("printed", [look for look in LOOKS if look != "call"])  # whose background is printed as well
def test_a_look_lies_over_settings_that_were_printed(write, printed, look):
    over = {("overlay", "look"): ("--look", look)}
    path = write(dump_settings(Settings.model_validate({"overlay": {"look": printed}})))
    assert load_settings(path, over).overlay == load_settings(None, over).overlay


def test_switches_that_differ_from_the_look_stay_under_another_one(write):
    path = write(dump_settings(Settings.model_validate({"overlay": {"look": "labels", "ids": True, "scores": False}})))
    overlay = load_settings(path, {("overlay", "look"): ("--look", "tutorial")}).overlay
    assert (overlay.ids, overlay.scores, overlay.boxes, overlay.places) == (True, False, True, False)


def test_assignment():
    assert parse_assignment("overlay.mask_alpha=0.3") == (("overlay", "mask_alpha"), 0.3)
    assert parse_assignment("window.mode=off") == (("window", "mode"), "off")
    assert parse_assignment("model.classes=[person, dog]") == (("model", "classes"), ["person", "dog"])
    for bad in ("overlay", "=3", "a=[1"):
        with pytest.raises(InputError, match="--set"):
            parse_assignment(bad)


def test_errors_in_lists_name_the_line_of_the_item(write):
    head = "lines:\n  - {name: door, points: [[0, 0.5], [1, 0.5]]}\n"
    assert load_settings(write(head)).lines[0].points == ((0.0, 0.5), (1.0, 0.5))
    message = refused(write(head + "  - name: gate\n    points: [[0, 0.5]]\n"))
    assert "mine.yaml:4: lines.1.points: " in message
    message = refused(write(head + "  - name: gate\n    piont: [[0, 0.5], [1, 1]]\n"))
    assert "mine.yaml:4: unknown setting lines.1.piont; did you mean lines.1.points?" in message
    message = refused(write("zones:\n  - {name: a, points: [[0, 0], [9, 0], [9, -1]]}\n"))
    assert "mine.yaml:2: zones.0.points.2.1: " in message
    message = refused(write(head + "  - {name: door, points: [[0, 0], [9, 0]]}\n"))
    assert "mine.yaml:1: lines: the name 'door' is used twice" in message


@pytest.mark.parametrize(
    ("encoding", "shown"), [("utf-8", "Füße"), ("UTF8", "Füße"), ("ascii", "\\xFC"), ("cp1252", "\\xFC")]
)
def test_dumped_settings_are_utf8_or_ascii(write, encoding, shown):
    settings = Settings.model_validate({"source": {"uri": "Füße.mp4"}})
    text = dump_settings(settings, encoding)
    assert shown in text
    assert load_settings(write(text.encode(encoding).decode("utf-8"))) == settings


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("source: {uri: '\0'}", "a character that YAML does not allow"),
        ("source: {uri: !!int x}", "not valid YAML"),
        ("source: {uri: !!timestamp 2001-99-99}", "not valid YAML"),
        ("source: {uri: !!float .}", "not valid YAML"),
        ("[" * 5000, "nested too deeply"),
        ("{a: " * 5000, "nested too deeply"),
    ],
)
def test_values_that_yaml_cannot_read_are_one_line(write, text, message):
    assert message in refused(write(text))


def test_aliases_of_aliases_are_counted_and_not_expanded(write):
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    assert "more than 100,000 keys" in refused(write("\n".join(lines)))


@pytest.mark.parametrize("value", ["!!int x", "\0", "[" * 5000, "!!timestamp 2001-99-99"])
def test_set_values_that_yaml_cannot_read_are_one_line(value):
    with pytest.raises(InputError, match=r"--set a\.b: the value is not valid YAML"):
        parse_assignment(f"a.b={value}")
