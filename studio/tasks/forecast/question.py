"""What the helper process is asked about memory: the forecast of a form, and what would make it fit."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from studio.config.io import parse
from studio.config.outline import outline
from studio.config.train import TrainConfig
from studio.config.workspace import Workspace
from studio.data.chosen import chosen_rows
from studio.runs.peaks import Measured, key_of, measured
from studio.tasks.arguments import plan
from studio.tasks.desk import Desk
from studio.tasks.failures import TaskError
from studio.tasks.forecast.fitting import fit
from studio.tasks.forecast.lengths import Rows, counted, steps_of
from studio.tasks.machine import Machine, detect
from studio.tasks.model import find_model

KEPT = 64  # answers that are kept: people go back and forth between two settings

Body = Mapping[str, Any]


@dataclass
class Forecasts:
    """Forecasts that were made, by all that they depend on."""

    workspace: Workspace
    made: OrderedDict[str, Any] = field(default_factory=OrderedDict[str, Any])
    known: OrderedDict[str, Any] = field(default_factory=OrderedDict[str, Any])

    def of(self, config: TrainConfig, longest: int | None, device: str) -> Any:
        """The forecast.parts.Forecast of a run on `device` (cpu or cuda). Raises TaskError, ImportError and OSError."""
        from studio.tasks.forecast.blueprint import model_config
        from studio.tasks.forecast.parts import Known, batch_of, forecast

        todo = plan(config, _machine(device), Path(config.name or "run"))
        source = find_model(todo.model["path"], self.workspace, todo.model["hub"], todo.model["revision"])
        batch = batch_of(config, longest)
        run = json.dumps([_decisive(config), source, _changed(source), device])
        key = json.dumps([run, asdict(batch)])
        if key not in self.made:
            known = self.known.setdefault(run, Known())
            architecture = model_config(source, todo.model)
            try:
                self.made[key] = forecast(config, todo, architecture, batch, device, self.workspace, known)
            except TaskError:
                raise
            except (RuntimeError, ValueError, NotImplementedError) as error:
                # A model or a method that looks at numbers while it computes, which tensors without content have not.
                raise _unforeseen(config) from error
            for kept in (self.made, self.known):
                while len(kept) > KEPT:
                    kept.popitem(last=False)
        self.made.move_to_end(key)
        return self.made[key]


_KEPT: dict[Path, Forecasts] = {}


def answer(desk: Desk, body: Body) -> dict[str, Any]:
    """The forecast. `body`: config (a tree), device (cpu or cuda).

    The answer: parts (bytes by name), total, moment, longest (tokens), known (whether rows were counted), rows,
    steps, tokens, and measured, what such a run really took, or None. Raises ConfigError, TaskError.
    """
    config, rows, found = _looked_at(desk, body)
    longest = _longest(rows, found)
    made = _forecasts(desk).of(config, longest, body["device"])
    from studio.tasks.forecast.parts import batch_of

    batch = batch_of(config, longest)
    steps = steps_of(config, rows) or outline(config, chosen_rows(desk.workspace, config)).steps
    return {
        "parts": dict(made.parts),
        "total": made.total,
        "moment": made.moment,
        "parameters": made.parameters,
        "trained": made.trained,
        "batch": asdict(batch),
        "known": longest is not None,
        "rows": asdict(rows) if rows else None,
        "steps": steps,
        "tokens": int(rows.tokens * config.optimisation.num_train_epochs) if rows else None,
        "measured": asdict(found) if found else None,
        "seconds": found.seconds_per_step * steps if found and steps and found.seconds_per_step else None,
    }


def fitted(desk: Desk, body: Body) -> dict[str, Any]:
    """What makes the run fit. `body`: config, device, limit (bytes). The answer is a fitting.Fit as a mapping."""
    config, rows, found = _looked_at(desk, body)
    longest, device = _longest(rows, found), body["device"]
    forecasts = _forecasts(desk)
    return asdict(
        fit(config, lambda one: forecasts.of(one, longest, device).total, int(body["limit"]), device, longest)
    )


def _unforeseen(config: TrainConfig) -> TaskError:
    return TaskError(
        "forecast",
        f"The memory of method.type={config.method.type} on this model cannot be foretold.",
        "Measure it: a probe takes two steps on the longest rows.",
    )


def _forecasts(desk: Desk) -> Forecasts:
    return _KEPT.setdefault(desk.workspace.root, Forecasts(desk.workspace))


def _looked_at(desk: Desk, body: Body) -> tuple[TrainConfig, Rows | None, Measured | None]:
    config = parse(body["config"])
    found = measured(desk.workspace, key_of(config, body["device"]))
    return config, counted(desk, config, body["config"]), found


def _longest(rows: Rows | None, found: Measured | None) -> int | None:
    """The longest row in tokens: as counted, else as a run or probe on the same rows met it."""
    return rows.longest if rows else found.longest if found and found.longest else None


def _machine(device: str) -> Machine:
    """This machine; a GPU that this process does not see is taken to have bfloat16, as all since 2020 have."""
    found = detect("auto")
    return found if found.device == device else Machine("cuda" if device == "cuda" else "cpu", bf16=True)


def _decisive(config: TrainConfig) -> dict[str, Any]:
    """The settings that a forecast can depend on beside those of its batch."""
    tree = config.model_dump(mode="json")
    for section in ("name", "seed", "cadence", "samples", "trackers", "devices"):
        tree.pop(section)
    tree["data"] = {"packing": config.data.packing}
    for name in ("learning_rate", "num_train_epochs", "lr_scheduler_type", "warmup_steps", "max_steps",
                 "gradient_accumulation_steps", "per_device_train_batch_size", "weight_decay"):  # fmt: skip
        tree["optimisation"].pop(name)
    return tree


def _changed(source: str) -> int:
    file = Path(source) / "config.json"
    return file.stat().st_mtime_ns if file.is_file() else 0
