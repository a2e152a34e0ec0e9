"""The logic of `sparsec opt`: run named passes on the textual form of the tensor IR.

Weights do not live in the text. Those that it names are made here: random numbers, seeded by the weight's name, or what
a comment says:

    // weight @w = zeros            also: ones, arange, random
    // weight @w = sparse(0.9)      random, nine elements of ten being zero
    // weight @b = [1.0, -2.5]      the elements, or one for all
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Sequence

import numpy as np
from xdsl.utils.arg_spec import parse_pipeline
from xdsl.utils.exceptions import ArgSpecParseError, ParseError, VerifyException

from sparsec.errors import InvalidModel, UsageError
from sparsec.ir import TensorType, WeightOp, parse_module, print_module, type_of
from sparsec.model import Model
from sparsec.passes import PASSES, Pass, run_pipeline
from sparsec.targets.registry import parse_target

SEPARATOR = "// -----\n"
_COMMENT = re.compile(r"^\s*// weight @([\w.$-]+) = (.+?)\s*$", re.MULTILINE)
_PRINTED = 16  # weights of up to so many elements are printed in full


def run_passes(text: str, passes: Sequence[str], target: str | None = None) -> str:
    """Run `passes`, each written `name` or `name{option=value …}`, on a module; returns the new text.

    Where lines `// -----` divide the text, each part is a module.
    Raises UsageError for unknown passes, options and targets, InvalidModel for a text that is no valid module.
    """
    steps = parse_passes(",".join(passes))
    asks = any(step.needs_target for step in steps)
    device = parse_target(target) if target and asks else None
    models = [parse_model(part) for part in text.split(SEPARATOR)]
    for model in models:
        run_pipeline(model, steps, device)
    return SEPARATOR.join(map(print_model, models))


def parse_model(text: str) -> Model:
    """A model from its text, with weights as the comments in it say."""
    try:
        module = parse_module(text)
    except (ParseError, VerifyException) as error:
        raise InvalidModel(f"not a valid module: {error}") from error
    model = Model(module)
    contents = dict(_COMMENT.findall(text))
    for op in module.walk():
        if isinstance(op, WeightOp):
            model.weights[op.key] = _make(op.key, type_of(op.result), contents.get(op.key, "random"))
    return model


def parse_passes(text: str) -> list[Pass]:
    """Passes by name: `fix_dims{batch=1},fold_constants`. Raises UsageError."""
    known = {pass_.name: pass_ for pass_ in PASSES}
    try:
        specs = list(parse_pipeline(text))
    except ArgSpecParseError as error:
        raise UsageError(f"passes are written name,name{{option=value}}: {error}") from error
    result = []
    for spec in specs:
        name = spec.name.replace("-", "_")
        if name not in known:
            raise UsageError(f"no pass called {spec.name}; there are {', '.join(known)}")
        try:
            result.append(known[name].from_spec(type(spec)(name, spec.parameters)))
        except (ValueError, TypeError) as error:
            raise UsageError(f"{spec.name}: {error}") from error
    return result


def print_model(model: Model) -> str:
    """The module, and after it a comment for each weight: small ones in full, of others how many elements are not 0."""
    lines = [f"// weight @{name}{_describe(array)}" for name, array in sorted(model.weights.items())]
    return print_module(model.module) + "".join(f"{line}\n" for line in lines)


def _describe(array: np.ndarray) -> str:
    if array.size <= _PRINTED:
        return f" = {json.dumps([round(number, 6) for number in array.ravel().tolist()])}"
    return f": {np.count_nonzero(array)} of {array.size} elements"


def _make(name: str, type_: TensorType, content: str) -> np.ndarray:
    shape, generator = type_.static_shape, np.random.default_rng(zlib.crc32(name.encode()))
    if content.startswith("["):
        return _listed(name, type_, content)
    if match := re.fullmatch(r"sparse\((0?\.\d+|0|1)\)", content):
        array = _random(type_, generator)
        return np.where(generator.random(shape) < float(match[1]), 0, array).astype(type_.dtype)
    makers: dict[str, Callable[[], np.ndarray]] = {
        "zeros": lambda: np.zeros(shape),
        "ones": lambda: np.ones(shape),
        "arange": lambda: np.arange(np.prod(shape, dtype=int)).reshape(shape),
        "random": lambda: _random(type_, generator),
    }
    if content not in makers:
        raise InvalidModel(f"weight @{name}: {content!r} is none of {', '.join(makers)}, sparse(S), [numbers]")
    return makers[content]().astype(type_.dtype)


def _listed(name: str, type_: TensorType, content: str) -> np.ndarray:
    try:
        numbers, shape = np.array(json.loads(content), type_.dtype), type_.static_shape
        return np.full(shape, numbers[0]) if len(numbers) == 1 else numbers.reshape(shape)
    except ValueError as error:
        raise InvalidModel(f"weight @{name} = {content}: {error}") from error


def _random(type_: TensorType, generator: np.random.Generator) -> np.ndarray:
    if type_.dtype.kind == "f":
        return generator.standard_normal(type_.static_shape).astype(type_.dtype)
    return generator.integers(0, 2 if type_.dtype == np.bool_ else 8, type_.static_shape).astype(type_.dtype)
