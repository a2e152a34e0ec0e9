"""Opens the demo in headless Chromium, drops an image on it, checks what it shows, and takes a screenshot.

    python examples/browser/build.py && python examples/browser/screenshot.py demo.png

Needs Debian's packages chromium and chromium-driver.
"""

from __future__ import annotations

import base64
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parents[1] / "benchmarks"))

from webdriver import Browser, serve  # noqa: E402

# What the page shows once it has measured so often.
_SHOWN = """
const status = document.getElementById('status');
while (Number(document.body.dataset.done ?? 0) < args[0]) {
  if (status.className === 'error') throw new Error(status.textContent);
  await new Promise((later) => setTimeout(later, 50));
}
const text = (selector) => document.querySelector(selector).textContent;
return { dense: parseFloat(text('#dense .latency')), sparse: parseFloat(text('#sparse .latency')),
         outputs: text('#outputs h2'), layers: document.querySelectorAll('#layers .row').length, first: text('td'),
         values: Array.from(document.querySelectorAll('td.number'), (cell) => cell.textContent) };
"""
_DROP = """
const content = Uint8Array.from(atob(args[0]), (byte) => byte.charCodeAt(0));
const dataTransfer = new DataTransfer();
dataTransfer.items.add(new File([content], args[1], { type: args[2] }));
for (const type of ['dragenter', 'dragover', 'drop']) {
  document.getElementById('drop').dispatchEvent(new DragEvent(type, { dataTransfer, bubbles: true, cancelable: true }));
}
"""


def check(browser: Browser, address: str) -> dict[str, Any]:
    """Load the page and drop an image on it; returns what it shows in the end. AssertionError where that is wrong."""
    browser.resize(1240, 900)
    browser.open(f"{address}/index.html")
    sample = browser.run(_SHOWN, 1)
    browser.run(_DROP, base64.b64encode(stripes(300, 200)).decode(), "stripes.png", "image/png")
    dropped = browser.run(_SHOWN, 2)
    for shown in (sample, dropped):
        assert shown["outputs"] == "The outputs agree", shown
        assert shown["layers"] > 5, shown
        assert shown["dense"] > 0, shown
        assert shown["sparse"] > 0, shown
    assert sample["values"] != dropped["values"], "another image gives other outputs"
    browser.run(_DROP, base64.b64encode(b"no image").decode(), "note.txt", "text/plain")
    message = browser.run(
        "await new Promise((later) => setTimeout(later, 300)); return document.getElementById('status').textContent;"
    )
    assert message == "note.txt is no image that this browser reads", message
    assert not browser.messages()
    return dropped


def stripes(width: int, height: int) -> bytes:
    """An image as PNG."""

    def pixel(x: int, y: int) -> bytes:
        return bytes((x * 255 // width, y * 255 // height, (x + y) // 24 % 2 * 200))

    def chunk(name: bytes, content: bytes) -> bytes:
        checked = name + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    rows = b"".join(b"\0" + b"".join(pixel(x, y) for x in range(width)) for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def screenshot(browser: Browser, address: str) -> bytes:
    """The whole page with its own sample, as PNG."""
    browser.open(f"{address}/index.html")
    browser.run(_SHOWN, 1)
    browser.resize(1240, browser.run("return document.documentElement.scrollHeight;") + 150)  # with the bars
    return browser.screenshot()


def main() -> None:
    if not (HERE / "models" / "info.json").exists():
        sys.exit("models/ is missing: run build.py first")
    with Browser("--hide-scrollbars") as browser, serve(HERE, isolated=True) as (address, _):
        print(check(browser, address))
        Path(sys.argv[1] if len(sys.argv) > 1 else "demo.png").write_bytes(screenshot(browser, address))


if __name__ == "__main__":
    main()
