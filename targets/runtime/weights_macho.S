// Weights and manifest of a Mach-O artifact; see targets/glue.py. Pages of the weights are shared between processes.
    .section __TEXT,__const
    .p2align 14
weights:
    .incbin @weights@

    .section __TEXT,__sparsec
manifest:
    .incbin @manifest@
    .byte 0

    .section __DATA_CONST,__const
    .p2align 3
    .globl _@name@__weights
    .private_extern _@name@__weights
_@name@__weights:
    .quad weights
    .globl _@name@__manifest
    .private_extern _@name@__manifest
_@name@__manifest:
    .quad manifest
