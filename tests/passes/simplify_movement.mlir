// RUN: sparsec opt %s -p simplify_movement | filecheck %s

// Transposes cancel; reshapes combine; a transpose that moves only axes of 1 is a reshape.
func.func @main(%x: !sp.tensor<[2, 3, 4], f32>, %y: !sp.tensor<[1, 3, 1, 4], f32>) -> (!sp.tensor<[2, 3, 4], f32>, !sp.tensor<[6, 4], f32>, !sp.tensor<[12], f32>) {
  %a = "sp.transpose"(%x) <{perm = array<i64: 2, 0, 1>}> : (!sp.tensor<[2, 3, 4], f32>) -> !sp.tensor<[4, 2, 3], f32>
  %b = "sp.transpose"(%a) <{perm = array<i64: 1, 2, 0>}> : (!sp.tensor<[4, 2, 3], f32>) -> !sp.tensor<[2, 3, 4], f32>
  %c = "sp.reshape"(%x) : (!sp.tensor<[2, 3, 4], f32>) -> !sp.tensor<[24], f32>
  %d = "sp.reshape"(%c) : (!sp.tensor<[24], f32>) -> !sp.tensor<[6, 4], f32>
  %e = "sp.transpose"(%y) <{perm = array<i64: 2, 1, 3, 0>}> : (!sp.tensor<[1, 3, 1, 4], f32>) -> !sp.tensor<[1, 3, 4, 1], f32>
  %f = "sp.reshape"(%e) : (!sp.tensor<[1, 3, 4, 1], f32>) -> !sp.tensor<[12], f32>
  func.return %b, %d, %f : !sp.tensor<[2, 3, 4], f32>, !sp.tensor<[6, 4], f32>, !sp.tensor<[12], f32>
}
// CHECK:      func.func @main(
// CHECK-NEXT:   [[D:%.*]] = "sp.reshape"(%x)
// CHECK-NEXT:   [[F:%.*]] = "sp.reshape"(%y)
// CHECK-NEXT:   func.return %x, [[D]], [[F]]

// -----

// Slices that are put together again, and slices of parts that were put together.
func.func @main(%x: !sp.tensor<[1, 6], f32>, %y: !sp.tensor<[1, 2], f32>) -> (!sp.tensor<[1, 6], f32>, !sp.tensor<[1, 2], f32>) {
  %a = "sp.slice"(%x) <{starts = array<i64: 0, 0>, steps = array<i64: 1, 1>}> : (!sp.tensor<[1, 6], f32>) -> !sp.tensor<[1, 4], f32>
  %b = "sp.slice"(%x) <{starts = array<i64: 0, 4>, steps = array<i64: 1, 1>}> : (!sp.tensor<[1, 6], f32>) -> !sp.tensor<[1, 2], f32>
  %c = "sp.concat"(%a, %b) <{axis = 1 : i64}> : (!sp.tensor<[1, 4], f32>, !sp.tensor<[1, 2], f32>) -> !sp.tensor<[1, 6], f32>
  %d = "sp.concat"(%x, %y) <{axis = 1 : i64}> : (!sp.tensor<[1, 6], f32>, !sp.tensor<[1, 2], f32>) -> !sp.tensor<[1, 8], f32>
  %e = "sp.slice"(%d) <{starts = array<i64: 0, 6>, steps = array<i64: 1, 1>}> : (!sp.tensor<[1, 8], f32>) -> !sp.tensor<[1, 2], f32>
  func.return %c, %e : !sp.tensor<[1, 6], f32>, !sp.tensor<[1, 2], f32>
}
// CHECK:      func.func @main(
// CHECK-NEXT:   func.return %x, %y

// -----

// Zeros around an image become the convolution's own padding.
func.func @main(%x: !sp.tensor<[1, 2, 5, 5], f32>) -> !sp.tensor<[1, 1, 3, 3], f32> {
  %w = "sp.weight"() <{ref = @w}> : () -> !sp.tensor<[1, 2, 3, 3], f32>
  %p = "sp.pad"(%x) <{low = array<i64: 0, 0, 0, 1>, high = array<i64: 0, 0, 2, 1>, mode = "constant", value = 0.0 : f64}> : (!sp.tensor<[1, 2, 5, 5], f32>) -> !sp.tensor<[1, 2, 7, 7], f32>
  %y = "sp.conv"(%p, %w) <{strides = array<i64: 2, 2>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64}> ({
  ^bb0(%a: f32):
    "sp.yield"(%a) : (f32) -> ()
  }) : (!sp.tensor<[1, 2, 7, 7], f32>, !sp.tensor<[1, 2, 3, 3], f32>) -> !sp.tensor<[1, 1, 3, 3], f32>
  func.return %y : !sp.tensor<[1, 1, 3, 3], f32>
}
// CHECK-NOT:  "sp.pad"
// CHECK:      "sp.conv"(%x, %w) <{{.*}}pads = array<i64: 0, 1, 2, 1>

// -----

