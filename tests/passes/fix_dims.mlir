// RUN: sparsec opt %s -p fix_dims{batch=2} | filecheck %s

func.func @main(%x: !sp.tensor<["batch", 3, 8], f32>) -> !sp.tensor<["12*batch", 2], f32> {
  %y = "sp.reshape"(%x) : (!sp.tensor<["batch", 3, 8], f32>) -> !sp.tensor<["12*batch", 2], f32>
  func.return %y : !sp.tensor<["12*batch", 2], f32>
}
// CHECK:      func.func @main(%x: !sp.tensor<[2, 3, 8], f32>) -> !sp.tensor<[24, 2], f32>
// CHECK-NEXT:   "sp.reshape"(%x) : (!sp.tensor<[2, 3, 8], f32>) -> !sp.tensor<[24, 2], f32>
// CHECK-NEXT:   func.return %y : !sp.tensor<[24, 2], f32>
