"""Headless Chromium without a network, driven through its debugging pipe."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
_KEYS = {"ArrowLeft": 37, "ArrowRight": 39, "Backspace": 8, "Tab": 9, "Enter": 13}
_TIMEOUT = 20  # seconds


class Tab:
    """One tab: messages of the DevTools protocol over two pipes, each message ended by a zero byte."""

    def __init__(self, read: int, write: int) -> None:
        self._read, self._write, self._rest, self._sent = read, write, b"", 0
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    _session: str | None = None

    def call(self, method: str, **params: object) -> dict[str, Any]:
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": params}
        os.write(
            self._write, json.dumps(message | ({"sessionId": self._session} if self._session else {})).encode() + b"\0"
        )
        while True:
            response = self._receive()
            if response.get("id") == self._sent:
                assert "error" not in response, response
                return dict(response["result"])
            self.events.append(response)

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = os.read(self._read, 1 << 20)
            assert part, "the browser has closed"
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(message))

    def open(self, page: Path, ready: str = "document.getElementById('status').textContent !== ''") -> None:
        self.call("Page.navigate", url=page.as_uri())
        self.wait(f"document.readyState === 'complete' && {ready}")

    def value(self, expression: str) -> Any:  # noqa: ANN401
        response = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in response, response
        return response["result"].get("value")

    def text(self, element: str) -> str:
        return str(self.value(f"document.getElementById('{element}').textContent"))

    def wait(self, expression: str) -> None:
        end = time.monotonic() + _TIMEOUT
        while not self.value(expression):
            assert time.monotonic() < end, expression
            time.sleep(0.02)

    def press(self, *keys: str, modifiers: int = 0) -> None:
        for key in keys:
            code = _KEYS.get(key, ord(key[0].upper()))
            typed = {"text": "\r" if key == "Enter" else key} if len(key) == 1 or key == "Enter" else {}
            options = {"key": key, "windowsVirtualKeyCode": code, "modifiers": modifiers}
            self.call("Input.dispatchKeyEvent", type="keyDown", **options, **(typed if not modifiers else {}))
            self.call("Input.dispatchKeyEvent", type="keyUp", **options)

    def focus(self, selector: str) -> None:
        """Press Tab until an element has the focus."""
        for _ in range(60):
            self.press("Tab")
            if self.value(f"document.activeElement.matches({json.dumps(selector)})"):
                return
        raise AssertionError(f"Tab does not reach {selector}")

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def requests(self) -> list[str]:
        """Return the URLs that the page requested, without embedded images."""
        sent = (each["params"] for each in self.events if each.get("method") == "Network.requestWillBeSent")
        return [each["request"]["url"] for each in sent if not each["request"]["url"].startswith("data:")]

    def complaints(self) -> list[str]:
        kinds = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
        return [json.dumps(each["params"]) for each in self.events if each.get("method") in kinds]


@contextmanager
def open_browser(profile: Path, *options: str) -> Iterator[Tab]:
    """Start a browser and close it at the end."""
    to_browser, from_browser = os.pipe(), os.pipe()
    fixed = (to_browser[0], from_browser[1])
    shell = f'exec "$@" 3<&{fixed[0]} 4>&{fixed[1]}'
    command = [
        str(BROWSER),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        "--window-size=1400,860",
        "--remote-debugging-pipe",
        f"--user-data-dir={profile}",
        *options,
    ]
    running = subprocess.Popen(  # noqa: S603
        ["/bin/bash", "-c", shell, "browser", *command],
        pass_fds=fixed,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for end in fixed:
        os.close(end)
    try:
        yield Tab(from_browser[0], to_browser[1])
    finally:
        running.terminate()
        running.wait(_TIMEOUT)
        os.close(to_browser[1])
        os.close(from_browser[0])
