"""Libraries and objects for macOS on ARM: what the loader there asks of them, as it cannot be asked here."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

import pytest
from artifact import toy

from sparsec.artifact import read_artifact
from sparsec.errors import SparsecError, TargetError, UsageError
from sparsec.program import load
from sparsec.targets.glue import FUNCTIONS, TVM_FFI
from sparsec.targets.link import link
from sparsec.targets.registry import parse_target
from sparsec.targets.tools import llvm, zig

EXAMPLE = Path(__file__).parents[2] / "examples" / "c" / "threads.c"
ARM64, DYLIB, MACOS, PAGE = 0x100000C, 6, 1, 16384
SEGMENT, LOAD_DYLIB, ID_DYLIB, BUILD_VERSION, CODE_SIGNATURE = 0x19, 0xC, 0xD, 0x32, 0x1D
ABI = {f"_model_{function}" for function in FUNCTIONS}
LIBSYSTEM = {"bzero", "memcpy", "memset", "sysconf", "sysctlbyname", "dyld_stub_binder", "pthread_create"}
LIBSYSTEM |= {"pthread_join", *(f"pthread_{x}" for x in ("mutex_lock", "mutex_unlock", "cond_wait", "cond_broadcast"))}
WEAK = {"TVMFFIErrorSetRaisedFromCStrParts", "TVMFFIStringFromByteArray"}


@pytest.fixture(scope="module", autouse=True)
def isas():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(toy.ISAS, "arm-macos", parse_target("arm-macos").isas)
        yield


@pytest.fixture(scope="module")
def artifacts(isas, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("macos")
    return {emit: toy.build(folder, "arm-macos", emit, name="model", threads=2) for emit in ("dylib", "obj", "a")}


@dataclass
class Image:
    """A Mach-O file: its load commands by kind, each with its bytes."""

    data: bytes
    commands: list[tuple[int, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.magic, self.cpu, _, self.kind, count, *_ = struct.unpack_from("<8I", self.data)
        position = 32
        for _ in range(count):
            kind, size = struct.unpack_from("<II", self.data, position)
            self.commands.append((kind & 0x7FFFFFFF, self.data[position : position + size]))
            position += size

    def all(self, kind: int) -> list[bytes]:
        return [command for found, command in self.commands if found == kind]


def text_at(command: bytes, position: int) -> str:
    (start,) = struct.unpack_from("<I", command, position)
    return command[start:].split(b"\0")[0].decode()


def test_library_as_the_loader_wants_it(artifacts):
    image = Image(artifacts["dylib"].read_bytes())
    assert (image.magic, image.cpu, image.kind) == (0xFEEDFACF, ARM64, DYLIB)
    assert [text_at(command, 8) for command in image.all(ID_DYLIB)] == ["@rpath/model.dylib"]
    assert [text_at(command, 8) for command in image.all(LOAD_DYLIB)] == ["/usr/lib/libSystem.B.dylib"]
    platform, oldest = struct.unpack_from("<II", image.all(BUILD_VERSION)[0], 8)
    assert (platform, oldest) == (MACOS, 11 << 16)


def test_segments_as_the_loader_wants_them(artifacts):
    """In the order of addresses and of the file, inside of it, apart from one another; sections inside of them."""
    image = Image(artifacts["dylib"].read_bytes())
    previous, stop, end = b"", 0, 0
    for command in image.all(SEGMENT):
        name, address, size, offset, length, _, access, sections, _ = struct.unpack_from("<16sQQQQIIII", command, 8)
        name = name.rstrip(b"\0")
        assert address % PAGE == offset % PAGE == 0, name
        assert address >= stop, f"{name} in memory of {previous}"
        assert offset >= end, f"{name} in the file's part of {previous}"
        assert length <= size, name
        assert offset + length <= len(image.data), name
        assert access == {b"__TEXT": 5, b"__LINKEDIT": 1}.get(name, 3), name
        assert len(command) == 72 + 80 * sections, name
        for section in range(72, len(command), 80):
            start, nbytes = struct.unpack_from("<QQ", command, section + 32)
            assert address <= start <= start + nbytes <= address + size, command[section : section + 16]
        previous, stop, end = name, address + size, offset + length
    assert previous == b"__LINKEDIT"


def test_weights_and_manifest_are_read_only(artifacts):
    image = Image(artifacts["dylib"].read_bytes())
    protection = {}
    for command in image.all(SEGMENT):
        name, *_, most, first, _, _ = struct.unpack_from("<16sQQQQIIII", command, 8)
        protection[name.rstrip(b"\0")] = (most, first)
    assert protection[b"__TEXT"] == (5, 5), "read and execute"
    assert toy.SCALE.tobytes() in image.data
    sections = llvm("llvm-objdump", "--section-headers", artifacts["dylib"])
    assert re.search(r" __sparsec ", sections)


def test_signature_is_ad_hoc_and_right(artifacts):
    """The hashes of all pages, which the kernel compares before it maps them."""
    image = Image(artifacts["dylib"].read_bytes())
    offset, size = struct.unpack_from("<II", image.all(CODE_SIGNATURE)[0], 8)
    blob = image.data[offset : offset + size]
    magic, _, count = struct.unpack_from(">III", blob)
    assert magic == 0xFADE0CC0
    starts = [struct.unpack_from(">II", blob, 12 + 8 * i) for i in range(count)]
    directory = blob[dict(starts)[0] :]
    magic, _, _, flags, hashes, _, _, pages, covered = struct.unpack_from(">9I", directory)
    hash_size, hash_type, _, page_bits = struct.unpack_from("4B", directory, 36)
    assert (magic, flags & 2, hash_size, hash_type) == (0xFADE0C02, 2, 32, 2), "an ad hoc signature by SHA-256"
    assert covered == offset
    for page in range(pages):
        content = image.data[page << page_bits : min((page + 1) << page_bits, covered)]
        assert directory[hashes + 32 * page :][:32] == sha256(content).digest(), page


def test_library_exports_its_abi(artifacts):
    exported = set(
        re.findall(r"^0x\w+ +(\w+)", llvm("llvm-objdump", "--macho", "--exports-trie", artifacts["dylib"]), re.M)
    )
    linkers = {"___dso_handle", "__mh_dylib_header"}
    assert exported - linkers == {*ABI, *(f"_{name}" for name in TVM_FFI)}
    undefined = {line.split()[-1].removeprefix("_") for line in llvm("llvm-nm", "-u", artifacts["dylib"]).splitlines()}
    assert undefined <= LIBSYSTEM | WEAK


def test_kernel_that_is_missing(tmp_path):
    """It is found here, not by the loader."""
    isas, plan = toy.ISAS["arm-macos"], toy.toy_plan()
    plan.steps.append(replace(plan.steps[0], symbol="lost"))
    objects = toy.toy_objects(tmp_path / "kernels", isas)
    with pytest.raises(SparsecError, match="no code for _lost__neon"):
        link(plan, objects, isas, toy.toy_weights(tmp_path), tmp_path / "out" / "toy.dylib", "dylib")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("emit", ["obj", "a"])
def test_object_shows_only_its_abi(artifacts, emit):
    symbols = re.findall(r"([a-zA-Z]) (\w+)$", llvm("llvm-nm", "-g", artifacts[emit]), re.M)
    private = {"_model__weights", "_model__manifest"}
    assert {name for kind, name in symbols if kind != "U"} - private == ABI
    assert {name.removeprefix("_") for kind, name in symbols if kind == "U"} <= LIBSYSTEM


@pytest.mark.parametrize("emit", ["dylib", "obj", "a"])
def test_programs_link(artifacts, tmp_path, emit):
    path = artifacts[emit]
    zig("cc", "-target", "aarch64-macos.11.0", f"-I{path.parent}", EXAMPLE, path, "-o", tmp_path / "program")
    image = Image((tmp_path / "program").read_bytes())
    linked = ["@rpath/model.dylib"] if emit == "dylib" else []
    assert sorted(text_at(command, 8) for command in image.all(LOAD_DYLIB)) == ["/usr/lib/libSystem.B.dylib", *linked]


def test_artifact_is_read_and_does_not_run_here(artifacts):
    artifact = read_artifact(artifacts["dylib"])
    assert (artifact.machine, artifact.system, artifact.name) == ("aarch64", "Darwin", "model")
    with pytest.raises(TargetError, match=r"compiled for aarch64 macOS, and this is"):
        load(artifacts["dylib"])
    for emit in ("obj", "a"):
        with pytest.raises(UsageError, match="runs only after linking"):
            load(artifacts[emit])
