# Weights and manifest of a wasm artifact; see targets/glue.py. The custom section is for readers of the file.
    .section .rodata.weights,"",@
    .p2align 6
weights:
    .incbin @weights@
    .size weights, . - weights

    .section .rodata.manifest,"",@
manifest:
    .incbin @manifest@
    .byte 0
    .size manifest, . - manifest

    .section .rodata.weights_pointer,"",@
    .p2align 2
    .globl @name@__weights
    .hidden @name@__weights
    .type @name@__weights,@object
@name@__weights:
    .int32 weights
    .size @name@__weights, 4

    .section .rodata.manifest_pointer,"",@
    .p2align 2
    .globl @name@__manifest
    .hidden @name@__manifest
    .type @name@__manifest,@object
@name@__manifest:
    .int32 manifest
    .size @name@__manifest, 4

    .section .custom_section.sparsec,"",@
    .incbin @manifest@
