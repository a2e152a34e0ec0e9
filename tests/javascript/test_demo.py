"""The demo page of examples/browser, with a small network."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest
from webdriver import serve

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "browser"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"browser_{name}", EXAMPLE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def site(tmp_path) -> Path:
    for file in ("index.html", "demo.js", "style.css"):
        shutil.copy(EXAMPLE / file, tmp_path)
    return tmp_path


def test_demo(site, browser):
    script("build").build(site / "models", size=64, width=0.25, classes=10)
    pages = script("screenshot")
    with serve(site, isolated=True) as (address, _):
        browser.messages()
        shown = pages.check(browser, address)
        assert pages.screenshot(browser, address).startswith(b"\x89PNG")
    assert shown["first"].startswith("class ")


def test_demo_without_models(site, browser):
    with serve(site) as (address, _), pytest.raises(RuntimeError, match=r"models/ is missing: run build.py first"):
        script("screenshot").check(browser, address)


def test_sparsity_is_that_of_elements():
    layers = [{"shapes": f"1x8x2x2, {n}x8x1x1 -> 1x{n}x2x2", "density": d} for n, d in ((9, 0.0), (1, 1.0))]
    assert script("build").zeros(layers) == 0.9
    assert script("build").zeros([]) == 0.0
