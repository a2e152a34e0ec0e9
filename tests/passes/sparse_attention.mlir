// RUN: sparsec opt %s -p sparse_attention | filecheck %s

// An added mask whose second half of keys no query of the first half looks at, and which adds nothing else.
// weight @m = [0, -Infinity, -Infinity, -Infinity, 0, 0, -Infinity, -Infinity, 0, 0, 0, -Infinity, 0, 0, 0, 0]
func.func @main(%x: !sp.tensor<[1, 4, 4, 1], f32>) -> !sp.tensor<[1, 4, 4, 1], f32> {
  %m = "sp.weight"() <{ref = @m}> : () -> !sp.tensor<[4, 4], f32>
  %y = "sp.attention"(%x, %x, %x, %m) <{heads = 2 : i64, kv_heads = 2 : i64, sequences = #sp.shape<[1]>, guard = false, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 0>}> ({
  ^bb0(%p: f32, %a: f32):
    %half = arith.constant 0.5 : f32
    %s = arith.mulf %p, %half : f32
    %t = arith.addf %s, %a : f32
    "sp.yield"(%t) : (f32) -> ()
  }) : (!sp.tensor<[1, 4, 4, 1], f32>, !sp.tensor<[1, 4, 4, 1], f32>, !sp.tensor<[1, 4, 4, 1], f32>, !sp.tensor<[4, 4], f32>) -> !sp.tensor<[1, 4, 4, 1], f32>
  func.return %y : !sp.tensor<[1, 4, 4, 1], f32>
}
// All tiles of 2 queries x 4 keys hold a kept pair: the mask stays as it is.
// CHECK-NOT: sp.format
// CHECK: "sp.attention"(%x, %x, %x, %m)
// CHECK-SAME: operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 0>
// CHECK: arith.addf
// -----
// Positions that are compared: of 8 tiles, 2 hold no kept pair.
// weight @row = arange
// weight @column = arange
func.func @main(%x: !sp.tensor<[1, 4, 8, 1], f32>) -> !sp.tensor<[1, 4, 8, 1], f32> {
  %row = "sp.weight"() <{ref = @row}> : () -> !sp.tensor<[8, 1], i32>
  %column = "sp.weight"() <{ref = @column}> : () -> !sp.tensor<[1, 8], i32>
  %m = "sp.map"(%row, %column) ({
  ^bb0(%r: i32, %c: i32):
    %le = arith.cmpi sle, %c, %r : i32
    "sp.yield"(%le) : (i1) -> ()
  }) : (!sp.tensor<[8, 1], i32>, !sp.tensor<[1, 8], i32>) -> !sp.tensor<[8, 8], i1>
  %y = "sp.attention"(%x, %x, %x, %m) <{heads = 2 : i64, kv_heads = 2 : i64, sequences = #sp.shape<[1]>, guard = false, operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 0>}> ({
  ^bb0(%p: f32, %a: i1):
    %inf = arith.constant 0xFF800000 : f32
    %t = arith.select %a, %p, %inf : f32
    "sp.yield"(%t) : (f32) -> ()
  }) : (!sp.tensor<[1, 4, 8, 1], f32>, !sp.tensor<[1, 4, 8, 1], f32>, !sp.tensor<[1, 4, 8, 1], f32>, !sp.tensor<[8, 8], i1>) -> !sp.tensor<[1, 4, 8, 1], f32>
  func.return %y : !sp.tensor<[1, 4, 8, 1], f32>
}
// CHECK-NOT: sp.map
// CHECK: [[M:%.+]] = "sp.weight"() <{ref = @attention.mask}>
// CHECK-SAME: !sp.tensor<[1, 8, 8], i1, #sp.format<"d0: dense, d1/2: dense, d2/4: compressed, d1%2: dense, d2%4: dense">>
// CHECK: "sp.attention"(%x, %x, %x, [[M]])
// CHECK-SAME: operandSegmentSizes = array<i32: 1, 1, 1, 0, 1, 0>
// CHECK-NEXT: ^{{.*}}([[P:%.+]]: f32):
// CHECK-NEXT: "sp.yield"([[P]])
