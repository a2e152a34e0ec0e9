// RUN: sparsec opt %s -p eliminate_dead_channels | filecheck %s

// Output 1 of the first layer is the constant 5, output 2 is not read: both go, 5 · 7 goes into the second bias.
// weight @w = [1, 2, 0, 0, 3, 4]
// weight @b = [4, 5, 6]
// weight @v = [1, 7, 0]
func.func @main(%x: !sp.tensor<[1, 2], f32>) -> !sp.tensor<[1, 1], f32> {
  %w = "sp.weight"() <{ref = @w}> : () -> !sp.tensor<[3, 2], f32>
  %b = "sp.weight"() <{ref = @b}> : () -> !sp.tensor<[3], f32>
  %v = "sp.weight"() <{ref = @v}> : () -> !sp.tensor<[1, 3], f32>
  %y = "sp.matmul"(%x, %w, %b) <{transpose_a = false, transpose_b = true}> ({
  ^bb0(%p: f32, %q: f32):
    %s = arith.addf %p, %q : f32
    "sp.yield"(%s) : (f32) -> ()
  }) : (!sp.tensor<[1, 2], f32>, !sp.tensor<[3, 2], f32>, !sp.tensor<[3], f32>) -> !sp.tensor<[1, 3], f32>
  %z = "sp.matmul"(%y, %v) <{transpose_a = false, transpose_b = true}> ({
  ^bb0(%p: f32):
    "sp.yield"(%p) : (f32) -> ()
  }) : (!sp.tensor<[1, 3], f32>, !sp.tensor<[1, 3], f32>) -> !sp.tensor<[1, 1], f32>
  func.return %z : !sp.tensor<[1, 1], f32>
}
// CHECK:      (!sp.tensor<[1, 2], f32>, !sp.tensor<[1, 2], f32>, !sp.tensor<[1], f32>) -> !sp.tensor<[1, 1], f32>
// CHECK-DAG:  // weight @b.kept = [4.0]
// CHECK-DAG:  // weight @v.bias = [35.0]
// CHECK-DAG:  // weight @v.kept = [1.0]
// CHECK-DAG:  // weight @w.kept = [1.0, 2.0]

// -----

// Through a map and a depthwise convolution. Channel 0 is 0 after the ReLU, so that padding with 0 is exact.
// weight @w = [0, 0, 1, 2]
// weight @b = [-1, 1]
func.func @main(%x: !sp.tensor<[1, 2, 4, 4], f32>) -> !sp.tensor<[1, 3, 4, 4], f32> {
  %w = "sp.weight"() <{ref = @w}> : () -> !sp.tensor<[2, 2, 1, 1], f32>
  %b = "sp.weight"() <{ref = @b}> : () -> !sp.tensor<[2, 1, 1], f32>
  %d = "sp.weight"() <{ref = @d}> : () -> !sp.tensor<[2, 1, 3, 3], f32>
  %v = "sp.weight"() <{ref = @v}> : () -> !sp.tensor<[3, 2, 3, 3], f32>
  %y = "sp.conv"(%x, %w) <{strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64}> ({
  ^bb0(%a: f32):
    "sp.yield"(%a) : (f32) -> ()
  }) : (!sp.tensor<[1, 2, 4, 4], f32>, !sp.tensor<[2, 2, 1, 1], f32>) -> !sp.tensor<[1, 2, 4, 4], f32>
  %r = "sp.map"(%y, %b) ({
  ^bb0(%p: f32, %q: f32):
    %s = arith.addf %p, %q : f32
    %zero = arith.constant 0.0 : f32
    %m = arith.maximumf %s, %zero : f32
    "sp.yield"(%m) : (f32) -> ()
  }) : (!sp.tensor<[1, 2, 4, 4], f32>, !sp.tensor<[2, 1, 1], f32>) -> !sp.tensor<[1, 2, 4, 4], f32>
  %dw = "sp.conv"(%r, %d) <{strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, groups = 2 : i64}> ({
  ^bb0(%a: f32):
    "sp.yield"(%a) : (f32) -> ()
  }) : (!sp.tensor<[1, 2, 4, 4], f32>, !sp.tensor<[2, 1, 3, 3], f32>) -> !sp.tensor<[1, 2, 4, 4], f32>
  %z = "sp.conv"(%dw, %v) <{strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, groups = 1 : i64}> ({
  ^bb0(%a: f32):
    "sp.yield"(%a) : (f32) -> ()
  }) : (!sp.tensor<[1, 2, 4, 4], f32>, !sp.tensor<[3, 2, 3, 3], f32>) -> !sp.tensor<[1, 3, 4, 4], f32>
  func.return %z : !sp.tensor<[1, 3, 4, 4], f32>
}
// CHECK:      "sp.conv"(%x
// CHECK:      !sp.tensor<[1, 2, 1, 1], f32>) -> !sp.tensor<[1, 1, 4, 4], f32>
// CHECK:      "sp.map"
// CHECK:      groups = 1 : i64
// CHECK:      !sp.tensor<[1, 1, 3, 3], f32>) -> !sp.tensor<[1, 1, 4, 4], f32>
// CHECK:      !sp.tensor<[3, 1, 3, 3], f32>) -> !sp.tensor<[1, 3, 4, 4], f32>

// -----

// The constant 5 under a convolution that pads: its border would change, so the channel stays.
// weight @w = [0, 0, 1, 2]
// weight @b = [5, 5]
func.func @main(%x: !sp.tensor<[1, 2, 4, 4], f32>) -> !sp.tensor<[1, 3, 4, 4], f32> {
  %w = "sp.weight"() <{ref = @w}> : () -> !sp.tensor<[2, 2, 1, 1], f32>
  %b = "sp.weight"() <{ref = @b}> : () -> !sp.tensor<[2, 1, 1], f32>
  %v = "sp.weight"() <{ref = @v}> : () -> !sp.tensor<[3, 2, 3, 3], f32>
  %y = "sp.conv"(%x, %w, %b) <{strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64}> ({
  ^bb0(%p: f32, %q: f32):
    %s = arith.addf %p, %q : f32
    "sp.yield"(%s) : (f32) -> ()
  }) : (!sp.tensor<[1, 2, 4, 4], f32>, !sp.tensor<[2, 2, 1, 1], f32>, !sp.tensor<[2, 1, 1], f32>) -> !sp.tensor<[1, 2, 4, 4], f32>
  %z = "sp.conv"(%y, %v) <{strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, groups = 1 : i64}> ({
  ^bb0(%a: f32):
    "sp.yield"(%a) : (f32) -> ()
  }) : (!sp.tensor<[1, 2, 4, 4], f32>, !sp.tensor<[3, 2, 3, 3], f32>) -> !sp.tensor<[1, 3, 4, 4], f32>
  func.return %z : !sp.tensor<[1, 3, 4, 4], f32>
}
// CHECK:      "sp.conv"(%x, %w, %b)
// CHECK:      !sp.tensor<[3, 2, 3, 3], f32>) -> !sp.tensor<[1, 3, 4, 4], f32>
