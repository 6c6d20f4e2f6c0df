"""Runs and studies: finding what is done, training what is not, and saying how it went."""

from harness.search.cluster import Dask
from harness.search.report import report
from harness.search.result import StudyResult, TrialResult, Watcher
from harness.search.runner import run
from harness.search.study import sweep

__all__ = ["Dask", "StudyResult", "TrialResult", "Watcher", "report", "run", "sweep"]
