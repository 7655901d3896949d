"""What is asked, one request after another: always the same ones for the same config, so that a resumed run goes on."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from studio.config.generate import Documents, Seeds, Target
from studio.config.generate_prompts import filled
from studio.tasks.generating.documents import Passage
from studio.tasks.generating.seeds import SeedTask


@dataclass(frozen=True)
class Ask:
    """One request. `key` tells it apart from all others of the run; `origin` and `passage` are for the review."""

    key: str
    material: str
    origin: str
    passage: str = ""

    def prompt(self, target: Target, rows: int) -> str:
        """The whole prompt for `rows` rows."""
        values = {"count": str(rows), "turns": str(getattr(target, "turns", 1))}
        return f"{self.material}\n\n{filled(target.prompt, values)}"


def from_seeds(source: Seeds, tasks: Sequence[SeedTask], seed: int) -> Iterator[Ask]:
    """Requests without end, each with examples of its own."""
    for number in count():
        draw = random.Random(f"{seed}:{number}")
        shown = draw.sample(range(len(tasks)), min(source.shown, len(tasks)))
        examples = "\n\n".join(f"Example {place}\n{tasks[at].text}" for place, at in enumerate(shown, 1))
        material = filled(source.prompt, {"examples": examples})
        yield Ask(f"seeds:{number}", material, ", ".join(f"seed task {at + 1}" for at in sorted(shown)))


def from_documents(source: Documents, passages: Sequence[Passage], seed: int) -> Iterator[Ask]:
    """A request for each passage, as often as the config says; the order is drawn, so that few rows come from all."""
    for turn in range(source.rounds):
        order = list(passages)
        random.Random(f"{seed}:{turn}").shuffle(order)
        for passage in order:
            material = filled(source.prompt, {"text": passage.text, "name": passage.document})
            digest = hashlib.sha256(f"{passage.label}\n{passage.text}".encode()).hexdigest()[:16]
            yield Ask(f"{digest}:{turn}", material, passage.label, passage.text)
