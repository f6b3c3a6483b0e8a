"""The log: whole lines, and no step twice after a crash."""

from mrcnn.training.run_log import append_line, read_log, truncate_log


def test_lines_come_back_and_a_torn_one_is_left_out(tmp_path):
    path = tmp_path / "log.jsonl"
    assert read_log(path) == []
    append_line(path, {"step": 1, "loss": 0.5})
    append_line(path, {"step": 2, "mask_ap50": None})
    with path.open("a") as file:
        file.write('{"step": 3, "lo')
    assert read_log(path) == [{"step": 1, "loss": 0.5}, {"step": 2, "mask_ap50": None}]


def test_steps_that_will_be_done_again_are_cut(tmp_path):
    path = tmp_path / "log.jsonl"
    for step in (10, 20, 20, 30):
        append_line(path, {"step": step})
    truncate_log(path, 30)
    assert [line["step"] for line in read_log(path)] == [10, 20, 20, 30]
    truncate_log(path, 25)
    assert [line["step"] for line in read_log(path)] == [10, 20, 20]
    assert [file.name for file in tmp_path.iterdir()] == ["log.jsonl"]
