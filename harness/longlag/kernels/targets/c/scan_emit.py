"""Print one step of a scan as C: loops over rows in scalar code, and sweeps over tiles in vectors of lanes.

The order of a step, where every line may take several turns, one for each sum over the second axis that stands in
between:

    scalars and rows              from inputs, parameters and states without lanes
    lanes, then a sweep           over the second axis: everything that is a tile, with its sums over that axis
    sums over the lanes           then what scalars and rows come from those

A tile is computed again in a later sweep rather than kept, unless that is dear.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from longlag.kernels.compiler.axes import summed
from longlag.kernels.compiler.graph import Node, reachable
from longlag.kernels.compiler.scan_plan import Kind, ScanPlan
from longlag.kernels.targets.c.emit import INFIX, number

WIDTHS = (4, 2, 1)
"""Vectors of lanes that a sweep takes side by side."""
DEAR = 4
"""Cheap operations from which on a tile is kept for a later sweep."""


@dataclass(frozen=True)
class Leaf:
    """A value that is read.

    Args:
        kind: of the value.
        place: a C expression, a pointer to numbers.
        loose: whether lanes lie in a caller's tensor: as many as there are, aligned as numbers are.
    """

    kind: Kind
    place: str
    loose: bool = False


@dataclass(frozen=True)
class Sink:
    """A value that is written.

    Args:
        node: the value; it may lack axes that the place has.
        kind: of the place.
        place: as in `Leaf`.
        how: ``set`` it, ``add`` to it, or ``part``: add to it, or where the step is ``fresh`` set it.
        loose: as in `Leaf`.
        last: whether it overwrites what the step reads, and so is written at its end.
        wanted: a C condition under which it is written; empty for always.
        whole: whether lanes beyond the last one are written as zeros.
    """

    node: Node
    kind: Kind
    place: str
    how: Literal["set", "add", "part"] = "set"
    loose: bool = False
    last: bool = False
    wanted: str = ""
    whole: bool = False


class Step:
    """One function: a step in one direction.

    Args:
        plan: of the cell.
        leaves: what is read.
        sinks: what is written.

    Attributes:
        nodes: what is read or computed, arguments first.
        late: those without lanes that need a sum over lanes.
        turn: for every node how many sums over the second axis stand before it, among nodes of its sort.
        rows, parts, tiles: the buffers of nodes that have one: rows of numbers, rows of vectors, tiles.
    """

    def __init__(self, plan: ScanPlan, leaves: Mapping[Node, Leaf], sinks: Sequence[Sink]) -> None:
        self.plan, self.leaves, self.sinks = plan, dict(leaves), list(sinks)
        found = reachable([sink.node for sink in sinks], leaves)
        self.nodes = [node for node in found if node.op != "const" and not node.is_bool]
        self.late: set[Node] = set()
        self.turn: dict[Node, int] = {}
        for node in self.nodes:
            if node not in self.leaves and (plan.over_lanes(node) or any(a in self.late for a in self.args(node))):
                self.late.add(node)
            alike = [a for a in self.args(node) if self.sort(a) == self.sort(node)]
            self.turn[node] = max((self.turn[a] + self.sums_rows(a) for a in alike), default=0)
        made = [node for node in self.nodes if node not in self.leaves]
        self.given = {*self.leaves, *(node for node in self.nodes if self.kind(node) is not Kind.TILE)}
        self.rows = {n: k for k, n in enumerate(n for n in made if self.kind(n) is Kind.ROW)}
        sums = (n for n in made if plan.over_lanes(n) and self.kind(n.args[0]) is Kind.TILE)
        self.parts = {n: k for k, n in enumerate(sums)}
        self.tiles = {n: k for k, n in enumerate(self._kept())}

    def kind(self, node: Node) -> Kind:
        return self.plan.kind(node)

    def args(self, node: Node) -> list[Node]:
        """What a node is computed from, truth values that have no variable replaced by what they come from."""
        found = []
        for arg in () if node in self.leaves else node.args:
            found += self.args(arg) if arg.is_bool else [arg] if arg.op != "const" else []
        return found

    def sort(self, node: Node) -> str:
        """lanes: with lanes; late: without, from a sum over lanes; early: the others."""
        return "lanes" if self.kind(node).has_lanes else "late" if node in self.late else "early"

    def sums_rows(self, node: Node) -> bool:
        return node not in self.leaves and summed(node) is not None and not self.plan.over_lanes(node)

    def of(self, sort: str, turn: int, *kinds: Kind) -> list[Node]:
        """What is computed of a sort, in a turn, of some kinds."""
        return [
            n for n in self.nodes
            if n not in self.leaves and self.sort(n) == sort and self.turn[n] == turn and self.kind(n) in kinds
        ]  # fmt: skip

    def turns(self, sort: str) -> int:
        """The turns of a sort; sums of the last one count as one more."""
        return 1 + max((self.turn[n] for n in self.nodes if self.sort(n) == sort), default=-1)

    def roots(self, turn: int) -> list[Node]:
        """The tiles that a sweep needs for what it writes and sums."""
        last = turn == self.turns("lanes") - 1
        sums = [n.args[0] for n in self.nodes if self.sums_rows(n) or n in self.parts]
        found = [n for n in sums if self.kind(n) is Kind.TILE and self.turn.get(n, 0) == turn]
        return found + [sink.node for sink in self.sinks_of(turn, last)]

    def sinks_of(self, turn: int, last: bool) -> list[Sink]:
        """The tiles that a sweep writes."""
        tiles = [sink for sink in self.sinks if sink.kind is Kind.TILE]
        late = [sink for sink in tiles if sink.last or self.kind(sink.node) is not Kind.TILE]
        return [s for s in tiles if (last if s in late else self.turn.get(s.node, 0) == turn)]

    def sweep(self, turn: int, kept: Iterable[Node] = ()) -> list[Node]:
        """The tiles that a sweep reads or computes, arguments first."""
        found = reachable(self.roots(turn), [*self.given, *kept])
        return [n for n in found if n.op != "const" and not n.is_bool and self.kind(n) is Kind.TILE]

    def _kept(self) -> list[Node]:
        """The tiles that are computed in one sweep and dear to compute again in a later one."""
        seen: set[Node] = set()
        kept: list[Node] = []
        for turn in range(self.turns("lanes")):
            needed = [n for n in self.sweep(turn, kept) if n not in self.leaves]
            for node in (n for n in needed if n in seen):
                below = reachable([node], [*self.given, *kept])
                if sum(n.cost for n in below if n not in self.given and n not in kept) > DEAR:
                    kept.append(node)
            seen.update(needed)
        return kept

    def functions(self, name: str) -> str:
        """The C function for every width."""
        return "\n".join(self.function(f"{name}_{width}", width) for width in WIDTHS)

    def function(self, name: str, width: int) -> str:
        body = "\n".join(f"    {line}" for line in Text(self, width).lines)
        return f"static void {name}(const Step *st) {{\n    const long K = st->K;\n    (void)K;\n{body}\n}}\n"


class Text:
    """The statements of a step for one width."""

    def __init__(self, step: Step, width: int) -> None:
        self.step, self.width, self.lines = step, width, list[str]()
        self.indent = ""
        self.here: set[Node] = set()  # rows and tiles that have a variable in the loop that is being written
        for node, leaf in step.leaves.items():
            if node in step.turn:
                self.load(node, leaf)
        self.unlaned("early")
        turns = step.turns("lanes")
        for turn in range(turns):
            self.lanes(turn)
            self.sweep(turn)
        self.sums_of_lanes()
        self.unlaned("late")
        for sink in step.sinks:
            if sink.kind is not Kind.TILE:
                self.write(sink)

    def add(self, line: str) -> None:
        self.lines.append(self.indent + line)

    def block(self, head: str, lines: Callable[[], None]) -> None:
        self.add(f"{head} {{")
        self.indent += "    "
        lines()
        self.indent = self.indent[4:]
        self.add("}")

    # -- reading --------------------------------------------------------------------------------------------------

    def load(self, node: Node, leaf: Leaf) -> None:
        """Before everything else: pointers to rows and tiles, and the values of the others."""
        name = f"n{node.number}"
        if leaf.kind is Kind.SCALAR:
            self.add(f"const real {name} = *({leaf.place});")
        elif leaf.kind is Kind.LANES:
            for i in range(self.width):
                value = (
                    f"loose_lanes({leaf.place}, {i}, {self.width}, st->rest)"
                    if leaf.loose
                    else f"LANES_AT({leaf.place}, {i})"
                )
                self.add(f"const vec {name}_{i} = {value};")
        elif leaf.kind is Kind.ROW:
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
        return f"(st->rows + {self.step.rows[node]} * K)"

    def part_buffer(self, node: Node) -> str:
        return f"(st->parts + {self.step.parts[node]} * K)"

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
            if not rows and not sums:
                continue
            names = ", ".join(f"n{n.number}" for n in sums)
            for node in sums:
                self.add(f"real n{node.number} = 0;")
            self.add(f"PRAGMA(omp simd reduction(+ : {names}))" if sums else "SIMD")
            self.block("for (long k = 0; k < K; k++)", partial(self.row_loop, rows, sums))
            self.here.clear()

    def row_loop(self, rows: Sequence[Node], sums: Sequence[Node]) -> None:
        for node in rows:
            self.add(f"const real n{node.number} = {self.expression(node, None)};")
            self.here.add(node)
            self.add(f"{self.row_buffer(node)}[k] = n{node.number};")
        for node in sums:
            self.add(f"n{node.number} += {self.text(node.args[0], None)};")

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
        sinks = step.sinks_of(turn, turn == step.turns("lanes") - 1)
        sums = [n for n in step.of("lanes", turn, Kind.LANES) if step.sums_rows(n)]
        parts = [n for n in step.parts if step.turn.get(n.args[0], 0) == turn]
        if sinks or sums or parts:
            self.block("for (long k = 0; k < K; k++)", lambda: self.sweep_loop(turn, sinks, sums, parts))
            self.here.clear()

    def sweep_loop(self, turn: int, sinks: Sequence[Sink], sums: Sequence[Node], parts: Sequence[Node]) -> None:
        step = self.step
        earlier = [n for n in step.tiles if any(n in step.sweep(t) for t in range(turn))]
        nodes = step.sweep(turn, earlier)
        rows = {a for n in nodes if n not in earlier for a in step.args(n) if step.kind(a) is Kind.ROW}
        rows |= {s.node for s in sinks if s.node.op != "const" and step.kind(s.node) is Kind.ROW}
        for node in sorted(rows, key=lambda n: n.number):
            self.add(f"const real n{node.number} = {self.row(node)};")
            self.here.add(node)
        for node in nodes:
            for i in range(self.width):
                if node in step.leaves:
                    value = self.tile_at(f"p{node.number}", i)
                elif node in earlier:
                    value = self.tile_at(self.tile_buffer(node), i)
                else:
                    value = self.expression(node, i)
                self.add(f"const vec n{node.number}_{i} = {value};")
            if node in step.tiles and node not in earlier:
                for i in range(self.width):
                    self.add(f"{self.tile_at(self.tile_buffer(node), i)} = n{node.number}_{i};")
        for node in sums:
            for i in range(self.width):
                self.add(f"n{node.number}_{i} += {self.text(node.args[0], i)};")
        for node in parts:
            self.add(f"{self.part_buffer(node)}[k] = {self.across(node.args[0])};")
        for sink in sinks:
            self.write_tile(sink)

    def tile_buffer(self, node: Node) -> str:
        return f"(st->tiles + {self.step.tiles[node]} * K * {self.width})"

    def across(self, node: Node) -> str:
        """The sum of the vectors of lanes; what is beyond the last lane is left out."""
        parts = [self.text(node, i) for i in range(self.width)]
        parts[-1] = f"KEEP({parts[-1]})"
        return " + ".join(parts)

    def sums_of_lanes(self) -> None:
        for node in self.step.nodes:
            if node in self.step.parts:
                self.add(f"sum_lanes(K, {self.part_buffer(node)}, {self.row_buffer(node)});")
            elif node in self.step.late and self.step.plan.over_lanes(node):
                self.add(f"const real n{node.number} = sum_of_lanes({self.across(node.args[0])});")

    # -- writing --------------------------------------------------------------------------------------------------

    def write_tile(self, sink: Sink) -> None:
        def lines() -> None:
            for i in range(self.width):
                value = self.vector(sink.node, i)
                value = f"KEEP({value})" if sink.whole and i == self.width - 1 else value
                place = self.tile_at(f"((vec *)({sink.place}))", i)
                self.add(f"{place} {'+=' if sink.how == 'add' else '='} {value};")

        if sink.wanted:
            self.block(f"if ({sink.wanted})", lines)
        else:
            lines()

    def write(self, sink: Sink) -> None:
        if sink.wanted:
            self.block(f"if ({sink.wanted})", lambda: self.write_value(sink))
        else:
            self.write_value(sink)

    def write_value(self, sink: Sink) -> None:
        if sink.kind is Kind.LANES:
            for i in range(self.width):
                value = self.vector(sink.node, i)
                value = f"KEEP({value})" if sink.whole and i == self.width - 1 else value
                if sink.loose:
                    self.add(f"store_lanes({sink.place}, {i}, {self.width}, st->rest, {value});")
                else:
                    self.add(f"LANES_AT({sink.place}, {i}) {'+=' if sink.how == 'add' else '='} {value};")
            return
        index = "k" if sink.kind is Kind.ROW else "0"
        place, value = f"({sink.place})[{index}]", self.text(sink.node, None)
        if sink.how == "part":
            value = f"(st->fresh ? 0 : {place}) + {value}"
        line = f"{place} {'+=' if sink.how == 'add' else '='} {value};"
        if sink.kind is Kind.ROW:
            self.add("SIMD")
            self.block("for (long k = 0; k < K; k++)", lambda: self.add(line))
        else:
            self.add(line)
