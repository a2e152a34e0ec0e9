// RUN: sparsec opt %s -p merge_linears | filecheck %s

// Queries, keys and values of one input are one product; a sparse one stays for itself.
// weight @ws = sparse(0.8)
func.func @main(%x: !sp.tensor<[1, 16, 5, 1], f32>) -> !sp.tensor<[1, 4, 5, 1], f32> {
  %wq = "sp.weight"() <{ref = @wq}> : () -> !sp.tensor<[4, 16, 1, 1], f32>
  %bq = "sp.weight"() <{ref = @bq}> : () -> !sp.tensor<[4, 1, 1], f32>
  %wk = "sp.weight"() <{ref = @wk}> : () -> !sp.tensor<[4, 16, 1, 1], f32>
  %bk = "sp.weight"() <{ref = @bk}> : () -> !sp.tensor<[4, 1, 1], f32>
  %wv = "sp.weight"() <{ref = @wv}> : () -> !sp.tensor<[4, 16, 1, 1], f32>
  %bv = "sp.weight"() <{ref = @bv}> : () -> !sp.tensor<[4, 1, 1], f32>
  %ws = "sp.weight"() <{ref = @ws}> : () -> !sp.tensor<[4, 16, 1, 1], f32>
  %bs = "sp.weight"() <{ref = @bs}> : () -> !sp.tensor<[4, 1, 1], f32>
  %q = "sp.conv"(%x, %wq, %bq) <{strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64}> ({
  ^bb0(%a: f32, %c: f32):
    %d = arith.addf %a, %c : f32
    "sp.yield"(%d) : (f32) -> ()
  }) : (!sp.tensor<[1, 16, 5, 1], f32>, !sp.tensor<[4, 16, 1, 1], f32>, !sp.tensor<[4, 1, 1], f32>) -> !sp.tensor<[1, 4, 5, 1], f32>
  %k = "sp.conv"(%x, %wk, %bk) <{strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64}> ({
  ^bb0(%a: f32, %c: f32):
    %d = arith.addf %a, %c : f32
    "sp.yield"(%d) : (f32) -> ()
  }) : (!sp.tensor<[1, 16, 5, 1], f32>, !sp.tensor<[4, 16, 1, 1], f32>, !sp.tensor<[4, 1, 1], f32>) -> !sp.tensor<[1, 4, 5, 1], f32>
  %s = "sp.conv"(%x, %ws, %bs) <{strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64}> ({
  ^bb0(%a: f32, %c: f32):
    %d = arith.addf %a, %c : f32
    "sp.yield"(%d) : (f32) -> ()
  }) : (!sp.tensor<[1, 16, 5, 1], f32>, !sp.tensor<[4, 16, 1, 1], f32>, !sp.tensor<[4, 1, 1], f32>) -> !sp.tensor<[1, 4, 5, 1], f32>
  %v = "sp.conv"(%x, %wv, %bv) <{strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64}> ({
  ^bb0(%a: f32, %c: f32):
    %d = arith.addf %a, %c : f32
    "sp.yield"(%d) : (f32) -> ()
  }) : (!sp.tensor<[1, 16, 5, 1], f32>, !sp.tensor<[4, 16, 1, 1], f32>, !sp.tensor<[4, 1, 1], f32>) -> !sp.tensor<[1, 4, 5, 1], f32>
  %y = "sp.map"(%q, %k, %v, %s) ({
  ^bb0(%a: f32, %b: f32, %c: f32, %d: f32):
    %e = arith.mulf %a, %b : f32
    %f = arith.addf %e, %c : f32
    %g = arith.mulf %f, %d : f32
    "sp.yield"(%g) : (f32) -> ()
  }) : (!sp.tensor<[1, 4, 5, 1], f32>, !sp.tensor<[1, 4, 5, 1], f32>, !sp.tensor<[1, 4, 5, 1], f32>, !sp.tensor<[1, 4, 5, 1], f32>) -> !sp.tensor<[1, 4, 5, 1], f32>
  func.return %y : !sp.tensor<[1, 4, 5, 1], f32>
}
// CHECK:      [[A:%.*]] = "sp.conv"(%x, {{.*}}
// CHECK:      -> !sp.tensor<[1, 12, 5, 1], f32>
// CHECK-NEXT: [[Q:%.*]] = "sp.slice"([[A]]) <{starts = array<i64: 0, 0, 0, 0>
// CHECK-NEXT: [[K:%.*]] = "sp.slice"([[A]]) <{starts = array<i64: 0, 4, 0, 0>
// CHECK-NEXT: [[V:%.*]] = "sp.slice"([[A]]) <{starts = array<i64: 0, 8, 0, 0>
// CHECK:      [[S:%.*]] = "sp.conv"(%x, {{.*}}
// CHECK:      "sp.map"([[Q]], [[K]], [[V]], [[S]])

// -----

// What is reshaped cannot lie inside another value.
func.func @main(%x: !sp.tensor<[1, 16, 5, 1], f32>) -> (!sp.tensor<[4, 5], f32>, !sp.tensor<[1, 4, 5, 1], f32>) {
  %wq = "sp.weight"() <{ref = @wq}> : () -> !sp.tensor<[4, 16, 1, 1], f32>
  %bq = "sp.weight"() <{ref = @bq}> : () -> !sp.tensor<[4, 1, 1], f32>
  %wk = "sp.weight"() <{ref = @wk}> : () -> !sp.tensor<[4, 16, 1, 1], f32>
  %bk = "sp.weight"() <{ref = @bk}> : () -> !sp.tensor<[4, 1, 1], f32>
  %q = "sp.conv"(%x, %wq, %bq) <{strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64}> ({
  ^bb0(%a: f32, %c: f32):
    %d = arith.addf %a, %c : f32
    "sp.yield"(%d) : (f32) -> ()
  }) : (!sp.tensor<[1, 16, 5, 1], f32>, !sp.tensor<[4, 16, 1, 1], f32>, !sp.tensor<[4, 1, 1], f32>) -> !sp.tensor<[1, 4, 5, 1], f32>
  %k = "sp.conv"(%x, %wk, %bk) <{strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64}> ({
  ^bb0(%a: f32, %c: f32):
    %d = arith.addf %a, %c : f32
    "sp.yield"(%d) : (f32) -> ()
  }) : (!sp.tensor<[1, 16, 5, 1], f32>, !sp.tensor<[4, 16, 1, 1], f32>, !sp.tensor<[4, 1, 1], f32>) -> !sp.tensor<[1, 4, 5, 1], f32>
  %r = "sp.reshape"(%q) : (!sp.tensor<[1, 4, 5, 1], f32>) -> !sp.tensor<[4, 5], f32>
  func.return %r, %k : !sp.tensor<[4, 5], f32>, !sp.tensor<[1, 4, 5, 1], f32>
}
// CHECK-NOT:  "sp.slice"
