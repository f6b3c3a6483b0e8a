"""Progress of a training run."""

import io

from pipeline.console.train_progress import TrainProgress, losses_text, validation_text


def test_lines_with_losses_and_the_time_left():
    output, now = io.StringIO(), [100.0]
    with TrainProgress(0, 200, output, lambda: now[0]) as progress:
        for step in range(1, 201):
            now[0] += 2.0
            line = {"step": step}
            if step % 10 == 0:
                line |= {"loss": 2.5, "rpn_class_loss": 0.1, "mrcnn_mask_loss": 0.425, "category_loss": 9}
            progress.report(line)
    lines = output.getvalue().splitlines()
    # the first one, then one in 30 s at least, and the last
    assert lines[0] == "step 10 of 200 (5 %), loss 2.500 rpn 0.100 mask 0.425, 6:20 left"
    assert [line.split()[1] for line in lines] == ["10", *(str(step) for step in range(30, 200, 20)), "200"]
    assert lines[-1].endswith("0:00 left")


def test_validation_time_does_not_count_as_a_step():
    output, now = io.StringIO(), [0.0]
    with TrainProgress(0, 10, output, lambda: now[0]) as progress:
        for step in (1, 2):
            now[0] += 1.0
            progress.report({"step": step})
        now[0] += 1000.0
        progress.report({"step": 2, "val_loss": 1.25, "mask_ap50": 0.5})
        for step in (3, 4):
            now[0] += 1.0
            progress.report({"step": step, "loss": 2.0})
    assert output.getvalue().splitlines() == [
        "step 2: validation loss 1.250, mask AP50 0.500",
        "step 3 of 10 (30 %), loss 2.000, ? left",
    ]


def test_a_bar_on_a_terminal(terminal):
    with TrainProgress(40, 50, terminal) as progress:
        progress.report({"step": 41, "loss": 2.0, "mrcnn_bbox_loss": 0.5})
        progress.report({"step": 41, "val_loss": 1.0, "mask_ap50": None})
    text = terminal.getvalue()
    assert "41/50" in text
    assert "loss 2.000 box 0.500" in text
    assert "step 41: validation loss 1.000, mask AP50 unknown (no objects)" in text


def test_losses_and_validation_as_text():
    assert losses_text({"loss": 1, "mrcnn_class_loss": 0.25}) == "loss 1.000 class 0.250"
    line = {"step": 7, "val_loss": 1.0, "mask_ap50": 0.25, "ap50_by_class": {"cup": 0.5, "dog": 0.0, "owl": None}}
    assert validation_text(line) == "step 7: validation loss 1.000, mask AP50 0.250 (cup 0.500, dog 0.000)"
    line["ap50_by_class"] = {"cup": 0.25}
    assert validation_text(line) == "step 7: validation loss 1.000, mask AP50 0.250"
