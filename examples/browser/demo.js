// Runs the same network from two modules, with dense and with sparse kernels, and shows what each takes.

const ROUNDS = 30;
const WARM_UP = 5; // engines begin with quick code and replace it while it runs
const PROFILES = 20;
const KINDS = ['dense', 'sparse'];
const TITLES = { dense: 'Dense kernels', sparse: 'Sparse kernels' };

const $ = (id) => document.getElementById(id);
const models = {};
let info = {};
let busy = false;

// An element; strings are text, never markup.
function h(tag, props, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(props ?? {})) element[key] = value;
  element.append(...children.filter((child) => child !== null));
  return element;
}

const ms = (value) => (value >= 10 ? value.toFixed(1) : value >= 1 ? value.toFixed(2) : value.toFixed(3));
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];
const pause = () => new Promise((resolve) => setTimeout(resolve));

function say(text, isError = false) {
  $('status').textContent = text;
  $('status').className = isError ? 'error' : '';
}

async function start() {
  const built = await fetch('models/info.json');
  if (!built.ok) throw new Error('models/ is missing: run build.py first');
  info = await built.json();
  for (const kind of KINDS) {
    say(`Loading the ${kind} module…`);
    const { load } = await import(`./models/${kind}.js`);
    const bytes = await (await fetch(`models/${kind}.wasm`)).arrayBuffer();
    const begin = performance.now();
    models[kind] = await load(bytes);
    models[kind].loading = performance.now() - begin;
    models[kind].bytes = bytes.byteLength;
  }
  const { isa, threads } = models.sparse;
  const simd = isa === 'wasm-relaxed' ? 'relaxed SIMD' : 'plain SIMD';
  $('subtitle').textContent = `${info.title}: ${info.sparsity} of the weights in ${info.pruned} are zero. Both modules `
    + `hold the same weights; one multiplies by the zeros, the other does not store them. WebAssembly with ${simd}, `
    + `${threads} thread.`;
}

