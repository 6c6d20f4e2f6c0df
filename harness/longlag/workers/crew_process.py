"""A worker process: ``python -m longlag.workers.crew_process``, started by `longlag.workers.crew`.

Reads a `Bench` and then one `Asked` a line on standard input; tells events, and at the end of each run ``done``, on
standard output. The end of the input ends it, once the run in hand is saved.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import traceback

from longlag.errors import UserError
from longlag.study.faults import translate_errors
from longlag.tracking.home import Home
from longlag.tracking.store import Store
from longlag.training.environment import frozen_imports, torch_threads
from longlag.workers.crew import Asked, Bench, carry_out
from longlag.workers.events import Teller
from longlag.workers.runner import Interrupted
from longlag.workers.stopping import graceful

DONE, FAILED, MISTAKE, STOPPED = 0, 1, 2, 130


def main() -> int:
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print goes to the log
    teller = Teller(events)
    bench = Bench.model_validate(json.loads(sys.stdin.readline()))
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    with graceful(deliver=False) as stop:

        def read() -> None:
            for line in sys.stdin:
                lines.put(line)
            stop.asked = True  # the parent closed it, or died
            lines.put(None)

        threading.Thread(target=read, daemon=True).start()
        try:
            with translate_errors(bench.home), torch_threads(bench.threads):
                store = Store.open(Home(bench.home), bench.tracking_uri)
                with frozen_imports():
                    while (line := lines.get()) is not None and not stop():
                        done = carry_out(Asked.model_validate_json(line), bench, store, [teller], stop)
                        teller.tell("done", done.result.model_dump_json(), done.run_id, done.trained)
        except (Interrupted, KeyboardInterrupt):
            return STOPPED
        except UserError as error:
            teller.tell("mistake", str(error))
            return MISTAKE
        except Exception as error:
            traceback.print_exc()
            teller.tell("failed", f"{type(error).__name__}: {error}")
            return FAILED
    return DONE


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # the thread that reads cannot be joined
