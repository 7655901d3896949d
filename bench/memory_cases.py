"""The runs whose memory is foretold and measured: those on which the forecast was tuned, and others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from studio.config.io import override

BASE: Mapping[str, Any] = {
    "model": {"path": "models/model"},
    "data": {"datasets": ["long"]},
    "optimisation": {"max_steps": 2, "gradient_accumulation_steps": 2},
    "cadence": {"save_steps": 0},
    "trackers": {"report_to": []},
    "devices": {"use": "cpu"},
}
DATA = {"dpo": "pairs", "reward": "pairs", "orpo": "pairs", "simpo": "pairs", "grpo": "prompts", "ppo": "prompts"}
CHECKPOINTING = "optimisation.gradient_checkpointing='on'"
ONLINE = ("stage.rewards=['answer_length']", "stage.max_completion_length=64")


@dataclass(frozen=True)
class Case:
    """A run of two steps: stage, method, quantization, precision, rows of a batch, tokens of a row, further words."""

    stage: str
    method: str
    base: str
    precision: str
    rows: int
    tokens: int
    further: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Under this name its peak is kept."""
        return " ".join(self.shown())

    def shown(self) -> tuple[str, ...]:
        """The cells of the table that say what it is."""
        changed = ", ".join(word.partition(".")[2] for word in self.further)
        size = f"{self.rows} × {self.tokens}"
        return self.stage, self.method, self.base, self.precision, size, changed

    def tree(self) -> Any:
        """Its config."""
        return override(
            BASE,
            [
                f"stage.type={self.stage}", f"method.type={self.method}", f"quantization.type={self.base}",
                f"optimisation.precision={self.precision}", f"data.cutoff_len={self.tokens}",
                f"optimisation.per_device_train_batch_size={self.rows}",
                f"data.datasets=[{DATA.get(self.stage, 'long')}]", *self.further,
            ],
        )  # fmt: skip


TUNED = (
    Case("sft", "lora", "none", "fp32", 1, 256),
    Case("sft", "lora", "none", "fp32", 4, 256),
    Case("sft", "lora", "none", "fp32", 4, 256, (CHECKPOINTING,)),
    Case("sft", "lora", "none", "fp32", 1, 512, ("model.attention=eager",)),
    Case("sft", "lora", "none", "bf16", 1, 256),
    Case("sft", "lora", "none", "bf16", 4, 512),
    Case("sft", "lora", "none", "bf16", 4, 512, (CHECKPOINTING,)),
    Case("sft", "lora", "4bit", "bf16", 2, 256),
    Case("sft", "lora", "8bit", "bf16", 2, 256),
    Case("sft", "full", "none", "fp32", 1, 256, ("optimisation.gradient_accumulation_steps=1",)),
    Case("sft", "full", "none", "bf16", 2, 256),
    Case("sft", "full", "none", "fp32", 2, 512, (CHECKPOINTING, "optimisation.optimizer=adafactor")),
)
UNSEEN = (
    Case("sft", "lora", "none", "fp32", 2, 128, ("method.rank=64",)),
    Case("dpo", "lora", "none", "fp32", 1, 128),
    Case("grpo", "lora", "none", "fp32", 4, 64, (*ONLINE, "stage.num_generations=4")),
    Case("sft", "freeze", "none", "fp32", 2, 192),
    Case("reward", "lora", "none", "fp32", 1, 128),
    Case("sft", "lora", "none", "fp32", 1, 192, ("method.dora=true",)),
    Case("ppo", "lora", "none", "fp32", 2, 64, ONLINE),
    Case("sft", "full", "none", "fp32", 1, 128, ("optimisation.optimizer=adamw_8bit",)),
    Case("sft", "lora", "none", "fp32", 2, 192, (CHECKPOINTING,)),
    Case("sft", "prompt-tuning", "none", "fp32", 2, 192),
    Case("sft", "lora", "none", "fp32", 2, 192, ("model.attention=eager",)),
    Case("dpo", "full", "none", "fp32", 1, 128),
    Case("sft", "lora", "none", "bf16", 2, 192, ("method.target_modules=[q_proj,v_proj]",)),
    Case("sft", "full", "none", "fp32", 2, 128, ("optimisation.optimizer=adafactor",)),
    Case("sft", "bitlora", "none", "fp32", 1, 192),
    Case("sft", "llama-pro", "none", "fp32", 1, 192, ("method.new_layers=2",)),
)
