// RUN: sparsec opt %s -p legalize_spatial,fold_constants | filecheck %s

// One spatial axis becomes two.
func.func @main(%x: !sp.tensor<[1, 2, 9], f32>) -> !sp.tensor<[1, 2, 4], f32> {
  %w = "sp.weight"() <{ref = @w}> : () -> !sp.tensor<[3, 2, 3], f32>
  %v = "sp.weight"() <{ref = @v}> : () -> !sp.tensor<[2, 3, 1], f32>
  %b = "sp.weight"() <{ref = @b}> : () -> !sp.tensor<[3, 1], f32>
  %y = "sp.conv"(%x, %w, %b) <{strides = array<i64: 2>, dilations = array<i64: 1>, pads = array<i64: 1, 0>, groups = 1 : i64}> ({
  ^bb0(%a: f32, %c: f32):
    %s = arith.addf %a, %c : f32
    "sp.yield"(%s) : (f32) -> ()
  }) : (!sp.tensor<[1, 2, 9], f32>, !sp.tensor<[3, 2, 3], f32>, !sp.tensor<[3, 1], f32>) -> !sp.tensor<[1, 3, 4], f32>
  %z = "sp.conv"(%y, %v) <{strides = array<i64: 1>, dilations = array<i64: 1>, pads = array<i64: 0, 0>, groups = 1 : i64}> ({
  ^bb0(%a: f32):
    "sp.yield"(%a) : (f32) -> ()
  }) : (!sp.tensor<[1, 3, 4], f32>, !sp.tensor<[2, 3, 1], f32>) -> !sp.tensor<[1, 2, 4], f32>
  func.return %z : !sp.tensor<[1, 2, 4], f32>
}
// CHECK:      [[X:%.*]] = "sp.reshape"(%x) : {{.*}} -> !sp.tensor<[1, 2, 1, 9], f32>
// CHECK:      "sp.conv"([[X]], {{.*}}) <{strides = array<i64: 1, 2>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 1, 0, 0>
// CHECK:      !sp.tensor<[3, 2, 1, 3], f32>, !sp.tensor<[3, 1, 1], f32>) -> !sp.tensor<[1, 3, 1, 4], f32>

// -----

// A transposed convolution with stride 2: one convolution to 4 phases, which are then interleaved.
func.func @main(%x: !sp.tensor<[1, 3, 4, 4], f32>) -> !sp.tensor<[1, 2, 8, 8], f32> {
  %w = "sp.weight"() <{ref = @w}> : () -> !sp.tensor<[3, 2, 2, 2], f32>
  %b = "sp.weight"() <{ref = @b}> : () -> !sp.tensor<[2, 1, 1], f32>
  %y = "sp.conv_transpose"(%x, %w, %b) <{strides = array<i64: 2, 2>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, output_padding = array<i64: 0, 0>, groups = 1 : i64}> ({
  ^bb0(%a: f32, %c: f32):
    %s = arith.addf %a, %c : f32
    "sp.yield"(%s) : (f32) -> ()
  }) : (!sp.tensor<[1, 3, 4, 4], f32>, !sp.tensor<[3, 2, 2, 2], f32>, !sp.tensor<[2, 1, 1], f32>) -> !sp.tensor<[1, 2, 8, 8], f32>
  func.return %y : !sp.tensor<[1, 2, 8, 8], f32>
}
// CHECK:      [[Y:%.*]] = "sp.conv"(%x, {{.*}}) <{strides = array<i64: 1, 1>
// CHECK:      (!sp.tensor<[1, 3, 4, 4], f32>, !sp.tensor<[8, 3, 1, 1], f32>, !sp.tensor<[8, 1, 1], f32>)
// CHECK-NEXT: [[R:%.*]] = "sp.reshape"([[Y]]) : {{.*}} -> !sp.tensor<[1, 2, 2, 2, 4, 4], f32>
// CHECK-NEXT: [[T:%.*]] = "sp.transpose"([[R]]) <{perm = array<i64: 0, 1, 4, 2, 5, 3>}>
// CHECK-NEXT: [[Z:%.*]] = "sp.reshape"([[T]]) : {{.*}} -> !sp.tensor<[1, 2, 8, 8], f32>
// CHECK-NEXT: func.return [[Z]]

// -----

// A pool over the whole image is a reduction.
func.func @main(%x: !sp.tensor<[1, 3, 4, 4], f32>) -> !sp.tensor<[1, 3, 1, 1], f32> {
  %y = "sp.pool"(%x) <{kind = "average", kernel_shape = array<i64: 4, 4>, strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, overhang = array<i64: 0, 0>, count_pads = false}> : (!sp.tensor<[1, 3, 4, 4], f32>) -> !sp.tensor<[1, 3, 1, 1], f32>
  func.return %y : !sp.tensor<[1, 3, 1, 1], f32>
}
// CHECK:      "sp.reduce"(%x) <{kind = "mean", axes = array<i64: 2, 3>, keepdims = true

// -----

// A large window goes over columns, then over rows.
func.func @main(%x: !sp.tensor<[1, 3, 40, 50], f32>) -> !sp.tensor<[1, 3, 14, 18], f32> {
  %y = "sp.pool"(%x) <{kind = "average", kernel_shape = array<i64: 14, 15>, strides = array<i64: 2, 2>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, overhang = array<i64: 0, 0>, count_pads = false}> : (!sp.tensor<[1, 3, 40, 50], f32>) -> !sp.tensor<[1, 3, 14, 18], f32>
  func.return %y : !sp.tensor<[1, 3, 14, 18], f32>
}
// CHECK:      [[Y:%.*]] = "sp.pool"(%x) <{kind = "average", kernel_shape = array<i64: 1, 15>, strides = array<i64: 1, 2>
// CHECK-NEXT: "sp.pool"([[Y]]) <{kind = "average", kernel_shape = array<i64: 14, 1>, strides = array<i64: 2, 1>
