// RUN: sparsec opt %s -p fuse_maps | filecheck %s

// x · sigmoid(x) becomes one map.
func.func @main(%x: !sp.tensor<[2, 4], f32>) -> !sp.tensor<[2, 4], f32> {
  %s = "sp.map"(%x) ({
  ^bb0(%a: f32):
    %n = arith.negf %a : f32
    %e = math.exp %n : f32
    %one = arith.constant 1.0 : f32
    %d = arith.addf %one, %e : f32
    %r = arith.divf %one, %d : f32
    "sp.yield"(%r) : (f32) -> ()
  }) : (!sp.tensor<[2, 4], f32>) -> !sp.tensor<[2, 4], f32>
  %y = "sp.map"(%x, %s) ({
  ^bb0(%a: f32, %b: f32):
    %r = arith.mulf %a, %b : f32
    "sp.yield"(%r) : (f32) -> ()
  }) : (!sp.tensor<[2, 4], f32>, !sp.tensor<[2, 4], f32>) -> !sp.tensor<[2, 4], f32>
  func.return %y : !sp.tensor<[2, 4], f32>
}
// CHECK:      [[Y:%.*]] = "sp.map"(%x) ({
// CHECK-NEXT: ^bb0([[A:%.*]]: f32):
// CHECK:        [[S:%.*]] = arith.divf
// CHECK-NEXT:   [[R:%.*]] = arith.mulf [[A]], [[S]] : f32
// CHECK-NEXT:   "sp.yield"([[R]])
// CHECK-NOT:  "sp.map"
// CHECK:      func.return [[Y]]

// -----

// The exponential of the small operand is not computed again for each element of the large one.
func.func @main(%x: !sp.tensor<[2, 4], f32>, %g: !sp.tensor<[2, 1], f32>) -> !sp.tensor<[2, 4], f32> {
  %s = "sp.map"(%g) ({
  ^bb0(%a: f32):
    %e = math.exp %a : f32
    "sp.yield"(%e) : (f32) -> ()
  }) : (!sp.tensor<[2, 1], f32>) -> !sp.tensor<[2, 1], f32>
  %y = "sp.map"(%x, %s) ({
  ^bb0(%a: f32, %b: f32):
    %r = arith.mulf %a, %b : f32
    "sp.yield"(%r) : (f32) -> ()
  }) : (!sp.tensor<[2, 4], f32>, !sp.tensor<[2, 1], f32>) -> !sp.tensor<[2, 4], f32>
  func.return %y : !sp.tensor<[2, 4], f32>
}
// CHECK:      [[S:%.*]] = "sp.map"(%g)
// CHECK:      "sp.map"(%x, [[S]])

// -----

// A map moves above a transpose, to the matmul that it will be fused with.
func.func @main(%x: !sp.tensor<[2, 4], f32>) -> !sp.tensor<[3, 2], f32> {
  %w = "sp.weight"() <{ref = @w}> : () -> !sp.tensor<[3, 4], f32>
  %y = "sp.matmul"(%x, %w) <{transpose_a = false, transpose_b = true}> ({
  ^bb0(%a: f32):
    "sp.yield"(%a) : (f32) -> ()
  }) : (!sp.tensor<[2, 4], f32>, !sp.tensor<[3, 4], f32>) -> !sp.tensor<[2, 3], f32>
  %t = "sp.transpose"(%y) <{perm = array<i64: 1, 0>}> : (!sp.tensor<[2, 3], f32>) -> !sp.tensor<[3, 2], f32>
  %z = "sp.map"(%t) ({
  ^bb0(%a: f32):
    %e = math.tanh %a : f32
    "sp.yield"(%e) : (f32) -> ()
  }) : (!sp.tensor<[3, 2], f32>) -> !sp.tensor<[3, 2], f32>
  func.return %z : !sp.tensor<[3, 2], f32>
}
// CHECK:      [[Y:%.*]] = "sp.matmul"
// CHECK:      [[M:%.*]] = "sp.map"([[Y]])
// CHECK:      [[T:%.*]] = "sp.transpose"([[M]])
// CHECK:      func.return [[T]]
