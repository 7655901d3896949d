"""`studio jobs`: look at runs and steer them, with the words of the board's buttons."""

from __future__ import annotations

import argparse
import os
import sys
import time
from datetime import datetime
from pathlib import Path

from studio.config.io import dump, override, parse, read_yaml
from studio.config.kinds import KINDS
from studio.config.train import TrainConfig
from studio.runs.checkpoints import checkpoints
from studio.runs.configs import config_of
from studio.runs.course import findings_of, offer
from studio.runs.environment import mask_secrets
from studio.runs.folder import RunFolder
from studio.runs.metrics import MetricsLog
from studio.runs.states import ENDED, State
from studio.runs.store import Job
from studio.runs.supervisor import Supervisor

_FOLLOW_PAUSE = 0.5


def _supervisor(options: argparse.Namespace) -> Supervisor:
    from studio.cli.main import workspace

    supervisor = Supervisor(workspace(options))
    supervisor.reconcile()
    return supervisor


def _folder(supervisor: Supervisor, name: str) -> RunFolder:
    return RunFolder(supervisor.workspace.saves / supervisor.job(name).name)


def list_jobs(options: argparse.Namespace) -> int:
    """Print every run, the newest last."""
    supervisor = _supervisor(options)
    rows = [_line(job, RunFolder(supervisor.workspace.saves / job.name)) for job in supervisor.jobs()]
    if not rows:
        print("No run yet. `studio demo` starts one, `studio webui` opens the board.")
    for row in rows:
        print(row)
    return 0


def _line(job: Job, folder: RunFolder) -> str:
    status = folder.status()
    state = "paused" if job.held and not job.active else job.state.value
    steps = f"{status.step}/{status.total}" if status.total else ""
    created = datetime.fromtimestamp(job.created).strftime("%Y-%m-%d %H:%M")
    return f"{created}  {state:<9} {steps:>11}  {job.name}  {job.cause}".rstrip()


def show(options: argparse.Namespace) -> int:
    """Print what is known of one run."""
    supervisor = _supervisor(options)
    job, folder = supervisor.job(options.name), _folder(supervisor, options.name)
    status = folder.status()
    facts = {
        "run": folder.path,
        "state": f"{job.state.value}{' (paused)' if job.held else ''}, attempt {job.attempt}",
        "devices": ", ".join(job.devices) or job.devices_wanted,
        "phase": status.message or status.phase,
        "steps": f"{status.step}/{status.total}" if status.total else "",
        "cause": job.cause,
        "advice": job.advice,
        "notice": "; ".join([job.notice, *status.notices]).strip("; "),
        "checkpoints": ", ".join(f"{one.name}{'' if one.complete else ' (incomplete)'}" for one in checkpoints(folder)),
    }
    for name, value in facts.items():
        if value:
            print(f"{name:<12} {value}")
    _print_findings(folder)
    return 0


def _print_findings(folder: RunFolder) -> None:
    """What the numbers of a training run say, and what to change for another try."""
    config = config_of(folder, TrainConfig)
    if config is None or folder.job().kind != "train":
        return
    log = MetricsLog(folder.metrics_file)
    log.poll()
    findings = findings_of(folder, log, config)
    for finding in findings:
        print(f"{'finding':<12} {finding.sentence()}")
    changes = offer(folder, config, findings)
    if changes:
        print(f"{'try again':<12} {' '.join(f'{path}={value}' for path, value in changes.items())}")


def logs(options: argparse.Namespace) -> int:
    """Print the log of a run; with --follow, what comes until it ends. Values of secret variables are masked."""
    supervisor = _supervisor(options)
    file, position = _folder(supervisor, options.name).log_file, 0
    while True:
        ended = supervisor.job(options.name).state in ENDED
        over = ended or not options.follow
        position = _print_from(file, position, to_the_end=over)
        if over:
            return 0
        supervisor.reconcile()
        time.sleep(_FOLLOW_PAUSE)


def _print_from(file: Path, position: int, *, to_the_end: bool) -> int:
    """Print what the log holds behind `position`, whole lines unless `to_the_end`; the position behind it.

    A half-written line waits: cut in two, neither a secret nor a letter of several bytes would be recognised.
    """
    if not file.exists():
        return position
    with file.open("rb") as log:
        log.seek(position)
        fresh = log.read()
    if not to_the_end:
        fresh = fresh[: fresh.rfind(b"\n") + 1]
    print(mask_secrets(fresh.decode("utf-8", errors="replace"), os.environ), end="", flush=True)
    return position + len(fresh)


def stop(options: argparse.Namespace) -> int:
    """Ask the run to stop, or kill it."""
    supervisor = _supervisor(options)
    waited = supervisor.job(options.name).state is State.QUEUED
    if options.now:
        job, words = supervisor.kill(options.name), "killed; `studio jobs resume` goes on from its last checkpoint"
    else:
        job = supervisor.stop(options.name)
        words = "asked to stop" + ("; it writes a checkpoint at its next step" if job.kind == "train" else "")
    print(f"{job.name}: {'taken out of the queue' if waited and not job.active else words}")
    return 0


def pause(options: argparse.Namespace) -> int:
    """Give the device back and wait in the queue until `studio jobs resume`."""
    job = _supervisor(options).pause(options.name)
    words = "asked to pause" if job.active else "paused in the queue"
    print(f"{job.name}: {words}; `studio jobs resume {job.name}` goes on")
    return 0


def resume(options: argparse.Namespace) -> int:
    """Go on from a checkpoint, with changed settings if there are any."""
    supervisor = _supervisor(options)
    text = None
    if options.words:
        tree = read_yaml(_folder(supervisor, options.name).config_text())
        schema = KINDS[supervisor.job(options.name).kind].config
        text = dump(parse(override(tree, options.words), schema))
    job = supervisor.resume(options.name, checkpoint=options.checkpoint, config_text=text)
    print(f"{job.name}: {job.state.value}{f'; {job.notice}' if job.notice else ''}")
    return 0


def save(options: argparse.Namespace) -> int:
    """Ask for a checkpoint at the next step."""
    _supervisor(options).save_now(options.name)
    print(f"{options.name}: a checkpoint comes with the next step")
    return 0


def remove(options: argparse.Namespace) -> int:
    """Delete the run's folder and row, after a question that says how much goes."""
    supervisor = _supervisor(options)
    folder = _folder(supervisor, options.name)
    size = folder.size_bytes() / 1024**2
    if not options.yes:
        if not sys.stdin.isatty():
            print(f"{folder.path} holds {size:.1f} MB. Add --yes to delete it.", file=sys.stderr)
            return 2
        if not _agreed(f"Delete {folder.path} ({size:.1f} MB)? [y/N] "):
            print("Nothing was deleted.")
            return 1
    freed = supervisor.remove(options.name)
    print(f"{options.name}: removed, {freed / 1024**2:.1f} MB freed")
    return 0


def _agreed(question: str) -> bool:
    """Whether the answer in the terminal is yes; the end of input is a no."""
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        return False
