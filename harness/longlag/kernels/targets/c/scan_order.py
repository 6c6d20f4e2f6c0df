"""What one step of a scan reads, computes and writes, in which order: for `scan_emit.py` to print.

The order, where every line may take several turns, one for each sum over the second axis that stands in between:

    scalars and rows              from inputs, parameters and states without lanes
    lanes, then a sweep           over the second axis: everything that is a tile, with its sums over that axis
    sums over the lanes           then what scalars and rows come from those

A tile is computed again in a later sweep rather than kept, unless that is dear.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from longlag.kernels.compiler.axes import OUTER, TIMES, TURNED, summed
from longlag.kernels.compiler.graph import Node, reachable
from longlag.kernels.compiler.scan_plan import Kind, ScanPlan

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
        how: ``set`` it, ``add`` to it, or ``part``: add to it, or where the step is ``fresh`` set it; or ``square``:
            set a number to the sum of its squares, if the step records.
        loose: as in `Leaf`.
        over: what the step reads from the same place, if anything; it is written when nothing reads that any more.
        wanted: whether it is left out where the place is null.
    """

    node: Node
    kind: Kind
    place: str
    how: Literal["set", "add", "part", "square"] = "set"
    loose: bool = False
    over: Node | None = None
    wanted: bool = False


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
        when: the sweep that writes a tile.
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
            self.turn[node] = max((self.turn[a] + self.waits(node, a) for a in alike), default=0)
        made = [node for node in self.nodes if node not in self.leaves]
        self.when: dict[Sink, int] = {}
        self.products = [node for node in made if node.op in (TIMES, TURNED)]
        self.given = {*self.leaves, *(node for node in self.nodes if self.kind(node) is not Kind.TILE), *self.products}
        self.rows = {n: k for k, n in enumerate(n for n in made if self.kind(n) is Kind.ROW)}
        sums = (n for n in made if summed(n) == plan.axes[0] and self.kind(n.args[0]) is Kind.TILE)
        self.parts = {n: k for k, n in enumerate(sums)}
        self.when = self._order_of_writing()
        stored = [
            *self._shared_tiles(),
            *self.products,
            *(n for t in range(self.turns("lanes")) for n in self.whole(t)),
        ]
        self.tiles = {n: k for k, n in enumerate(dict.fromkeys(stored))}

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

    def waits(self, node: Node, arg: Node) -> bool:
        """Whether a node needs a whole sweep over an argument before: a sum over it, or a tile to be multiplied."""
        return self.sums_rows(arg) or (node.op in (TIMES, TURNED) and arg not in self.leaves)

    def whole(self, turn: int) -> list[Node]:
        """The tiles of a turn that products read as a whole, behind the sweep that computes them."""
        read = [arg for n in self.nodes if n in self.products or n.op == OUTER for arg in self.args(n)]
        found = [arg for arg in dict.fromkeys(read) if self.kind(arg) is Kind.TILE and arg not in self.given]
        return [arg for arg in found if self.turn[arg] == turn]

    def outer_turn(self, node: Node) -> int:
        """The sweep before which the gradient by a matrix can be added up."""
        return max(0 if a in self.leaves else self.turn[a] + (a not in self.products) for a in self.args(node))

    def of(self, sort: str, turn: int, *kinds: Kind) -> list[Node]:
        """What is computed of a sort, in a turn, of some kinds."""
        return [
            n for n in self.nodes
            if n not in self.leaves and self.sort(n) == sort and self.turn[n] == turn and self.kind(n) in kinds
        ]  # fmt: skip

    def turns(self, sort: str) -> int:
        """The turns of a sort, those that only write included."""
        writing = self.when.values() if sort == "lanes" else ()
        return 1 + max([*(self.turn[n] for n in self.nodes if self.sort(n) == sort), *writing], default=-1)

    def roots(self, turn: int) -> list[Node]:
        """The tiles that a sweep needs for what it writes and sums."""
        sums = [n.args[0] for n in self.nodes if self.sums_rows(n) or n in self.parts]
        found = [n for n in sums if self.kind(n) is Kind.TILE and self.turn.get(n, 0) == turn]
        return found + self.whole(turn) + [sink.node for sink in self.sinks_of(turn)]

    def sinks_of(self, turn: int) -> list[Sink]:
        """The tiles that a sweep writes."""
        return [sink for sink in self.sinks if self.when.get(sink) == turn]

    def _order_of_writing(self) -> dict[Sink, int]:
        """The sweep that writes each tile: the first that can; what overwrites, when no later one reads it."""
        tiles = [sink for sink in self.sinks if sink.kind is Kind.TILE]
        self.when = {sink: self._ready(sink.node) for sink in tiles if sink.over is None}
        late = [sink for sink in tiles if sink.over is not None]
        turn = max((self._ready(sink.node) for sink in late), default=0)
        for later in range(turn + 1, self.turns("lanes")):
            if any(sink.over in self.sweep(later) for sink in late):
                turn = later
        overwritten = {sink.over for sink in late}
        for node in self.nodes:
            if node.op == OUTER and overwritten & {*self.args(node)}:
                turn = max(turn, self.outer_turn(node))
        return self.when | dict.fromkeys(late, turn)

    def _ready(self, node: Node) -> int:
        """The first sweep that can write a node."""
        return self.turn.get(node, 0) + (self.kind(node) is not Kind.TILE and self.sums_rows(node))

    def sweep(self, turn: int, stored: Iterable[Node] = ()) -> list[Node]:
        """The tiles that a sweep reads or computes, arguments first."""
        found = reachable(self.roots(turn), [*self.given, *stored])
        return [n for n in found if n.op != "const" and not n.is_bool and self.kind(n) is Kind.TILE]

    def _shared_tiles(self) -> list[Node]:
        """The tiles that are computed in one sweep and dear to compute again in a later one."""
        seen: set[Node] = set()
        stored: list[Node] = []
        for turn in range(self.turns("lanes")):
            needed = [n for n in self.sweep(turn, stored) if n not in self.leaves]
            for node in (n for n in needed if n in seen):
                below = reachable([node], [*self.given, *stored])
                if sum(n.cost for n in below if n not in self.given and n not in stored) > DEAR:
                    stored.append(node)
            seen.update(needed)
        return stored
