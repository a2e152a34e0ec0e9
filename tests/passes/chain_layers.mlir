// RUN: sparsec opt %s -p chain_layers | filecheck %s

// What the first convolution makes is more than half the cache of 16 KB holds, and goes to the second two rows at a time.
// The third one's source is small: it stays alone.
func.func @main(%x: !sp.tensor<[1, 16, 16, 16], f32, #sp.panel<rows = 2, stride = 32>>) -> !sp.tensor<[1, 2, 4, 4], f32, #sp.panel<rows = 2, stride = 16>> {
  %u = "sp.weight"() <{ref = @u}> : () -> !sp.tensor<[8, 16, 1, 1], f32>
  %v = "sp.weight"() <{ref = @v}> : () -> !sp.tensor<[2, 8, 3, 3], f32>
  %w = "sp.weight"() <{ref = @w}> : () -> !sp.tensor<[2, 2, 1, 1], f32>
  %a = "sp.conv"(%x, %u) <{strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, groups = 1 : i64}> ({
  ^bb0(%s: f32):
    "sp.yield"(%s) : (f32) -> ()
  }) : (!sp.tensor<[1, 16, 16, 16], f32, #sp.panel<rows = 2, stride = 32>>, !sp.tensor<[8, 16, 1, 1], f32>) -> !sp.tensor<[1, 8, 16, 16], f32, #sp.panel<rows = 2, stride = 32>>
  %b = "sp.conv"(%a, %v) <{strides = array<i64: 4, 4>, pads = array<i64: 1, 1, 1, 1>, dilations = array<i64: 1, 1>, groups = 1 : i64}> ({
  ^bb0(%s: f32):
    "sp.yield"(%s) : (f32) -> ()
  }) : (!sp.tensor<[1, 8, 16, 16], f32, #sp.panel<rows = 2, stride = 32>>, !sp.tensor<[2, 8, 3, 3], f32>) -> !sp.tensor<[1, 2, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>
  %c = "sp.conv"(%b, %w) <{strides = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, dilations = array<i64: 1, 1>, groups = 1 : i64}> ({
  ^bb0(%s: f32):
    "sp.yield"(%s) : (f32) -> ()
  }) : (!sp.tensor<[1, 2, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>, !sp.tensor<[2, 2, 1, 1], f32>) -> !sp.tensor<[1, 2, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>
  func.return %c : !sp.tensor<[1, 2, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>
}
// CHECK:      %a = "sp.conv"
// CHECK:      {chain = 0 : i64, window = 0 : i64}
// CHECK:      %b = "sp.conv"
// CHECK:      {chain = 0 : i64}
// CHECK:      %c = "sp.conv"
// CHECK-NOT:  chain
// CHECK:      func.return
