"""Damaged videos and images, and files that name other files in place of video."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from random import Random

import cv2
import numpy as np

from pipeline.settings.schema import Settings
from pipeline.sources.factory import make_source
from tests.fuzz.mutations import damaged
from tests.fuzz.targets import Bench, Case
from tests.pipeline.sources.clips import write_clip

MOST_FRAMES = 200
CLIPS: dict[str, dict[str, object]] = {
    "a.mp4": {"sound_s": 0.4},
    "b.mov": {"codec": "mjpeg", "pix_fmt": "yuvj420p"},
    "c.mkv": {"codec": "libx264"},
    "d.webm": {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "deadline": "realtime"}},
    "e.avi": {"codec": "mpeg4"},
    "f.ts": {"codec": "mpeg2video"},
    "g.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
}
LISTS: tuple[Callable[[str], str], ...] = (
    lambda name: f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{name}\n#EXT-X-ENDLIST\n",
    lambda name: f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{name}\n",
    lambda name: f'#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="{name}"\n#EXTINF:9,\n{name}\n#EXT-X-ENDLIST\n',
    lambda name: f'#EXTM3U\n#EXT-X-MAP:URI="{name}"\n#EXTINF:9,\n{name}\n#EXT-X-ENDLIST\n',
    lambda name: f"ffconcat version 1.0\nfile '{name}'\n",
    lambda name: f"#EXTM3U\n#EXTINF:9,\nconcat:{name}|{name}\n#EXT-X-ENDLIST\n",
    lambda name: f"#EXTM3U\n#EXTINF:9,\nsubfile,,start,0,end,9,,:{name}\n#EXT-X-ENDLIST\n",
    lambda name: (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
        'mediaPresentationDuration="PT9S">'
        f'<Period><AdaptationSet mimeType="video/mp4"><Representation id="a" bandwidth="1"><BaseURL>{name}</BaseURL>'
        "</Representation></AdaptationSet></Period></MPD>"
    ),
    lambda name: f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nt=0 0\nm=video 5004 RTP/AVP 96\na=control:{name}\n",
    lambda name: f'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><image href="{name}"/></svg>',
    lambda name: f"[Reference]\nRef1={name}\n",
)
"""Playlists and the like that name a file."""
SUFFIXES = (".mp4", ".mkv", ".avi", ".ts", ".webm", ".txt", ".svg", ".asx")
"""Of files that are not said to be lists."""


def video_case(bench: Bench) -> Case:
    """Reads a damaged video to its end."""
    made = {name: write_clip(bench.folder / name, 8, **options).read_bytes() for name, options in CLIPS.items()}

    def case(random: Random) -> None:
        if random.random() < 0.2:
            text = random.choice(LISTS)(random.choice(bench.baits())).encode()
            name = f"list{random.choice(SUFFIXES)}"
            content = damaged(random, text, 2) if random.random() < 0.3 else text
        else:
            name = random.choice(list(made))
            content = damaged(random, made[name])
        seek = {"start_s": 0.1} if random.random() < 0.2 else {}
        _read_all({"uri": str(bench.input(name, content)), **seek})

    return case


def image_case(bench: Bench) -> Case:
    """Reads damaged images: one, or a folder."""
    picture = np.random.default_rng(1).integers(0, 255, (40, 60, 4), np.uint8)
    suffixes = (".png", ".jpg", ".bmp", ".tiff", ".webp", ".ppm", ".jp2", ".hdr", ".avif", ".gif")
    made = {}
    for suffix in suffixes:
        channels = 4 if suffix in (".png", ".tiff", ".webp") else 3
        with contextlib.suppress(cv2.error):  # a format that this build lacks
            made[suffix] = cv2.imencode(suffix, picture[..., :channels])[1].tobytes()

    def case(random: Random) -> None:
        paths = []
        for number in range(random.choice((1, 1, 3))):
            suffix = random.choice(list(made))
            paths.append(bench.input(f"in/{number}{random.choice((suffix, '.png'))}", damaged(random, made[suffix])))
        _read_all({"uri": str(paths[0] if len(paths) == 1 else bench.folder / "in")})

    return case


def _read_all(source: dict[str, object]) -> None:
    with make_source(Settings.model_validate({"source": {"policy": "recorded", **source}}).source) as opened:
        for _ in range(MOST_FRAMES):
            if opened.read() is None:
                break
