// RUN: sparsec opt %s -p fold_batch_norm | filecheck %s

// Scale and shift after a convolution that has a bias already. The zero of the weight stays.
// weight @w = [1, 0, 3, 4]
// weight @b = [10, 20]
// weight @scale = [2, 3]
// weight @shift = [0.5, 0.25]
func.func @main(%x: !sp.tensor<[1, 2, 4, 4], f32>) -> !sp.tensor<[1, 2, 4, 4], f32> {
  %w = "sp.weight"() <{ref = @w}> : () -> !sp.tensor<[2, 2, 1, 1], f32>
  %b = "sp.weight"() <{ref = @b}> : () -> !sp.tensor<[2, 1, 1], f32>
  %scale = "sp.weight"() <{ref = @scale}> : () -> !sp.tensor<[2, 1, 1], f32>
  %shift = "sp.weight"() <{ref = @shift}> : () -> !sp.tensor<[2, 1, 1], f32>
  %y = "sp.conv"(%x, %w, %b) <{strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64}> ({
  ^bb0(%a: f32, %c: f32):
    %s = arith.addf %a, %c : f32
    "sp.yield"(%s) : (f32) -> ()
  }) : (!sp.tensor<[1, 2, 4, 4], f32>, !sp.tensor<[2, 2, 1, 1], f32>, !sp.tensor<[2, 1, 1], f32>) -> !sp.tensor<[1, 2, 4, 4], f32>
  %z = "sp.map"(%y, %scale, %shift) ({
  ^bb0(%a: f32, %c: f32, %d: f32):
    %m = arith.mulf %a, %c : f32
    %s = arith.addf %m, %d : f32
    "sp.yield"(%s) : (f32) -> ()
  }) : (!sp.tensor<[1, 2, 4, 4], f32>, !sp.tensor<[2, 1, 1], f32>, !sp.tensor<[2, 1, 1], f32>) -> !sp.tensor<[1, 2, 4, 4], f32>
  func.return %z : !sp.tensor<[1, 2, 4, 4], f32>
}
// CHECK:      [[W:%.*]] = "sp.weight"() <{ref = @w.scaled}>
// CHECK-NEXT: [[B:%.*]] = "sp.weight"() <{ref = @w.scaled.bias}>
// CHECK-NEXT: [[Z:%.*]] = "sp.conv"(%x, [[W]], [[B]])
// CHECK-NEXT: ^bb0([[A:%.*]]: f32, [[C:%.*]]: f32):
// CHECK-NEXT:   [[S:%.*]] = arith.addf [[A]], [[C]] : f32
// CHECK-NEXT:   "sp.yield"([[S]])
// CHECK:      func.return [[Z]]
// CHECK:      // weight @w.scaled = [2.0, 0.0, 9.0, 12.0]
// CHECK-NEXT: // weight @w.scaled.bias = [20.5, 60.25]

// -----

// Scale and shift before a convolution without padding.
// weight @w = [1, 2]
// weight @scale = [2, 3]
// weight @shift = [0.5, 0.25]
func.func @main(%x: !sp.tensor<[1, 2, 4, 4], f32>) -> !sp.tensor<[1, 1, 4, 4], f32> {
  %w = "sp.weight"() <{ref = @w}> : () -> !sp.tensor<[1, 2, 1, 1], f32>
  %scale = "sp.weight"() <{ref = @scale}> : () -> !sp.tensor<[2, 1, 1], f32>
  %shift = "sp.weight"() <{ref = @shift}> : () -> !sp.tensor<[2, 1, 1], f32>
  %y = "sp.map"(%x, %scale, %shift) ({
  ^bb0(%a: f32, %c: f32, %d: f32):
    %m = arith.mulf %a, %c : f32
    %s = arith.addf %m, %d : f32
    "sp.yield"(%s) : (f32) -> ()
  }) : (!sp.tensor<[1, 2, 4, 4], f32>, !sp.tensor<[2, 1, 1], f32>, !sp.tensor<[2, 1, 1], f32>) -> !sp.tensor<[1, 2, 4, 4], f32>
  %z = "sp.conv"(%y, %w) <{strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64}> ({
  ^bb0(%a: f32):
    "sp.yield"(%a) : (f32) -> ()
  }) : (!sp.tensor<[1, 2, 4, 4], f32>, !sp.tensor<[1, 2, 1, 1], f32>) -> !sp.tensor<[1, 1, 4, 4], f32>
  func.return %z : !sp.tensor<[1, 1, 4, 4], f32>
}
// CHECK-NOT:  "sp.map"
// CHECK:      // weight @w.scaled = [2.0, 6.0]
// CHECK-NEXT: // weight @w.scaled.bias = [1.0]

