"""The builder that kernels are written with: functions, loops and branches on top of memory and arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from mlir import ir
from mlir.dialects import arith, func, llvm, scf

from sparsec.ir.dims import Sym
from sparsec.targets.builder.memory import Memory
from sparsec.targets.builder.value import Index, Operand, Ref, Value


class Builder(Memory):
    """Writes kernels for one ISA into one MLIR module.

    Control flow carries values in lists: `with b.loop(0, n, carry=acc) as i:` makes the list hold the values at the
    start of an iteration; what the body leaves in it goes to the next one, and after the loop it holds the results.
    """

    @contextmanager
    def function(
        self, symbol: str, arguments: Sequence[str], alignments: Sequence[int] = (), in_place: bool = False
    ) -> Iterator[tuple[list[Ref], Ref, Value, Value]]:
        """A kernel `symbol` + the ISA's suffix: gives the references of its arguments, its scratch, begin and end.

        `arguments` are element types. `alignments` are bytes, one an argument, where more than the element's is known;
        scratch is bytes, 64-byte aligned. Where there are `symbols`, one more argument holds their values.
        """
        with self.context, ir.Location.unknown():
            sized = ["i64"] if self.symbols else []
            kinds = [*arguments, *sized, "i8"]
            signature = ir.FunctionType.get([*[self.pointer_type] * len(kinds), *[self.type("i64")] * 2], [])
            with ir.InsertionPoint(self.module.body):
                function = func.FuncOp(f"{symbol}{self.isa.suffix}", signature)
            unknown = [0] * (len(arguments) - len(alignments))
            self._describe(function, [*alignments, *unknown, *[8 for _ in sized], 64], in_place)
            entry = self._entry = function.add_entry_block()
            self._constants.clear()
            *pointers, begin, end = entry.arguments
            with ir.InsertionPoint(entry):
                *refs, scratch = (Ref(self, p, e) for p, e in zip(pointers, kinds, strict=True))
                limits = [Value(self, arith.index_cast(self.type("index"), x), "index") for x in (begin, end)]
                self._begin_sizes(refs.pop().pointer if sized else None, limits[0].ir.owner)
                yield refs, scratch, *limits  # type: ignore[misc]
                func.ReturnOp([])

    @contextmanager
    def loop(self, start: Index, stop: Index, step: Index = 1, carry: list[Value] | None = None) -> Iterator[Index]:
        """Counts an index from `start` to below `stop`. A loop of one iteration is written out, with a Python int."""
        if isinstance(start, int) and isinstance(stop, int) and isinstance(step, int) and start < stop <= start + step:
            yield start
            return
        carried = self._carried(carry)
        first, limit, stride = (self.as_index(x).ir for x in (start, stop, step))
        loop = scf.ForOp(first, limit, stride, [value.ir for value in carried])
        with ir.InsertionPoint(loop.body):
            self._rebind(carry, carried, loop.inner_iter_args)
            yield Value(self, loop.induction_variable, "index")
            scf.YieldOp([value.ir for value in carry or []])
        self._rebind(carry, carried, loop.results_)

    @contextmanager
    def while_(self, condition: Callable[[], Value], carry: list[Value]) -> Iterator[None]:
        """Repeats while `condition()`, evaluated on the carried values, holds."""
        carried = self._carried(carry)
        types = [value.ir.type for value in carried]
        loop = scf.WhileOp(types, [value.ir for value in carried])
        before, after = (region.blocks.append(*types) for region in loop.regions)
        with ir.InsertionPoint(before):
            self._rebind(carry, carried, before.arguments)
            scf.ConditionOp(condition().ir, [value.ir for value in carry])
        with ir.InsertionPoint(after):
            self._rebind(carry, carried, after.arguments)
            yield
            scf.YieldOp([value.ir for value in carry])
        self._rebind(carry, carried, loop.results_)

    @contextmanager
    def if_(self, condition: Value | bool, carry: list[Value] | None = None) -> Iterator[Branch]:
        """Runs the body where `condition` holds; `with branch.else_():` after it runs where it does not."""
        branch = Branch(self, self.as_bool(condition), carry)
        with branch.then():
            yield branch

    def as_index(self, x: Index) -> Value:
        """`x` as an index value."""
        return self.size(x) if isinstance(x, int | Sym) else x

    def as_bool(self, x: Value | bool) -> Value:
        """`x` as an i1 value."""
        return x if isinstance(x, Value) else self.constant(int(x), "i1")

    def call_intrinsic(self, name: str, operands: Sequence[Value], element: str, lanes: int | None = None) -> Value:
        """Calls an LLVM intrinsic, for instructions that MLIR has no operation for."""
        call = llvm.CallIntrinsicOp(self.type(element, lanes), name, [x.ir for x in operands], [], [])
        return Value(self, call.results, element, lanes)

    def call_effect(self, name: str, operands: Sequence[Value | Ref]) -> None:
        """Calls an LLVM intrinsic that gives nothing, on values and on the addresses of references."""
        values = [x.address() if isinstance(x, Ref) else x.ir for x in operands]
        llvm.CallIntrinsicOp(None, name, values, [], [])

    def keep_order(self) -> None:
        """Memory is not accessed across this point. LLVM's scheduler would hoist all loads of long straight code, and
        spill what they load.
        """
        llvm.InlineAsmOp(None, [], "", "~{memory}", has_side_effects=True)

    def loaded(self, vectors: list[Value]) -> list[Value]:
        """The vectors, all of which are there before one is used; only ARM's scheduler needs to be told."""
        if not self.isa.lane_operands or len(vectors) < 2:
            return vectors
        kinds = [x.ir.type for x in vectors]
        every = ir.Type.parse(f"!llvm.struct<({', '.join(map(str, kinds))})>")
        same = ",".join(["=w"] * len(vectors) + [str(i) for i in range(len(vectors))])
        passed = llvm.InlineAsmOp(every, [x.ir for x in vectors], "", same).res
        parts = [llvm.extractvalue(kind, passed, [i]) for i, kind in enumerate(kinds)]
        return [Value(self, part, x.element, x.lanes) for part, x in zip(parts, vectors, strict=True)]

    def _describe(self, function: func.FuncOp, alignments: Sequence[int], in_place: bool) -> None:
        unit = ir.UnitAttr.get()
        facts = ("llvm.nocapture",) if in_place else ("llvm.noalias", "llvm.nocapture")
        pointers: list[dict[str, ir.Attribute]] = [dict.fromkeys(facts, unit) for _ in alignments]
        for attributes, align in zip(pointers, alignments, strict=True):
            if align:
                attributes["llvm.align"] = ir.IntegerAttr.get(self.type("i64"), align)
        function.arg_attrs = [ir.DictAttr.get(attributes) for attributes in [*pointers, {}, {}]]
        options: list[ir.Attribute] = [ir.StringAttr.get("nounwind")]
        if self.isa.x86:  # else LLVM splits 512-bit vectors where it thinks that they lower the clock
            width = "prefer-vector-width", str(self.isa.lanes * 32)
            options.append(ir.ArrayAttr.get([ir.StringAttr.get(x) for x in width]))
        function.attributes["passthrough"] = ir.ArrayAttr.get(options)

    def _carried(self, carry: list[Value] | None) -> list[Value]:
        """The carried values; numbers in the list become index or f32 constants."""
        return [self._as_value(x) for x in carry or []]

    def _as_value(self, x: Operand) -> Value:
        if isinstance(x, Value):
            return x
        return self.constant(x, "f32") if isinstance(x, float) else self.as_index(x)

    def _rebind(self, carry: list[Value] | None, like: Sequence[Value], results: Sequence[ir.Value]) -> None:
        if carry is not None:
            carry[:] = [Value(self, r, x.element, x.lanes) for r, x in zip(results, like, strict=True)]


