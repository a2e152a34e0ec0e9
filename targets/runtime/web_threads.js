
const TEAM = 'sparsec-team'; // how a worker knows that it is one of ours

// Workers that share the memory: the first one makes the runs, the others take a part of each step. Who fails ends all.
class Team {
  workers = [];

  // A team, or null and a notice where workers do not start; none waits in the module before all have it.
  static async start(size, shared) {
    const team = new Team();
    try {
      for (let i = 0; i < size; i++) team.workers.push(startWorker((error) => team.stop(error)));
      await Promise.all(team.workers.map((worker, index) => worker.ask({ ...shared, index })));
    } catch (error) {
      team.stop(error);
      const { name } = shared.manifest;
      console.warn(`${name} runs on one thread, not ${size}: its workers do not start: ${error.message}`);
      return null;
    }
    for (const worker of team.workers.slice(1)) worker.enter();
    return team;
  }

  get size() {
    return this.workers.length;
  }

  run() {
    return this.workers[0].ask({ kind: 'run' });
  }

  profile(repeats) {
    return this.workers[0].ask({ kind: 'profile', repeats });
  }

  stop(error) {
    for (const worker of this.workers) worker.stop(error);
  }
}

// A worker that answers one message at a time. In Node it keeps the process alive only while it owes an answer.
function startWorker(lost) {
  let [owed, ended] = [null, null];
  const settle = (how, value) => {
    worker.unref?.();
    owed?.[how](value);
    owed = null;
  };
  const answer = ({ result, error }) => (error ? lost(new Error(error)) : settle('resolve', result));
  const fail = (event) => lost(new Error(event.message || 'a worker failed'));
  const worker = node
    ? new (node('node:worker_threads').Worker)(new URL(import.meta.url), { workerData: TEAM, execArgv: [] })
    : new Worker(new URL('./@stem@.js', import.meta.url), { type: 'module', name: TEAM });
  if (node) worker.on('message', answer).on('error', fail);
  else Object.assign(worker, { onmessage: (event) => answer(event.data), onerror: fail });
  return {
    ask: (message) => new Promise((resolve, reject) => {
      if (ended) return reject(ended);
      owed = { resolve, reject };
      worker.ref?.();
      worker.postMessage(message);
    }),
    enter: () => worker.postMessage({}),
    stop: (error) => {
      ended ??= error;
      settle('reject', ended);
      worker.terminate();
    },
  };
}

// What a worker does: the first message gives it the module, the second makes members of the team wait in it for good,
// and to the leader each further one is a run or a profile.
function serve(reply) {
  let act = null;
  return async (message) => {
    try {
      if (act) return act(message);
      const { module, memory, manifest, index } = message;
      const exports = await instantiateCode(module, memory);
      if (index === 0) {
        const engine = new Engine(manifest, memory, exports);
        act = ({ kind, repeats }) => reply({ result: kind === 'run' ? engine.run() : engine.profile(repeats) });
      } else {
        exports.__stack_pointer.value = manifest.layout.stacks[index - 1];
        act = () => exports[`${manifest.name}_work`](index - 1);
      }
      reply({});
    } catch (error) {
      reply({ error: String(error?.message ?? error) });
    }
  };
}

// How many threads can run here, and a notice where that is one though the module could use more.
function usableThreads(manifest, wanted = manifest.threads) {
  const cpus = node ? node('node:os').availableParallelism() : navigator.hardwareConcurrency ?? 4;
  if (wanted > 1 && globalThis.crossOriginIsolated === false) {
    console.warn(`${manifest.name} runs on one thread, not ${manifest.threads}: `
      + 'this page is not cross-origin isolated. Serve it with '
      + 'Cross-Origin-Opener-Policy: same-origin and Cross-Origin-Embedder-Policy: require-corp.');
    return 1;
  }
  return Math.max(1, Math.min(wanted, manifest.threads, cpus));
}

if (node) {
  const { parentPort, workerData } = node('node:worker_threads');
  if (workerData === TEAM) parentPort.on('message', serve((answer) => parentPort.postMessage(answer)));
} else if (globalThis.WorkerGlobalScope && globalThis.name === TEAM) {
  const answer = serve((message) => globalThis.postMessage(message));
  globalThis.onmessage = (event) => answer(event.data);
}
