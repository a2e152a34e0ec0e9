# Weights and manifest of an ELF artifact; see targets/glue.py. Pages of the weights are shared between processes.
    .section @section@,%progbits
    .p2align 12
weights:
    .incbin @weights@

    .section .note.sparsec,"a",%note
    .p2align 2
    .long 8, end - manifest, 1
    .asciz "sparsec"
manifest:
    .incbin @manifest@
    .byte 0
end:
    .p2align 2

    .section .data.rel.ro.sparsec,"aw",%progbits
    .p2align 3
    .globl @name@__weights
    .hidden @name@__weights
@name@__weights:
    .quad weights
    .globl @name@__manifest
    .hidden @name@__manifest
@name@__manifest:
    .quad manifest

    .section .note.GNU-stack,"",%progbits
