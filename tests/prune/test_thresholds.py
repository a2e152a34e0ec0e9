"""Thresholds of activations: files, what they mean, finding them from samples."""

import numpy as np
import pytest
from whole_models import write_model

from sparsec.activations import calibrate_thresholds
from sparsec.errors import SparsecError, UnsupportedModel, UsageError
from sparsec.frontend.onnx import import_model
from sparsec.interpreter import run
from sparsec.thresholds import Threshold, as_arrays, insert, read

RANDOM = np.random.default_rng(0)
W1, W2 = (RANDOM.standard_normal(shape).astype(np.float32) for shape in ((8, 24), (4, 24)))


@pytest.fixture
def model(tmp_path):
    """[2, 8] through up, GELU and down; a 1×1 and a 3×3 convolution after that."""
    text = """g (float[2,8] x) => (float[2,4] y, float[1,3,2,4] z) {
        [up] u = MatMul(x, w1) [act] a = Gelu(u) [down] y = Gemm<transB = 1>(a, w2)
        [image] i = Reshape(y, shape) [point] p = Conv(i, w3) [window] z = Conv<pads = [1, 1, 1, 1]>(p, w4) }"""
    weights = {"w1": W1, "w2": W2, "w3": np.ones((3, 1, 1, 1), np.float32), "w4": np.ones((3, 3, 3, 3), np.float32)}
    return write_model(tmp_path / "m.onnx", text, {**weights, "shape": np.array([1, 1, 2, 4])})


def small(node="down", values=0.1, nonzeros=None):
    return {node: Threshold(np.asarray(values, np.float64), nonzeros)}


def cut(model, thresholds, x):
    imported = import_model(model)
    insert(imported, thresholds)
    return run(imported, {"x": x})


def activations(x):
    from math import erf

    u = x @ W1
    return (u * 0.5 * (1 + np.vectorize(erf)(u / np.sqrt(2)))).astype(np.float32)


@pytest.mark.parametrize("values", [0.3, np.linspace(0, 0.6, 24)], ids=["number", "channels"])
def test_meaning(model, values):
    x = RANDOM.standard_normal((2, 8)).astype(np.float32)
    a = activations(x)
    expected = np.where(np.abs(a) <= values, 0, a) @ W2.T
    np.testing.assert_allclose(cut(model, small(values=values), x)[0], expected, rtol=1e-5, atol=1e-5)


def test_no_numbers(model):
    """NaN is no zero, infinity is above all thresholds, and the threshold itself counts as zero."""
    x = np.zeros((2, 8), np.float32)
    x[0, :3] = 0.5, -0.5, np.nan
    x[1, :3] = 0.5, -0.5, np.inf
    with np.errstate(invalid="ignore"):
        y = cut(model, small("up", 0.5), x)[0]
    assert np.isnan(y).all()
    x[:, 2] = 0
    np.testing.assert_array_equal(cut(model, small("up", 0.5), x)[0], 0)
    assert (cut(model, small("up", 0.49), x)[0] != 0).any()


def test_convolutions(model):
    x = RANDOM.standard_normal((2, 8)).astype(np.float32)
    y, z = cut(model, small("point", [0.5]), x)
    expected = np.where(np.abs(y) <= 0.5, 0, y).reshape(2, 4)
    np.testing.assert_allclose(z[0, 0, 0, 0], 3 * expected[:, :2].sum(), rtol=1e-4)


@pytest.mark.parametrize(
    ("thresholds", "message"),
    [
        (small("dawn"), "'dawn': no such linear layer; there are up, down, point"),
        (small("window"), "no such linear layer"),
        (small(values=[0.1, 0.2]), "'down': 2 of them, and the layer has 24 inputs"),
    ],
)
def test_misfits(model, thresholds, message):
    with pytest.raises(UsageError, match=message):
        insert(import_model(model), thresholds)


@pytest.mark.parametrize(
    "content",
    ['{"a": 0.5}', '{"a": [0.5]}', '{"a": {"threshold": 0.5}}', '{"a": {"threshold": [0.5], "nonzeros": 0.25}}'],
)
def test_json(tmp_path, content):
    path = tmp_path / "t.json"
    path.write_text(content)
    (found,) = read(path).values()
    assert found.values == 0.5
    assert found.nonzeros == (0.25 if "nonzeros" in content else None)


