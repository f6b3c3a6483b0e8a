import asyncio
import json
import struct

from pipeline.web.tiles import Tiles, packed
from tests.pipeline.fakes import FakeClock


def unpacked(message):
    (length,) = struct.unpack(">I", message[:4])
    at, pictures = 4 + length, {}
    for camera, size in json.loads(message[4:at]):
        pictures[camera] = message[at : at + size]
        at += size
    assert at == len(message)
    return pictures


def test_packed():
    message = packed({"Straße": b"\xff\xd8abc", "b": b""})
    head = b'[["Stra\\u00dfe", 5], ["b", 0]]'
    assert message == struct.pack(">I", len(head)) + head + b"\xff\xd8abc"
    assert unpacked(message) == {"Straße": b"\xff\xd8abc", "b": b""}


def test_a_picture_is_due_five_times_a_second_while_somebody_watches():
    clock = FakeClock()
    tiles = Tiles(2, clock)
    assert not tiles.is_due("hall")
    with tiles.viewers.watching():
        assert tiles.is_due("hall")
        tiles.publish("hall", b"1")
        assert not tiles.is_due("hall")
        assert tiles.is_due("gate")
        clock.now_s += 0.1875
        assert not tiles.is_due("hall")
        clock.now_s += 0.0625
        assert tiles.is_due("hall")


def test_a_viewer_gets_what_is_new_of_each_camera():
    async def watch():
        tiles = Tiles(2)
        tiles.viewers.bind()
        with tiles.viewers.watching():
            messages = tiles.messages()
            tiles.publish("hall", b"1")
            tiles.publish("gate", b"2")
            assert unpacked(await anext(messages)) == {"hall": b"1", "gate": b"2"}
            tiles.publish("hall", b"3")
            tiles.publish("hall", b"4")
            assert unpacked(await anext(messages)) == {"hall": b"4"}
            tiles.publish("gate", b"5")
            tiles.publish("hall", b"6")
            tiles.forget(["gate", "unknown"])
            assert unpacked(await anext(messages)) == {"hall": b"6"}
            tiles.viewers.close()
            assert [message async for message in messages] == []

    asyncio.run(watch())
