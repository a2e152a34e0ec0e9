"""`sparsec doctor`: whether this machine has what sparsec needs, and what it would gain from."""

from __future__ import annotations

import click

from sparsec.cli import options
from sparsec.doctor import diagnose
from sparsec.errors import TargetError


@click.command("doctor")
@options.as_json
def command(as_json) -> None:
    """Check the installation: compiler, linker, CPU, and the optional tools that run other targets."""
    findings = diagnose()
    if as_json:
        options.emit_json([finding._asdict() for finding in findings])
    else:
        options.table("doctor", ("what", "state", "detail"), findings)
    if any(finding.state == "missing" for finding in findings):
        raise TargetError("something that sparsec needs is missing, see above")
