"""Kernels that slide a window over planes: depthwise convolution and pooling."""
