// RUN: sparsec opt %s -p assign_layouts | filecheck %s

// A chain of convolutions, a map and a pool: packing at its two ends only. The bias stays row-major.
func.func @main(%x: !sp.tensor<[1, 2, 4, 4], f32>) -> !sp.tensor<[1, 2, 2, 4], f32> {
  %w = "sp.weight"() <{ref = @w}> : () -> !sp.tensor<[2, 2, 1, 1], f32>
  %b = "sp.weight"() <{ref = @b}> : () -> !sp.tensor<[2, 1, 1], f32>
  %y = "sp.conv"(%x, %w) <{strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64}> ({
  ^bb0(%a: f32):
    "sp.yield"(%a) : (f32) -> ()
  }) : (!sp.tensor<[1, 2, 4, 4], f32>, !sp.tensor<[2, 2, 1, 1], f32>) -> !sp.tensor<[1, 2, 4, 4], f32>
  %m = "sp.map"(%y, %b) ({
  ^bb0(%a: f32, %c: f32):
    %s = arith.addf %a, %c : f32
    "sp.yield"(%s) : (f32) -> ()
  }) : (!sp.tensor<[1, 2, 4, 4], f32>, !sp.tensor<[2, 1, 1], f32>) -> !sp.tensor<[1, 2, 4, 4], f32>
  %z = "sp.conv"(%m, %w) <{strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64}> ({
  ^bb0(%a: f32):
    "sp.yield"(%a) : (f32) -> ()
  }) : (!sp.tensor<[1, 2, 4, 4], f32>, !sp.tensor<[2, 2, 1, 1], f32>) -> !sp.tensor<[1, 2, 4, 4], f32>
  %p = "sp.pool"(%z) <{kind = "max", kernel_shape = array<i64: 2, 1>, strides = array<i64: 2, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, overhang = array<i64: 0, 0>, count_pads = false}> : (!sp.tensor<[1, 2, 4, 4], f32>) -> !sp.tensor<[1, 2, 2, 4], f32>
  func.return %p : !sp.tensor<[1, 2, 2, 4], f32>
}
// CHECK:      [[X:%.*]] = "sp.relayout"(%x) : {{.*}} -> !sp.tensor<[1, 2, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>
// CHECK-NEXT: [[Y:%.*]] = "sp.conv"([[X]], %w)
// CHECK:      [[M:%.*]] = "sp.map"([[Y]], %b)
// CHECK:      [[Z:%.*]] = "sp.conv"([[M]], %w)
// CHECK-NOT:  "sp.relayout"
// CHECK:      [[P:%.*]] = "sp.pool"([[Z]]) {{.*}} -> !sp.tensor<[1, 2, 2, 4], f32, #sp.panel<rows = 2, stride = 16>>
// CHECK-NEXT: [[R:%.*]] = "sp.relayout"([[P]])
// CHECK-NEXT: func.return [[R]]

// -----

// A map between row-major ops stays row-major, and so does one that varies along a row of pixels.
func.func @main(%x: !sp.tensor<[1, 2, 4, 4], f32>) -> (!sp.tensor<[1, 2, 4, 4], f32>, !sp.tensor<[1, 2, 4, 4], f32>) {
  %w = "sp.weight"() <{ref = @w}> : () -> !sp.tensor<[2, 2, 1, 1], f32>
  %row = "sp.weight"() <{ref = @row}> : () -> !sp.tensor<[4], f32>
  %m = "sp.map"(%x) ({
  ^bb0(%a: f32):
    %e = math.exp %a : f32
    "sp.yield"(%e) : (f32) -> ()
  }) : (!sp.tensor<[1, 2, 4, 4], f32>) -> !sp.tensor<[1, 2, 4, 4], f32>
  %y = "sp.conv"(%x, %w) <{strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64}> ({
  ^bb0(%a: f32):
    "sp.yield"(%a) : (f32) -> ()
  }) : (!sp.tensor<[1, 2, 4, 4], f32>, !sp.tensor<[2, 2, 1, 1], f32>) -> !sp.tensor<[1, 2, 4, 4], f32>
  %z = "sp.map"(%y, %row) ({
  ^bb0(%a: f32, %b: f32):
    %s = arith.addf %a, %b : f32
    "sp.yield"(%s) : (f32) -> ()
  }) : (!sp.tensor<[1, 2, 4, 4], f32>, !sp.tensor<[4], f32>) -> !sp.tensor<[1, 2, 4, 4], f32>
  func.return %m, %z : !sp.tensor<[1, 2, 4, 4], f32>, !sp.tensor<[1, 2, 4, 4], f32>
}
// CHECK:      [[M:%.*]] = "sp.map"(%x)
// CHECK:      [[X:%.*]] = "sp.relayout"(%x)
// CHECK:      [[Y:%.*]] = "sp.conv"([[X]], %w)
// CHECK:      [[R:%.*]] = "sp.relayout"([[Y]])
// CHECK:      [[Z:%.*]] = "sp.map"([[R]], %row)
// CHECK:      func.return [[M]], [[Z]]
