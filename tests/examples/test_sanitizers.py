"""Models under AddressSanitizer and ThreadSanitizer: several callers, teams, lent threads, two models together."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path
from typing import NamedTuple

import onnx
import pytest
import sanitize
import zoo

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "examples"

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64" or not shutil.which("cc"), reason="needs a C compiler for x86-64"
)


class Sanitized(NamedTuple):
    """Two models under a sanitizer; `other` sleeps as on macOS, by mutex and condition variable."""

    sanitizer: str
    model: Path
    other: Path


@pytest.fixture(scope="module", params=["address", "thread"])
def models(request, tmp_path_factory) -> Sanitized:
    """A sparse MobileNetV1 of small images, for two threads and for three."""
    folder, sanitizer = tmp_path_factory.mktemp(request.param), request.param
    network = folder / "network.onnx"
    onnx.save(zoo.MODELS["mobilenet_v1"](size=32, sparsity=0.9, width=0.5), network)
    model = sanitize.compile_object(network, folder / "model.o", sanitizer, threads=2)
    other = sanitize.compile_object(network, folder / "other.o", sanitizer, threads=3, defines=["SPARSEC_POSIX"])
    return Sanitized(sanitizer, model, other)


def test_four_callers_and_lent_threads(models, tmp_path):
    done = sanitize.run([EXAMPLES / "c" / "threads.c"], [models.model], models.sanitizer, tmp_path / "threads")
    assert (done.returncode, done.stdout) == (0, "equal\n"), done.stderr


def test_cpp(models, tmp_path):
    done = sanitize.run(
        [EXAMPLES / "cpp" / "main.cpp"], [models.model], models.sanitizer, tmp_path / "main", ["-std=c++17"]
    )
    assert done.returncode == 0, done.stderr
    assert len(set(done.stdout.splitlines())) == 1


def test_two_models(models, tmp_path):
    done = sanitize.run([HERE / "two_models.c"], [models.model, models.other], models.sanitizer, tmp_path / "two")
    assert (done.returncode, done.stdout) == (0, "equal\n"), done.stderr


def test_misuse_is_seen(models, tmp_path):
    """Accesses of kernels are instrumented: otherwise the other tests would say nothing."""
    short, found = {"address": (4, "heap-buffer-overflow"), "thread": (0, "data race")}[models.sanitizer]
    flags = [f"-DSHORT={short}"]
    done = sanitize.run([HERE / "misuse.c"], [models.model], models.sanitizer, tmp_path / "misuse", flags)
    assert done.returncode != 0
    assert found in done.stderr
