"""Conformance suites for cells, tasks and kernel targets, built-in and third-party. They need pytest.

Subclass the suite in a test file and say which cells by one fixture:

    from longlag.testing import CellConformance

    class TestMyCell(CellConformance):
        @pytest.fixture
        def cell(self):
            return MyCell()
"""

from longlag.testing.cells import CellConformance
from longlag.testing.kernels import KernelConformance
from longlag.testing.tasks import TaskConformance

__all__ = ["CellConformance", "KernelConformance", "TaskConformance"]
