// Runs a model that `sparsec compile model.onnx --target wasm` made, on inputs of ones:
//
//     node run.mjs model.js
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const ARRAYS = {
  float32: Float32Array, int64: BigInt64Array, int32: Int32Array, int16: Int16Array,
  int8: Int8Array, uint8: Uint8Array, bool: Uint8Array,
};

const [, , script] = process.argv;
if (!script) {
  console.error('usage: node run.mjs model.js');
  process.exit(2);
}
const { load } = await import(pathToFileURL(resolve(script)));
const model = await load();
console.log(`${model.name}: ${model.isa}, ${model.threads} thread(s)`);

const inputs = {};
for (const { name, dtype, shape } of model.inputs) {
  const size = shape.reduce((product, extent) => product * extent, 1);
  inputs[name] = new ARRAYS[dtype](size).fill(dtype === 'int64' ? 1n : 1);
  console.log(`input ${name}: ${dtype} ${shape.join('x')}`);
}
const outputs = await model.run(inputs);
for (const [name, values] of Object.entries(outputs)) {
  console.log(`output ${name}: ${values.shape.join('x')}: ${Array.from(values.slice(0, 4)).join(' ')}`);
}
model.close();
