"""The command line: `sparsec check | compile | run | bench | explain | prune | opt | targets | doctor`."""

from sparsec.cli.main import main

__all__ = ["main"]
