// Times kernels of WebAssembly: node web_kernels.mjs FOLDER reads kernels.wasm, cases.json and data.bin there and
// writes times.json, milliseconds. As in sparsec/targets/timing.py, weights come from beyond the L2, activations do not.
import { readFileSync, writeFileSync } from 'node:fs';

const LINE = 64;
const folder = process.argv[2];
const { cases, rounds, each, l2 } = JSON.parse(readFileSync(`${folder}/cases.json`));
const data = readFileSync(`${folder}/data.bin`);
const { exports } = new WebAssembly.Instance(new WebAssembly.Module(readFileSync(`${folder}/kernels.wasm`)));
const { memory } = exports;

let end = memory.buffer.byteLength;
const reserve = (bytes) => {
  const place = end;
  end += Math.ceil((bytes + LINE) / LINE) * LINE; // a line between: no two arrays share one
  return place;
};
for (const one of cases) {
  one.places = one.arrays.map(([, bytes]) => reserve(bytes));
  one.workspace = reserve(one.scratch);
}
const flushed = 2 * l2;
const flush = reserve(flushed);
memory.grow(Math.ceil((end - memory.buffer.byteLength) / 65536));
const bytes = new Uint8Array(memory.buffer);
const words = new Int32Array(memory.buffer);
for (const { arrays, places } of cases) {
  arrays.forEach(([start, size], i) => bytes.set(data.subarray(start, start + size), places[i]));
}

let sum = 0;
const touch = (place, size) => {
  for (let i = place >> 2; i < (place + size) >> 2; i += LINE >> 2) sum += words[i];
};

function least({ symbol, arrays, places, workspace, chunks }, runs) {
  let best = Infinity;
  for (let run = 0; run < runs; run++) {
    touch(flush, flushed);
    for (let i = places.length - 1; i >= 0; i--) if (i !== 1) touch(places[i], arrays[i][1]); // weights are the second
    const start = performance.now();
    exports[symbol](...places, workspace, 0n, BigInt(chunks));
    best = Math.min(best, performance.now() - start);
  }
  return best;
}

const times = cases.map((one) => least(one, each));
for (let round = 0; round < rounds; round++) {
  cases.forEach((one, i) => { times[i] = Math.min(times[i], least(one, each)); });
}
writeFileSync(`${folder}/times.json`, JSON.stringify(times));
