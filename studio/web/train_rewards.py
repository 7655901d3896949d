"""The panel that tries the rewards of the form on rows of its datasets, in the helper process, before a run starts."""

from __future__ import annotations

from collections.abc import Mapping

from studio.config.faults import ConfigError
from studio.config.local_paths import outside_faults
from studio.data.chosen import dataset_faults
from studio.runs.inspector import Asked, inspector_of
from studio.web.asking import Action, Reply, Request
from studio.web.train_room import TrainRoom, config_of

WAIT_SECONDS = 0.5  # how long an answer may wait for news before the page asks again
ROWS = 8


def actions(room: TrainRoom) -> Mapping[str, Action]:
    """What the panel asks for: `try` begins, `poll` asks for what became of a ticket."""
    return {
        "try": lambda request: _news(_begun(room, request)),
        "poll": lambda request: _news(inspector_of(room.workspace).find(int(request["ticket"]))),
    }


def _begun(room: TrainRoom, request: Request) -> Asked:
    config = config_of(request)
    faults = [*dataset_faults(room.workspace, config), *outside_faults(room.workspace, config)]
    if faults:
        raise ConfigError(faults)
    body = {"config": config.model_dump(mode="json"), "rows": ROWS}
    return inspector_of(room.workspace).begin("rewards.try", body)


def _news(asked: Asked) -> Reply:
    """The report when it is there, else the ticket to ask again with."""
    if asked.ended.wait(WAIT_SECONDS):
        return {"report": asked.result()}
    return {"ticket": asked.ticket}
