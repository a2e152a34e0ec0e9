"""The group of all verbs, and the one place where errors become messages and exit codes."""

from __future__ import annotations

import json
import signal
import sys
import traceback
from importlib import import_module

import click

from sparsec import __version__
from sparsec.errors import SparsecError

INTERNAL, USAGE, INTERRUPTED = 1, 2, 130

# Verbs are imported when they are called, so that `sparsec --help` answers in 0.1 s.
VERBS = {
    "check": "What a model contains, and everything that keeps it from being compiled.",
    "compile": "An ONNX model to a library, an object, WebAssembly, or a stage of its IR.",
    "run": "Run an artifact once.",
    "bench": "Time an artifact or a model, also against onnxruntime.",
    "explain": "Why each layer of an artifact runs as it does.",
    "prune": "Make a dense model sparse, in a pattern that pays.",
    "opt": "Passes on the textual tensor IR.",
    "targets": "What can be compiled for.",
    "calibrate": "Measure what the cost model knows of this machine.",
    "tune": "Measure kernels for the layers of a model, for compile --tuned.",
    "doctor": "Whether this machine has what sparsec needs.",
}


class Verbs(click.Group):
    """A group whose commands are the modules that `VERBS` names."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return import_module(f"sparsec.cli.{cmd_name}").command if cmd_name in VERBS else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sparsec")
@click.option("--debug", is_flag=True, help="Show the traceback of an error (also after the verb).")
def group(debug: bool) -> None:
    """Compile neural networks, sparse ones above all, from ONNX to native code that needs no runtime.

    Exit codes: 0 ok, 1 internal error, 2 usage, 3 unsupported model, 4 invalid or unsafe model, 5 accuracy,
    6 target or device missing, 130 interrupted.
    """


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    signal.signal(signal.SIGTERM, _terminate)
    sys.exit(_run(sys.argv[1:] if arguments is None else arguments))


def _terminate(*_: object) -> None:
    """Ends by an exception, so that unfinished files are removed."""
    sys.exit(128 + signal.SIGTERM)


def _run(arguments: list[str]) -> int:
    as_json, debug = "--json" in arguments, "--debug" in arguments
    try:
        words = [word for word in arguments if word != "--debug"]
        return group.main(words, prog_name="sparsec", standalone_mode=False) or 0
    except (KeyboardInterrupt, click.Abort):
        return _fail("interrupted", INTERRUPTED, as_json)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return USAGE
    except click.ClickException as error:
        usage = error.ctx.get_usage() if isinstance(error, click.UsageError) and error.ctx else ""
        return _fail(f"{error.format_message()}\n{usage}".strip(), USAGE, as_json)
    except Exception as error:
        if debug:
            traceback.print_exc()
        return _explain(error, as_json)


def _explain(error: Exception, as_json: bool) -> int:
    """What an exception means to the user."""
    if isinstance(error, BrokenPipeError):  # whoever read our output has seen enough
        sys.stderr.close()
        return 0
    if isinstance(error, SparsecError):
        return _fail(str(error), error.exit_code, as_json)
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return _fail(f"{place}{error.strerror or error}", USAGE, as_json)
    from sparsec.debug import write_reproducer

    report = write_reproducer(error)
    what = f"internal error: {type(error).__name__}: {error}"
    ask = f"This is a bug in sparsec. A report without your weights is in {report}: please send it to us."
    return _fail(f"{what}\n{ask}", INTERNAL, as_json)


def _fail(message: str, code: int, as_json: bool) -> int:
    if as_json:
        click.echo(json.dumps({"error": message, "exit_code": code}))
    click.echo(f"sparsec: error: {message}", err=True)
    return code
