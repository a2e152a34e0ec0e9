// RUN: sparsec opt %s -p fuse_norm | filecheck %s

// Layer norm as exporters before opset 17 write it.
func.func @main(%x: !sp.tensor<[2, 3, 8], f32>) -> !sp.tensor<[2, 3, 8], f32> {
  %m = "sp.reduce"(%x) <{kind = "mean", axes = array<i64: 2>, keepdims = true, select_last = false}> : (!sp.tensor<[2, 3, 8], f32>) -> !sp.tensor<[2, 3, 1], f32>
  %d = "sp.map"(%x, %m) ({
  ^bb0(%a: f32, %b: f32):
    %s = arith.subf %a, %b : f32
    "sp.yield"(%s) : (f32) -> ()
  }) : (!sp.tensor<[2, 3, 8], f32>, !sp.tensor<[2, 3, 1], f32>) -> !sp.tensor<[2, 3, 8], f32>
  %q = "sp.map"(%d) ({
  ^bb0(%a: f32):
    %s = arith.mulf %a, %a : f32
    "sp.yield"(%s) : (f32) -> ()
  }) : (!sp.tensor<[2, 3, 8], f32>) -> !sp.tensor<[2, 3, 8], f32>
  %v = "sp.reduce"(%q) <{kind = "mean", axes = array<i64: 2>, keepdims = true, select_last = false}> : (!sp.tensor<[2, 3, 8], f32>) -> !sp.tensor<[2, 3, 1], f32>
  %e = "sp.map"(%v) ({
  ^bb0(%a: f32):
    %c = arith.constant 1.000000e-05 : f32
    %s = arith.addf %a, %c : f32
    "sp.yield"(%s) : (f32) -> ()
  }) : (!sp.tensor<[2, 3, 1], f32>) -> !sp.tensor<[2, 3, 1], f32>
  %r = "sp.map"(%e) ({
  ^bb0(%a: f32):
    %s = math.sqrt %a : f32
    "sp.yield"(%s) : (f32) -> ()
  }) : (!sp.tensor<[2, 3, 1], f32>) -> !sp.tensor<[2, 3, 1], f32>
  %y = "sp.map"(%d, %r) ({
  ^bb0(%a: f32, %b: f32):
    %s = arith.divf %a, %b : f32
    "sp.yield"(%s) : (f32) -> ()
  }) : (!sp.tensor<[2, 3, 8], f32>, !sp.tensor<[2, 3, 1], f32>) -> !sp.tensor<[2, 3, 8], f32>
  func.return %y : !sp.tensor<[2, 3, 8], f32>
}
// CHECK:      func.func @main(%x: {{.*}})
// CHECK-NEXT: [[Y:%.*]] = "sp.norm"(%x) <{axes = array<i64: 2>, epsilon = 9.99999{{.*}} : f64, center = true}>
// CHECK-NEXT: func.return [[Y]]

// -----

// RMS norm as a product with a reciprocal, of the input and its root in either order.
func.func @main(%x: !sp.tensor<[3, 8], f32>) -> !sp.tensor<[3, 8], f32> {
  %q = "sp.map"(%x) ({
  ^bb0(%a: f32):
    %s = arith.mulf %a, %a : f32
    "sp.yield"(%s) : (f32) -> ()
  }) : (!sp.tensor<[3, 8], f32>) -> !sp.tensor<[3, 8], f32>
  %v = "sp.reduce"(%q) <{kind = "mean", axes = array<i64: 1>, keepdims = true, select_last = false}> : (!sp.tensor<[3, 8], f32>) -> !sp.tensor<[3, 1], f32>
  %e = "sp.map"(%v) ({
  ^bb0(%a: f32):
    %c = arith.constant 1.000000e-06 : f32
    %s = arith.addf %c, %a : f32
    "sp.yield"(%s) : (f32) -> ()
  }) : (!sp.tensor<[3, 1], f32>) -> !sp.tensor<[3, 1], f32>
  %r = "sp.map"(%e) ({
  ^bb0(%a: f32):
    %s = math.sqrt %a : f32
    "sp.yield"(%s) : (f32) -> ()
  }) : (!sp.tensor<[3, 1], f32>) -> !sp.tensor<[3, 1], f32>
  %i = "sp.map"(%r) ({
  ^bb0(%a: f32):
    %c = arith.constant 1.000000e+00 : f32
    %s = arith.divf %c, %a : f32
    "sp.yield"(%s) : (f32) -> ()
  }) : (!sp.tensor<[3, 1], f32>) -> !sp.tensor<[3, 1], f32>
  %y = "sp.map"(%i, %x) ({
  ^bb0(%a: f32, %b: f32):
    %s = arith.mulf %a, %b : f32
    "sp.yield"(%s) : (f32) -> ()
  }) : (!sp.tensor<[3, 1], f32>, !sp.tensor<[3, 8], f32>) -> !sp.tensor<[3, 8], f32>
  func.return %y : !sp.tensor<[3, 8], f32>
}
// CHECK:      func.func @main(%x: {{.*}})
// CHECK-NEXT: [[Y:%.*]] = "sp.norm"(%x) <{axes = array<i64: 1>, epsilon = 9.99999{{.*}} : f64, center = false}>
// CHECK-NEXT: func.return [[Y]]

