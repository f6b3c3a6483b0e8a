import asyncio
import threading
import weakref

import pytest

from pipeline.web.viewers import TooManyViewers, Viewers
from tests.pipeline.fakes import DEADLINE_S


def in_a_loop(work):
    async def limited():
        async with asyncio.timeout(DEADLINE_S):
            await work()

    asyncio.run(limited())


def attached(limit=3):
    viewers = Viewers(limit)
    viewers.bind()
    return viewers


def test_the_newest_picture_and_none_twice():
    async def work():
        viewers = attached()
        with viewers.watching():
            for picture in (b"one", b"two", b"three"):
                viewers.publish(picture)
            number, picture = await viewers.newer_than(0)
            assert (number, picture) == (3, b"three")
            waiting = asyncio.create_task(viewers.newer_than(number))
            await asyncio.sleep(0)
            assert not waiting.done()
            viewers.publish(b"four")
            assert await waiting == (4, b"four")

    in_a_loop(work)


def test_all_viewers_are_woken_from_another_thread():
    async def work():
        viewers = attached(limit=20)
        with viewers.watching():
            waiting = [asyncio.create_task(viewers.newer_than(0)) for _ in range(20)]
            await asyncio.sleep(0)
            thread = threading.Thread(target=viewers.publish, args=(b"x",))
            thread.start()
            assert await asyncio.gather(*waiting) == [(1, b"x")] * 20
            thread.join()

    in_a_loop(work)


def test_nothing_is_kept_without_viewers():
    async def work():
        viewers = attached()
        viewers.publish(b"before anybody came")
        with viewers.watching():
            viewers.publish(b"old")
        with viewers.watching():
            waiting = asyncio.create_task(viewers.newer_than(0))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not waiting.done()
            viewers.publish(b"new")
            assert (await waiting)[1] == b"new"

    in_a_loop(work)


def test_only_one_picture_is_held():
    class Picture(bytearray):  # unlike bytes, it can be referenced weakly
        pass

    async def work():
        viewers = attached()
        with viewers.watching():
            pictures = [Picture(b"1"), Picture(b"2"), Picture(b"3")]
            kept = [weakref.ref(picture) for picture in pictures]
            while pictures:
                viewers.publish(pictures.pop(0))
            assert [one() is None for one in kept] == [True, True, False]
        assert kept[2]() is None

    in_a_loop(work)


def test_viewers_are_limited_and_freed():
    viewers = Viewers(2)
    with viewers.watching(), viewers.watching():
        assert viewers.count == 2
        with pytest.raises(TooManyViewers), viewers.watching():
            pass
    assert viewers.count == 0
    with pytest.raises(ZeroDivisionError), viewers.watching():
        raise ZeroDivisionError
    assert viewers.count == 0


def test_the_end_wakes_current_and_later_viewers():
    async def work():
        viewers = attached()
        with viewers.watching():
            waiting = asyncio.create_task(viewers.newer_than(0))
            await asyncio.sleep(0)
            viewers.close()
            assert await waiting is None
            viewers.publish(b"too late")
            assert await viewers.newer_than(0) is None

    in_a_loop(work)
