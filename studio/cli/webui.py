"""`studio webui`: check what can be checked at once, then serve the board."""

from __future__ import annotations

import argparse
import errno
import os
import socket
import sys
import threading
import webbrowser
from typing import TYPE_CHECKING

from studio.runs.environment import NO_TELEMETRY

if TYPE_CHECKING:
    from studio.runs.supervisor import Supervisor


def webui(options: argparse.Namespace) -> int:
    """Serve until Ctrl-C. Runs are processes of their own and go on."""
    from studio.cli.main import workspace
    from studio.runs.supervisor import Supervisor
    from studio.web.security import UnsafeBind, check_bind

    user, password = os.environ.get("STUDIO_USER", "studio"), os.environ.get("STUDIO_PASSWORD")
    try:
        check_bind(options.host, password)
        listener = listen(options.host, options.port)
    except (UnsafeBind, PortTaken) as error:
        print(error, file=sys.stderr)
        return 2
    os.environ.update(NO_TELEMETRY)
    supervisor = Supervisor(workspace(options))
    supervisor.reconcile()
    supervisor.start_next()
    serve(supervisor, listener, options, user, password)
    return 0


class PortTaken(OSError):
    """Something else listens on the port already."""


def listen(host: str, port: int) -> socket.socket:
    """A bound socket, before anything slow is imported. Raises PortTaken with the way out."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host.strip("[]"), port))
        listener.listen()  # else a second Studio could bind the port too; early browsers wait instead of being refused
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(
                f"Port {port} is in use: perhaps Studio runs already at http://{host}:{port}. "
                f"Open that page, or choose another port: studio webui --port {port + 1}"
            ) from None
        raise PortTaken(f"Cannot listen on {host}:{port}: {error.strerror}. Choose another --host or --port.") from None
    return listener


def serve(
    supervisor: Supervisor, listener: socket.socket, options: argparse.Namespace, user: str, password: str | None
) -> None:
    """Import the board, say where it is, and serve it on the socket."""
    import uvicorn

    from studio.web.app import make_app
    from studio.web.security import LOOPBACK

    port = listener.getsockname()[1]
    hosts = tuple(LOOPBACK) if options.host.strip("[]") in LOOPBACK else ()
    app = make_app(supervisor.workspace, supervisor, user=user, password=password, hosts=hosts)
    address = f"http://{options.host}:{port}"
    print(
        f"Studio is open at {address}  (workspace {supervisor.workspace.root}; Ctrl-C ends the board, not the runs)",
        flush=True,
    )
    if options.open:
        threading.Timer(1.0, webbrowser.open, [address]).start()
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2, access_log=False)
    uvicorn.Server(config).run(sockets=[listener])
