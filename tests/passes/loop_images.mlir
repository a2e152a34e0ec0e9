// RUN: sparsec opt %s -p loop_images | filecheck %s

// What is handed on takes 64 KB an image: that of all eight goes beyond the cache of 16 KB and what lies behind it, that
// of one stays nearer. The softmax does not go through images one by one.
func.func @main(%x: !sp.tensor<[8, 16, 32, 32], f32>) -> !sp.tensor<[8, 16, 32, 32], f32> {
  %a = "sp.map"(%x) ({
  ^bb0(%p: f32):
    %r = math.exp %p : f32
    "sp.yield"(%r) : (f32) -> ()
  }) : (!sp.tensor<[8, 16, 32, 32], f32>) -> !sp.tensor<[8, 16, 32, 32], f32>
  %b = "sp.map"(%a) ({
  ^bb0(%p: f32):
    %r = math.tanh %p : f32
    "sp.yield"(%r) : (f32) -> ()
  }) : (!sp.tensor<[8, 16, 32, 32], f32>) -> !sp.tensor<[8, 16, 32, 32], f32>
  %c = "sp.softmax"(%b) <{axes = array<i64: 1>, log = false}> : (!sp.tensor<[8, 16, 32, 32], f32>) -> !sp.tensor<[8, 16, 32, 32], f32>
  func.return %c : !sp.tensor<[8, 16, 32, 32], f32>
}
// CHECK:      math.exp
// CHECK:      {loop = 0 : i64, images = 1 : i64}
// CHECK:      math.tanh
// CHECK:      {loop = 0 : i64, images = 1 : i64}
// CHECK:      "sp.softmax"
// CHECK-NOT:  loop
// CHECK:      func.return

// -----

// One image has nothing to take turns with.
func.func @main(%x: !sp.tensor<[1, 4, 32, 32], f32>) -> !sp.tensor<[1, 4, 32, 32], f32> {
  %a = "sp.map"(%x) ({
  ^bb0(%p: f32):
    %r = math.exp %p : f32
    "sp.yield"(%r) : (f32) -> ()
  }) : (!sp.tensor<[1, 4, 32, 32], f32>) -> !sp.tensor<[1, 4, 32, 32], f32>
  %b = "sp.map"(%a) ({
  ^bb0(%p: f32):
    %r = math.tanh %p : f32
    "sp.yield"(%r) : (f32) -> ()
  }) : (!sp.tensor<[1, 4, 32, 32], f32>) -> !sp.tensor<[1, 4, 32, 32], f32>
  func.return %b : !sp.tensor<[1, 4, 32, 32], f32>
}
// CHECK-NOT:  loop
// CHECK:      func.return