// Evenly spaced constant indices are a slice.
// weight @i = [5, 3, 1]
func.func @main(%x: !sp.tensor<[2, 6], f32>) -> !sp.tensor<[2, 3], f32> {
  %i = "sp.weight"() <{ref = @i}> : () -> !sp.tensor<[3], i64>
  %y = "sp.gather"(%x, %i) <{kind = "take", axis = 1 : i64, batch_dims = 0 : i64}> : (!sp.tensor<[2, 6], f32>, !sp.tensor<[3], i64>) -> !sp.tensor<[2, 3], f32>
  func.return %y : !sp.tensor<[2, 3], f32>
}
// CHECK-NOT:  "sp.gather"
// CHECK:      "sp.slice"(%x) <{starts = array<i64: 0, 5>, steps = array<i64: 1, -2>}>

// -----

// Maps broadcast by themselves.
func.func @main(%x: !sp.tensor<[3, 1], f32>, %y: !sp.tensor<[3, 4], f32>) -> !sp.tensor<[3, 4], f32> {
  %e = "sp.expand"(%x) : (!sp.tensor<[3, 1], f32>) -> !sp.tensor<[3, 4], f32>
  %z = "sp.map"(%e, %y) ({
  ^bb0(%a: f32, %b: f32):
    %s = arith.addf %a, %b : f32
    "sp.yield"(%s) : (f32) -> ()
  }) : (!sp.tensor<[3, 4], f32>, !sp.tensor<[3, 4], f32>) -> !sp.tensor<[3, 4], f32>
  func.return %z : !sp.tensor<[3, 4], f32>
}
// CHECK-NOT:  "sp.expand"
// CHECK:      "sp.map"(%x, %y)

// -----

// A channel shuffle reads whole channels in another order.
func.func @main(%x: !sp.tensor<[1, 6, 2, 2], f32>) -> !sp.tensor<[1, 6, 2, 2], f32> {
  %a = "sp.reshape"(%x) : (!sp.tensor<[1, 6, 2, 2], f32>) -> !sp.tensor<[1, 2, 3, 2, 2], f32>
  %b = "sp.transpose"(%a) <{perm = array<i64: 0, 2, 1, 3, 4>}> : (!sp.tensor<[1, 2, 3, 2, 2], f32>) -> !sp.tensor<[1, 3, 2, 2, 2], f32>
  %c = "sp.reshape"(%b) : (!sp.tensor<[1, 3, 2, 2, 2], f32>) -> !sp.tensor<[1, 6, 2, 2], f32>
  func.return %c : !sp.tensor<[1, 6, 2, 2], f32>
}
// CHECK:      "sp.gather"(%x, {{.*}}) <{kind = "take", axis = 1 : i64
// CHECK:      // weight @reshape.channels = [0, 3, 1, 4, 2, 5]

// -----

// Heads that are split off and joined again move nothing, whatever the symbols.
func.func @main(%x: !sp.tensor<["b", "s", 6], f32>) -> !sp.tensor<["b*s", 6], f32> {
  %a = "sp.reshape"(%x) : (!sp.tensor<["b", "s", 6], f32>) -> !sp.tensor<["b", "s", 3, 2], f32>
  %b = "sp.transpose"(%a) <{perm = array<i64: 2, 3, 0, 1>}> : (!sp.tensor<["b", "s", 3, 2], f32>) -> !sp.tensor<[3, 2, "b", "s"], f32>
  %c = "sp.reshape"(%b) : (!sp.tensor<[3, 2, "b", "s"], f32>) -> !sp.tensor<[6, "b*s"], f32>
  %d = "sp.transpose"(%c) <{perm = array<i64: 1, 0>}> : (!sp.tensor<[6, "b*s"], f32>) -> !sp.tensor<["b*s", 6], f32>
  func.return %d : !sp.tensor<["b*s", 6], f32>
}
// CHECK:      [[D:%.*]] = "sp.reshape"(%x) {{.*}} -> !sp.tensor<["b*s", 6], f32>
// CHECK-NEXT: func.return [[D]]

// -----

// A third of what was split and transposed is cut out before.
func.func @main(%x: !sp.tensor<[2, 5, 12], f32>) -> !sp.tensor<[1, 2, 5, 4], f32> {
  %a = "sp.reshape"(%x) : (!sp.tensor<[2, 5, 12], f32>) -> !sp.tensor<[2, 5, 3, 4], f32>
  %b = "sp.transpose"(%a) <{perm = array<i64: 2, 0, 1, 3>}> : (!sp.tensor<[2, 5, 3, 4], f32>) -> !sp.tensor<[3, 2, 5, 4], f32>
  %c = "sp.slice"(%b) <{starts = array<i64: 1, 0, 0, 0>, steps = array<i64: 1, 1, 1, 1>}> : (!sp.tensor<[3, 2, 5, 4], f32>) -> !sp.tensor<[1, 2, 5, 4], f32>
  func.return %c : !sp.tensor<[1, 2, 5, 4], f32>
}
// CHECK:      [[A:%.*]] = "sp.slice"(%x) <{starts = array<i64: 0, 0, 4>
// CHECK-NEXT: [[C:%.*]] = "sp.reshape"([[A]])
// CHECK-NEXT: func.return [[C]]
