"""Kernels that look elements up: gather, scatter, topk."""
