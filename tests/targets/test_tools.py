"""Calls of the compiler and the linkers."""

import time

from sparsec.targets import tools


def test_why_the_first_link_for_a_target_takes_long_is_told(monkeypatch, capfd):
    monkeypatch.setattr(tools, "PATIENCE", 0.01)
    monkeypatch.setattr(tools, "run", lambda *command: time.sleep(0.2) or "")
    tools.zig("cc", "-target", "aarch64-linux-musl", "a.o", "-o", "a")
    assert "zig builds a C library" in capfd.readouterr().err
    tools.zig("cc", "-c", "a.c", "-o", "a.o")
    tools.zig("ld.lld", "a.o", "-o", "a")
    assert capfd.readouterr().err == ""


def test_links_that_are_quick_say_nothing(monkeypatch, capfd):
    monkeypatch.setattr(tools, "PATIENCE", 0.05)
    monkeypatch.setattr(tools, "run", lambda *command: "")
    tools.zig("cc", "a.o", "-o", "a")
    time.sleep(0.2)
    assert capfd.readouterr().err == ""