// -----

// A convolution that pads with zeros after the shift cannot take the shift.
// weight @shift = [0.5, 0.25]
func.func @main(%x: !sp.tensor<[1, 2, 4, 4], f32>) -> !sp.tensor<[1, 1, 4, 4], f32> {
  %w = "sp.weight"() <{ref = @w}> : () -> !sp.tensor<[1, 2, 3, 3], f32>
  %shift = "sp.weight"() <{ref = @shift}> : () -> !sp.tensor<[2, 1, 1], f32>
  %y = "sp.map"(%x, %shift) ({
  ^bb0(%a: f32, %c: f32):
    %s = arith.addf %a, %c : f32
    "sp.yield"(%s) : (f32) -> ()
  }) : (!sp.tensor<[1, 2, 4, 4], f32>, !sp.tensor<[2, 1, 1], f32>) -> !sp.tensor<[1, 2, 4, 4], f32>
  %z = "sp.conv"(%y, %w) <{strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>, groups = 1 : i64}> ({
  ^bb0(%a: f32):
    "sp.yield"(%a) : (f32) -> ()
  }) : (!sp.tensor<[1, 2, 4, 4], f32>, !sp.tensor<[1, 2, 3, 3], f32>) -> !sp.tensor<[1, 1, 4, 4], f32>
  func.return %z : !sp.tensor<[1, 1, 4, 4], f32>
}
// CHECK:      [[Y:%.*]] = "sp.map"(%x
// CHECK:      "sp.conv"([[Y]], %w)

// -----

// What cannot go into a weight (nothing here has one) is at least one scale and one shift.
// weight @mean = [1, 2]
// weight @scale = [2, 3]
func.func @main(%x: !sp.tensor<[1, 2, 4, 4], f32>) -> !sp.tensor<[1, 2, 4, 4], f32> {
  %mean = "sp.weight"() <{ref = @mean}> : () -> !sp.tensor<[2, 1, 1], f32>
  %scale = "sp.weight"() <{ref = @scale}> : () -> !sp.tensor<[2, 1, 1], f32>
  %y = "sp.map"(%x, %mean) ({
  ^bb0(%a: f32, %c: f32):
    %s = arith.subf %a, %c : f32
    "sp.yield"(%s) : (f32) -> ()
  }) : (!sp.tensor<[1, 2, 4, 4], f32>, !sp.tensor<[2, 1, 1], f32>) -> !sp.tensor<[1, 2, 4, 4], f32>
  %z = "sp.map"(%y, %scale) ({
  ^bb0(%a: f32, %c: f32):
    %m = arith.mulf %a, %c : f32
    "sp.yield"(%m) : (f32) -> ()
  }) : (!sp.tensor<[1, 2, 4, 4], f32>, !sp.tensor<[2, 1, 1], f32>) -> !sp.tensor<[1, 2, 4, 4], f32>
  func.return %z : !sp.tensor<[1, 2, 4, 4], f32>
}
// CHECK:      [[S:%.*]] = "sp.weight"() <{ref = @map.affine}>
// CHECK-NEXT: [[T:%.*]] = "sp.weight"() <{ref = @map.affine.1}>
// CHECK-NEXT: "sp.map"(%x, [[S]], [[T]])
// CHECK:      // weight @map.affine = [2.0, 3.0]
// CHECK-NEXT: // weight @map.affine.1 = [-2.0, -6.0]
