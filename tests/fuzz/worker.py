"""A process of ``make fuzz``: runs the cases whose numbers it reads, and writes a line of JSON for each."""

from __future__ import annotations

import json
import resource
import shutil
import sys
import tempfile
from pathlib import Path

from tests.fuzz.cases import case
from tests.fuzz.session import cut_off, home, wrong

ADDRESSES = 8 * 2**30
"""Bytes that the process may map: torch and MLflow map three, whatever they use."""


def main(seed: int) -> None:
    answers = sys.stdout
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        home(place / "home")
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
        with cut_off(place / "home"):
            for line in sys.stdin:
                found = wrong(case(seed, int(line)), place / "case")
                shutil.rmtree(place / "case")
                print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
