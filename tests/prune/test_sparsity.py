"""Patterns of zeros: what is made is found again, and no pattern is seen where there is only chance."""

import numpy as np
import pytest

from sparsec.errors import UsageError
from sparsec.sparsity import describe, parse_pattern, prune


@pytest.mark.parametrize("shape", [(64, 32), (64, 48, 1, 1), (32, 16, 3, 3), (33, 24, 3, 3)])
@pytest.mark.parametrize("pattern", ["unstructured", "2x1", "4x1", "1x4", "16x1", "2:4", "1:4", "4:8"])
def test_pruned_pattern_is_found_again(shape, pattern):
    weight = np.random.default_rng(0).standard_normal(shape, np.float32)
    pruned = prune(weight, parse_pattern(pattern), 0.75)
    found = describe(pruned)
    assert found.kind == pattern
    assert set(np.unique(pruned)) <= {0.0, *np.unique(weight)}


@pytest.mark.parametrize("sparsity", [0.5, 0.7, 0.9, 0.98])
def test_unstructured_zeros_are_no_pattern_by_chance(sparsity):
    weight = np.random.default_rng(1).standard_normal((96, 64, 3, 3), np.float32)
    pruned = prune(weight, parse_pattern("unstructured"), sparsity)
    assert describe(pruned).kind == "unstructured"
    assert np.count_nonzero(pruned) == pruned.size - round(pruned.size * sparsity)


def test_the_smallest_blocks_go():
    weight = np.array([[1, 5], [2, 6], [9, 3], [0, 4]], np.float32)
    assert prune(weight, parse_pattern("2x1"), 0.5).tolist() == [[0, 5], [0, 6], [9, 0], [0, 0]]
    assert prune(weight, parse_pattern("unstructured"), 0.5).tolist() == [[0, 5], [0, 6], [9, 0], [0, 4]]


def test_groups_keep_their_largest():
    weight = np.array([[1, -5, 2, 4, 3, 1]], np.float32)
    assert prune(weight, parse_pattern("2:4"), 0.0).tolist() == [[0, -5, 0, 4, 3, 1]]


def test_dead_channels_and_kernel_patterns_are_found():
    generator = np.random.default_rng(2)
    weight = generator.standard_normal((32, 16, 3, 3), np.float32)
    dead = weight.copy()
    dead[3] = 0
    dead[:, 5] = 0
    assert (describe(dead).kind, describe(dead).dead_outputs, describe(dead).dead_inputs) == ("channel", 1, 1)
    masks = generator.permuted(np.repeat([[1, 1, 1, 1, 0, 0, 0, 0, 0]], 6, axis=0), axis=1).reshape(6, 3, 3)
    patterned = weight * masks[generator.integers(0, 6, (32, 16))]
    assert describe(patterned).kind == "kernel"


@pytest.mark.parametrize("text", ["", "4", "0x1", "4:2", "4:4", "x", "2:4:8", "-1x4"])
def test_bad_patterns_are_named(text):
    with pytest.raises(UsageError, match="no pattern"):
        parse_pattern(text)
