"""Linear layers: dense, sparse, and of one token."""

from sparsec.targets.kernels.linear.lowering import accepts, candidates, lower, takes_panels, ways

__all__ = ["accepts", "candidates", "lower", "takes_panels", "ways"]
