# The weights of a wasm artifact, or their address alone; see targets/link_wasm.py.
@weights@
    .section .rodata.weights_pointer,"",@
    .p2align 2
    .globl @name@__weights
    .hidden @name@__weights
    .type @name@__weights,@object
@name@__weights:
    .int32 @address@
    .size @name@__weights, 4