class Branch:
    """An `scf.if` being written. The else branch passes the carried values through unless it is written."""

    def __init__(self, builder: Builder, condition: Value, carry: list[Value] | None) -> None:
        self._builder, self._carry = builder, carry
        self._before = builder._carried(carry)
        types = [value.ir.type for value in self._before]
        op = scf.IfOp(condition.ir, types, has_else=True)
        self._results = op.results_
        self._then_block, self._else_block = (region.blocks[0] for region in op.regions)

    @contextmanager
    def then(self) -> Iterator[None]:
        """The body where the condition holds."""
        with ir.InsertionPoint(self._then_block):
            yield
            scf.YieldOp([value.ir for value in self._carry or []])
        with ir.InsertionPoint(self._else_block):
            self._pass_through = scf.YieldOp([value.ir for value in self._before])
        self._builder._rebind(self._carry, self._before, self._results)

    @contextmanager
    def else_(self) -> Iterator[None]:
        """The body where the condition does not hold; starts from the carried values before the `if_`."""
        self._pass_through.operation.erase()
        if self._carry is not None:
            self._carry[:] = self._before
        with ir.InsertionPoint(self._else_block):
            yield
            scf.YieldOp([value.ir for value in self._carry or []])
        self._builder._rebind(self._carry, self._before, self._results)
