"""Drives a real browser over the DevTools protocol: opens a page, evaluates expressions, takes screenshots."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
)
DEADLINE_S = 30.0


def find_browser() -> str | None:
    """A browser that can be driven; None if there is none."""
    return next((path for path in map(shutil.which, NAMES) if path is not None), None)


class Page:
    """One open page.

    Attributes:
        problems: what was blocked, missing or thrown.
        dialogs: what the page asked in dialogs, each answered with `accepts`.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self.problems: list[str] = []
        self.dialogs: list[str] = []
        self.accepts = True
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for message in self._socket:
            values = json.loads(message.data)
            if "id" in values:
                self._answers.pop(values["id"]).set_result(values)
            elif values["method"] == "Runtime.exceptionThrown":
                self.problems.append(values["params"]["exceptionDetails"]["exception"].get("description", "exception"))
            elif values["method"] == "Page.javascriptDialogOpening":
                self.dialogs.append(values["params"]["message"])
                self._answering = asyncio.create_task(self.call("Page.handleJavaScriptDialog", accept=self.accepts))
            elif values["method"] == "Log.entryAdded":
                entry = values["params"]["entry"]
                self.problems.append(f"{entry['text']} {entry.get('url', '')}")

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Any method of the protocol."""
        self._number += 1
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers[self._number] = answer
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        values = await asyncio.wait_for(answer, DEADLINE_S)
        assert "error" not in values, values
        return values["result"]

    async def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression; promises are awaited."""
        result = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    async def until(self, expression: str, deadline_s: float = DEADLINE_S) -> float:
        """Waits until a JavaScript expression is true; returns the seconds that it took."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        while not await self.ask(expression):
            assert loop.time() < began_s + deadline_s, (
                f"not within {deadline_s} s: {expression}; state: {await self.ask('document.body.innerText')}"
            )
            await asyncio.sleep(0.05)
        return loop.time() - began_s

    async def open(self, url: str, width: int = 1280, height: int = 800, dark: bool = False) -> None:
        """Go to an address, in a window of this size."""
        await self.call("Runtime.enable")
        await self.call("Log.enable")
        await self.call("Page.enable")
        await self.resize(width, height)
        scheme = "dark" if dark else "light"
        await self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        await self.call("Page.navigate", url=url)
        await self.until("document.readyState === 'complete'")

    async def resize(self, width: int, height: int, mobile: bool = False) -> None:
        """Give the window a size in CSS pixels."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile
        )

    async def photograph(self, path: Path) -> None:
        """Save what the page shows as PNG."""
        data = (await self.call("Page.captureScreenshot", format="png"))["data"]
        path.write_bytes(base64.b64decode(data))

    async def close(self) -> None:
        """Stop listening."""
        self._reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reader


@contextlib.asynccontextmanager
async def browser_page(program: str, profile: Path) -> AsyncIterator[Page]:
    """A page in a browser of its own, which ends with the block.

    Args:
        program: the browser.
        profile: an empty folder.
    """
    process = await asyncio.create_subprocess_exec(
        program,
        *FLAGS,
        f"--user-data-dir={profile}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stderr is not None
        port = await asyncio.wait_for(_port(process.stderr), DEADLINE_S)
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
                pages = [one for one in await answer.json(content_type=None) if one["type"] == "page"]
            async with session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                page = Page(socket)
                try:
                    yield page
                finally:
                    await page.close()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.communicate(), DEADLINE_S)


async def _port(stderr: asyncio.StreamReader) -> int:
    """The address the browser listens on, read from its standard error."""
    while line := await stderr.readline():
        if b"DevTools listening on" in line:
            return int(line.split(b":")[2].split(b"/")[0])
    raise AssertionError("the browser ended before it listened")
