
const HEADER = @header@; // bytes before the weights in a file of weights

// Streams the files of weights into memory, from the browser's cache where they are in it.
async function fetchWeights({ weights_files: files, layout }, memory, beside, { weights, cache = true, onProgress }) {
  const base = weights ? locate(weights) : beside;
  const total = files.reduce((sum, file) => sum + file.bytes, 0);
  let [start, loaded] = [layout.weights, 0];
  await Promise.all(files.map(async (file) => {
    const target = new Uint8Array(memory.buffer, start, file.bytes);
    start += file.bytes;
    const url = new URL(encodeURIComponent(file.name), base);
    await fill(target, file, await openWeights(url, file, cache), url, (bytes) => {
      loaded += bytes;
      onProgress?.({ loaded, total });
    });
  }));
}

// A file of weights, piece by piece. Browsers have caches only on https and localhost, and may refuse to fill them.
async function openWeights(url, file, cache) {
  if (isFile(url)) return node('node:fs').createReadStream(url, { highWaterMark: 1 << 20 });
  const caching = cache && url.protocol.startsWith('http');
  const store = caching && (await globalThis.caches?.open('sparsec').catch(() => null));
  if (!store) return pieces(await get(url));
  const name = `${url.origin}${url.pathname}?`;
  const found = await store.match(name + file.digest);
  if (found) return pieces(found);
  for (const old of await store.keys()) if (old.url.startsWith(name)) await store.delete(old);
  // The HTTP cache may hold this file of an older compilation: ask whether it is current.
  const response = await get(url, { cache: 'no-cache' });
  store.put(name + file.digest, response.clone()).catch(() => {});
  return pieces(response);
}

async function* pieces(response) {
  const reader = response.body.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) yield part.value;
}

// Copies the weights to `target` as they come, and sees by the header that they belong to the module.
async function fill(target, file, source, url, onBytes) {
  const header = new Uint8Array(HEADER);
  let position = -HEADER;
  for await (let piece of source) {
    if (position < 0) {
      const start = piece.subarray(0, -position);
      header.set(start, HEADER + position);
      position += start.length;
      piece = piece.subarray(start.length);
      if (position === 0 && !belongs(header, file.digest)) {
        throw new Error(`${url} belongs to another compilation of the model; copy all files of one compilation`);
      }
    }
    if (position + piece.length > file.bytes) {
      throw new Error(`${url} is longer than its ${file.bytes} bytes of weights`);
    }
    if (position >= 0) target.set(piece, position);
    position += piece.length;
    onBytes(piece.length);
  }
  if (position !== file.bytes) throw new Error(`${url}: ${Math.max(0, position)} bytes of weights, not ${file.bytes}`);
}

function belongs(header, digest) {
  const found = Array.from(header.subarray(8, 24), (byte) => byte.toString(16).padStart(2, '0')).join('');
  return String.fromCharCode(...header.subarray(0, 7)) === 'sparsec' && found === digest;
}
