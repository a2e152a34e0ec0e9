"""Kernels that fold axes: reductions, softmax, norms, running sums."""
