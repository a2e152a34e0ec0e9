// RUN: sparsec opt %s -p merge_equal | filecheck %s

// Equal ops of different nodes become one, and so do equal scalar ops in a region.
func.func @main(%x: !sp.tensor<[4], f32>) -> (!sp.tensor<[4], f32>, !sp.tensor<[4], f32>, !sp.tensor<[4], f32>) {
  %a = "sp.softmax"(%x) <{axes = array<i64: 0>, log = false}> {node = "first"} : (!sp.tensor<[4], f32>) -> !sp.tensor<[4], f32>
  %b = "sp.softmax"(%x) <{axes = array<i64: 0>, log = false}> {node = "second"} : (!sp.tensor<[4], f32>) -> !sp.tensor<[4], f32>
  %c = "sp.map"(%x) ({
  ^bb0(%s: f32):
    %e = math.exp %s : f32
    %f = math.exp %s : f32
    %r = arith.mulf %e, %f : f32
    "sp.yield"(%r) : (f32) -> ()
  }) : (!sp.tensor<[4], f32>) -> !sp.tensor<[4], f32>
  func.return %a, %b, %c : !sp.tensor<[4], f32>, !sp.tensor<[4], f32>, !sp.tensor<[4], f32>
}
// CHECK:      [[A:%.*]] = "sp.softmax"(%x)
// CHECK-NOT:  "sp.softmax"
// CHECK:      [[E:%.*]] = math.exp
// CHECK-NEXT: arith.mulf [[E]], [[E]] : f32
// CHECK:      func.return [[A]], [[A]], %c

// -----

// Equal ops with different bodies stay.
func.func @main(%x: !sp.tensor<[4], f32>) -> (!sp.tensor<[4], f32>, !sp.tensor<[4], f32>) {
  %a = "sp.map"(%x) ({
  ^bb0(%s: f32):
    %e = math.exp %s : f32
    "sp.yield"(%e) : (f32) -> ()
  }) : (!sp.tensor<[4], f32>) -> !sp.tensor<[4], f32>
  %b = "sp.map"(%x) ({
  ^bb0(%s: f32):
    %e = math.tanh %s : f32
    "sp.yield"(%e) : (f32) -> ()
  }) : (!sp.tensor<[4], f32>) -> !sp.tensor<[4], f32>
  func.return %a, %b : !sp.tensor<[4], f32>, !sp.tensor<[4], f32>
}
// CHECK:      math.exp
// CHECK:      math.tanh
// CHECK:      func.return %a, %b
