// RUN: sparsec opt %s -p tokens_innermost,simplify_movement,fold_constants | filecheck %s

// A linear layer of 2 × 8 tokens, with what follows it, up to the next one; the residual is added among tokens.
func.func @main(%x: !sp.tensor<[2, 8, 3], f32>) -> !sp.tensor<[2, 8, 3], f32> {
  %w = "sp.weight"() <{ref = @w}> : () -> !sp.tensor<[3, 3], f32>
  %v = "sp.weight"() <{ref = @v}> : () -> !sp.tensor<[3, 3], f32>
  %b = "sp.weight"() <{ref = @b}> : () -> !sp.tensor<[3], f32>
  %y = "sp.matmul"(%x, %w, %b) <{transpose_a = false, transpose_b = false}> ({
  ^bb0(%a: f32, %c: f32):
    %d = arith.addf %a, %c : f32
    "sp.yield"(%d) : (f32) -> ()
  }) : (!sp.tensor<[2, 8, 3], f32>, !sp.tensor<[3, 3], f32>, !sp.tensor<[3], f32>) -> !sp.tensor<[2, 8, 3], f32>
  %s = "sp.map"(%y, %x) ({
  ^bb0(%a: f32, %c: f32):
    %d = arith.addf %a, %c : f32
    "sp.yield"(%d) : (f32) -> ()
  }) : (!sp.tensor<[2, 8, 3], f32>, !sp.tensor<[2, 8, 3], f32>) -> !sp.tensor<[2, 8, 3], f32>
  %n = "sp.norm"(%s) <{axes = array<i64: 2>, epsilon = 1.0e-05 : f64, center = true}> : (!sp.tensor<[2, 8, 3], f32>) -> !sp.tensor<[2, 8, 3], f32>
  %f = "sp.reshape"(%n) : (!sp.tensor<[2, 8, 3], f32>) -> !sp.tensor<[16, 3], f32>
  %z = "sp.matmul"(%f, %v) <{transpose_a = false, transpose_b = true}> ({
  ^bb0(%a: f32):
    "sp.yield"(%a) : (f32) -> ()
  }) : (!sp.tensor<[16, 3], f32>, !sp.tensor<[3, 3], f32>) -> !sp.tensor<[16, 3], f32>
  %r = "sp.reshape"(%z) : (!sp.tensor<[16, 3], f32>) -> !sp.tensor<[2, 8, 3], f32>
  func.return %r : !sp.tensor<[2, 8, 3], f32>
}
// CHECK:      func.func @main(
// CHECK-DAG:  [[MATRIX:%.*]] = "sp.reshape"(%x) {{.*}} -> !sp.tensor<[16, 3], f32>
// CHECK-DAG:  [[TURNED:%.*]] = "sp.transpose"([[MATRIX]]) <{perm = array<i64: 1, 0>}>
// CHECK-DAG:  [[X:%.*]] = "sp.reshape"([[TURNED]]) {{.*}} -> !sp.tensor<[1, 3, 16, 1], f32>
// CHECK:      [[Y:%.*]] = "sp.conv"([[X]], {{.*}}
// CHECK:      [[S:%.*]] = "sp.map"([[Y]], [[X]])
// CHECK:      [[N:%.*]] = "sp.norm"([[S]]) <{axes = array<i64: 1>
// CHECK:      [[Z:%.*]] = "sp.conv"([[N]], {{.*}}
// CHECK:      [[BACK:%.*]] = "sp.reshape"([[Z]]) {{.*}} -> !sp.tensor<[3, 16], f32>
// CHECK-NEXT: [[ROWS:%.*]] = "sp.transpose"([[BACK]]) <{perm = array<i64: 1, 0>}>
// CHECK-NEXT: [[R:%.*]] = "sp.reshape"([[ROWS]]) {{.*}} -> !sp.tensor<[2, 8, 3], f32>
// CHECK-NEXT: func.return [[R]]

// -----

