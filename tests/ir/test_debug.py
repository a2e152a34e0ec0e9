"""Dumps after each step, and reports of internal errors."""

import pytest

from sparsec import debug


def test_dump_only_where_asked(monkeypatch, tmp_path):
    monkeypatch.delenv("SPARSEC_DUMP", raising=False)
    debug.dump(0, "import", lambda: pytest.fail("printed for nothing"))
    monkeypatch.setenv("SPARSEC_DUMP", str(tmp_path / "new"))
    debug.dump(3, "fuse_maps", lambda: "module\n")
    assert (tmp_path / "new" / "03-fuse_maps.mlir").read_text() == "module\n"


def test_reproducer(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.argv", ["sparsec", "compile", "my model.onnx"])
    outer, inner = debug.stage("outer", lambda: "the outer IR"), debug.stage("fuse_maps", lambda: "builtin.module {}")
    with pytest.raises(ZeroDivisionError) as caught, outer, inner:
        raise ZeroDivisionError("oops")
    text = debug.write_reproducer(caught.value, tmp_path).read_text()
    for part in ("sparsec compile 'my model.onnx'", "numpy ", "ZeroDivisionError: oops", "IR in fuse_maps"):
        assert part in text
    assert "builtin.module {}" in text
    assert "outer" not in text.split("IR in")[1]


def test_reproducer_of_ir_that_does_not_print(tmp_path):
    with pytest.raises(ValueError, match="first") as caught, debug.stage("pass", lambda: str(1 / 0)):
        raise ValueError("first")
    assert "cannot be printed: ZeroDivisionError" in debug.write_reproducer(caught.value, tmp_path).read_text()


def test_reproducer_of_an_error_outside_the_passes(tmp_path):
    path = debug.write_reproducer(KeyError("x"), tmp_path)
    assert path.name.startswith("sparsec-bug-")
    assert "IR in" not in path.read_text()
