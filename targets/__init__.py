"""Back ends: from ops to kernels, from kernels to code for x86, ARM and WebAssembly."""