// What a linear layer reads may have more operands than results: then its conversion comes behind. Heads are split off
// queries by one transpose, symbols or not.
func.func @main(%x: !sp.tensor<["b", "s", 4], f32>, %y: !sp.tensor<["b", "s", 4], f32>) -> !sp.tensor<["b", 2, "s", 2], f32> {
  %w = "sp.weight"() <{ref = @w}> : () -> !sp.tensor<[4, 4], f32>
  %s = "sp.map"(%x, %y) ({
  ^bb0(%a: f32, %c: f32):
    %d = arith.addf %a, %c : f32
    "sp.yield"(%d) : (f32) -> ()
  }) : (!sp.tensor<["b", "s", 4], f32>, !sp.tensor<["b", "s", 4], f32>) -> !sp.tensor<["b", "s", 4], f32>
  %q = "sp.matmul"(%s, %w) <{transpose_a = false, transpose_b = false}> ({
  ^bb0(%a: f32):
    "sp.yield"(%a) : (f32) -> ()
  }) : (!sp.tensor<["b", "s", 4], f32>, !sp.tensor<[4, 4], f32>) -> !sp.tensor<["b", "s", 4], f32>
  %h = "sp.reshape"(%q) : (!sp.tensor<["b", "s", 4], f32>) -> !sp.tensor<["b", "s", 2, 2], f32>
  %t = "sp.transpose"(%h) <{perm = array<i64: 0, 2, 1, 3>}> : (!sp.tensor<["b", "s", 2, 2], f32>) -> !sp.tensor<["b", 2, "s", 2], f32>
  func.return %t : !sp.tensor<["b", 2, "s", 2], f32>
}
// CHECK:      [[S:%.*]] = "sp.map"(%x, %y)
// CHECK:      "sp.transpose"
// CHECK:      [[Q:%.*]] = "sp.conv"(
// CHECK:      -> !sp.tensor<[1, 4, "b*s", 1], f32>
// CHECK-NEXT: [[H:%.*]] = "sp.reshape"([[Q]]) {{.*}} -> !sp.tensor<[2, 2, "b", "s"], f32>
// CHECK-NEXT: [[T:%.*]] = "sp.transpose"([[H]]) <{perm = array<i64: 2, 0, 3, 1>}>
// CHECK-NEXT: func.return [[T]]

// -----

// Numbers a token; features that are cut and joined. Few tokens stay as they are, and so do layers that stand alone.
func.func @main(%x: !sp.tensor<[16, 4], f32>, %m: !sp.tensor<[16, 1], f32>, %k: !sp.tensor<[1, 4], f32>, %l: !sp.tensor<[32, 4], f32>) -> (!sp.tensor<[16, 4], f32>, !sp.tensor<[1, 4], f32>, !sp.tensor<[32, 4], f32>) {
  %w = "sp.weight"() <{ref = @w}> : () -> !sp.tensor<[4, 4], f32>
  %y = "sp.matmul"(%x, %w) <{transpose_a = false, transpose_b = false}> ({
  ^bb0(%a: f32):
    "sp.yield"(%a) : (f32) -> ()
  }) : (!sp.tensor<[16, 4], f32>, !sp.tensor<[4, 4], f32>) -> !sp.tensor<[16, 4], f32>
  %p = "sp.slice"(%y) <{starts = array<i64: 0, 0>, steps = array<i64: 1, 1>}> : (!sp.tensor<[16, 4], f32>) -> !sp.tensor<[16, 2], f32>
  %q = "sp.slice"(%y) <{starts = array<i64: 0, 2>, steps = array<i64: 1, 1>}> : (!sp.tensor<[16, 4], f32>) -> !sp.tensor<[16, 2], f32>
  %c = "sp.concat"(%q, %p) <{axis = 1 : i64}> : (!sp.tensor<[16, 2], f32>, !sp.tensor<[16, 2], f32>) -> !sp.tensor<[16, 4], f32>
  %s = "sp.map"(%c, %m) ({
  ^bb0(%a: f32, %b: f32):
    %d = arith.mulf %a, %b : f32
    "sp.yield"(%d) : (f32) -> ()
  }) : (!sp.tensor<[16, 4], f32>, !sp.tensor<[16, 1], f32>) -> !sp.tensor<[16, 4], f32>
  %z = "sp.matmul"(%k, %w) <{transpose_a = false, transpose_b = false}> ({
  ^bb0(%a: f32):
    "sp.yield"(%a) : (f32) -> ()
  }) : (!sp.tensor<[1, 4], f32>, !sp.tensor<[4, 4], f32>) -> !sp.tensor<[1, 4], f32>
  %u = "sp.matmul"(%l, %w) <{transpose_a = false, transpose_b = false}> ({
  ^bb0(%a: f32):
    "sp.yield"(%a) : (f32) -> ()
  }) : (!sp.tensor<[32, 4], f32>, !sp.tensor<[4, 4], f32>) -> !sp.tensor<[32, 4], f32>
  %v = "sp.matmul"(%s, %w) <{transpose_a = false, transpose_b = false}> ({
  ^bb0(%a: f32):
    "sp.yield"(%a) : (f32) -> ()
  }) : (!sp.tensor<[16, 4], f32>, !sp.tensor<[4, 4], f32>) -> !sp.tensor<[16, 4], f32>
  func.return %v, %z, %u : !sp.tensor<[16, 4], f32>, !sp.tensor<[1, 4], f32>, !sp.tensor<[32, 4], f32>
}
// CHECK:      [[M:%.*]] = "sp.reshape"(%m) {{.*}} -> !sp.tensor<[1, 1, 16, 1], f32>
// CHECK:      "sp.map"({{.*}}, [[M]])
// CHECK:      "sp.matmul"(%k, {{.*}}
// CHECK:      "sp.matmul"(%l, {{.*}}
// CHECK:      "sp.conv"
