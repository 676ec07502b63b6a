"""Rows of few classes: a row in every lane, a vector for every class."""

from __future__ import annotations

from lossary.kernels.llvm.function import Function
from lossary.kernels.llvm.lanes import Type, Value, choose, vector
from lossary.kernels.llvm.tiles import tile
from lossary.kernels.llvm.walk import SIGNATURE
from lossary.kernels.rows.columns import Columns, of_labels, of_shares, of_smoothed
from lossary.kernels.rows.parts import Call, Variant, added, no_share, no_whole, tree


def printed(variant: Variant) -> str:
    """Print the module of a kernel of a fixed number of classes."""
    function = Function(SIGNATURE)
    rows = _Rows(Call(function, variant))
    call, lanes = rows.call, rows.type.lanes
    total = function.variable(function.constant(0.0, Type("double", lanes)))
    with function.loop(function["first"], function["last"]) as chunk:
        begin = chunk * call["chunk"]
        end = function.smaller(begin + call["chunk"], call["rows"])
        total.set(0.0)
        with function.loop(begin, end, lanes) as row:
            count = function.smaller(end - row, lanes)
            total.set(total.get() + rows.step(row, count))
        function.store(function.reduced(total.get()), call["sums"], chunk)
    return function.text()


class _Rows:
    """As many rows as a vector has lanes."""

    def __init__(self, call: Call) -> None:
        self.call, self.function, self.variant = call, call.function, call.variant
        self.type = vector(call.variant.kind)
        lanes = self.type.lanes
        self.labelled = self.variant.target == "label"
        wide = self.variant.once and not self.variant.narrow
        self.known = call.known(Type("double", lanes) if wide else self.type)
        self.scale = call.real("scale", Type("double", lanes))
        self.rooms = {
            held: self.function.room(held, self.variant.width if held.floating else 1)
            for held in (self.type, self._of("i64"), self._of("i8"))
        }

    def step(self, row: Value, count: Value) -> Value:
        """Compute the next rows, and return what they add to the sum."""
        z = self._columns("scores", row, count, self.type)
        share, counted = self._share(row, count)
        factor = self.scale if share is None else self.scale * share
        rows = Columns(self.call, self.known, z, factor)
        if self.variant.target == "distribution":
            y = self._distributions(row, count, counted)
            found = of_shares(rows, y)
        else:
            label, known = self._label(row, count, counted)
            compute = of_labels if self.labelled else of_smoothed
            found = compute(rows, label, known)
        loss, outputs = found
        self._write(row, count, counted, outputs)
        loss = loss.to("double")
        return choose(counted, loss if share is None else share * loss, 0.0)

    def _of(self, kind: str) -> Type:
        return Type(kind, self.type.lanes)

    def _columns(
        self, name: str, row: Value, count: Value, held: Type, width: int = 0
    ) -> list[Value]:
        width = width or self.variant.width
        part = tile(self.call[name], row, count, width, held, self.rooms[held])
        part.fetch()
        return part.load()

    def _distributions(self, row: Value, count: Value, counted: Value) -> list[Value]:
        """Return the targets of the rows, smoothed."""
        y = self._columns("targets", row, count, self.type)
        bad = no_whole(tree(y, added))
        for share in y:
            bad = bad | no_share(share)
        self.call.complain(self.function.any(counted & bad))
        return list(map(self.call.softened(self.type), y))

    def _label(self, row: Value, count: Value, counted: Value) -> tuple[Value, Value]:
        """Return the classes of the rows, and whether there are such classes."""
        (label,) = self._columns("targets", row, count, self._of("i64"), 1)
        known = (label >= 0) & (label < self.variant.width)
        self.call.complain(self.function.any(counted & ~known))
        return choose(known, label, -1).to("i32"), known

    def _share(self, row: Value, count: Value) -> tuple[Value | None, Value]:
        """Return the weights of the rows, if any, and which of them count."""
        number = self.function.numbered(self._of("i32"))
        counted = number < self.function.spread(count.to("i32"), self.type.lanes)
        share = None
        if self.variant.keep:
            (kept,) = self._columns("keep", row, count, self._of("i8"), 1)
            counted = counted & (kept != 0)
        if self.variant.weight:
            (share,) = self._columns("weight", row, count, self.type, 1)
            counted = counted & (share != 0.0)
            share = share.to("double")
        return share, counted

    def _write(
        self, row: Value, count: Value, counted: Value, outputs: list[list[Value]]
    ) -> None:
        width, room = self.variant.width, self.rooms[self.type]
        for name, found in zip(("out", "second"), outputs, strict=False):
            if self.variant.weight or self.variant.keep:
                found = [choose(counted, x, 0.0) for x in found]
            tile(self.call[name], row, count, width, self.type, room).store(found)
