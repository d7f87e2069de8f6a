"""A headless Chromium, driven over its DevTools protocol by a pipe: neither a driver nor a port is needed.

Usage::

    with Browser() as browser:
        page = browser.open("http://127.0.0.1:8080/")
        page.wait_for("document.title === 'ready'")
        page.screenshot(Path("page.png"))

The protocol: https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

NAMES = ("chromium", "chromium-browser", "google-chrome")
ANSWER_S = 120.0
"""How long an answer may take on a busy machine."""

_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # a container's user is root; the only pages are ours
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)


def chromium() -> str | None:
    """The path of a Chromium; ``None`` if there is none."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


class Browser:
    """A Chromium with a profile of its own. A context manager."""

    def __enter__(self) -> Self:
        path = chromium()
        assert path is not None
        self._profile = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        to_read, self._to = os.pipe()
        self._from, to_write = os.pipe()
        command = f'exec "$@" 3<&{to_read} 4>&{to_write}'  # the numbers that --remote-debugging-pipe means
        self._process = subprocess.Popen(
            ["bash", "-c", command, "bash", path, *_FLAGS, f"--user-data-dir={self._profile.name}", "about:blank"],
            pass_fds=(to_read, to_write),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self._number, self._rest = 0, b""
        self.events: list[dict[str, Any]] = []
        return self

    def __exit__(self, *exc_info: object) -> None:
        with contextlib.suppress(OSError, AssertionError):
            self.call("Browser.close")
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._to)
        os.close(self._from)
        self._profile.cleanup()

    def open(self, url: str, width: int = 1200, height: int = 900, **media: str) -> Page:
        """Opens a page in a new tab.

        Args:
            url: What to open.
            width: The window's width in pixels.
            height: Its height.
            media: What the user prefers, such as ``prefers_color_scheme="dark"``.
        """
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        page.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        page.prefer(**media)
        page.call("Page.navigate", url=url)
        page.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'")
        return page

    def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Calls a method, and returns its result. What happens meanwhile is kept in ``events``."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        os.write(self._to, json.dumps(message).encode() + b"\0")
        stop_at = time.monotonic() + ANSWER_S
        while True:
            answer = self._receive(stop_at)
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def _receive(self, stop_at: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._from], [], [], max(0.0, stop_at - time.monotonic()))
            assert ready, f"Chromium has not answered in {ANSWER_S:.0f} s"
            read = os.read(self._from, 1 << 20)
            assert read, "Chromium has ended"
            self._rest += read
        message, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found


class Page:
    """A tab."""

    def __init__(self, browser: Browser, session: str):
        self._browser, self._session = browser, session

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Calls a method of this tab."""
        return self._browser.call(method, self._session, **params)

    def prefer(self, **media: str) -> None:
        """Sets what the user prefers: ``prefers_color_scheme="dark"``, ``prefers_reduced_motion="reduce"``."""
        features = [{"name": name.replace("_", "-"), "value": value} for name, value in media.items()]
        self.call("Emulation.setEmulatedMedia", features=features)

    def ask(self, expression: str) -> Any:
        """Returns the value of a JavaScript expression, which may be a promise."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, f"{expression}: {answer['exceptionDetails']}"
        return answer["result"].get("value")

    def wait_for(self, expression: str, timeout_s: float = ANSWER_S) -> None:
        """Waits until an expression is true, as JavaScript has it."""
        stop_at = time.monotonic() + timeout_s
        while True:
            if self.ask(f"Boolean({expression})"):
                return
            assert time.monotonic() < stop_at, f"not within {timeout_s:.0f} s: {expression}"
            time.sleep(0.1)

    def press(self, key: str) -> None:
        """Presses a key: ``Tab``, ``Enter``, or ``Space``."""
        code, text = {"Tab": (9, ""), "Enter": (13, "\r"), "Space": (32, " ")}[key]
        named = " " if key == "Space" else key
        self.call("Input.dispatchKeyEvent", type="keyDown", key=named, code=key, windowsVirtualKeyCode=code, text=text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=named, code=key, windowsVirtualKeyCode=code)

    def screenshot(self, path: Path) -> None:
        """Writes a PNG of the window."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def complaints(self) -> list[str]:
        """What the console says of this tab: exceptions, errors, and what its policy forbade."""
        ours = [event for event in self._browser.events if event.get("sessionId") == self._session]
        found = [event["params"]["entry"]["text"] for event in ours if event["method"] == "Log.entryAdded"]
        found += [str(event["params"]) for event in ours if event["method"] == "Runtime.exceptionThrown"]
        return found

    def requested(self) -> list[str]:
        """The URLs that this tab has asked for."""
        ours = [event for event in self._browser.events if event.get("sessionId") == self._session]
        return [event["params"]["request"]["url"] for event in ours if event["method"] == "Network.requestWillBeSent"]
