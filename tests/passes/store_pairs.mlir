// RUN: sparsec opt %s -p store_pairs | filecheck %s

// Between convolutions, an even number of channels is in pairs; what others read or write is not, nor an odd number.
func.func @main(%x: !sp.tensor<[1, 2, 4, 4], f32>) -> !sp.tensor<[1, 2, 4, 4], f32> {
  %w = "sp.weight"() <{ref = @w}> : () -> !sp.tensor<[2, 2, 1, 1], f32>
  %v = "sp.weight"() <{ref = @v}> : () -> !sp.tensor<[3, 2, 1, 1], f32>
  %u = "sp.weight"() <{ref = @u}> : () -> !sp.tensor<[2, 3, 1, 1], f32>
  %p = "sp.relayout"(%x) : (!sp.tensor<[1, 2, 4, 4], f32>) -> !sp.tensor<[1, 2, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>
  %y = "sp.conv"(%p, %w) <{strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64}> ({
  ^bb0(%a: f32):
    "sp.yield"(%a) : (f32) -> ()
  }) : (!sp.tensor<[1, 2, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>, !sp.tensor<[2, 2, 1, 1], f32>) -> !sp.tensor<[1, 2, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>
  %z = "sp.conv"(%y, %v) <{strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64}> ({
  ^bb0(%a: f32):
    "sp.yield"(%a) : (f32) -> ()
  }) : (!sp.tensor<[1, 2, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>, !sp.tensor<[3, 2, 1, 1], f32>) -> !sp.tensor<[1, 3, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>
  %q = "sp.conv"(%z, %u) <{strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64}> ({
  ^bb0(%a: f32):
    "sp.yield"(%a) : (f32) -> ()
  }) : (!sp.tensor<[1, 3, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>, !sp.tensor<[2, 3, 1, 1], f32>) -> !sp.tensor<[1, 2, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>
  %r = "sp.relayout"(%q) : (!sp.tensor<[1, 2, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>) -> !sp.tensor<[1, 2, 4, 4], f32>
  func.return %r : !sp.tensor<[1, 2, 4, 4], f32>
}
// CHECK:      "sp.relayout"(%x) : {{.*}} stride = 16>>
// CHECK:      [[Y:%.*]] = "sp.conv"
// CHECK:      -> !sp.tensor<[1, 2, 4, 4], f32, #sp.panel<rows = 2, stride = 16, pairs>>
// CHECK:      [[Z:%.*]] = "sp.conv"([[Y]], %v)
// CHECK:      -> !sp.tensor<[1, 3, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>
// CHECK:      [[Q:%.*]] = "sp.conv"([[Z]], %u)
// CHECK:      -> !sp.tensor<[1, 2, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>

// -----

// A pool takes its source and its result so, or neither: the second one's result is returned.
func.func @main(%x: !sp.tensor<[1, 2, 4, 4], f32>) -> (!sp.tensor<[1, 2, 2, 4], f32>, !sp.tensor<[1, 2, 2, 4], f32>) {
  %w = "sp.weight"() <{ref = @w}> : () -> !sp.tensor<[2, 2, 1, 1], f32>
  %p = "sp.relayout"(%x) : (!sp.tensor<[1, 2, 4, 4], f32>) -> !sp.tensor<[1, 2, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>
  %y = "sp.conv"(%p, %w) <{strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64}> ({
  ^bb0(%a: f32):
    "sp.yield"(%a) : (f32) -> ()
  }) : (!sp.tensor<[1, 2, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>, !sp.tensor<[2, 2, 1, 1], f32>) -> !sp.tensor<[1, 2, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>
  %m = "sp.pool"(%y) <{kind = "max", kernel_shape = array<i64: 2, 1>, strides = array<i64: 2, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, overhang = array<i64: 0, 0>, count_pads = false}> : (!sp.tensor<[1, 2, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>) -> !sp.tensor<[1, 2, 2, 4], f32, #sp.panel<rows = 2, stride = 16>>
  %s = "sp.conv"(%m, %w) <{strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64}> ({
  ^bb0(%a: f32):
    "sp.yield"(%a) : (f32) -> ()
  }) : (!sp.tensor<[1, 2, 2, 4], f32, #sp.panel<rows = 2, stride = 16>>, !sp.tensor<[2, 2, 1, 1], f32>) -> !sp.tensor<[1, 2, 2, 4], f32, #sp.panel<rows = 2, stride = 16>>
  %z = "sp.conv"(%p, %w) <{strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64}> ({
  ^bb0(%a: f32):
    "sp.yield"(%a) : (f32) -> ()
  }) : (!sp.tensor<[1, 2, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>, !sp.tensor<[2, 2, 1, 1], f32>) -> !sp.tensor<[1, 2, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>
  %n = "sp.pool"(%z) <{kind = "max", kernel_shape = array<i64: 2, 1>, strides = array<i64: 2, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, overhang = array<i64: 0, 0>, count_pads = false}> : (!sp.tensor<[1, 2, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>) -> !sp.tensor<[1, 2, 2, 4], f32, #sp.panel<rows = 2, stride = 16>>
  %r = "sp.relayout"(%s) : (!sp.tensor<[1, 2, 2, 4], f32, #sp.panel<rows = 2, stride = 16>>) -> !sp.tensor<[1, 2, 2, 4], f32>
  %o = "sp.relayout"(%n) : (!sp.tensor<[1, 2, 2, 4], f32, #sp.panel<rows = 2, stride = 16>>) -> !sp.tensor<[1, 2, 2, 4], f32>
  func.return %r, %o : !sp.tensor<[1, 2, 2, 4], f32>, !sp.tensor<[1, 2, 2, 4], f32>
}
// CHECK:      [[Y:%.*]] = "sp.conv"
// CHECK:      -> !sp.tensor<[1, 2, 4, 4], f32, #sp.panel<rows = 2, stride = 16, pairs>>
// CHECK:      "sp.pool"([[Y]]) {{.*}} -> !sp.tensor<[1, 2, 2, 4], f32, #sp.panel<rows = 2, stride = 16, pairs>>
// CHECK:      [[Z:%.*]] = "sp.conv"([[P:%.*]], %w)
// CHECK:      -> !sp.tensor<[1, 2, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>
// CHECK:      "sp.pool"
// CHECK-SAME: -> !sp.tensor<[1, 2, 2, 4], f32, #sp.panel<rows = 2, stride = 16>>
