"""Imports of longlag's modules among each other."""

from __future__ import annotations

import graphlib

import grimp


def test_no_module_imports_itself_through_others() -> None:
    """Imports inside functions and for types count: they are the circles that no error shows."""
    graph = grimp.build_graph("longlag")
    modules = graph.modules - {"longlag"}  # the package's own face offers its functions lazily
    imports = {name: graph.find_modules_directly_imported_by(name) & modules for name in modules}
    assert len(imports) > 100
    order = list(graphlib.TopologicalSorter(imports).static_order())
    assert order.index("longlag.errors") < order.index("longlag.cli.app")