// The picture, cropped to a square, as the network wants it: planes of red, green and blue around zero.
function inputs() {
  const [{ name, shape: [, , height, width] }] = models.dense.inputs;
  const canvas = h('canvas', { width, height });
  const context = canvas.getContext('2d', { willReadFrequently: true });
  context.drawImage($('preview'), 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  const planes = new Float32Array(3 * height * width);
  for (let i = 0; i < height * width; i++) {
    for (let c = 0; c < 3; c++) planes[c * height * width + i] = (data[4 * i + c] / 255 - info.mean[c]) / info.std[c];
  }
  return { [name]: planes };
}

function show(source, sourceWidth, sourceHeight) {
  const { width, height } = $('preview');
  const side = Math.min(sourceWidth, sourceHeight);
  const [left, top] = [(sourceWidth - side) / 2, (sourceHeight - side) / 2];
  $('preview').getContext('2d').drawImage(source, left, top, side, side, 0, 0, width, height);
}

// A landscape that is another one each time.
function drawSample() {
  const context = $('preview').getContext('2d');
  const { width, height } = $('preview');
  const hue = Math.random() * 360;
  const sky = context.createLinearGradient(0, 0, 0, height);
  sky.addColorStop(0, `hsl(${hue} 70% 42%)`);
  sky.addColorStop(1, `hsl(${hue + 45} 85% 82%)`);
  context.fillStyle = sky;
  context.fillRect(0, 0, width, height);
  context.fillStyle = `hsl(${hue + 60} 95% 88%)`;
  context.beginPath();
  context.arc(width * (0.2 + 0.6 * Math.random()), height * 0.33, 46, 0, 7);
  context.fill();
  for (let ridge = 0; ridge < 5; ridge++) {
    const [base, phase] = [height * (0.48 + 0.12 * ridge), Math.random() * 9];
    context.fillStyle = `hsl(${hue + 20} ${30 + 6 * ridge}% ${54 - 10 * ridge}%)`;
    context.beginPath();
    context.moveTo(0, height);
    for (let x = 0; x <= width; x += 4) {
      context.lineTo(x, base + 26 * Math.sin(x / 61 + phase) + 11 * Math.sin(x / 23 + 2 * phase));
    }
    context.lineTo(width, height);
    context.fill();
  }
}

// Runs in turn, so that whatever else the device does hits both alike.
async function measure(x) {
  const found = { dense: { times: [] }, sparse: { times: [] } };
  for (let round = -WARM_UP; round < ROUNDS; round++) {
    for (const kind of KINDS) {
      const begin = performance.now();
      found[kind].outputs = await models[kind].run(x);
      if (round >= 0) found[kind].times.push(performance.now() - begin);
    }
    if (round % 5 === 0) {
      say(`Measuring, round ${Math.max(round, 0)} of ${ROUNDS}…`);
      await pause();
    }
  }
  for (const kind of KINDS) {
    say(`Timing layers of the ${kind} module…`);
    await pause();
    found[kind].latency = median(found[kind].times);
    found[kind].layers = await models[kind].profile(x, PROFILES);
  }
  return found;
}

async function run() {
  if (busy || !models.sparse) return;
  busy = true;
  $('again').disabled = $('sample').disabled = true;
  try {
    const found = await measure(inputs());
    for (const kind of KINDS) showModule(kind, found);
    showOutputs(found);
    showLayers(found);
    say(`Medians of ${ROUNDS} runs, in turn`);
    document.body.dataset.done = Number(document.body.dataset.done ?? 0) + 1;
  } catch (error) {
    say(String(error), true);
  } finally {
    busy = false;
    $('again').disabled = $('sample').disabled = false;
  }
}

function showModule(kind, found) {
  const { latency, layers } = found[kind];
  const gain = found.dense.latency / latency;
  const flat = layers.flatMap((layer) => layer.members ?? [layer]);
  const sparse = flat.filter(({ format }) => format && format !== 'dense').length;
  const facts = {
    'module': megabytes(models[kind].bytes),
    'load and create': `${ms(models[kind].loading)} ms`,
    'kernels': sparse ? `${flat.length}, of which ${sparse} sparse` : `${flat.length}, all dense`,
  };
  $(kind).replaceChildren(
    kind === 'sparse' ? h('span', { className: 'badge' }, `${gain.toFixed(1)}× as fast`) : '',
    h('h2', {}, TITLES[kind]),
    h('p', { className: 'latency' }, ms(latency), h('small', {}, 'ms')),
    h('dl', {}, ...Object.entries(facts).flatMap(([name, fact]) => [h('dt', {}, name), h('dd', {}, fact)])),
  );
}

// Each output of a module as numbers: those of int64 are BigInts.
function numbersOf({ outputs }) {
  return Object.values(outputs).map((values) => Array.from(values, Number));
}

function compare(dense, sparse) {
  const largest = dense.reduce((size, value) => Math.max(size, Math.abs(value)), 0);
  const difference = dense.reduce((size, value, i) => Math.max(size, Math.abs(value - sparse[i])), 0);
  return { largest, difference, same: difference <= 1e-4 * largest };
}

// Rows of the classes for which the first output is largest.
function classes(dense, sparse) {
  const order = [...dense.keys()].sort((a, b) => dense[b] - dense[a]).slice(0, 5);
  return order.map((i) => h('tr', {}, h('td', {}, info.labels?.[i] ?? `class ${i}`),
    ...[dense, sparse].map((values) => h('td', { className: 'number' }, values[i].toFixed(6)))));
}

function showOutputs(found) {
  const [dense, sparse] = KINDS.map((kind) => numbersOf(found[kind]));
  const compared = dense.map((values, i) => compare(values, sparse[i]));
  const same = compared.every((output) => output.same);
  const { difference, largest } = compared.reduce((worst, one) => (one.difference > worst.difference ? one : worst));
  const count = dense.flat().length.toLocaleString('en');
  const titles = [h('th', {}, 'five largest'), ...KINDS.map((kind) => h('th', { className: 'number' }, TITLES[kind]))];
  $('outputs').dataset.same = same;
  $('outputs').replaceChildren(
    h('h2', {}, same ? 'The outputs agree' : 'The outputs differ'),
    h('p', {}, 'Largest difference of the ', h('strong', {}, count), ' outputs: ',
      h('strong', {}, difference ? difference.toExponential(1) : 'none'),
      `, where the largest is ${largest.toFixed(2)}. ${info.note}`),
    h('table', {}, h('thead', {}, h('tr', {}, ...titles)), h('tbody', {}, ...classes(dense[0], sparse[0]))),
  );
}

// Rows of the chart: the shortest runs of layers at whose ends steps end in both modules, which chain layers
// differently.
function rowsOf(found) {
  const rows = [];
  const [left, right] = KINDS.map((kind) => [...found[kind].layers]);
  while (left.length > 0 && right.length > 0) {
    const row = { layers: [], dense: 0, sparse: 0 };
    const count = { dense: 0, sparse: 0 };
    do {
      const kind = count.dense <= count.sparse ? 'dense' : 'sparse';
      const step = (kind === 'dense' ? left : right).shift();
      if (!step) break;
      const members = step.members ?? [step];
      count[kind] += members.length;
      row[kind] += step.ms;
      if (kind === 'sparse') row.layers.push(...members);
    } while (count.dense !== count.sparse);
    rows.push(row);
  }
  return rows;
}

// What a layer is, by the shapes of its operands: "1×1, 32 → 64".
function describe({ op, shapes, name, node }) {
  const [, weight] = shapes?.split(' -> ')[0].split(', ') ?? [];
  const [outputs, channels, height, width] = weight?.split('x') ?? [];
  if (op === 'sp.conv' && width) {
    return channels === '1' ? `depthwise ${height}×${width}` : `${height}×${width}, ${channels} → ${outputs}`;
  }
  if (op === 'sp.matmul' && channels) return `matrix ${channels} → ${outputs}`;
  return (name ?? node ?? op).replace(/_?\d+$/, '');
}

function bar(kind, value, largest) {
  const fill = h('i', {});
  fill.style.width = `${(88 * value) / largest}%`;
  return h('div', { className: `bar ${kind}` }, fill, ms(value));
}

function showLayers(found) {
  const rows = rowsOf(found);
  const largest = Math.max(...rows.flatMap((row) => KINDS.map((kind) => row[kind])));
  const legend = KINDS.flatMap((kind) => [h('i', { className: kind }), TITLES[kind]]);
  $('layers').replaceChildren(
    h('span', { className: 'legend' }, ...legend),
    h('h2', {}, 'Milliseconds by layer'),
    ...rows.map((row) => {
      const [gain, density] = [row.dense / row.sparse, Math.min(...row.layers.map((layer) => layer.density ?? 1))];
      const zeros = density < 0.99 ? `${Math.round(100 * (1 - density))} % zeros` : 'no zeros';
      const text = row.layers.map(describe).join(' + ');
      const title = row.layers.map(({ node }) => node).join(' + ');
      return h('div', { className: 'row' },
        h('div', { className: 'label', title }, text, h('small', {}, zeros)),
        h('div', { className: 'bars' }, ...KINDS.map((kind) => bar(kind, row[kind], largest))),
        h('div', { className: gain > 1.1 && density < 0.99 ? 'ratio gain' : 'ratio' }, `${gain.toFixed(1)}×`));
    }),
  );
}

async function choose(file) {
  if (!file) return;
  try {
    const image = await createImageBitmap(file);
    show(image, image.width, image.height);
  } catch {
    say(`${file.name} is no image that this browser reads`, true);
    return;
  }
  await run();
}

$('file').addEventListener('change', () => choose($('file').files[0]));
$('again').addEventListener('click', run);
$('sample').addEventListener('click', () => {
  drawSample();
  run();
});
for (const event of ['dragenter', 'dragover', 'dragleave', 'drop']) {
  $('drop').addEventListener(event, (happened) => {
    happened.preventDefault();
    $('drop').classList.toggle('over', event === 'dragenter' || event === 'dragover');
    if (event === 'drop') choose(happened.dataTransfer.files[0]);
  });
}

drawSample();
start().then(run, (error) => say(String(error), true));
