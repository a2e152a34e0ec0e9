"""Headless Chromium by Debian's chromedriver, and a server of folders for it; neither needs a package."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

# Without these Chromium asks Google's hosts at every start; as root it has no sandbox.
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
)

_WAIT = """
const done = arguments[arguments.length - 1], given = Array.from(arguments).slice(0, -1);
(async (...args) => { %s })(...given).then((value) => done({ value }), (error) => done({ error: `${error}` }));
"""

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # this machine needs no proxy


class Browser:
    """A window of Chromium. Use it as a context manager."""

    def __init__(self, *flags: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        self._driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        try:
            self._start(flags)
        except BaseException:
            self._end()
            raise

    def _start(self, flags: Sequence[str]) -> None:
        assert self._driver.stdout is not None
        started = (re.search(r"successfully on port (\d+)", line) for line in self._driver.stdout)
        self._url = f"http://127.0.0.1:{next(filter(None, started))[1]}/session"
        options = {"binary": shutil.which("chromium"), "args": [*FLAGS, f"--user-data-dir={self._folder.name}", *flags]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        session = self._call("POST", "", {"capabilities": {"alwaysMatch": wanted}})
        self._url += f"/{session['sessionId']}"
        self._call("POST", "/timeouts", {"script": 120000, "pageLoad": 60000})

    def _end(self) -> None:
        self._driver.terminate()
        self._driver.wait()
        self._folder.cleanup()

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._call("DELETE", "")
        finally:
            self._end()

    def open(self, url: str) -> None:
        """Load a page and wait until it is loaded."""
        self._call("POST", "/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """What the body of an async function returns, whose `args` are `arguments`. RuntimeError where it throws."""
        found = self._call("POST", "/execute/async", {"script": _WAIT % script, "args": list(arguments)})
        if "error" in found:
            raise RuntimeError(found["error"])
        return found.get("value")

    def resize(self, width: int, height: int) -> None:
        self._call("POST", "/window/rect", {"width": width, "height": height})

    def screenshot(self) -> bytes:
        """What the window shows, as PNG."""
        return base64.b64decode(self._call("GET", "/screenshot"))

    def messages(self) -> list[str]:
        """What the console said since the last call."""
        return [entry["message"] for entry in self._call("POST", "/se/log", {"type": "browser"})]

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self._url + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with _opener.open(request, timeout=180) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)["value"]["message"]) from None


class _Handler(SimpleHTTPRequestHandler):
    requests: list[str]

    def __init__(self, *arguments: Any, isolated: bool, requests: list[str], **options: Any) -> None:
        self.isolated, self.requests = isolated, requests
        super().__init__(*arguments, **options)

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-store")
        if self.isolated:
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def do_GET(self) -> None:
        self.requests.append(self.path)
        super().do_GET()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def serve(folder: Path, isolated: bool = False) -> Iterator[tuple[str, list[str]]]:
    """The address of a server of `folder` on this machine, and the paths that it is asked for.

    `isolated` pages may share memory between workers.
    """
    requests: list[str] = []
    handler = partial(_Handler, directory=str(folder), isolated=isolated, requests=requests)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", requests
        finally:
            server.shutdown()
