"""The command `studio` with fake workers, as a process: `python studio_fake.py train run.yaml`. All else is real."""

from __future__ import annotations

import sys
from pathlib import Path

FAKE_WORKER = (sys.executable, str(Path(__file__).resolve().parents[1] / "fake_worker.py"))

if __name__ == "__main__":
    from studio.cli.main import main
    from studio.runs import launch

    launch.default_worker = lambda: FAKE_WORKER
    sys.exit(main())
