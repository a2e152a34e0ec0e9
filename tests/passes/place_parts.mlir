// RUN: sparsec opt %s -p place_parts | filecheck %s

// Two convolutions write into one value; a slice of the first lies inside it, too, and is read by the second. Panels are
// as far apart as those of the concatenation: 5 channels of 16.
func.func @main(%x: !sp.tensor<[1, 2, 4, 4], f32>) -> !sp.tensor<[1, 5, 4, 4], f32> {
  %w = "sp.weight"() <{ref = @w}> : () -> !sp.tensor<[4, 2, 1, 1], f32>
  %v = "sp.weight"() <{ref = @v}> : () -> !sp.tensor<[1, 2, 1, 1], f32>
  %p = "sp.relayout"(%x) : (!sp.tensor<[1, 2, 4, 4], f32>) -> !sp.tensor<[1, 2, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>
  %y = "sp.conv"(%p, %w) <{strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64}> ({
  ^bb0(%a: f32):
    "sp.yield"(%a) : (f32) -> ()
  }) : (!sp.tensor<[1, 2, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>, !sp.tensor<[4, 2, 1, 1], f32>) -> !sp.tensor<[1, 4, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>
  %s = "sp.slice"(%y) <{starts = array<i64: 0, 2, 0, 0>, steps = array<i64: 1, 1, 1, 1>}> : (!sp.tensor<[1, 4, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>) -> !sp.tensor<[1, 2, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>
  %z = "sp.conv"(%s, %v) <{strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64}> ({
  ^bb0(%a: f32):
    "sp.yield"(%a) : (f32) -> ()
  }) : (!sp.tensor<[1, 2, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>, !sp.tensor<[1, 2, 1, 1], f32>) -> !sp.tensor<[1, 1, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>
  %c = "sp.concat"(%y, %z) <{axis = 1 : i64}> : (!sp.tensor<[1, 4, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>, !sp.tensor<[1, 1, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>) -> !sp.tensor<[1, 5, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>
  %r = "sp.relayout"(%c) : (!sp.tensor<[1, 5, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>) -> !sp.tensor<[1, 5, 4, 4], f32>
  func.return %r : !sp.tensor<[1, 5, 4, 4], f32>
}
// CHECK:      [[Y:%.*]] = "sp.conv"(%p, %w)
// CHECK:      -> !sp.tensor<[1, 4, 4, 4], f32, #sp.panel<rows = 2, stride = 16, pitch = 80>>
// CHECK:      [[S:%.*]] = "sp.slice"([[Y]]) {{.*}} {inside} {{.*}} -> !sp.tensor<[1, 2, 4, 4], f32, #sp.panel<rows = 2, stride = 16, pitch = 80>>
// CHECK:      [[Z:%.*]] = "sp.conv"([[S]], %v)
// CHECK:      -> !sp.tensor<[1, 1, 4, 4], f32, #sp.panel<rows = 2, stride = 16, pitch = 80>>
// CHECK:      "sp.concat"([[Y]], [[Z]]) {{.*}} {inside = array<i64: 0, 1>} {{.*}} -> !sp.tensor<[1, 5, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>

// -----

// A value lies inside one other only, and not where a reader (here, a pool) does not take it.
func.func @main(%x: !sp.tensor<[1, 2, 4, 4], f32>) -> (!sp.tensor<[1, 4, 4, 4], f32>, !sp.tensor<[1, 3, 4, 4], f32>, !sp.tensor<[1, 1, 4, 4], f32>) {
  %w = "sp.weight"() <{ref = @w}> : () -> !sp.tensor<[2, 2, 1, 1], f32>
  %v = "sp.weight"() <{ref = @v}> : () -> !sp.tensor<[1, 2, 1, 1], f32>
  %p = "sp.relayout"(%x) : (!sp.tensor<[1, 2, 4, 4], f32>) -> !sp.tensor<[1, 2, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>
  %y = "sp.conv"(%p, %w) <{strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64}> ({
  ^bb0(%a: f32):
    "sp.yield"(%a) : (f32) -> ()
  }) : (!sp.tensor<[1, 2, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>, !sp.tensor<[2, 2, 1, 1], f32>) -> !sp.tensor<[1, 2, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>
  %z = "sp.conv"(%p, %v) <{strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, groups = 1 : i64}> ({
  ^bb0(%a: f32):
    "sp.yield"(%a) : (f32) -> ()
  }) : (!sp.tensor<[1, 2, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>, !sp.tensor<[1, 2, 1, 1], f32>) -> !sp.tensor<[1, 1, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>
  %m = "sp.pool"(%z) <{kind = "max", kernel_shape = array<i64: 1, 1>, strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, overhang = array<i64: 0, 0>, count_pads = false}> : (!sp.tensor<[1, 1, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>) -> !sp.tensor<[1, 1, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>
  %c = "sp.concat"(%y, %y) <{axis = 1 : i64}> : (!sp.tensor<[1, 2, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>, !sp.tensor<[1, 2, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>) -> !sp.tensor<[1, 4, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>
  %d = "sp.concat"(%y, %z) <{axis = 1 : i64}> : (!sp.tensor<[1, 2, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>, !sp.tensor<[1, 1, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>) -> !sp.tensor<[1, 3, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>
  %r = "sp.relayout"(%c) : (!sp.tensor<[1, 4, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>) -> !sp.tensor<[1, 4, 4, 4], f32>
  %q = "sp.relayout"(%d) : (!sp.tensor<[1, 3, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>) -> !sp.tensor<[1, 3, 4, 4], f32>
  %o = "sp.relayout"(%m) : (!sp.tensor<[1, 1, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>) -> !sp.tensor<[1, 1, 4, 4], f32>
  func.return %r, %q, %o : !sp.tensor<[1, 4, 4, 4], f32>, !sp.tensor<[1, 3, 4, 4], f32>, !sp.tensor<[1, 1, 4, 4], f32>
}
// CHECK:      [[Y:%.*]] = "sp.conv"
// CHECK:      -> !sp.tensor<[1, 2, 4, 4], f32, #sp.panel<rows = 2, stride = 16, pitch = 48>>
// CHECK:      [[Z:%.*]] = "sp.conv"
// CHECK:      -> !sp.tensor<[1, 1, 4, 4], f32, #sp.panel<rows = 2, stride = 16>>
// CHECK:      "sp.concat"([[Y]], [[Y]]) <{axis = 1 : i64}> :
// CHECK:      "sp.concat"([[Y]], [[Z]]) {{.*}} {inside = array<i64: 0>}
