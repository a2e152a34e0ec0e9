// RUN: sparsec opt %s -p fuse_maps,fuse_epilogues | filecheck %s

// The end of a residual block: bias, shortcut and ReLU go into the convolution at the end of the longer branch.
func.func @main(%x: !sp.tensor<[1, 2, 4, 4], f32>) -> !sp.tensor<[1, 2, 4, 4], f32> {
  %w = "sp.weight"() <{ref = @w}> : () -> !sp.tensor<[2, 2, 1, 1], f32>
  %v = "sp.weight"() <{ref = @v}> : () -> !sp.tensor<[2, 2, 3, 3], f32>
  %b = "sp.weight"() <{ref = @b}> : () -> !sp.tensor<[1, 2, 1, 1], f32>
  %first = "sp.conv"(%x, %w) <{strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64}> ({
  ^bb0(%a: f32):
    "sp.yield"(%a) : (f32) -> ()
  }) {node = "first"} : (!sp.tensor<[1, 2, 4, 4], f32>, !sp.tensor<[2, 2, 1, 1], f32>) -> !sp.tensor<[1, 2, 4, 4], f32>
  %second = "sp.conv"(%first, %v) <{strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, groups = 1 : i64}> ({
  ^bb0(%a: f32):
    "sp.yield"(%a) : (f32) -> ()
  }) {node = "second"} : (!sp.tensor<[1, 2, 4, 4], f32>, !sp.tensor<[2, 2, 3, 3], f32>) -> !sp.tensor<[1, 2, 4, 4], f32>
  %shortcut = "sp.conv"(%x, %w) <{strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64}> ({
  ^bb0(%a: f32):
    "sp.yield"(%a) : (f32) -> ()
  }) {node = "shortcut"} : (!sp.tensor<[1, 2, 4, 4], f32>, !sp.tensor<[2, 2, 1, 1], f32>) -> !sp.tensor<[1, 2, 4, 4], f32>
  %sum = "sp.map"(%second, %b, %shortcut) ({
  ^bb0(%p: f32, %q: f32, %r: f32):
    %s = arith.addf %p, %q : f32
    %t = arith.addf %s, %r : f32
    "sp.yield"(%t) : (f32) -> ()
  }) : (!sp.tensor<[1, 2, 4, 4], f32>, !sp.tensor<[1, 2, 1, 1], f32>, !sp.tensor<[1, 2, 4, 4], f32>) -> !sp.tensor<[1, 2, 4, 4], f32>
  %relu = "sp.map"(%sum) ({
  ^bb0(%p: f32):
    %zero = arith.constant 0.0 : f32
    %m = arith.maximumf %p, %zero : f32
    "sp.yield"(%m) : (f32) -> ()
  }) : (!sp.tensor<[1, 2, 4, 4], f32>) -> !sp.tensor<[1, 2, 4, 4], f32>
  func.return %relu : !sp.tensor<[1, 2, 4, 4], f32>
}
// CHECK:      [[F:%.*]] = "sp.conv"(%x
// CHECK:      {node = "first"}
// CHECK:      [[S:%.*]] = "sp.conv"(%x
// CHECK:      {node = "shortcut"}
// CHECK:      [[B:%.*]] = "sp.reshape"(%b) : {{.*}} -> !sp.tensor<[2, 1, 1], f32>
// CHECK:      [[R:%.*]] = "sp.conv"([[F]], %v, [[B]], [[S]])
// CHECK-NEXT: ^bb0([[ACC:%.*]]: f32, [[BIAS:%.*]]: f32, [[SHORT:%.*]]: f32):
// CHECK-NEXT:   [[BIASED:%.*]] = arith.addf [[ACC]], [[BIAS]] : f32
// CHECK-NEXT:   [[SUM:%.*]] = arith.addf [[BIASED]], [[SHORT]] : f32
// CHECK:        arith.maximumf [[SUM]]
// CHECK:      {node = "second"}
// CHECK-NEXT: func.return [[R]]

// -----

// A gate per image and channel is not for an epilogue.
func.func @main(%x: !sp.tensor<[2, 2, 4, 4], f32>, %g: !sp.tensor<[2, 2, 1, 1], f32>) -> !sp.tensor<[2, 2, 4, 4], f32> {
  %w = "sp.weight"() <{ref = @w}> : () -> !sp.tensor<[2, 2, 1, 1], f32>
  %y = "sp.conv"(%x, %w) <{strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64}> ({
  ^bb0(%a: f32):
    "sp.yield"(%a) : (f32) -> ()
  }) : (!sp.tensor<[2, 2, 4, 4], f32>, !sp.tensor<[2, 2, 1, 1], f32>) -> !sp.tensor<[2, 2, 4, 4], f32>
  %z = "sp.map"(%y, %g) ({
  ^bb0(%a: f32, %b: f32):
    %m = arith.mulf %a, %b : f32
    "sp.yield"(%m) : (f32) -> ()
  }) : (!sp.tensor<[2, 2, 4, 4], f32>, !sp.tensor<[2, 2, 1, 1], f32>) -> !sp.tensor<[2, 2, 4, 4], f32>
  func.return %z : !sp.tensor<[2, 2, 4, 4], f32>
}
// CHECK:      "sp.conv"
// CHECK:      "sp.map"

// -----

// A product joins the layer that its gate can spare, not the gate.
func.func @main(%x: !sp.tensor<[1, 2], f32>) -> !sp.tensor<[1, 2], f32> {
  %w = "sp.weight"() <{ref = @w}> : () -> !sp.tensor<[2, 2], f32>
  %g = "sp.matmul"(%x, %w) <{transpose_a = false, transpose_b = true}> ({
  ^bb0(%a: f32):
    "sp.yield"(%a) : (f32) -> ()
  }) {node = "gate"} : (!sp.tensor<[1, 2], f32>, !sp.tensor<[2, 2], f32>) -> !sp.tensor<[1, 2], f32>
  %u = "sp.matmul"(%x, %w) <{transpose_a = false, transpose_b = true}> ({
  ^bb0(%a: f32):
    "sp.yield"(%a) : (f32) -> ()
  }) {node = "up"} : (!sp.tensor<[1, 2], f32>, !sp.tensor<[2, 2], f32>) -> !sp.tensor<[1, 2], f32>
  %z = "sp.map"(%g, %u) ({
  ^bb0(%a: f32, %b: f32):
    %zero = arith.constant 0.0 : f32
    %r = arith.maximumf %a, %zero : f32
    %m = arith.mulf %r, %b : f32
    "sp.yield"(%m) : (f32) -> ()
  }) : (!sp.tensor<[1, 2], f32>, !sp.tensor<[1, 2], f32>) -> !sp.tensor<[1, 2], f32>
  func.return %z : !sp.tensor<[1, 2], f32>
}
// CHECK:      [[G:%.*]] = "sp.matmul"(%x
// CHECK:      {node = "gate"}
// CHECK-NEXT: [[U:%.*]] = "sp.matmul"(%x, %w, [[G]])
// CHECK:      {node = "up"}
// CHECK-NEXT: func.return [[U]]
