"""Ops that only move elements."""

from sparsec.targets.kernels.movement.lowering import accepts, lower, takes_panels, takes_parts

__all__ = ["accepts", "lower", "takes_panels", "takes_parts"]
