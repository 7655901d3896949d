"""A run's progress in a terminal: phase, bar, loss, time left. Leaving it does not touch the run."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from studio.runs.folder import RunFolder
from studio.runs.metrics import MetricsLog
from studio.runs.states import ENDED, State
from studio.runs.supervisor import Supervisor

_PAUSE = 0.3


def follow(supervisor: Supervisor, name: str) -> State:
    """Show the run until it ends; the state that it ended in. Ctrl-C leaves it running and says so."""
    folder = RunFolder(supervisor.workspace.saves / name)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[facts]}"))
    console = Console(file=sys.stderr)
    try:
        with Progress(*columns, console=console, refresh_per_second=4) as bar:
            task = bar.add_task("queued", total=None, facts="")
            state = _until_it_ends(supervisor, name, folder, bar, task)
    except KeyboardInterrupt:
        console.print(
            f"The run goes on: `studio jobs logs {name} --follow` follows it, `studio jobs stop {name}` ends it."
        )
        raise
    _last_words(supervisor, name, console)
    return state


def _until_it_ends(supervisor: Supervisor, name: str, folder: RunFolder, bar: Progress, task: TaskID) -> State:
    metrics = MetricsLog(folder.metrics_file)
    while True:
        supervisor.reconcile()
        job, status = supervisor.job(name), folder.status()
        metrics.poll()
        facts = [f"{status.step}/{status.total}"] if status.total else []
        if loss := metrics.last.get("loss"):
            facts.append(f"loss {loss:.4g}")
        if status.eta_seconds is not None and job.state not in ENDED:
            facts.append(f"{time_left(status.eta_seconds)} left")
        phase = status.message or status.phase or job.state.value
        bar.update(task, description=phase, total=status.total or None, completed=status.step, facts="  ".join(facts))
        if job.state in ENDED or (job.state is State.QUEUED and job.held):
            return job.state
        time.sleep(_PAUSE)


def time_left(seconds: float) -> str:
    """Minutes and seconds, with hours when there are any."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _last_words(supervisor: Supervisor, name: str, console: Console) -> None:
    job = supervisor.job(name)
    console.print(f"{job.name}: {job.state.value}")
    for text in (job.cause, job.advice):
        if text:
            console.print(text, markup=False)
