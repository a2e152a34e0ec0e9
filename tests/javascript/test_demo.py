"""The demo page of examples/browser, with a small network."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

from webdriver import serve

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "browser"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"browser_{name}", EXAMPLE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_demo(tmp_path, browser):
    for file in ("index.html", "demo.js", "style.css"):
        shutil.copy(EXAMPLE / file, tmp_path)
    script("build").build(tmp_path / "models", size=64, width=0.25, classes=10)
    pages = script("screenshot")
    with serve(tmp_path, isolated=True) as (address, _):
        browser.messages()
        shown = pages.check(browser, address)
        assert pages.screenshot(browser, address).startswith(b"\x89PNG")
    assert shown["first"].startswith("class ")
