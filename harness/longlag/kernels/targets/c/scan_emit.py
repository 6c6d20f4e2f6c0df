"""Print one step of a scan as C: loops over rows in scalar code, and sweeps over tiles in vectors of lanes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from longlag.kernels.compiler.axes import OUTER, TIMES
from longlag.kernels.compiler.graph import Node, reachable
from longlag.kernels.compiler.scan_plan import Kind
from longlag.kernels.targets.c.emit import INFIX, number
from longlag.kernels.targets.c.scan_order import Leaf, Sink, Step

WIDTHS = (4, 3, 2, 1)
"""Vectors of lanes that a sweep takes side by side."""


def functions(step: Step, name: str) -> str:
    """The C function for every width, and the one that chooses."""
    texts = [function(step, f"{name}_{width}", width) for width in WIDTHS]
    cases = "".join(f"    if (width == {width}) {name}_{width}(st);\n" for width in WIDTHS)
    return "\n".join([*texts, f"static void {name}(int width, const Step *st) {{\n{cases}}}\n"])


def function(step: Step, name: str, width: int) -> str:
    body = "\n".join(f"    {line}" for line in Text(step, width).lines)
    return f"LONG_STEP void {name}(const Step *st) {{\n{body}\n}}\n"


class Text:
    """The statements of a step for one width."""

    def __init__(self, step: Step, width: int) -> None:
        self.step, self.width, self.lines = step, width, list[str]()
        self.indent = ""
        self.here: set[Node] = set()  # rows and tiles that have a variable in the loop that is being written
        self.written: set[Sink] = set()
        self.rows: set[int] = set()  # buffers of rows that are used
        self.places()
        for node, leaf in step.leaves.items():
            if node in step.turn:
                self.load(node, leaf)
        self.unlaned("early")
        turns = step.turns("lanes")
        for turn in range(turns):
            self.matrices(turn)
            self.lanes(turn)
            self.sweep(turn)
        self.matrices(turns)
        self.sums_of_lanes()
        self.unlaned("late")
        for sink in step.sinks:
            if sink.kind not in (Kind.TILE, Kind.MATRIX) and sink not in self.written:
                self.write(sink)
        self.lines[:0] = [f"real *const rows{index} = st->rows + {index} * st->K;" for index in sorted(self.rows)]

    def add(self, line: str) -> None:
        self.lines.append(self.indent + line)

    def block(self, head: str, lines: Callable[[], None]) -> None:
        self.add(f"{head} {{")
        self.indent += "    "
        lines()
        self.indent = self.indent[4:]
        self.add("}")

    def places(self) -> None:
        """What stores could change in the eyes of a compiler, read once."""
        step = self.step
        self.add("const long K = st->K;")
        self.add("(void)K;")
        if any(step.kind(node).has_lanes for node in step.nodes):
            self.add("const long rest = st->rest;")
            self.add("const mask keep = st->keep;")
            self.add("(void)rest, (void)keep;")
        for what, buffers, size in (("parts", step.parts, "K"), ("tiles", step.tiles, f"K * {self.width}")):
            for index in buffers.values():
                self.add(f"vec *const {what}{index} = st->{what} + {index} * {size};")
        for index, sink in enumerate(step.sinks):
            self.add(f"real *const to{index} = {sink.place};")

    # -- reading --------------------------------------------------------------------------------------------------

    def load(self, node: Node, leaf: Leaf) -> None:
        """Before everything else: pointers to rows and tiles, and the values of the others."""
        name = f"n{node.number}"
        if leaf.kind is Kind.SCALAR:
            self.add(f"const real {name} = *({leaf.place});")
        elif leaf.kind is Kind.LANES:
            for i in range(self.width):
                value = (
                    f"loose_lanes({leaf.place}, {i}, {self.width}, rest)"
                    if leaf.loose
                    else f"LANES_AT({leaf.place}, {i})"
                )
                self.add(f"const vec {name}_{i} = {value};")
        elif leaf.kind in (Kind.ROW, Kind.MATRIX):
            self.add(f"const real *const p{node.number} = {leaf.place};")
        else:
            self.add(f"const vec *const p{node.number} = (const vec *)({leaf.place});")

    def row(self, node: Node) -> str:
        """A row's value at k."""
        if node in self.here:
            return f"n{node.number}"
        if node in self.step.leaves:
            return f"p{node.number}[k]"
        return f"{self.row_buffer(node)}[k]"

    def row_buffer(self, node: Node) -> str:
        self.rows.add(self.step.rows[node])
        return f"rows{self.step.rows[node]}"

    def part_buffer(self, node: Node) -> str:
        return f"parts{self.step.parts[node]}"

    def tile_at(self, pointer: str, i: int) -> str:
        return f"{pointer}[k * {self.width} + {i}]"

    def text(self, node: Node, i: int | None) -> str:
        """The value of a node: in lane vector `i` where it has lanes."""
        if isinstance(node.value, float):
            return number(node.value)
        if node.is_bool:
            return f"({self.expression(node, i)})"
        kind = self.step.kind(node)
        if kind.has_lanes:
            return f"n{node.number}_{i}"
        return self.row(node) if kind is Kind.ROW else f"n{node.number}"

    def vector(self, node: Node, i: int) -> str:
        """The value as a vector of lanes, a truth value as a mask."""
        text = self.text(node, i)
        if self.step.kind(node).has_lanes:
            return text
        return f"splat_mask({text})" if node.is_bool else f"splat({text})"

    def expression(self, node: Node, i: int | None) -> str:
        if not self.step.kind(node).has_lanes or i is None:
            parts = [self.text(arg, None) for arg in node.args]
            if node.op in INFIX:
                return f"{parts[0]} {INFIX[node.op]} {parts[1]}"
            if node.op == "select":
                return f"{parts[0]} ? {parts[1]} : {parts[2]}"
            prefix = {"neg": "-", "not": "!"}.get(node.op)
            return f"ll_{node.op}({', '.join(parts)})" if prefix is None else f"{prefix}{parts[0]}"
        if node.op in ("add", "sub", "mul", "div"):
            return f"{self.text(node.args[0], i)} {INFIX[node.op]} {self.text(node.args[1], i)}"
        parts = [self.vector(arg, i) for arg in node.args]
        if node.op in INFIX:
            return f"{parts[0]} {INFIX[node.op]} {parts[1]}"
        if node.op == "select":
            condition = node.args[0]
            if not self.step.kind(condition).has_lanes:
                return f"{self.text(condition, None)} ? {parts[1]} : {parts[2]}"
            return f"blend({', '.join(parts)})"
        prefix = {"neg": "-", "not": "~"}.get(node.op)
        return f"v_{node.op}({', '.join(parts)})" if prefix is None else f"{prefix}{parts[0]}"

    # -- computing ------------------------------------------------------------------------------------------------

    def unlaned(self, sort: str) -> None:
        """Scalars and rows of a sort, turn by turn."""
        step = self.step
        for turn in range(step.turns(sort) + 1):
            for node in step.of(sort, turn, Kind.SCALAR):
                if not step.sums_rows(node) and not step.plan.over_lanes(node):
                    self.add(f"const real n{node.number} = {self.expression(node, None)};")
            rows = [n for n in step.of(sort, turn, Kind.ROW) if not step.plan.over_lanes(n)]
            sums = [n for n in step.of(sort, turn, Kind.SCALAR) if step.sums_rows(n)]
            sinks = [sink for sink in step.sinks if self.goes_with(sink, rows, sort, turn)]
            if not rows and not sums and not sinks:
                continue
            names = ", ".join(f"n{n.number}" for n in sums)
            for node in sums:
                self.add(f"real n{node.number} = 0;")
            self.add(f"PRAGMA(omp simd reduction(+ : {names}))" if sums else "SIMD")
            self.block("for (long k = 0; k < K; k++)", partial(self.row_loop, rows, sums, sinks))
            self.here.clear()
            self.written.update(sinks)

    def goes_with(self, sink: Sink, rows: Sequence[Node], sort: str, turn: int) -> bool:
        """Whether a row is written by the loop that computes it: always, if nothing has to be read there before."""
        if sink.kind is not Kind.ROW or sink.wanted or sink.over is not None:
            return False
        return sink.node in rows or (sink.node in self.step.leaves and (sort, turn) == ("early", 0))

    def row_loop(self, rows: Sequence[Node], sums: Sequence[Node], sinks: Sequence[Sink]) -> None:
        within = {*rows, *sums}
        outside = [node for node in self.step.nodes if node not in within]
        later = {arg for node in outside for arg in self.step.args(node)}
        later |= {sink.node for sink in self.step.sinks if sink not in sinks}
        for node in rows:
            self.add(f"const real n{node.number} = {self.expression(node, None)};")
            self.here.add(node)
            if node in later:
                self.add(f"{self.row_buffer(node)}[k] = n{node.number};")
        for node in sums:
            self.add(f"n{node.number} += {self.text(node.args[0], None)};")
        for sink in sinks:
            self.add(self.row_line(sink))

    def matrices(self, turn: int) -> None:
        """Products with matrices, and their gradients, for which the sweeps before a turn have made all tiles."""
        step = self.step
        for node in step.products:
            if step.turn[node] == turn:
                tile, matrix = node.args
                strides = "K, 1" if node.op == TIMES else "1, K"
                parts = f"{self.tile_buffer(node)}, {self.whole_tile(tile)}, p{matrix.number}, {strides}"
                self.add(f"tile_times(K, {self.width}, {parts});")
        for sink in step.sinks:
            if sink.kind is Kind.MATRIX and sink.node.op == OUTER and step.outer_turn(sink.node) == turn:
                parts = ", ".join(map(self.whole_tile, sink.node.args))
                self.add(f"add_outer(K, {self.width}, (vec *){self.place(sink)}, {parts}, keep);")

    def whole_tile(self, node: Node) -> str:
        return f"p{node.number}" if node in self.step.leaves else self.tile_buffer(node)

    def lanes(self, turn: int) -> None:
        """The lanes of a turn, and sums that the sweep behind them fills."""
        for node in self.step.of("lanes", turn, Kind.LANES):
            for i in range(self.width):
                if self.step.sums_rows(node):
                    self.add(f"vec n{node.number}_{i} = {{0}};")
                else:
                    self.add(f"const vec n{node.number}_{i} = {self.expression(node, i)};")

    def sweep(self, turn: int) -> None:
        step = self.step
        sinks = step.sinks_of(turn)
        sums = [n for n in step.of("lanes", turn, Kind.LANES) if step.sums_rows(n)]
        parts = [n for n in step.parts if step.turn.get(n.args[0], 0) == turn]
        squares = [sink for sink in sinks if sink.how == "square"]
        others = [sink for sink in sinks if sink.how != "square"]
        if squares:  # the loop twice, rather than a question in it
            for sink in squares:
                self.add(f"vec {self.square(sink)} = {{0}}, {self.square(sink)}_last = {{0}};")
            self.block("if (st->record)", lambda: self.sweep_loop(turn, [*others, *squares], sums, parts))
            self.block("else", lambda: self.sweep_loop(turn, others, sums, parts))
            for sink in squares:
                total = f"{self.square(sink)} + KEEP({self.square(sink)}_last)"
                self.add(f"if (st->record) LANES_AT({self.place(sink)}, 0) = {total};")
        elif sinks or sums or parts or step.whole(turn):
            self.sweep_loop(turn, sinks, sums, parts)

    def sweep_loop(self, turn: int, sinks: Sequence[Sink], sums: Sequence[Node], parts: Sequence[Node]) -> None:
        self.block("for (long k = 0; k < K; k++)", lambda: self.sweep_body(turn, sinks, sums, parts))
        self.here.clear()

    def sweep_body(self, turn: int, sinks: Sequence[Sink], sums: Sequence[Node], parts: Sequence[Node]) -> None:
        """One vector of lanes after the other, so that few values are alive at a time."""
        step = self.step
        earlier = [n for n in step.tiles if any(n in step.sweep(t) for t in range(turn))]
        nodes = [n for n in step.sweep(turn, earlier) if self.wanted(n, turn, sinks, sums, parts)]
        rows = {a for n in nodes if n not in earlier for a in step.args(n) if step.kind(a) is Kind.ROW}
        rows |= {s.node for s in sinks if s.node.op != "const" and step.kind(s.node) is Kind.ROW}
        for node in sorted(rows, key=lambda n: n.number):
            self.add(f"const real n{node.number} = {self.row(node)};")
            self.here.add(node)
        for i in range(self.width):
            for node in nodes:
                if node in step.leaves:
                    value = self.tile_at(f"p{node.number}", i)
                elif node in earlier or node in step.products:
                    value = self.tile_at(self.tile_buffer(node), i)
                else:
                    value = self.expression(node, i)
                self.add(f"const vec n{node.number}_{i} = {value};")
                if node in step.tiles and node not in earlier and node not in step.products:
                    self.add(f"{self.tile_at(self.tile_buffer(node), i)} = n{node.number}_{i};")
            for node in sums:
                self.add(f"n{node.number}_{i} += {self.text(node.args[0], i)};")
            for node in parts:
                start = f"sum{node.number} +=" if i else f"vec sum{node.number} ="
                self.add(f"{start} {self.without_padding(node.args[0], i)};")
            for sink in sinks:
                self.write_tile(sink, i)
        for node in parts:
            self.add(f"{self.part_buffer(node)}[k] = sum{node.number};")
        for sink in sinks:
            if sink.how == "square" and self.width > 1:
                self.add(f"{self.square(sink)} += {self.square(sink)}_k;")

    def wanted(self, node: Node, turn: int, sinks: Sequence[Sink], sums: Sequence[Node], parts: Sequence[Node]) -> bool:
        """Whether a tile is needed for what is written and summed."""
        roots = [*(sink.node for sink in sinks), *(n.args[0] for n in (*sums, *parts)), *self.step.whole(turn)]
        return node in set(reachable(roots, self.step.given))

    def tile_buffer(self, node: Node) -> str:
        return f"tiles{self.step.tiles[node]}"

    def without_padding(self, node: Node, i: int) -> str:
        """A vector of lanes; what is beyond the last lane is zero."""
        return f"KEEP({self.vector(node, i)})" if i == self.width - 1 else self.vector(node, i)

    def across(self, node: Node) -> str:
        """The sum of the vectors of lanes."""
        return " + ".join(self.without_padding(node, i) for i in range(self.width))

    def square(self, sink: Sink) -> str:
        return f"square{self.step.sinks.index(sink)}"

    def sums_of_lanes(self) -> None:
        for node in self.step.nodes:
            if node in self.step.parts:
                self.add(f"sum_lanes(K, {self.part_buffer(node)}, {self.row_buffer(node)});")
            elif node in self.step.late and self.step.plan.over_lanes(node) and node.op != OUTER:
                self.add(f"const real n{node.number} = sum_of_lanes({self.across(node.args[0])});")

    # -- writing --------------------------------------------------------------------------------------------------

    def place(self, sink: Sink) -> str:
        return f"to{self.step.sinks.index(sink)}"

    def write_tile(self, sink: Sink, i: int) -> None:
        if sink.how == "square":
            self.write_square(sink, i)
            return
        place = self.tile_at(f"((vec *){self.place(sink)})", i)
        self.add(f"{place} {'+=' if sink.how == 'add' else '='} {self.vector(sink.node, i)};")

    def write_square(self, sink: Sink, i: int) -> None:
        """Its part of a sum over vectors, which stands by itself: or every addition would wait for the one before.

        The last vector, which may go beyond the last lane, has a sum of its own that is cut off at the end.
        """
        value = self.vector(sink.node, i)
        if i == self.width - 1:
            self.add(f"{self.square(sink)}_last += {value} * {value};")
        else:
            self.add(f"{f'{self.square(sink)}_k +=' if i else f'vec {self.square(sink)}_k ='} {value} * {value};")

    def write(self, sink: Sink) -> None:
        if sink.how == "square":
            value = " + ".join(f"{v} * {v}" for v in (self.without_padding(sink.node, i) for i in range(self.width)))
            self.add(f"if (st->record) LANES_AT({self.place(sink)}, 0) = {value};")
        elif sink.wanted:
            self.block(f"if ({self.place(sink)})", lambda: self.write_value(sink))
        else:
            self.write_value(sink)

    def write_squares(self, sink: Sink) -> None:
        for i in range(self.width):
            self.write_square(sink, i)
        self.add(f"*{self.place(sink)} = sum_of_lanes({self.square(sink)}_k);")

    def write_value(self, sink: Sink) -> None:
        if sink.kind is Kind.LANES:
            for i in range(self.width):
                value = self.vector(sink.node, i)
                if sink.loose:
                    self.add(f"store_lanes({self.place(sink)}, {i}, {self.width}, rest, {value});")
                else:
                    self.add(f"LANES_AT({self.place(sink)}, {i}) {'+=' if sink.how == 'add' else '='} {value};")
            return
        if sink.kind is Kind.ROW:
            self.add("SIMD")
            self.block("for (long k = 0; k < K; k++)", lambda: self.add(self.row_line(sink)))
        else:
            self.add(self.row_line(sink))

    def row_line(self, sink: Sink) -> str:
        """Write a scalar, or a row's value at k."""
        index = "k" if sink.kind is Kind.ROW else "0"
        place, value = f"{self.place(sink)}[{index}]", self.text(sink.node, None)
        if sink.how == "part":
            value = f"(st->fresh ? 0 : {place}) + {value}"
        return f"{place} {'+=' if sink.how == 'add' else '='} {value};"