// -----

// The mean of other axes than the variance is no layer norm: what is left is an RMS norm of the difference.
func.func @main(%x: !sp.tensor<[3, 8], f32>) -> !sp.tensor<[3, 8], f32> {
  %m = "sp.reduce"(%x) <{kind = "mean", axes = array<i64: 0>, keepdims = true, select_last = false}> : (!sp.tensor<[3, 8], f32>) -> !sp.tensor<[1, 8], f32>
  %d = "sp.map"(%x, %m) ({
  ^bb0(%a: f32, %b: f32):
    %s = arith.subf %a, %b : f32
    "sp.yield"(%s) : (f32) -> ()
  }) : (!sp.tensor<[3, 8], f32>, !sp.tensor<[1, 8], f32>) -> !sp.tensor<[3, 8], f32>
  %q = "sp.map"(%d) ({
  ^bb0(%a: f32):
    %s = arith.mulf %a, %a : f32
    "sp.yield"(%s) : (f32) -> ()
  }) : (!sp.tensor<[3, 8], f32>) -> !sp.tensor<[3, 8], f32>
  %v = "sp.reduce"(%q) <{kind = "mean", axes = array<i64: 1>, keepdims = true, select_last = false}> : (!sp.tensor<[3, 8], f32>) -> !sp.tensor<[3, 1], f32>
  %e = "sp.map"(%v) ({
  ^bb0(%a: f32):
    %c = arith.constant 1.000000e-06 : f32
    %s = arith.addf %a, %c : f32
    "sp.yield"(%s) : (f32) -> ()
  }) : (!sp.tensor<[3, 1], f32>) -> !sp.tensor<[3, 1], f32>
  %r = "sp.map"(%e) ({
  ^bb0(%a: f32):
    %s = math.rsqrt %a : f32
    "sp.yield"(%s) : (f32) -> ()
  }) : (!sp.tensor<[3, 1], f32>) -> !sp.tensor<[3, 1], f32>
  %y = "sp.map"(%d, %r) ({
  ^bb0(%a: f32, %b: f32):
    %s = arith.mulf %a, %b : f32
    "sp.yield"(%s) : (f32) -> ()
  }) : (!sp.tensor<[3, 8], f32>, !sp.tensor<[3, 1], f32>) -> !sp.tensor<[3, 8], f32>
  func.return %y : !sp.tensor<[3, 8], f32>
}
// CHECK:      [[M:%.*]] = "sp.reduce"(%x) <{kind = "mean", axes = array<i64: 0>
// CHECK:      [[D:%.*]] = "sp.map"(%x, [[M]])
// CHECK:      [[Y:%.*]] = "sp.norm"([[D]]) <{axes = array<i64: 1>, epsilon = 9.99999{{.*}} : f64, center = false}>
// CHECK-NEXT: func.return [[Y]]

// -----

// The mean is of something else than what is divided.
func.func @main(%x: !sp.tensor<[3, 8], f32>, %z: !sp.tensor<[3, 8], f32>) -> !sp.tensor<[3, 8], f32> {
  %q = "sp.map"(%z) ({
  ^bb0(%a: f32):
    %s = arith.mulf %a, %a : f32
    "sp.yield"(%s) : (f32) -> ()
  }) : (!sp.tensor<[3, 8], f32>) -> !sp.tensor<[3, 8], f32>
  %v = "sp.reduce"(%q) <{kind = "mean", axes = array<i64: 1>, keepdims = true, select_last = false}> : (!sp.tensor<[3, 8], f32>) -> !sp.tensor<[3, 1], f32>
  %e = "sp.map"(%v) ({
  ^bb0(%a: f32):
    %c = arith.constant 1.000000e-06 : f32
    %s = arith.addf %a, %c : f32
    "sp.yield"(%s) : (f32) -> ()
  }) : (!sp.tensor<[3, 1], f32>) -> !sp.tensor<[3, 1], f32>
  %r = "sp.map"(%e) ({
  ^bb0(%a: f32):
    %s = math.sqrt %a : f32
    "sp.yield"(%s) : (f32) -> ()
  }) : (!sp.tensor<[3, 1], f32>) -> !sp.tensor<[3, 1], f32>
  %y = "sp.map"(%x, %r) ({
  ^bb0(%a: f32, %b: f32):
    %s = arith.divf %a, %b : f32
    "sp.yield"(%s) : (f32) -> ()
  }) : (!sp.tensor<[3, 8], f32>, !sp.tensor<[3, 1], f32>) -> !sp.tensor<[3, 8], f32>
  func.return %y : !sp.tensor<[3, 8], f32>
}
// CHECK-NOT:  "sp.norm"
// CHECK:      arith.divf
