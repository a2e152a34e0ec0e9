"""Modules in Node and in Chromium: outputs, weights beside the module, threads, and what wrong calls get."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from urllib.parse import quote

import numpy as np
import onnx
import pytest
import zoo
from artifact import toy
from javascript.conftest import ODD_NAME, VARIANTS, Engine, Page

from sparsec.compiler import Options, compile_file
from sparsec.program import load
from sparsec.verify import random_inputs

variants = pytest.mark.parametrize("variant", VARIANTS)
CPUS = len(os.sched_getaffinity(0))

LOAD = "const [file, options, x] = args; const { load } = await import(file); const m = await load(undefined, options);"
RUN = f"{LOAD} const y = Object.values(await m.run({{ x: Float32Array.from(x) }}))[0];"


def run(engine: Engine, variant: str, x: np.ndarray, **options) -> dict:
    script = f"{RUN} return {{ isa: m.isa, threads: m.threads, y: Array.from(y), shape: y.shape, name: m.name }};"
    return engine.run(script, engine.url(f"{variant}.js"), options, x.ravel().tolist())


def check(y: list[float], x: np.ndarray) -> None:
    np.testing.assert_allclose(np.array(y, np.float32).reshape(x.shape), toy.expected(x), rtol=1e-6, atol=1e-5)


@variants
@pytest.mark.parametrize("isa", [None, "wasm"])
def test_run(engine, x, variant, isa):
    found = run(engine, variant, x, **({"isa": isa} if isa else {}))
    check(found["y"], x)
    assert (found["shape"], found["name"]) == (list(toy.SHAPE), variant)
    assert found["threads"] == (min(3, CPUS) if "threads" in variant else 1)
    if isa or engine.name == "chromium":  # old Node has no relaxed SIMD
        assert found["isa"] == (isa or "wasm-relaxed")


def test_name_of_a_file(engine, x):
    """Any will do, as scripts spell it like a URL."""
    check(run(engine, quote(ODD_NAME.removesuffix(".wasm")), x)["y"], x)


@pytest.mark.parametrize("variant", ["inside", "threads"])
def test_runs_at_the_same_time(engine, x, variant):
    """They follow one another, also after one that failed."""
    script = f"""{LOAD} const times = (k) => (k ? Float32Array.from(x, (v) => k * v) : 'no array');
    const runs = await Promise.allSettled([1, 2, 0, 3].map((k) => m.run({{ x: times(k) }})));
    return runs.map(({{ status, value }}) => value ? Array.from(Object.values(value)[0]) : status);"""
    first, second, third, fourth = engine.run(script, engine.url(f"{variant}.js"), {}, x.ravel().tolist())
    assert third == "rejected"
    for found, k in ((first, 1), (second, 2), (fourth, 3)):
        check(found, k * x)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ("undefined", 'TypeError: inside takes an object of typed arrays: { "x": Float32Array }'),
        ("new Float32Array(3350)", "takes an object of typed arrays"),
        ("{ z: 1 }", 'TypeError: inside has no input "z"; its inputs are "x"'),
        ("{}", 'TypeError: input "x": expected a Float32Array of float32[67,50], which is missing'),
        ("{ x: null }", "float32[67,50], got null"),
        ("{ __proto__: { x: new Float32Array(3350) } }", "which is missing"),
        ("{ x: [1, 2] }", "float32[67,50], got an Array"),
        ("{ x: new Float64Array(3350) }", "float32[67,50], got Float64Array"),
        (
            "{ x: new Float32Array(3) }",
            'RangeError: input "x": expected a Float32Array of float32[67,50] (3350 elements)',
        ),
        ("{ x: Object.assign(new Float32Array(3350), { shape: [50, 67] }) }", "got shape [50,67]"),
    ],
)
def test_wrong_inputs(page, inputs, message):
    script = f"{LOAD} return m.run({inputs}).then(() => 'ran', (error) => `${{error}}`);"
    assert message in page.run(script, page.url("inside.js"), {})


@pytest.mark.parametrize("repeats", ["0", "-1", "1.5", "NaN", "'5'", "null"])
def test_wrong_repeats(node, x, repeats):
    script = f"{LOAD} return m.profile({{ x: Float32Array.from(x) }}, {repeats}).catch((error) => `${{error}}`);"
    message = node.run(script, node.url("inside.js"), {}, x.ravel().tolist())
    assert message.startswith("RangeError: inside: the repeats of a profile are a whole number above 0, got the")


def test_no_inputs(node, folder):
    model = folder / "constant.onnx"
    save_constant(model)
    compile_file(model, folder / "constant.wasm", Options(target="wasm"))
    script = f"""{LOAD} const run = (inputs) => m.run(inputs).then(({{ y }}) => Array.from(y), (error) => `${{error}}`);
    return [await run(), await run({{}}), await run({{ z: 1 }})];"""
    found = node.run(script, node.url("constant.js"), {})
    assert found == [[1, 2, 3], [1, 2, 3], "TypeError: constant takes no inputs"]


def save_constant(path: Path) -> None:
    """A model of one output, and no inputs."""
    value = onnx.numpy_helper.from_array(np.array([1, 2, 3], np.float32))
    node = onnx.helper.make_node("Constant", [], ["y"], value=value)
    output = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [3])
    graph = onnx.helper.make_graph([node], "constant", [], [output])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)]), path)


@pytest.mark.parametrize("content", ["cut", "html", "empty"])
def test_damaged_module(engine, folder, content):
    whole = (folder / "inside.wasm").read_bytes()
    (folder / "damaged.wasm").write_bytes({"cut": whole[:-99], "html": b"<!doctype html>", "empty": b""}[content])
    script = "const { load } = await import(args[0]); await load(args[1]);"
    with pytest.raises(RuntimeError, match=r"damaged\.wasm is truncated or no WebAssembly module: \w") as caught:
        engine.run(script, engine.url("inside.js"), engine.url("damaged.wasm"))
    assert "SIMD" not in str(caught.value)


def test_wrong_options(node):
    script = f"{LOAD}"
    with pytest.raises(RuntimeError, match="inside has code for wasm-relaxed and wasm only"):
        node.run(script, node.url("inside.js"), {"isa": "sse"})
    script = "const { load } = await import(args[0]); await load(args[1]);"
    with pytest.raises(RuntimeError, match=r"TypeError: expected a path, a URL, .* got null"):
        node.run(script, node.url("inside.js"), None)
    with pytest.raises(RuntimeError, match="ENOENT"):
        node.run(script, node.url("inside.js"), node.url("nothing.wasm"))
    with pytest.raises(RuntimeError, match="other options than this file"):
        node.run(script, node.url("inside.js"), node.url("separate.wasm"))


def test_not_found(page):
    script = "const { load } = await import(args[0]); await load(args[1]);"
    with pytest.raises(RuntimeError, match=r"nothing\.wasm: HTTP 404"):
        page.run(script, page.url("inside.js"), "nothing.wasm")
    with pytest.raises(RuntimeError, match=r"http://localhost:1/m\.wasm: "):
        page.run(script, page.url("inside.js"), "http://localhost:1/m.wasm")


@pytest.mark.parametrize("source", ["bytes", "response", "module"])
def test_sources(engine, x, source):
    script = """const [file, url, source, x] = args; const { load } = await import(file);
    const get = async () => url.startsWith('file:') ? (await import('node:fs')).readFileSync(new URL(url))
      : (await fetch(url)).arrayBuffer();
    const wasm = { 'Content-Type': 'application/wasm' };
    const m = await load({ bytes: () => get(), module: async () => WebAssembly.compile(await get()),
                           response: async () => new Response(await get(), { headers: wasm }) }[source]());
    return Array.from(Object.values(await m.run({ x: Float32Array.from(x) }))[0]);"""
    files = engine.url("inside.js"), engine.url("inside.wasm")
    check(engine.run(script, *files, source, x.ravel().tolist()), x)


def test_closed(engine, x):
    script = f"{RUN} m.close(); return m.run({{ x: Float32Array.from(x) }}).catch((error) => error.message);"
    for variant in ("inside", "threads"):
        assert engine.run(script, engine.url(f"{variant}.js"), {}, x.ravel().tolist()) == f"{variant} is closed"


def test_weights_of_another_compilation(engine, folder, tmp_path):
    part = folder / "parts.1.bin"
    content = part.read_bytes()
    try:
        for damaged, message in (
            (bytes(64) + content[64:], "belongs to another compilation of the model"),
            (content[:-1], "135 bytes of weights, not 136"),
            (content + b"!", "is longer than its 136 bytes of weights"),
        ):
            part.write_bytes(damaged)
            with pytest.raises(RuntimeError, match=message):
                engine.run(LOAD, engine.url("parts.js"), {"cache": False})
    finally:
        part.write_bytes(content)


def asked_for(page: Page, suffix: str) -> list[str]:
    found = [Path(path).name for path in page.requests if path.endswith(suffix)]
    page.requests.clear()
    return found


def test_weights_are_cached(page, folder, x):
    """Until the model is compiled anew, or where the page does not want it."""
    names = ["parts.0.bin", "parts.1.bin", "parts.2.bin"]
    script = f"await caches.delete('sparsec'); {RUN} return Array.from(y);"
    check(page.run(script, page.url("parts.js"), {}, x.ravel().tolist()), x)
    assert sorted(asked_for(page, ".bin")) == names
    check(run(page, "parts", x)["y"], x)
    assert asked_for(page, ".bin") == []
    check(run(page, "parts", x, cache=False)["y"], x)
    assert sorted(asked_for(page, ".bin")) == names
    progress = f"""const seen = []; args[1] = {{ cache: false, onProgress: (p) => seen.push(p) }};
    {LOAD} return seen.at(-1);"""
    assert page.run(progress, page.url("parts.js"), {}) == {"loaded": 332, "total": 332}
    keys = (
        "return (await (await caches.open('sparsec')).keys()).map((request) => new URL(request.url).pathname).sort();"
    )
    assert page.run(keys) == [f"/{name}" for name in names]


def test_weights_elsewhere(page, folder, x):
    (folder / "elsewhere").mkdir()
    shutil.copy(folder / "separate.bin", folder / "elsewhere")
    check(run(page, "separate", x, weights="elsewhere/", cache=False)["y"], x)
    assert "/elsewhere/separate.bin" in page.requests


def test_says_when_it_runs_on_one_thread(page, x):
    found = run(page, "threads", x)
    check(found["y"], x)
    assert found["threads"] == 1
    (message,) = [text for text in page.browser.messages() if "one thread" in text]
    assert "threads runs on one thread, not 3: this page is not cross-origin isolated" in message
    run(page, "threads", x, threads=1)
    assert not any("one thread" in text for text in page.browser.messages())


def test_workers_that_do_not_start(isolated_page, x):
    isolated_page.browser.open(isolated_page.url("alone.html"))
    found = run(isolated_page, "threads", x, threads=2)
    if CPUS > 1:
        assert any("threads runs on one thread, not 2" in text for text in isolated_page.browser.messages())
    assert found["threads"] == 1
    check(found["y"], x)


def test_limit_of_threads(engine, x):
    assert run(engine, "threads", x, threads=2)["threads"] == min(2, CPUS)
    assert run(engine, "threads", x, threads=1)["threads"] == 1


def test_in_a_worker_and_without_eval(page, x):
    page.browser.open(page.url("strict.html"))
    with pytest.raises(RuntimeError, match="EvalError"):
        page.run("await new Promise((later) => setTimeout(later)); return new Function('return 1')();")
    check(run(page, "inside", x)["y"], x)
    script = """const [file, x] = args, worker = new Worker('worker.js', { type: 'module' });
    worker.postMessage([file, Float32Array.from(x)]);
    const answer = (resolve, reject) => Object.assign(worker, { onmessage: (e) => resolve(e.data), onerror: reject });
    const y = await new Promise(answer);
    return Array.from(Object.values(y)[0]);"""
    check(page.run(script, page.url("inside.js"), x.ravel().tolist()), x)


def test_example(node, folder):
    script = Path(__file__).parents[2] / "examples" / "node" / "run.mjs"
    for variant in ("inside", "threads"):
        command = ["node", script, folder / f"{variant}.js"]
        lines = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()
        assert lines[1] == "input x: float32 67x50"
        y = toy.expected(np.ones(toy.SHAPE, np.float32))
        found = np.array(lines[2].rpartition(": ")[2].split(), np.float32)
        np.testing.assert_allclose(found, y[0, :4], rtol=1e-6, atol=1e-5)
    done = subprocess.run(["node", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (2, "usage: node run.mjs model.js\n")


def test_types(folder):
    text = (folder / "inside.d.ts").read_text()
    assert '"x": Float32Array;' in text
    assert '"y\\"\\\\\\u00fc": Float32Array & { readonly shape: readonly [67, 50] };' in text


@pytest.fixture(scope="module")
def mobilenet(folder) -> Path:
    model = zoo.save(folder, "mobilenet_v1", size=64, width=0.25, classes=10, sparsity=0.9)
    for name, target, threads in (("mobilenet", "wasm", 1), ("mobilenet_threads", "wasm+threads", 2)):
        compile_file(model, folder / f"{name}.wasm", Options(target=target, weights="separate", threads=threads))
    return folder / "mobilenet.wasm"


@pytest.mark.parametrize("name", ["mobilenet", "mobilenet_threads"])
def test_model(engine, mobilenet, name):
    program = load(mobilenet)
    inputs = random_inputs(program.inputs)
    (expected,) = program.run(**inputs).values()
    script = """const [file, data] = args; const m = await (await import(file)).load();
    const inputs = Object.fromEntries(m.inputs.map(({ name }) => [name, Float32Array.from(data)]));
    const [y] = Object.values(await m.run(inputs)); const layers = await m.profile(inputs, 2);
    return { y: Array.from(y), layers: layers.map(({ name, ms, format }) => [name, ms, format ?? null]) };"""
    (value,) = inputs.values()
    found = engine.run(script, engine.url(f"{name}.js"), value.ravel().tolist())
    np.testing.assert_allclose(found["y"], expected.ravel(), rtol=1e-4, atol=1e-4)
    assert len(found["layers"]) >= 10
    assert sum(ms for _, ms, _ in found["layers"]) > 0
    assert (mobilenet.parent / f"{name}.wasm").stat().st_size < 300_000, "code without weights"


def test_old_engines(node, folder, x):
    """Without relaxed SIMD a module for it alone says what to do; Node 20 has it only behind a flag."""
    if run(node, "inside", x)["isa"] == "wasm-relaxed":
        pytest.skip("this Node has relaxed SIMD")
    toy_path = toy.build(folder / "relaxed", "wasm", name="relaxed", isas=toy.ISAS["wasm"][:1])
    with pytest.raises(RuntimeError, match="no relaxed SIMD: compile the model for --target wasm"):
        node.run(LOAD, toy_path.with_suffix(".js").as_uri(), {})
    with pytest.raises(RuntimeError, match="inside does not run as wasm-relaxed here; this engine has no relaxed SIMD"):
        node.run(LOAD, node.url("inside.js"), {"isa": "wasm-relaxed"})
