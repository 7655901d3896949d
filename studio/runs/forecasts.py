"""The memory forecast as terminal and page ask for it: for which device, against how much memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from studio.config.kinds import devices_wanted
from studio.config.leaves import applies, leaves
from studio.config.train import TrainConfig
from studio.runs.devices import Device, choose, inventory

# A forecast can be a tenth too low, so what shall fit is held against a little less than there is.
MARGIN = 0.92


class Asks(Protocol):
    """Whatever answers a question of the helper process."""

    def __call__(self, question: str, body: dict[str, Any]) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Place:
    """The device of a run: its name and label, cpu or cuda, and its memory in bytes: all, and what is free now."""

    name: str
    label: str
    kind: str
    total: int
    free: int

    @property
    def limit(self) -> int:
        """Bytes that a run may be forecast to take."""
        return int(MARGIN * self.free)


def place_of(config: TrainConfig) -> Place:
    """The device that the run would get if all were idle. Raises BadDevices."""
    devices = inventory()
    names = choose(devices_wanted(config), [device.name for device in devices], ())
    found = next((device for device in devices if device.name in names), devices[-1])
    return Place(found.name, found.label, "cpu" if found.name == "cpu" else "cuda", *_memory(found))


def forecast(ask: Asks, config: TrainConfig, place: Place) -> dict[str, Any]:
    """The helper's answer to the question `forecast`, and `fits`. Raises InspectorError."""
    made = ask("forecast", {"config": config.model_dump(mode="json"), "device": place.kind})
    return {**made, "free": place.free, "memory": place.total, "device": place.name, "label": place.label,
            "fits": made["total"] <= place.limit}  # fmt: skip


def fitted(ask: Asks, config: TrainConfig, place: Place) -> dict[str, Any]:
    """What makes the run fit: `changes` by path, bytes `before` and `after`, and `fits`. Raises InspectorError."""
    return ask("forecast.fit", {"config": config.model_dump(mode="json"), "device": place.kind, "limit": place.limit})


def by_key(config: TrainConfig, changes: dict[str, Any]) -> list[dict[str, Any]]:
    """The changes with the key of each setting in a form, and its value now: None where it had none."""
    found: list[dict[str, Any]] = []
    known = [leaf for leaf in leaves(TrainConfig) if applies(config, leaf)]
    for path, value in changes.items():
        leaf = next((leaf for leaf in known if leaf.path == path), None)
        found.append({"path": path, "key": leaf.key if leaf else path, "before": _value(config, path), "after": value})
    return found


def _value(config: TrainConfig, path: str) -> Any:
    value: Any = config
    for part in path.split("."):
        value = getattr(value, part, None)
    return value


def _memory(device: Device) -> tuple[int, int]:
    return device.total or 0, device.free or 0
