"""Studies: what is searched, where its trials are kept, and how they went."""

from longlag.study.report import report
from longlag.study.result import StudyCallback, StudyResult, TrialResult
from longlag.study.sweep import sweep
from longlag.workers.cluster import Dask
from longlag.workers.runner import run

__all__ = ["Dask", "StudyCallback", "StudyResult", "TrialResult", "report", "run", "sweep"]
