// RUN: sparsec opt %s -p interleave_images | filecheck %s

// Images of 2 × 2 pixels fill a quarter of a panel, four of them one. Windows move by whole pixels.
func.func @main(%x: !sp.tensor<[4, 1, 3, 3], f32>, %y: !sp.tensor<[4, 1, 2, 2], f32>) -> !sp.tensor<[4, 1, 1, 1], f32> {
  %w = "sp.weight"() <{ref = @w}> : () -> !sp.tensor<[1, 1, 3, 3], f32>
  %v = "sp.weight"() <{ref = @v}> : () -> !sp.tensor<[1, 1, 1, 1], f32>
  %a = "sp.conv"(%y, %w) <{strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, groups = 1 : i64}> ({
  ^bb0(%p: f32):
    "sp.yield"(%p) : (f32) -> ()
  }) : (!sp.tensor<[4, 1, 2, 2], f32>, !sp.tensor<[1, 1, 3, 3], f32>) -> !sp.tensor<[4, 1, 2, 2], f32>
  %s = "sp.conv"(%x, %v) <{strides = array<i64: 2, 2>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64}> ({
  ^bb0(%p: f32):
    "sp.yield"(%p) : (f32) -> ()
  }) : (!sp.tensor<[4, 1, 3, 3], f32>, !sp.tensor<[1, 1, 1, 1], f32>) -> !sp.tensor<[4, 1, 2, 2], f32>
  %m = "sp.map"(%a) ({
  ^bb0(%p: f32):
    %r = math.tanh %p : f32
    "sp.yield"(%r) : (f32) -> ()
  }) : (!sp.tensor<[4, 1, 2, 2], f32>) -> !sp.tensor<[4, 1, 2, 2], f32>
  %c = "sp.conv"(%m, %v, %s) <{strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64}> ({
  ^bb0(%p: f32, %q: f32):
    %t = arith.addf %p, %q : f32
    "sp.yield"(%t) : (f32) -> ()
  }) : (!sp.tensor<[4, 1, 2, 2], f32>, !sp.tensor<[1, 1, 1, 1], f32>, !sp.tensor<[4, 1, 2, 2], f32>) -> !sp.tensor<[4, 1, 2, 2], f32>
  %d = "sp.conv"(%c, %w) <{strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, groups = 1 : i64}> ({
  ^bb0(%p: f32):
    "sp.yield"(%p) : (f32) -> ()
  }) : (!sp.tensor<[4, 1, 2, 2], f32>, !sp.tensor<[1, 1, 3, 3], f32>) -> !sp.tensor<[4, 1, 2, 2], f32>
  %f = "sp.conv"(%d, %w) <{strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, groups = 1 : i64}> ({
  ^bb0(%p: f32):
    "sp.yield"(%p) : (f32) -> ()
  }) : (!sp.tensor<[4, 1, 2, 2], f32>, !sp.tensor<[1, 1, 3, 3], f32>) -> !sp.tensor<[4, 1, 2, 2], f32>
  %e = "sp.reduce"(%f) <{kind = "mean", axes = array<i64: 2, 3>, keepdims = true, select_last = false}> : (!sp.tensor<[4, 1, 2, 2], f32>) -> !sp.tensor<[4, 1, 1, 1], f32>
  func.return %e : !sp.tensor<[4, 1, 1, 1], f32>
}
// CHECK:      [[Y:%.*]] = "sp.interleave"(%y) <{images = 4 : i64, step = 1 : i64}> : {{.*}} -> !sp.tensor<[1, 1, 2, 8], f32>
// CHECK-NEXT: [[A:%.*]] = "sp.conv"([[Y]], %w) <{strides = array<i64: 1, 1>, dilations = array<i64: 1, 4>, pads = array<i64: 1, 4, 1, 4>
// CHECK:      [[X:%.*]] = "sp.interleave"(%x) <{images = 4 : i64, step = 2 : i64}> : {{.*}} -> !sp.tensor<[1, 1, 2, 8], f32>
// CHECK-NEXT: [[S:%.*]] = "sp.conv"([[X]], %v) <{strides = array<i64: 1, 1>
// CHECK:      [[M:%.*]] = "sp.map"([[A]])
// CHECK:      [[C:%.*]] = "sp.conv"([[M]], %v, [[S]])
// CHECK:      [[D:%.*]] = "sp.conv"([[C]], %w)
// CHECK:      [[F:%.*]] = "sp.conv"([[D]], %w)
// CHECK:      [[P:%.*]] = "sp.pool"([[F]]) <{kind = "average", kernel_shape = array<i64: 2, 1>
// CHECK:      [[Q:%.*]] = "sp.pool"([[P]]) <{kind = "average", kernel_shape = array<i64: 1, 2>, strides = array<i64: 1, 1>, dilations = array<i64: 1, 4>
// CHECK:      [[R:%.*]] = "sp.deinterleave"([[Q]]) <{images = 4 : i64}> : {{.*}} -> !sp.tensor<[4, 1, 1, 1], f32>
// CHECK-NEXT: func.return [[R]]

