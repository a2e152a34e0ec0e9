"""The .mlir files beside this one: each shows what a pass does, and the interpreter says that the meaning stays.

The first line names the passes: `// RUN: sparsec opt %s -p fold_constants | filecheck %s`. Sections are separated by
`// -----`; each is a module, and the outputs of all are checked together.
"""

import re
from pathlib import Path

import numpy as np
import pytest
from filecheck.matcher import Matcher
from filecheck.options import Options
from graphs import FakeTarget

from sparsec.interpreter import run
from sparsec.ir import type_of
from sparsec.model import Model
from sparsec.opt import SEPARATOR, parse_model, parse_passes, print_model
from sparsec.passes import PASSES, run_pipeline

FILES = sorted(Path(__file__).parent.glob("*.mlir"))
RUN = re.compile(r"// RUN: sparsec opt %s -p (\S.*) \| filecheck %s\n")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_file(path, tmp_path, capsys):
    text = path.read_text()
    match = RUN.match(text)
    assert match, "the first line says how to run the file"
    output = tmp_path / "output.mlir"
    output.write_text(SEPARATOR.join(rewritten(part, match[1]) for part in text.split(SEPARATOR)))
    assert Matcher.from_opts(Options(str(path), str(output))).run() == 0, capsys.readouterr().err


def rewritten(text: str, passes: str) -> str:
    """The section after the passes, once its outputs are found to be the same."""
    model = parse_model(text)
    inputs = random_inputs(model)
    before = run(model, inputs)
    run_pipeline(model, parse_passes(passes), FakeTarget())
    for found, expected in zip(run(model, inputs), before, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    return print_model(model)


def random_inputs(model: Model) -> list[np.ndarray]:
    """Numbers that fit the inputs; symbolic sizes are 2."""
    generator = np.random.default_rng(0)
    types = [type_of(argument) for argument in model.main.body.block.args]
    shapes = [[dim if isinstance(dim, int) else 2 for dim in type_.shape] for type_ in types]
    return [generator.standard_normal(shape).astype(type_.dtype) for shape, type_ in zip(shapes, types, strict=True)]


@pytest.mark.parametrize("pass_", PASSES, ids=lambda pass_: pass_.name)
def test_every_pass_has_a_file(pass_):
    assert any(path.stem == pass_.name for path in FILES)
