"""Modules and the engines that run their JavaScript: Node, and pages in headless Chromium."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
from artifact import toy
from webdriver import Browser, serve

from sparsec.program import load
from sparsec.targets.link_wasm import Delivery

VARIANTS: dict[str, dict[str, Any]] = {
    "inside": {},
    "separate": {"delivery": Delivery(separate=True)},
    "parts": {"delivery": Delivery(separate=True, limit=200)},
    "threads": {"threads": 3},
    "threads_parts": {"threads": 3, "delivery": Delivery(separate=True, limit=200)},
}
ODD_NAME = "it's 100 % ü#1?.wasm"
PAGE = "<!doctype html><title>test</title>"
# Scripts of this origin only, and nothing that turns text into code; wasm must be allowed by name.
STRICT = f"""<meta http-equiv="Content-Security-Policy" content="script-src 'self' 'wasm-unsafe-eval'">{PAGE}"""
ALONE = f"""<meta http-equiv="Content-Security-Policy" content="worker-src 'none'">{PAGE}"""
WORKER = "onmessage = async ({ data: [file, x] }) => postMessage(await (await (await import(file)).load()).run({ x }));"


class Engine(Protocol):
    """What runs JavaScript on the files of a folder."""

    name: str

    def url(self, file: str) -> str:
        """Where a file of the folder is."""
        ...

    def run(self, script: str, *arguments: Any) -> Any:
        """What the body of an async function returns for `arguments`, its `args`; RuntimeError where it throws."""
        ...


@dataclass
class Node:
    """A process of Node for each run; it must end by itself."""

    folder: Path
    name: str = "node"

    def url(self, file: str) -> str:
        return f"{self.folder.as_uri()}/{file}"

    def run(self, script: str, *arguments: Any) -> Any:
        program = "import fs from 'node:fs'; const args = JSON.parse(fs.readFileSync(0, 'utf8'));"
        program += f"const main = async () => {{ {script} }};"
        program += "main().then((value) => console.log(JSON.stringify(value)), (e) => { console.error(`${e}`); "
        program += "process.exitCode = 1; });"
        command, given = ["node", "--input-type=module", "-e", program], json.dumps(arguments)
        done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        return json.loads(done.stdout) if done.stdout.strip() else None


@dataclass
class Page:
    """A page of Chromium; `requests` are the paths that it has asked for."""

    address: str
    requests: list[str]
    browser: Browser
    name: str = "chromium"

    def url(self, file: str) -> str:
        return f"{self.address}/{file}"

    def run(self, script: str, *arguments: Any) -> Any:
        return self.browser.run(script, *arguments)


def require(program: str, remedy: str) -> None:
    if shutil.which(program) is None:
        assert "SPARSEC_CI" not in os.environ, f"CI has {program}"
        pytest.skip(f"{program} is missing: {remedy}")


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """All variants of the toy model, each under its name, and pages."""
    folder = tmp_path_factory.mktemp("site")
    for name, options in VARIANTS.items():
        toy.build(folder, "wasm", name=name, **options)
    load(folder / "separate.wasm").save(folder / ODD_NAME)
    for name, text in (("index.html", PAGE), ("strict.html", STRICT), ("alone.html", ALONE), ("worker.js", WORKER)):
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    require("chromium", "apt install chromium")
    require("chromedriver", "apt install chromium-driver")
    with Browser() as browser:
        yield browser


@pytest.fixture
def node(folder) -> Node:
    require("node", "install Node.js 20.16 or later")
    return Node(folder)


def _page(folder: Path, browser: Browser, isolated: bool) -> Iterator[Page]:
    with serve(folder, isolated) as (address, requests):
        browser.open(f"{address}/index.html")
        browser.messages()
        yield Page(address, requests, browser)


@pytest.fixture
def page(folder, browser) -> Iterator[Page]:
    yield from _page(folder, browser, isolated=False)


@pytest.fixture
def isolated_page(folder, browser) -> Iterator[Page]:
    """A page that may share memory between workers."""
    yield from _page(folder, browser, isolated=True)


@pytest.fixture(params=["node", "isolated_page"])
def engine(request) -> Engine:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def x() -> np.ndarray:
    return np.random.default_rng(0).standard_normal(toy.SHAPE, dtype=np.float32)