def test_npz(tmp_path):
    thresholds = {"/a/b:c": Threshold(np.array([0.25, 0.5]), 0.125), "d": Threshold(np.array(2.0))}
    np.savez(tmp_path / "t.npz", **as_arrays(thresholds))
    found = read(tmp_path / "t.npz")
    assert list(found) == list(thresholds)
    np.testing.assert_array_equal(found["/a/b:c"].values, [0.25, 0.5])
    assert [threshold.nonzeros for threshold in found.values()] == [0.125, None]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "cannot be read"),
        ("[1]", "an object with a threshold"),
        ("{}", "holds no thresholds"),
        ('{"a": "much"}', "thresholds are numbers"),
        ('{"a": [[1], [1, 2]]}', "thresholds are numbers"),
        ('{"a": null}', "a threshold is a number of 0 or more"),
        ('{"a": []}', "a threshold is a number of 0 or more"),
        ('{"a": -1}', "a threshold is a number of 0 or more"),
        ('{"a": Infinity}', "a threshold is a number of 0 or more"),
        ('{"a": 1e300}', "a threshold is a number of 0 or more"),
        ('{"a": {"limit": 1}}', "should be a number, a list or"),
        ('{"a": {"threshold": 1, "nonzeros": 3}}', "nonzeros is a share from 0 to 1"),
    ],
)
def test_bad_json(tmp_path, content, message):
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(UsageError, match=message):
        read(tmp_path / "t.json")


def test_bad_files(tmp_path):
    (tmp_path / "t.npz").write_bytes(b"PK and no more")
    (tmp_path / "t.txt").write_text("1")
    np.savez(tmp_path / "objects.npz", a=np.array([{}]), allow_pickle=True)
    for name, message in {
        "t.npz": "read",
        "t.txt": "not a file",
        "none.npz": "not a file",
        "objects.npz": "read",
    }.items():
        with pytest.raises(UsageError, match=message):
            read(tmp_path / name)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_calibration_reaches_its_share(model, share):
    found = calibrate_thresholds(model, share, [{"x": RANDOM.standard_normal((64, 2, 8)).astype(np.float32)}])
    assert [layer.node for layer in found] == ["up", "down", "point"]
    for layer in found:
        assert layer.zeros == pytest.approx(max(share, layer.zeros_before), abs=0.02)
        assert layer.threshold.nonzeros == pytest.approx(1 - layer.zeros)
        assert (layer.error > 0) == (share > 0)


def test_channels_weigh_by_their_weights(tmp_path):
    """Of equal activations those with small weights go first; without weights, any."""
    weight = np.outer([4, 2, 1, 0], np.ones(3)).astype(np.float32)
    model = write_model(
        tmp_path / "m.onnx", "g (float[1,4] x) => (float[1,3] y) { [fc] y = MatMul(x, w) }", {"w": weight}
    )
    samples = np.abs(RANDOM.standard_normal((100, 4))).astype(np.float32) + 1
    (layer,) = calibrate_thresholds(model, 0.5, [{"x": samples}])
    low = layer.threshold.values
    assert low[3] > low[2] > low[1] > low[0] > 0
    assert low[1] == pytest.approx(2 * low[0], rel=1e-5)
    write = as_arrays({"fc": layer.threshold})
    assert np.isfinite(write["fc"]).all()


def test_sample_forms(model):
    x = RANDOM.standard_normal((6, 2, 8)).astype(np.float32)
    forms = [[{"x": x}], [{"x": x.reshape(12, 8)}], [{"x": each} for each in x], [{"x": x[:3]}, {"x": x[3:]}]]
    found = [calibrate_thresholds(model, 0.5, form, skip=["up", "point"]) for form in forms]
    assert all(len(layers) == 1 for layers in found)
    for (layer,) in found[1:]:
        np.testing.assert_array_equal(layer.threshold.values, found[0][0].threshold.values)


@pytest.mark.parametrize(
    ("samples", "skip", "message"),
    [
        ({"x": np.zeros((2, 9), np.float32)}, (), "is float32 2x9, should be float32 2x8"),
        ({"x": np.zeros((3, 8), np.float32)}, (), "samples of x are 3x8, the input is 2x8"),
        ({"x": np.zeros((0, 8), np.float32)}, (), "no samples of x"),
        ({"x": np.zeros((2, 8))}, (), "samples of x are float64"),
        ({"z": np.zeros((2, 8), np.float32)}, (), "the samples have z; inputs are x"),
        ({"x": np.full((2, 8), np.nan, np.float32)}, (), "up: its inputs are not finite"),
        ({"x": np.zeros((2, 8), np.float32)}, ("window",), "--skip window: no such linear layer"),
        ({"x": np.zeros((2, 8), np.float32)}, ("up", "down", "point"), "all are in --skip"),
    ],
)
def test_bad_samples(model, samples, skip, message):
    with pytest.raises(SparsecError, match=message) as caught:
        calibrate_thresholds(model, 0.5, [samples], skip)
    assert isinstance(caught.value, UsageError | UnsupportedModel)


def test_open_sizes(tmp_path):
    text = "g (float[N,4] x) => (float[N,4] y) { [fc] y = MatMul(x, w) }"
    model = write_model(tmp_path / "m.onnx", text, {"w": np.eye(4, dtype=np.float32)})
    (layer,) = calibrate_thresholds(model, 0.5, [{"x": RANDOM.standard_normal((50, 4)).astype(np.float32)}])
    assert layer.zeros == pytest.approx(0.5, abs=0.01)
