// Times engines on one model, taking turns in one thread. In Node: node web.mjs REQUEST.json; pages import `measure`.
//
// A request: { packages, engines: [{ name, kind, file, isa? }], inputs: { NAME: { shape, file } }, rounds, profile }, where
// files and the folder `packages` of npm are URLs. In a turn an engine runs once to have its weights in the caches
// again, then a few times that count.
const TURN = 4;
const fs = globalThis.process?.getBuiltinModule?.('node:fs');

const read = async (url) => (fs ? fs.readFileSync(new URL(url)) : new Uint8Array(await (await fetch(url)).arrayBuffer()));

// Each makes { run, profile? } of an engine; `run` gives the values of the first output.
const KINDS = {
  async sparsec({ file, isa }, inputs) {
    const { load } = await import(file);
    const model = await load(undefined, { isa });
    const arrays = Object.fromEntries(Object.entries(inputs).map(([name, { data }]) => [name, data]));
    return {
      run: async () => Object.values(await model.run(arrays))[0],
      async profile(repeats) {
        const steps = await model.profile(arrays, 1);
        for (let i = 1; i < repeats; i++) {
          (await model.profile(arrays, 1)).forEach(({ ms }, step) => { steps[step].ms = Math.min(steps[step].ms, ms); });
        }
        return steps;
      },
    };
  },

  async onnxruntime({ file, packages }, inputs) {
    const ort = await import(`${packages}/onnxruntime-web/dist/ort.wasm.min.mjs`);
    ort.env.wasm.numThreads = 1;
    ort.env.logLevel = 'error';
    const session = await ort.InferenceSession.create(await read(file), { executionProviders: ['wasm'] });
    const feeds = Object.fromEntries(
      Object.entries(inputs).map(([name, { data, shape }]) => [name, new ort.Tensor('float32', data, shape)]),
    );
    return { run: async () => Object.values(await session.run(feeds))[0].data };
  },

  async litert({ file, packages }, inputs) {
    if (fs) await beWorker();
    const { loadLiteRt, loadAndCompile, Tensor } = await import(`${packages}/@litertjs/core/dist/index.js`);
    const script = `${packages}/@litertjs/core/wasm/litert_wasm_internal.js`;
    globalThis.Module = { wasmBinary: await read(script.replace('.js', '.wasm')) };
    await loadLiteRt(script);
    const model = await loadAndCompile(await read(file), { accelerator: 'wasm' });
    const [{ data, shape: [n, c, h, w] }] = Object.values(inputs);
    const pixels = new Float32Array(data.length); // channels last
    data.forEach((x, i) => { pixels[(i % (h * w)) * c + (Math.floor(i / (h * w)) % c)] = x; });
    const tensor = new Tensor(pixels, [n, h, w, c]);
    return {
      async run() {
        const [result] = await model.run(tensor);
        const values = result.toTypedArray().slice();
        result.delete();
        return values;
      },
    };
  },
};

// What LiteRT.js, which is for pages and workers, wants of its surroundings.
async function beWorker() {
  const { createRequire } = await import('node:module');
  const { runInThisContext } = await import('node:vm');
  globalThis.self = globalThis;
  globalThis.require = createRequire(import.meta.url);
  globalThis.__dirname = '/';
  globalThis.importScripts = (url) => runInThisContext(fs.readFileSync(new URL(url), 'utf8'));
}

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

function error(values, reference) {
  const scale = reference.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  return values.reduce((most, x, i) => Math.max(most, Math.abs(x - reference[i])), 0) / scale;
}

export async function measure({ packages, engines, inputs: files, rounds, profile }) {
  const inputs = {};
  for (const [name, { shape, file }] of Object.entries(files)) {
    const bytes = await read(file);
    inputs[name] = { shape, data: new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4) };
  }
  const made = [];
  for (const engine of engines) {
    const start = performance.now();
    const { run, profile } = await KINDS[engine.kind]({ packages, ...engine }, inputs);
    const created = performance.now() - start;
    made.push({ name: engine.name, run, profile, created, result: Float32Array.from(await run()), times: [] });
  }
  for (const { run } of made) {
    // Engines run a function some times before they optimise its code.
    for (const start = performance.now(); performance.now() - start < 1500;) await run();
  }
  for (let round = 0; round < rounds; round++) {
    for (const { run, times } of made) {
      await run();
      for (let i = 0; i < TURN; i++) {
        const start = performance.now();
        await run();
        times.push(performance.now() - start);
      }
    }
  }
  const found = [];
  for (const { name, profile: layers, created, result, times } of made) {
    found.push({
      name, created, median: median(times), error: error(result, made[0].result),
      ratio: median(times.map((time, i) => time / made[0].times[i])),
      layers: layers && profile ? await layers(profile) : [],
    });
  }
  return found;
}

if (fs) console.log(JSON.stringify(await measure(JSON.parse(fs.readFileSync(process.argv[2], 'utf8')))));
