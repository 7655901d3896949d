"""Where a job's process begins: `python -m studio.tasks.entry RUN_FOLDER`. Light until the config is read."""

from __future__ import annotations

import importlib
import logging
import os
import shutil
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path

from studio.config.evaluate import EvaluateConfig
from studio.config.io import load_config
from studio.config.jobs import JobConfig
from studio.config.kinds import KINDS, devices_wanted
from studio.config.model import BaseModelConfig
from studio.config.train import TrainConfig
from studio.runs.checkpoints import checkpoints
from studio.runs.folder import RunFolder
from studio.runs.records import JobSpec
from studio.tasks.failures import StopRequested, TaskError, explain
from studio.tasks.machine import choose_devices
from studio.tasks.status import Reporter
from studio.tasks.stopping import StopFlag

FAILED, STOPPED = 1, 10  # exit codes, as studio.runs reads them

STARTED = time.time()

JOBS: Mapping[str, str] = {
    "serve": "studio.tasks.serve",
    "train": "studio.tasks.train",
    "probe": "studio.tasks.probe",
    "evaluate": "studio.tasks.evaluate",
    "export": "studio.tasks.export",
    "generate": "studio.tasks.generate",
}
"""The module of each kind of job; its `run(folder, job, config, reporter, stop)` returns the exit code."""

logger = logging.getLogger(__name__)


def main(path: Path) -> int:
    """Run the job in the folder `path` and return the exit code: 0 finished, 10 stopped on request, 1 failed."""
    folder = RunFolder(path)
    reporter, stop = Reporter(folder), StopFlag()
    stop.install()
    try:
        reporter.phase("starting")
        return run_job(folder, reporter, stop)
    except StopRequested:
        logger.warning("stopped before the training began")
        return STOPPED
    except BaseException as error:
        logger.exception("the job failed")
        report_failure(folder, reporter, error)
        return FAILED


def run_job(folder: RunFolder, reporter: Reporter, stop: StopFlag) -> int:
    """Read what is to be done and do it. Raises what the job raises."""
    job = folder.job()
    kind = job.kind or "train"  # a run without its job.json was trained by hand
    if kind not in JOBS:
        raise TaskError("config", f"There is no kind of job {kind!r}.", "It was made by another version of Studio.")
    config = load_config(folder.config_file, schema=KINDS[kind].config)
    prepare_process(folder, config, job)
    return importlib.import_module(JOBS[kind]).run(folder, job, config, reporter, stop)


def prepare_process(folder: RunFolder, config: JobConfig, job: JobSpec) -> None:
    """Environment variables that the libraries read while they are imported, so before any of them is."""
    choose_devices(job.devices, devices_wanted(config))
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"  # TRL's trainers send through huggingface_hub
    os.environ["DO_NOT_TRACK"] = "1"
    os.environ["DISABLE_SAFETENSORS_CONVERSION"] = "1"  # else pickled weights send their name to a conversion service
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(folder.tensorboard))
    if not _may_need_a_hub(folder, config):
        # Nothing of a run on local files needs a hub, and without this some libraries ask it all the same.
        os.environ.setdefault("HF_HUB_OFFLINE", "1")


def _may_need_a_hub(folder: RunFolder, config: JobConfig) -> bool:
    if isinstance(config, EvaluateConfig) and config.benchmarks.tasks:
        return True  # their questions lie on a hub
    model = getattr(config, "model", None)
    local = not isinstance(model, BaseModelConfig) or (folder.path.resolve().parent.parent / model.path).is_dir()
    return not local or (isinstance(config, TrainConfig) and "trackio" in config.trackers.report_to)


def report_failure(folder: RunFolder, reporter: Reporter, error: BaseException) -> None:
    """Write the cause in plain words into the log and, if the disk lets us, into status.json."""
    failure = explain(error)
    logger.error("%s %s", failure.cause, failure.advice)
    try:
        if failure.kind == "disk_full":
            _drop_half_written(folder)
        reporter.fail(failure)
    except OSError:
        logger.exception("status.json could not be written")


def _drop_half_written(folder: RunFolder) -> None:
    """Remove what this process has written of a checkpoint when the disk was full: nobody can go on from it, and the
    cause of the failure needs some room itself."""
    for checkpoint in checkpoints(folder):
        if not checkpoint.complete and checkpoint.time >= STARTED:
            logger.warning("removing the half-written %s", checkpoint.name)
            shutil.rmtree(checkpoint.path, ignore_errors=True)


def set_up_log() -> None:
    """One line an event on stderr, which is the run's log; without what libraries say to their own developers."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    quiet_libraries()


def quiet_libraries() -> None:
    """Without what libraries say to their own developers; before any of them is imported."""
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    # It reports kernels that only its GPU path needs, at every import.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    # It reports its kernels for other machines, and what torch says of its enumerations.
    logging.getLogger("torchao").setLevel(logging.ERROR)
    logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)
    # Its table of missing weights: load_model says which are missing, and not those that are meant to be new.
    logging.getLogger("transformers.modeling_utils").addFilter(lambda said: "LOAD REPORT" not in said.getMessage())
    logging.getLogger("httpx").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)


if __name__ == "__main__":
    set_up_log()
    sys.exit(main(Path(sys.argv[1])))
