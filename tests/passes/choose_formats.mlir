// RUN: sparsec opt %s -p choose_formats | filecheck %s

// Sparse where the target predicts less time, dense elsewhere.
// weight @w = sparse(0.95)
func.func @main(%x: !sp.tensor<[4, 64], f32>) -> !sp.tensor<[4, 64], f32> {
  %w = "sp.weight"() <{ref = @w}> : () -> !sp.tensor<[64, 64], f32>
  %v = "sp.weight"() <{ref = @v}> : () -> !sp.tensor<[64, 64], f32>
  %y = "sp.matmul"(%x, %w) <{transpose_a = false, transpose_b = true}> ({
  ^bb0(%a: f32):
    "sp.yield"(%a) : (f32) -> ()
  }) : (!sp.tensor<[4, 64], f32>, !sp.tensor<[64, 64], f32>) -> !sp.tensor<[4, 64], f32>
  %z = "sp.matmul"(%y, %v) <{transpose_a = false, transpose_b = true}> ({
  ^bb0(%a: f32):
    "sp.yield"(%a) : (f32) -> ()
  }) : (!sp.tensor<[4, 64], f32>, !sp.tensor<[64, 64], f32>) -> !sp.tensor<[4, 64], f32>
  func.return %z : !sp.tensor<[4, 64], f32>
}
// CHECK:      "sp.weight"() <{ref = @v}> : () -> !sp.tensor<[64, 64], f32>
// CHECK:      "sp.weight"() <{ref = @w}> : () -> !sp.tensor<[64, 64], f32, #sp.format<"d0: dense, d1: compressed">>
// CHECK:      {kernel = "spmm_f32_csr"}
// CHECK:      {node = "sp.matmul#2", kernel = "gemm_f32_dense"}
