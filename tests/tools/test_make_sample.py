"""The sample's script, on small clips whose frames tell their number."""

import av
import numpy as np
import pytest

from tools import make_sample

SLOW, FAST = "slow.mp4", "fast.mkv"


def write_clip(path, rate, count):
    """160x90; gray, 20 brighter each frame, black in the left half."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "0"})
        stream.width, stream.height, stream.pix_fmt = 160, 90, "yuv420p"
        for number in range(count):
            image = np.full((90, 160, 3), 10 + 20 * number, np.uint8)
            image[:, :80] = 0
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode())


def decode(path):
    with av.open(str(path)) as container:
        return [picture.to_ndarray(format="bgr24") for picture in container.decode(video=0)]


@pytest.fixture
def clips(tmp_path, monkeypatch):
    write_clip(tmp_path / SLOW, 10, 8)
    write_clip(tmp_path / FAST, 30, 12)
    right = (80, 22, 80, 45)
    shots = make_sample.Shot(FAST, 3, 6, right), make_sample.Shot(SLOW, 5, 7, right)
    monkeypatch.setattr(make_sample, "SHOTS", shots)
    return tmp_path


def test_shots_are_cut_cropped_and_keep_their_pace(clips, monkeypatch, capsys):
    """Frames 3 to 5 of the fast clip, then 5 and 6 of the slow one, three times each."""
    target = clips / "out.mp4"
    monkeypatch.setattr("sys.argv", ["make_sample.py", str(clips), str(target)])
    make_sample.main()
    assert capsys.readouterr().out.startswith(f"{target}: 9 frames, 0.30 s, ")
    images = decode(target)
    assert {image.shape for image in images} == {(360, 640, 3)}
    fast, slow = ([image[:, 80:].mean() for image in decode(clips / name)] for name in (FAST, SLOW))
    expected = [*fast[3:6], *[slow[5]] * 3, *[slow[6]] * 3]
    np.testing.assert_allclose([image.mean() for image in images], expected, atol=4)
    with av.open(str(target)) as container:
        sound = container.streams.audio[0]
        assert (sound.codec_context.name, sound.rate) == ("aac", 48_000)
        heard = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(sound)])
    assert 0.01 < np.abs(heard).max() < 0.25


def test_a_missing_clip_is_named(clips, monkeypatch):
    (clips / SLOW).unlink()
    monkeypatch.setattr("sys.argv", ["make_sample.py", str(clips), str(clips / "out.mp4")])
    with pytest.raises(SystemExit, match=r"slow\.mp4 is missing; samples/CREDITS\.txt"):
        make_sample.main()
    assert not (clips / "out.mp4").exists()
