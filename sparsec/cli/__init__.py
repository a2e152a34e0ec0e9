"""The command line: `sparsec check | compile | run | bench | explain | prune | tune | calibrate | opt | doctor`…"""

from sparsec.cli.main import main

__all__ = ["main"]
