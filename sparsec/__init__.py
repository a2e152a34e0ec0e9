"""sparsec: a sparse compiler for neural networks."""