// -----

// One image has no others beside it.
func.func @main(%x: !sp.tensor<[1, 1, 3, 3], f32>, %y: !sp.tensor<[1, 1, 2, 2], f32>) -> !sp.tensor<[1, 1, 1, 1], f32> {
  %w = "sp.weight"() <{ref = @w}> : () -> !sp.tensor<[1, 1, 3, 3], f32>
  %v = "sp.weight"() <{ref = @v}> : () -> !sp.tensor<[1, 1, 1, 1], f32>
  %a = "sp.conv"(%y, %w) <{strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, groups = 1 : i64}> ({
  ^bb0(%p: f32):
    "sp.yield"(%p) : (f32) -> ()
  }) : (!sp.tensor<[1, 1, 2, 2], f32>, !sp.tensor<[1, 1, 3, 3], f32>) -> !sp.tensor<[1, 1, 2, 2], f32>
  %s = "sp.conv"(%x, %v) <{strides = array<i64: 2, 2>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64}> ({
  ^bb0(%p: f32):
    "sp.yield"(%p) : (f32) -> ()
  }) : (!sp.tensor<[1, 1, 3, 3], f32>, !sp.tensor<[1, 1, 1, 1], f32>) -> !sp.tensor<[1, 1, 2, 2], f32>
  %m = "sp.map"(%a) ({
  ^bb0(%p: f32):
    %r = math.tanh %p : f32
    "sp.yield"(%r) : (f32) -> ()
  }) : (!sp.tensor<[1, 1, 2, 2], f32>) -> !sp.tensor<[1, 1, 2, 2], f32>
  %c = "sp.conv"(%m, %v, %s) <{strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64}> ({
  ^bb0(%p: f32, %q: f32):
    %t = arith.addf %p, %q : f32
    "sp.yield"(%t) : (f32) -> ()
  }) : (!sp.tensor<[1, 1, 2, 2], f32>, !sp.tensor<[1, 1, 1, 1], f32>, !sp.tensor<[1, 1, 2, 2], f32>) -> !sp.tensor<[1, 1, 2, 2], f32>
  %d = "sp.conv"(%c, %w) <{strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, groups = 1 : i64}> ({
  ^bb0(%p: f32):
    "sp.yield"(%p) : (f32) -> ()
  }) : (!sp.tensor<[1, 1, 2, 2], f32>, !sp.tensor<[1, 1, 3, 3], f32>) -> !sp.tensor<[1, 1, 2, 2], f32>
  %f = "sp.conv"(%d, %w) <{strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, groups = 1 : i64}> ({
  ^bb0(%p: f32):
    "sp.yield"(%p) : (f32) -> ()
  }) : (!sp.tensor<[1, 1, 2, 2], f32>, !sp.tensor<[1, 1, 3, 3], f32>) -> !sp.tensor<[1, 1, 2, 2], f32>
  %e = "sp.reduce"(%f) <{kind = "mean", axes = array<i64: 2, 3>, keepdims = true, select_last = false}> : (!sp.tensor<[1, 1, 2, 2], f32>) -> !sp.tensor<[1, 1, 1, 1], f32>
  func.return %e : !sp.tensor<[1, 1, 1, 1], f32>
}
// CHECK-NOT:  interleave
// CHECK:      func.return
