"""Masks in all the forms in which graphs have them become blocks, and files of patterns do."""

import json

import numpy as np
import pytest
from graphs import FakeTarget
from xdsl.dialects.builtin import ModuleOp, StringAttr, f32, i1
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region

from sparsec.errors import UsageError
from sparsec.interpreter import run
from sparsec.ir import AttentionOp, ExpandOp, MapOp, SelectBlocksOp, TensorType, WeightOp
from sparsec.ir.ops import NODE
from sparsec.ir.scalar import region
from sparsec.model import Model
from sparsec.passes import SparseAttention, run_pipeline
from sparsec.patterns import Pattern, Streaming, Strided, Window, mask_of

HEADS, D, TOKENS = 3, 2, 16
LOWEST = float(np.finfo(np.float32).min)
CAUSAL = np.tri(TOKENS, dtype=bool)
STREAMING = mask_of([Pattern(Streaming(4, 3), True)], TOKENS, TOKENS, (2, 4)).dense()[0]
ADDED = region([f32, f32], lambda s, m: s * 0.5 + m)


def added(kept, low):
    return np.where(kept, np.float32(0), np.float32(low))


def model_of(score, extras, given=(), sequences=1):
    """One attention whose extra operands are weights, made of weights by functions, or inputs of shapes `given`."""
    image = TensorType((1, HEADS * D, sequences * TOKENS, 1), f32)
    block = Block(arg_types=[image, image, image, *(TensorType(shape, f32) for shape in given)])
    model = Model(ModuleOp([]))
    values = []
    for extra in extras:
        if callable(extra):
            values.append(extra(model, block))
        elif isinstance(extra, int):
            values.append(block.args[3 + extra])
        else:
            block.add_op(op := model.weights.add("m", extra))
            values.append(op.result)
    op = AttentionOp(*block.args[:3], HEADS, sequences, extras=values, score=score.clone())
    op.attributes[NODE] = StringAttr("attn")
    block.add_ops([op, ReturnOp(op.result)])
    model.module.body.block.add_op(FuncOp("main", ([a.type for a in block.args], [op.result.type]), Region(block)))
    model.module.verify()
    return model


def compared(model, block):
    """Whether a query may look at a key, by their places."""
    rows, columns = (model.weights.add("p", np.arange(TOKENS, dtype=np.int32).reshape(s)) for s in ((-1, 1), (1, -1)))
    less = region([rows.result.type.element] * 2, lambda row, column: column.compare("le", row))
    map_ = MapOp([rows.result, columns.result], less)
    wide = ExpandOp(map_.result, (1, 1, TOKENS, TOKENS))
    block.add_ops([rows, columns, map_, wide])
    return wide.result


def chosen(model):
    return next(op for op in model.main.body.block.ops if isinstance(op, AttentionOp))


def rewritten(model, step=None, target=None):
    """The model after the pass, which leaves what it means; the attention, and the decision."""
    generator = np.random.default_rng(0)
    inputs = [generator.standard_normal(arg.type.shape).astype(np.float32) for arg in model.main.body.block.args]
    before = run(model, inputs) if step is None else None
    decisions = run_pipeline(model, [step or SparseAttention()], target or FakeTarget()).decisions
    after = run(model, inputs)
    if before is not None:
        np.testing.assert_allclose(after[0], before[0], rtol=1e-5, atol=1e-6)
    return chosen(model), decisions, inputs, after[0]


