"""The board for tests, served in a process of its own: `python board.py WORKSPACE PORT [--fake]`.

With --fake its runs are fake workers, so that pages are tested in seconds; everything else is the real thing.
"""

from __future__ import annotations

import sys
from pathlib import Path

import uvicorn

from studio.config.workspace import Workspace
from studio.runs.supervisor import Supervisor
from studio.web.app import make_app
from studio.web.security import LOOPBACK

FAKE_WORKER = (sys.executable, str(Path(__file__).resolve().parents[1] / "fake_worker.py"))


def main() -> None:
    """Serve until killed."""
    workspace = Workspace(Path(sys.argv[1]))
    supervisor = Supervisor(workspace, FAKE_WORKER if "--fake" in sys.argv else None)
    supervisor.reconcile()
    supervisor.start_next()
    app = make_app(workspace, supervisor, hosts=tuple(LOOPBACK))
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")


if __name__ == "__main__":
    main()
