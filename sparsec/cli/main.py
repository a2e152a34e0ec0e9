"""The group of all verbs, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import json
import sys
import traceback
from importlib import import_module

import click

from sparsec import __version__
from sparsec.errors import SparsecError

INTERNAL, USAGE, INTERRUPTED = 1, 2, 130

# Verbs are imported when they are called, so that `sparsec --help` answers in 0.1 s.
VERBS = {
    "check": "sparsec.cli.check",
    "compile": "sparsec.cli.compile",
    "run": "sparsec.cli.run",
    "bench": "sparsec.cli.bench",
    "explain": "sparsec.cli.explain",
    "prune": "sparsec.cli.prune",
    "opt": "sparsec.cli.opt",
    "targets": "sparsec.cli.targets",
    "doctor": "sparsec.cli.doctor",
}


class Verbs(click.Group):
    """A group whose commands are found in `VERBS`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return import_module(VERBS[cmd_name]).command if cmd_name in VERBS else None


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sparsec")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def group(ctx: click.Context, debug: bool) -> None:
    """Compile neural networks, sparse ones above all, from ONNX to native code that needs no runtime.

    Exit codes: 0 ok, 1 internal error, 2 usage, 3 unsupported model, 4 invalid or unsafe model, 5 accuracy,
    6 target or device missing, 130 interrupted.
    """
    ctx.obj = {"debug": debug}


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    sys.exit(_run(arguments))


def _run(arguments: list[str]) -> int:
    as_json, debug = "--json" in arguments, "--debug" in arguments
    try:
        return group.main(arguments, prog_name="sparsec", standalone_mode=False) or 0
    except (KeyboardInterrupt, click.Abort):
        return _fail("interrupted", INTERRUPTED, as_json)
    except click.ClickException as error:
        usage = error.ctx.get_usage() if isinstance(error, click.UsageError) and error.ctx else ""
        return _fail(f"{error.format_message()}\n{usage}".strip(), USAGE, as_json)
    except SparsecError as error:
        if debug:
            traceback.print_exc()
        return _fail(str(error), error.exit_code, as_json)
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except Exception as error:
        return _fail(_internal(error, debug), INTERNAL, as_json)


def _internal(error: Exception, debug: bool) -> str:
    from sparsec.debug import write_reproducer

    if debug:
        traceback.print_exc()
    place = write_reproducer(error)
    return (
        f"internal error: {type(error).__name__}: {error}\n"
        f"This is a bug in sparsec. A report without your weights is in {place}: please send it to us."
    )


def _fail(message: str, code: int, as_json: bool) -> int:
    if as_json:
        click.echo(json.dumps({"error": message, "exit_code": code}))
    click.echo(f"sparsec: error: {message}", err=True)
    return code