WHERE = region([f32, i1], lambda s, m: m.select(s * 0.5, s.constant(-np.inf)))
PER_HEAD = np.stack([CAUSAL, STREAMING, np.ones_like(CAUSAL)])
FORMS = {
    "added": (ADDED, [added(CAUSAL, -np.inf)], "causal"),
    "lowest": (ADDED, [added(CAUSAL, LOWEST)[None, None]], "causal"),
    "by heads": (
        ADDED,
        [added(PER_HEAD, -1e30)[None]],
        "head 0 causal; head 1 causal, 4 first and 3 recent keys; head 2 all keys",
    ),
    "where": (WHERE, [STREAMING], "causal, 4 first and 3 recent keys"),
    "expanded": (WHERE, [compared], "causal"),
    "two": (
        region([f32, f32, i1], lambda s, m, n: n.select(s + m, s.constant(LOWEST))),
        [added(np.tri(TOKENS, k=2), -np.inf), CAUSAL],
        "causal",
    ),
    "inverted": (
        region([f32, f32], lambda s, m: s + (m.constant(1.0) - m) * LOWEST),
        [CAUSAL.astype(np.float32)],
        "causal",
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_forms(name):
    score, extras, words = FORMS[name]
    op, (decision,), *_ = rewritten(model_of(score, extras))
    assert op.mask is not None
    assert not op.extras
    assert decision.pattern == words
    assert decision.node == "attn"
    assert decision.row == "attention_blocks"
    assert decision.alternatives[1].row == "attention"


def test_what_else_masks_add_stays():
    bias = np.random.default_rng(0).standard_normal((1, HEADS, TOKENS, TOKENS)).astype(np.float32)
    op, *_ = rewritten(model_of(ADDED, [np.where(CAUSAL, bias, -np.inf).astype(np.float32)]))
    assert op.mask is not None
    assert len(op.extras) == 1


def test_masks_of_a_run_stay():
    score = region([f32, f32, f32], lambda s, m, n: s * 0.5 + m + n)
    op, *_ = rewritten(model_of(score, [added(CAUSAL, -np.inf), 0], given=[(2, 1, 1, TOKENS)], sequences=2))
    assert op.mask is not None
    assert [extra.type.shape for extra in op.extras] == [(2, 1, 1, TOKENS)]


def test_masks_that_join_those_of_a_run(tmp_path):
    """Booleans joined with padding: [1, 1, S, S] and [2, 1, 1, S] in one map of [2, 1, S, S]."""

    def joined(low):
        def mask(model, block):
            tri = model.weights.add("tri", CAUSAL[None, None])
            padding = MapOp([block.args[3]], region([f32], lambda p: p.compare("gt", p.constant(-5.0))))
            both = MapOp([tri.result, padding.result], region([i1, i1], lambda a, b: a & b))
            choose = region([i1], lambda m: m.select(m.to(f32) * 0.0, low))
            added = MapOp([both.result], choose)
            block.add_ops([tri, padding, both, added])
            return added.result

        return model_of(ADDED, [mask], given=[(2, 1, 1, TOKENS)], sequences=2)

    op, *_ = rewritten(joined(-np.inf))
    assert op.mask is not None
    assert [extra.type.shape for extra in op.extras] == [(2, 1, 1, TOKENS)]
    op, *_ = rewritten(joined(LOWEST))  # where a row is padding, all keys get a share
    assert op.mask is None
    op, *_ = rewritten(joined(LOWEST), SparseAttention(written(tmp_path, {"*": {"causal": True}})))
    assert op.mask is not None
    assert [extra.type.shape for extra in op.extras] == [(2, 1, 1, TOKENS)]


STAY = {
    "weighed up": added(CAUSAL, -10000.0),
    "a row of equal scores": added(np.where(np.arange(TOKENS)[:, None] == 3, False, CAUSAL), LOWEST),
    "no tile is empty": added(np.indices((TOKENS, TOKENS)).sum(0) % 2, -np.inf),
    "differs by sequence": np.stack([added(CAUSAL, -np.inf), added(CAUSAL.T, -np.inf)])[:, None],
}


@pytest.mark.parametrize("name", STAY)
def test_masks_that_stay(name):
    op, *_ = rewritten(model_of(ADDED, [STAY[name]], sequences=2))
    assert op.mask is None
    assert len(op.extras) == 1


def test_rows_of_minus_infinity_stay_nan():
    kept = np.where(np.arange(TOKENS)[:, None] == 3, False, CAUSAL)
    op, _, _, out = rewritten(model_of(ADDED, [added(kept, -np.inf)]))
    assert op.mask is not None
    assert np.isnan(out[0, 0, :, 0]).tolist() == [row == 3 for row in range(TOKENS)]


def written(tmp_path, content):
    path = tmp_path / "pattern.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


CAUSAL_SPANS = [Pattern(Window(n), True) for n in (2, 5, 16)]
FILES = {
    "causal": ({"*": {"causal": True}}, [Pattern(causal=True)]),
    "window": ({"attn": {"window": {"size": 3}}}, [Pattern(Window(3))]),
    "strided": (
        {"*": {"strided": {"stride": 2, "window": 2, "block": 4}, "causal": True}},
        [Pattern(Strided(2, 2, 4, head % 2), True) for head in range(HEADS)],
    ),
    "streaming": (
        {"*": {"streaming": {"sink": 2, "recent": 3, "heads": [1]}}},
        [Pattern(), Pattern(Streaming(2, 3)), Pattern()],
    ),
    "spans": ({"*": {"causal": True, "spans": [2, 5, 16]}}, CAUSAL_SPANS),
    "blocks": (
        {"*": {"blocks": {"size": 8, "keep": [[0], [1]]}}},
        np.kron(np.eye(2, dtype=bool), np.ones((8, 8), bool))[None],
    ),
    "own entry": ({"*": {"causal": True}, "attn": {"window": {"size": 3}}}, [Pattern(Window(3))]),
}


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("target", [FakeTarget(), None])
@pytest.mark.parametrize("name", FILES)
def test_files(name, target, masked, tmp_path):
    content, want = FILES[name]
    lower = np.tri(TOKENS, k=1, dtype=bool)
    extras = [added(lower, -np.inf)] if masked else []
    score = ADDED if masked else region([f32], lambda s: s * 0.5)
    model = model_of(score, extras)
    step = SparseAttention(written(tmp_path, content))
    generator = np.random.default_rng(0)
    inputs = [generator.standard_normal(arg.type.shape).astype(np.float32) for arg in model.main.body.block.args]
    decisions = run_pipeline(model, [step], target).decisions
    kept = want if isinstance(want, np.ndarray) else mask_of(want, TOKENS, TOKENS, (1, 1)).dense()
    explicit = model_of(ADDED, [added(kept & lower if masked else kept, -np.inf)])
    np.testing.assert_allclose(run(model, inputs)[0], run(explicit, inputs)[0], rtol=1e-5, atol=1e-6)
    assert len(decisions) == (target is not None)
    assert all("(by pattern.json)" in decision.pattern for decision in decisions)


@pytest.mark.parametrize("masked", [False, True])
def test_selected_at_run_time(masked, tmp_path):
    content = {"*": {"topk": {"keep": 0.5}, "causal": True}}
    model = model_of(ADDED, [added(CAUSAL, -np.inf)]) if masked else model_of(region([f32], lambda s: s), [])
    op, (decision,), *_ = rewritten(model, SparseAttention(written(tmp_path, content)))
    assert isinstance(op.selection.owner, SelectBlocksOp)
    assert bool(op.selection.owner.causal)
    assert isinstance(op.mask.owner, WeightOp)
    assert decision.pattern == "causal; the best 50% of the blocks of 64 keys, found at run time (by pattern.json)"


BAD = {
    "{": "not JSON",
    "[]": "should be an object of patterns by name of node",
    '{"*": 3}': 'json: "\\*" should be an object with causal, window, .* not 3',
    '{"*": {"windows": {"size": 3}}}': "knows no windows: there are causal, window, strided, streaming",
    '{"*": {"window": {"size": 3}, "spans": [1]}}': "has window and spans: one pattern a node",
    '{"*": {"window": {"size": 0}}}': "window: size is a number from 1 on, not 0",
    '{"*": {"window": {"width": 3}}}': "window knows no width: there are size",
    '{"*": {"window": {}}}': "window has no size",
    '{"*": {"causal": 1}}': "causal is true or false, not 1",
    '{"*": {"causal": true, "causal": false}}': "causal is there twice",
    '{"*": {"spans": [3, 4]}}': "spans has 2 numbers for 3 heads",
    '{"*": {"spans": 3}}': "spans is a list of numbers from 0 on, not 3",
    '{"*": {"streaming": {"sink": 1, "recent": 1, "heads": [3]}}}': "there is no head 3, there are 3, from 0 on",
    '{"*": {"blocks": {"size": 8, "keep": [[0]]}}}': "keep has 1 rows, 16 tokens are 2 blocks of 8",
    '{"*": {"blocks": {"size": 8, "keep": [[0], [2]]}}}': "there is no block 2, 16 tokens are 2 blocks of 8",
    '{"*": {"blocks": {"size": 8, "keep": [[[0], [1]], [[0], [1]]]}}}': "keep has lists for 2 heads, there are 3",
    '{"*": {"topk": {"keep": 1}}}': "keep is a number of blocks from 2 on, or a share below 1, not 1",
    '{"*": {"topk": {"keep": 4, "block": 48}}}': "a block has a multiple of 64 keys, not 48",
    '{"layer1": {"causal": true}, "*": {}}': "no attention is called layer1; there are attn",
}


@pytest.mark.parametrize("content", BAD)
def test_bad_files(content, tmp_path):
    model = model_of(region([f32], lambda s: s), [])
    with pytest.raises(UsageError, match=BAD[content]) as caught:
        run_pipeline(model, [SparseAttention(written(tmp_path, content))], FakeTarget())
    assert "pattern.json" in str(caught.value)


def test_missing_files_and_models_without_attention(tmp_path):
    with pytest.raises(UsageError, match=r"lost\.json: no such file"):
        run_pipeline(model_of(region([f32], lambda s: s), []), [SparseAttention("lost.json")], FakeTarget())
    model = Model(ModuleOp([]))
    block = Block(arg_types=[TensorType((1,), f32)])
    block.add_op(ReturnOp(block.args[0]))
    model.module.body.block.add_op(FuncOp("main", ([block.args[0].type],) * 2, Region(block)))
    with pytest.raises(UsageError, match="the model has no attention that sparsec recognises"):
        run_pipeline(model, [SparseAttention(written(tmp_path, {"*": {}}))], FakeTarget())
