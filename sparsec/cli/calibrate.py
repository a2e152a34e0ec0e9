"""`sparsec calibrate`: measures what the cost model knows of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

import click

from sparsec.cli import options
from sparsec.errors import TargetError, UsageError
from sparsec.targets.calibration import Calibration, calibrate
from sparsec.targets.cost import host_caches, machine_key, save
from sparsec.targets.isa import BF16_ISAS, ISAS, Isa, host_isas


@click.command("calibrate")
@click.option(
    "--target",
    default="host",
    show_default=True,
    metavar="T",
    help="host: the best ISA of this machine; x86: all of them; or one by its name, as in avx2.",
)
@click.option("--print", "as_python", is_flag=True, help="Print the costs as the tables of targets/shipped.py.")
@options.as_json
def command(target, as_python, as_json) -> None:
    """Measure the costs that choices of kernels and formats rest on, and keep them for this CPU.

    The first compilation does the same. Do it anew when the machine was busy then.
    """
    isas = _isas(target)
    found, files = {}, {}
    with options.progress() as progress:
        for isa in isas:
            found[isa.name] = calibrate(isa, host_caches(), progress)
            files[isa.name] = save(isa, machine_key(isa), found[isa.name].model)
    if as_json:
        options.emit_json({name: _summary(result, files[name]) for name, result in found.items()})
    elif as_python:
        click.echo("\n".join(_python(name, result.model.nanoseconds) for name, result in found.items()))
    else:
        for name, result in found.items():
            _table(name, result)
            click.echo(f"kept in {files[name]}" if files[name] else "not kept: the cache folder cannot be written")


def _isas(target: str) -> tuple[Isa, ...]:
    """What to measure. UsageError for a name that there is not, TargetError where it does not run here."""
    here, wanted = host_isas("bf16"), {"host": host_isas()[:1], "x86": host_isas()}
    names = (*ISAS, *BF16_ISAS)
    if target not in (*wanted, *names, "arm"):
        raise UsageError(f"no target or ISA called {target!r}: use host, x86 or one of {', '.join(names)}")
    isas = wanted.get(target, tuple(isa for isa in here if isa.name == target))
    if not isas:
        raise TargetError(f"{target} does not run on this machine, so its costs cannot be measured here")
    return isas


def _families(result: Calibration) -> dict[str, list[float]]:
    """The relative errors of the fit, by family."""
    families: dict[str, list[float]] = {}
    for error in result.errors:
        families.setdefault(error.family, []).append(error.relative)
    return families


def _table(name: str, result: Calibration) -> None:
    rows = [
        (family, len(errors), f"{median(errors):.1%}", f"{max(errors):.0%}")
        for family, errors in _families(result).items()
    ]
    options.table(f"{name}: errors of the fit", ("kernels", "samples", "median", "worst"), rows)


def _summary(result: Calibration, file) -> dict:
    errors = {family: {"median": median(e), "worst": max(e)} for family, e in _families(result).items()}
    samples = [vars(error) for error in result.errors]
    return {"file": file, "nanoseconds": result.model.nanoseconds, "errors": errors, "samples": samples}


def _python(name: str, nanoseconds: Mapping[str, float]) -> str:
    lines = [f'    "{event}": {float(f"{cost:.3g}"):g},' for event, cost in sorted(nanoseconds.items())]
    return "\n".join([f"{name.upper().replace('-', '_')} = {{", *lines, "}"])
