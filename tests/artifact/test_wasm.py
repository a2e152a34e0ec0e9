"""What a wasm module shows to any host, and the modules inside of it."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from artifact import toy

from sparsec.artifact import read_artifact
from sparsec.targets.glue import FUNCTIONS
from sparsec.targets.link_wasm import Delivery
from sparsec.targets.wasm_binary import addresses, append_section

wasmtime = pytest.importorskip("wasmtime", reason="no wasmtime")


@pytest.mark.parametrize("threads", [1, 3])
def test_imports_and_exports(built, threads):
    """Nothing is imported but memory that is shared; modules inside import the memory of the one around them."""
    artifact = read_artifact(built("wasm", threads=threads))
    engine = wasmtime.Engine()
    abi = {f"toy_{function}" for function in FUNCTIONS if function != "manifest"} | {"__heap_base"}
    team = {"__stack_pointer", "toy_work"} if threads > 1 else set()
    outer = wasmtime.Module.from_file(engine, str(artifact.path))
    inner = wasmtime.Module(engine, artifact.section("sparsec.wasm-relaxed"))
    assert {port.name for port in outer.exports} == abi | team | ({"weights"} if team else {"weights", "memory"})
    assert {port.name for port in inner.exports} == abi | team
    assert [port.name for port in outer.imports] == (["memory"] if team else [])
    assert [port.name for port in inner.imports] == ["memory"]


@pytest.mark.parametrize("threads", [1, 3])
def test_layout(built, threads):
    """Code, ports, workspace and stacks have memory of their own; all of it is in the pages."""
    artifact = read_artifact(built("wasm", threads=threads))
    layout, ports = artifact.manifest["layout"], (*artifact.inputs, *artifact.outputs)
    taken = [(layout["pointers"], 4 * len(ports)), (layout["workspace"], artifact.manifest["workspace_bytes"])]
    taken += [(address, port.nbytes) for address, port in zip(layout["ports"], ports, strict=True)]
    taken += [(top - 262144, 262144) for top in layout["stacks"]]
    ends = [(start, start + size) for start, size in sorted(taken)]
    assert ends[0][0] > addresses(artifact.path)["__heap_base"] > layout["weights"]
    assert all(end <= start for (_, end), (start, _) in pairwise(ends))
    assert ends[-1][1] <= 65536 * layout["pages"] < ends[-1][1] + 65536
    assert len(layout["stacks"]) == threads - 1


def test_manifest_for_hosts(tmp_path):
    """Plain JSON without the alternatives of each layer; the whole one is deflated."""
    path = toy.build(tmp_path, "wasm", delivery=Delivery(separate=True))
    artifact = read_artifact(path)
    brief = json.loads(artifact.section("sparsec.host"))
    assert brief == artifact.manifest
    assert [entry["name"] for entry in brief["weights_files"]] == ["toy.bin"]
    assert brief["parts"] == "weights"


def test_long_sections(built, tmp_path):
    """Lengths of more than one byte."""
    path = tmp_path / "toy.wasm"
    path.write_bytes(built("wasm").read_bytes())
    append_section(path, "long", bytes(300))
    append_section(path, "short", b"!")
    artifact = read_artifact(path)
    assert (artifact.section("long"), artifact.section("short")) == (bytes(300), b"!")
    assert addresses(path) == addresses(built("wasm"))
