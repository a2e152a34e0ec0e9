"""Machines that run programs: files go there, commands run there, what they print comes back.

Over ssh a machine needs nothing but sshd and a POSIX shell; programs that are sent are static.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol
from urllib.parse import urlsplit

from sparsec.errors import TargetError, UsageError

CONNECT = 15  # seconds until a machine counts as unreachable
_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


class Transport(Protocol):
    """A connection to a machine with Linux. TargetError where the machine is gone or a command fails."""

    name: str
    machine: str  # as in LLVM's triples: x86_64, aarch64

    def send(self, file: Path) -> str:
        """Makes a file readable there, and executable if it is so here; returns its path there."""
        ...

    def place(self, name: str) -> str:
        """The path there of a file called `name`, which a command may write."""
        ...

    def run(self, command: Sequence[str], limit: float) -> str:
        """Runs a command for at most `limit` seconds and returns its standard output."""
        ...

    def fetch(self, path: str) -> bytes:
        """The contents of a file there."""
        ...

    def close(self) -> None:
        """Removes all that was sent."""
        ...


def open_transport(device: str) -> Transport:
    """The machine that `ssh://[user@]host[:port]` or `qemu[:CPU]` (AArch64 on this machine) names."""
    if device == "qemu" or device.startswith("qemu:"):
        return LocalTransport(device, "aarch64", emulator(device.partition(":")[2]))
    address = _parsed(device)
    if address is None:
        raise UsageError(f"--device {device}: give ssh://user@host[:port], or qemu[:CPU]")
    return SshTransport(device, *address)


def emulator(cpu: str = "") -> list[str]:
    """The command of qemu for AArch64 programs. TargetError where it is not installed."""
    found = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if found is None:
        raise TargetError("code for aarch64; to run it here install qemu-user-static")
    return [found, *(["-cpu", cpu] if cpu else [])]


def _parsed(device: str) -> tuple[str, int | None] | None:
    """What ssh calls the destination, and the port."""
    try:
        url = urlsplit(device)
        host, port = url.hostname or "", url.port
    except ValueError:
        return None
    user = f"{url.username}@" if url.username else ""
    if url.scheme != "ssh" or not host or f"{user}{host}".startswith("-") or url.path.strip("/") or url.password:
        return None
    return f"{user}{host}", port


class LocalTransport:
    """This machine, or one that an emulator plays: nothing is copied."""

    def __init__(self, name: str = "local", machine: str = platform.machine(), prefix: Sequence[str] = ()) -> None:
        self.name, self.machine = name, _MACHINES.get(machine, machine)
        self._prefix = prefix
        self._folder = tempfile.TemporaryDirectory(prefix="sparsec-")

    def send(self, file: Path) -> str:
        return str(file.resolve())

    def place(self, name: str) -> str:
        return os.path.join(self._folder.name, name)

    def run(self, command: Sequence[str], limit: float) -> str:
        return _output(self.name, _finished(self.name, [*self._prefix, *command], limit)).decode(errors="replace")

    def fetch(self, path: str) -> bytes:
        return Path(path).read_bytes()

    def close(self) -> None:
        self._folder.cleanup()


# Prints the machine and a new folder in which programs may run: /tmp is mounted noexec at times, and Android has none.
_ENTER = """
uname -sm
for parent in "${TMPDIR:-/tmp}" "$HOME" /var/tmp /data/local/tmp; do
    folder=$(mktemp -d "$parent/sparsec.XXXXXX" 2>/dev/null) || continue
    printf '#!%s\\n' "$(command -v sh)" > "$folder/probe" && chmod +x "$folder/probe"
    "$folder/probe" 2>/dev/null && echo "$folder" && exit 0
    rm -rf "$folder"
done
echo "no folder in which programs may run" >&2
exit 1
"""


class SshTransport:
    """A machine that the system's ssh reaches without asking for anything: by a key, an agent, ~/.ssh/config.

    The environment's SPARSEC_SSH is the command to use, "ssh" by default. All calls share one connection.
    """

    def __init__(self, name: str, destination: str, port: int | None) -> None:
        self.name, self._destination, self._sent, self._folder = name, destination, 0, ""
        self._control = tempfile.TemporaryDirectory(prefix="ssh-")
        options = {"BatchMode": "yes", "ConnectTimeout": CONNECT, "ControlMaster": "auto", "ControlPersist": 60}
        options["ControlPath"] = f"{self._control.name}/%C"
        self._ssh = [*shlex.split(os.environ.get("SPARSEC_SSH", "ssh")), *(["-p", str(port)] if port else [])]
        self._ssh += [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        try:
            self.machine = self._enter()
        except TargetError:
            self.close()
            raise

    def _enter(self) -> str:
        try:
            # As the input of a shell that understands it: people log in to csh and fish as well.
            system, self._folder = self._call("sh -s", CONNECT * 2, _ENTER.encode()).decode().splitlines()
        except ValueError:  # of too many lines, or of no text
            raise TargetError(f"{self.name}: the shell there says something else than it was asked for") from None
        kernel, _, machine = system.partition(" ")
        if kernel != "Linux":
            raise TargetError(f"{self.name}: runs {kernel}, and this needs Linux")
        return _MACHINES.get(machine, machine)

    def send(self, file: Path) -> str:
        path = self.place(f"{self._sent}-{file.name}")
        mode = "755" if os.access(file, os.X_OK) else "644"
        words = shlex.quote(path)
        with file.open("rb") as source:
            self._call(f"cat > {words} && chmod {mode} {words}", None, source)
        self._sent += 1
        return path

    def place(self, name: str) -> str:
        return f"{self._folder}/{name}"

    def run(self, command: Sequence[str], limit: float) -> str:
        return self._call(shlex.join(command), limit).decode(errors="replace")

    def fetch(self, path: str) -> bytes:
        return self._call(f"cat {shlex.quote(path)}", None)

    def close(self) -> None:
        """Ends the connection too; a machine that is gone by now is no error."""
        if self._folder:
            self._quietly([*self._ssh, "--", self._destination, f"rm -rf {shlex.quote(self._folder)}"])
        self._quietly([*self._ssh, "-O", "exit", "--", self._destination])
        self._control.cleanup()

    def _call(self, command: str, limit: float | None, source: IO[bytes] | bytes = b"") -> bytes:
        """What a command there prints; `source` is its standard input."""
        done = _finished(self.name, [*self._ssh, "--", self._destination, command], limit, source)
        if done.returncode == 255:  # of ssh itself
            raise TargetError(f"{self.name}: not reachable: {_last_line(done.stderr)}")
        return _output(self.name, done)

    def _quietly(self, command: Sequence[str]) -> None:
        with suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(command, capture_output=True, check=False, timeout=CONNECT)


def _finished(
    name: str, command: Sequence[str], limit: float | None, source: IO[bytes] | bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    try:
        if isinstance(source, bytes):
            return subprocess.run(command, input=source, capture_output=True, check=False, timeout=limit)
        return subprocess.run(command, stdin=source, capture_output=True, check=False, timeout=limit)
    except FileNotFoundError:
        raise TargetError(f"{name}: there is no {command[0]} on this machine") from None
    except subprocess.TimeoutExpired:
        raise TargetError(f"{name}: no answer in {limit:g} s") from None


def _output(name: str, done: subprocess.CompletedProcess[bytes]) -> bytes:
    if done.returncode != 0:
        raise TargetError(f"{name}: {_last_line(done.stderr) or f'the program ended with code {done.returncode}'}")
    return done.stdout


def _last_line(text: bytes) -> str:
    return (text.decode(errors="replace").strip().splitlines() or [""])[-1]
