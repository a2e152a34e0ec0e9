// RUN: sparsec opt %s -p plan_memory | filecheck %s

// The first map's input dies in the second, which writes over it; the softmax needs room of its own; the last map
// writes to the caller's buffer, and the reshape is that buffer under another name.
func.func @main(%x: !sp.tensor<[4, 16], f32>) -> !sp.tensor<[64], f32> {
  %a = "sp.map"(%x) ({
  ^bb0(%p: f32):
    %r = math.exp %p : f32
    "sp.yield"(%r) : (f32) -> ()
  }) : (!sp.tensor<[4, 16], f32>) -> !sp.tensor<[4, 16], f32>
  %b = "sp.map"(%a) ({
  ^bb0(%p: f32):
    %r = math.tanh %p : f32
    "sp.yield"(%r) : (f32) -> ()
  }) : (!sp.tensor<[4, 16], f32>) -> !sp.tensor<[4, 16], f32>
  %c = "sp.softmax"(%b) <{axes = array<i64: 1>, log = false}> : (!sp.tensor<[4, 16], f32>) -> !sp.tensor<[4, 16], f32>
  %d = "sp.map"(%c) ({
  ^bb0(%p: f32):
    %r = math.log %p : f32
    "sp.yield"(%r) : (f32) -> ()
  }) : (!sp.tensor<[4, 16], f32>) -> !sp.tensor<[4, 16], f32>
  %e = "sp.reshape"(%d) : (!sp.tensor<[4, 16], f32>) -> !sp.tensor<[64], f32>
  func.return %e : !sp.tensor<[64], f32>
}
// CHECK:      func.func @main({{.*}} attributes {arena_bytes = 512 : i64}
// CHECK:      math.exp
// CHECK:      {arena = array<i64: 0>}
// CHECK:      math.tanh
// CHECK:      {arena = array<i64: 0>}
// CHECK:      "sp.softmax"(%b) {{.*}} {arena = array<i64: 256>}
// CHECK:      math.log
// CHECK-NOT:  arena
// CHECK:      func.return

// -----

// Outputs that are an input, or the same value twice, are copied.
func.func @main(%x: !sp.tensor<[4], f32>) -> (!sp.tensor<[4], f32>, !sp.tensor<[4], f32>) {
  func.return %x, %x : !sp.tensor<[4], f32>, !sp.tensor<[4], f32>
}
// CHECK:      [[A:%.*]] = "sp.map"(%x)
// CHECK:      [[B:%.*]] = "sp.map"(%x)
// CHECK:      func.return [[A]], [[B]]
