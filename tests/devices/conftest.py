"""A private sshd on this machine, which lets in whoever runs the tests, by a key made for them."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")


@pytest.fixture(scope="session")
def device(tmp_path_factory) -> str:
    """`ssh://user@127.0.0.1:port`; SPARSEC_SSH is set to a client that knows the key."""
    if SSHD is None or shutil.which("ssh") is None:
        assert "SPARSEC_CI" not in os.environ, "CI installs openssh-server and openssh-client"
        pytest.skip("no sshd or no ssh on this machine")
    folder = tmp_path_factory.mktemp("sshd")
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
    port = _free_port()
    server = _serve(folder, port)
    client = _client(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPARSEC_SSH", f"ssh -F {client}")
        yield f"ssh://{getpass.getuser()}@127.0.0.1:{port}"
    server.terminate()
    server.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _serve(folder: Path, port: int) -> subprocess.Popen:
    settings = {
        "Port": port,
        "ListenAddress": "127.0.0.1",
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "user.pub",
        "StrictModes": "no",
        "UsePAM": "no",
        "PidFile": "none",
        "PermitRootLogin": "prohibit-password",
        "PasswordAuthentication": "no",
    }
    (folder / "sshd_config").write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd of root asks for it
    log = (folder / "log").open("wb")
    # Ends by itself where the tests are killed.
    server = subprocess.Popen(["timeout", "600", SSHD, "-D", "-e", "-f", folder / "sshd_config"], stderr=log)
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return server
        assert server.poll() is None, (folder / "log").read_text()
        time.sleep(0.1)
    raise AssertionError("sshd does not answer")


def _client(folder: Path) -> Path:
    settings = {
        "IdentityFile": folder / "user",
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": folder / "known_hosts",
        "StrictHostKeyChecking": "accept-new",
        "LogLevel": "ERROR",
    }
    path = folder / "ssh_config"
    path.write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
    return path
