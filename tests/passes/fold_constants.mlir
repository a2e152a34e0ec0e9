// RUN: sparsec opt %s -p fold_constants | filecheck %s

// An op of weights becomes a weight.
// weight @w = [1, 2, 3, 4]
func.func @main() -> !sp.tensor<[2, 2], f32> {
  %w = "sp.weight"() <{ref = @w}> : () -> !sp.tensor<[2, 2], f32>
  %t = "sp.transpose"(%w) <{perm = array<i64: 1, 0>}> : (!sp.tensor<[2, 2], f32>) -> !sp.tensor<[2, 2], f32>
  func.return %t : !sp.tensor<[2, 2], f32>
}
// CHECK:      func.func @main()
// CHECK-NEXT:   "sp.weight"() <{ref = @w.1}>
// CHECK-NEXT:   func.return
// CHECK:      // weight @w.1 = [1.0, 3.0, 2.0, 4.0]

// -----

// Weights of equal elements become constants of the region; x * 1 and x + 0 go; small powers become products.
// weight @one = ones
// weight @zero = zeros
// weight @two = [2]
func.func @main(%x: !sp.tensor<[4], f32>) -> !sp.tensor<[4], f32> {
  %one = "sp.weight"() <{ref = @one}> : () -> !sp.tensor<[4], f32>
  %zero = "sp.weight"() <{ref = @zero}> : () -> !sp.tensor<[1], f32>
  %two = "sp.weight"() <{ref = @two}> : () -> !sp.tensor<[], f32>
  %y = "sp.map"(%x, %one, %zero, %two) ({
  ^bb0(%a: f32, %b: f32, %c: f32, %d: f32):
    %scaled = arith.mulf %a, %b : f32
    %shifted = arith.addf %scaled, %c : f32
    %square = math.powf %shifted, %d : f32
    "sp.yield"(%square) : (f32) -> ()
  }) : (!sp.tensor<[4], f32>, !sp.tensor<[4], f32>, !sp.tensor<[1], f32>, !sp.tensor<[], f32>) -> !sp.tensor<[4], f32>
  func.return %y : !sp.tensor<[4], f32>
}
// CHECK:      "sp.map"(%x) ({
// CHECK-NEXT: ^bb0([[A:%.*]]: f32):
// CHECK-NEXT:   [[S:%.*]] = arith.mulf [[A]], [[A]] : f32
// CHECK-NEXT:   "sp.yield"([[S]])

// -----

// A map that yields its input is its input; one that broadcasts it is an expand.
func.func @main(%x: !sp.tensor<[4], f32>, %y: !sp.tensor<[2, 4], f32>) -> (!sp.tensor<[4], f32>, !sp.tensor<[2, 4], f32>) {
  %same = "sp.map"(%x) ({
  ^bb0(%a: f32):
    "sp.yield"(%a) : (f32) -> ()
  }) : (!sp.tensor<[4], f32>) -> !sp.tensor<[4], f32>
  %wide = "sp.map"(%x, %y) ({
  ^bb0(%a: f32, %b: f32):
    "sp.yield"(%a) : (f32) -> ()
  }) : (!sp.tensor<[4], f32>, !sp.tensor<[2, 4], f32>) -> !sp.tensor<[2, 4], f32>
  func.return %same, %wide : !sp.tensor<[4], f32>, !sp.tensor<[2, 4], f32>
}
// CHECK:      func.func @main(%x
// CHECK-NEXT:   [[W:%.*]] = "sp.expand"(%x) : (!sp.tensor<[4], f32>) -> !sp.tensor<[2, 4], f32>
// CHECK-NEXT:   func.return %x, [[W]]

// -----

// What is read twice is read once; scalar ops of constants are computed.
func.func @main(%x: !sp.tensor<[4], f32>) -> !sp.tensor<[4], f32> {
  %y = "sp.map"(%x, %x) ({
  ^bb0(%a: f32, %b: f32):
    %one = arith.constant 1.0 : f32
    %two = arith.constant 2.0 : f32
    %three = arith.addf %one, %two : f32
    %half = arith.divf %b, %two : f32
    %sum = arith.addf %a, %half : f32
    %r = arith.mulf %sum, %three : f32
    "sp.yield"(%r) : (f32) -> ()
  }) : (!sp.tensor<[4], f32>, !sp.tensor<[4], f32>) -> !sp.tensor<[4], f32>
  func.return %y : !sp.tensor<[4], f32>
}
// CHECK:      "sp.map"(%x) ({
// CHECK-DAG:    [[H:%.*]] = arith.constant 5.000000e-01
// CHECK-DAG:    [[T:%.*]] = arith.constant 3.000000e+00
// CHECK:        arith.mulf {{.*}}, [[H]]
// CHECK:        arith.mulf {{.*}}, [[T]]
