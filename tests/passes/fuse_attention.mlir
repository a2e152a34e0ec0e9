// RUN: sparsec opt %s -p fuse_attention,simplify_movement | filecheck %s

// Heads of two sequences, split off before, and a padding mask.
func.func @main(%q: !sp.tensor<[2, 6, 12], f32>, %k: !sp.tensor<[2, 5, 12], f32>, %v: !sp.tensor<[2, 5, 12], f32>, %m: !sp.tensor<[2, 1, 1, 5], f32>) -> !sp.tensor<[2, 3, 6, 4], f32> {
  %q4 = "sp.reshape"(%q) : (!sp.tensor<[2, 6, 12], f32>) -> !sp.tensor<[2, 6, 3, 4], f32>
  %qh = "sp.transpose"(%q4) <{perm = array<i64: 0, 2, 1, 3>}> : (!sp.tensor<[2, 6, 3, 4], f32>) -> !sp.tensor<[2, 3, 6, 4], f32>
  %k4 = "sp.reshape"(%k) : (!sp.tensor<[2, 5, 12], f32>) -> !sp.tensor<[2, 5, 3, 4], f32>
  %kh = "sp.transpose"(%k4) <{perm = array<i64: 0, 2, 3, 1>}> : (!sp.tensor<[2, 5, 3, 4], f32>) -> !sp.tensor<[2, 3, 4, 5], f32>
  %v4 = "sp.reshape"(%v) : (!sp.tensor<[2, 5, 12], f32>) -> !sp.tensor<[2, 5, 3, 4], f32>
  %vh = "sp.transpose"(%v4) <{perm = array<i64: 0, 2, 1, 3>}> : (!sp.tensor<[2, 5, 3, 4], f32>) -> !sp.tensor<[2, 3, 5, 4], f32>
  %s = "sp.matmul"(%qh, %kh) <{transpose_a = false, transpose_b = false}> ({
  ^bb0(%a: f32):
    "sp.yield"(%a) : (f32) -> ()
  }) : (!sp.tensor<[2, 3, 6, 4], f32>, !sp.tensor<[2, 3, 4, 5], f32>) -> !sp.tensor<[2, 3, 6, 5], f32>
  %t = "sp.map"(%s, %m) ({
  ^bb0(%a: f32, %b: f32):
    %half = arith.constant 0.5 : f32
    %c = arith.mulf %a, %half : f32
    %r = arith.addf %c, %b : f32
    "sp.yield"(%r) : (f32) -> ()
  }) : (!sp.tensor<[2, 3, 6, 5], f32>, !sp.tensor<[2, 1, 1, 5], f32>) -> !sp.tensor<[2, 3, 6, 5], f32>
  %p = "sp.softmax"(%t) <{axes = array<i64: 3>, log = false}> : (!sp.tensor<[2, 3, 6, 5], f32>) -> !sp.tensor<[2, 3, 6, 5], f32>
  %y = "sp.matmul"(%p, %vh) <{transpose_a = false, transpose_b = false}> ({
  ^bb0(%a: f32):
    "sp.yield"(%a) : (f32) -> ()
  }) : (!sp.tensor<[2, 3, 6, 5], f32>, !sp.tensor<[2, 3, 5, 4], f32>) -> !sp.tensor<[2, 3, 6, 4], f32>
  func.return %y : !sp.tensor<[2, 3, 6, 4], f32>
}
// CHECK-NOT:  sp.matmul
// CHECK:      "sp.attention"({{.*}}, %m) <{heads = 3 : i64, kv_heads = 3 : i64, sequences = #sp.shape<[2]>
// CHECK-NEXT: ^bb0([[A:%.*]]: f32, [[B:%.*]]: f32):
// CHECK:        arith.mulf [[A]]
// CHECK-NEXT:   arith.addf
// CHECK:      !sp.tensor<[1, 12, 12, 1], f32>, !sp.tensor<[1, 12, 10, 1], f32>
// CHECK-NOT:  sp.softmax
