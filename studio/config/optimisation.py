"""How the weights are moved: optimizer, schedule, batch, number format."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Field

from studio.config.section import Advanced, Choices, Section, on_or_off

Scheduler = Literal[
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
    "reduce_lr_on_plateau",
    "cosine_with_min_lr",
    "cosine_warmup_with_min_lr",
    "warmup_stable_decay",
]
SCHEDULERS: tuple[str, ...] = get_args(Scheduler)


class OptimisationConfig(Section):
    """The settings that decide how well a run learns."""

    learning_rate: float = Field(default=2e-4, gt=0, le=10)
    """Size of a step: 1e-4 to 5e-4 is usual for LoRA, 1e-6 to 5e-5 for full training."""

    num_train_epochs: float = Field(title="Epochs", default=3.0, gt=0, le=10_000)
    """How often every row is seen."""

    per_device_train_batch_size: int = Field(title="Batch size", default=4, ge=1, le=65_536)
    """Rows that one device computes at once: more is faster and takes more memory."""

    gradient_accumulation_steps: int = Field(title="Accumulation", default=2, ge=1, le=65_536)
    """Batches whose gradients are added up before the weights move."""

    lr_scheduler_type: Scheduler = Field(title="Schedule", default="cosine")
    """How the learning rate goes from its start to the end of the run."""

    warmup_steps: float = Field(title="Warmup", default=0.03, ge=0, le=1_000_000)
    """Steps in which the learning rate rises from zero: a share of the run below 1, or a number of steps."""

    max_steps: Annotated[int | None, Advanced()] = Field(default=None, ge=1)
    """End the run after so many steps, whatever the epochs say; empty follows the epochs."""

    optimizer: Annotated[str, Choices("optimizers"), Advanced()] = Field(default="adamw_torch_fused", min_length=1)
    """What turns gradients into steps; docs/methods.md says what each name is."""

    optimizer_arguments: Annotated[dict[str, Any], Advanced()] = Field(default={})
    """Further arguments of the optimizer, such as {momentum: 0.9} for sgd or {rank: 64} for galore_adamw."""

    optimizer_target_modules: Annotated[list[str], Choices("target_modules"), Advanced()] = Field(default=[])
    """Modules whose matrices GaLore and APOLLO project, or blocks of layers that BAdam takes in turn; empty takes all
    linear layers, or each layer."""

    lr_scheduler_kwargs: Annotated[dict[str, Any], Advanced()] = Field(title="Schedule arguments", default={})
    """Further arguments of the schedule, such as {min_lr_rate: 0.1} or {num_cycles: 2}."""

    weight_decay: Annotated[float, Advanced()] = Field(default=0.0, ge=0, le=10)
    """Pull of every weight towards zero."""

    max_grad_norm: Annotated[float, Advanced()] = Field(title="Longest gradient", default=1.0, ge=0)
    """Longest gradient; longer ones are shortened to it. 0 leaves them as they are."""

    neftune_noise_alpha: Annotated[float | None, Advanced()] = Field(title="NEFTune noise", default=None, gt=0, le=100)
    """Strength of noise on the embeddings (NEFTune), against learning by heart; 5 is usual, empty is off."""

    precision: Annotated[Literal["auto", "bf16", "fp16", "fp32", "pure_bf16"], Advanced()] = "auto"
    """Number format of the computation: auto takes bf16 where the device has it, else fp32."""

    tf32: Annotated[bool, Advanced()] = Field(title="TF32", default=False)
    """Multiply float32 numbers with 10 bits of mantissa, which NVIDIA GPUs do several times faster."""

    gradient_checkpointing: Annotated[Literal["auto", "on", "off"], BeforeValidator(on_or_off), Advanced()] = "auto"
    """Compute activations twice to save memory: auto does so on a GPU where the run does not fit without."""

    group_by_length: Annotated[bool, Advanced()] = True
    """Put rows of similar length into one batch, so that little is padded."""

    torch_compile: Annotated[bool, Advanced()] = Field(title="torch.compile", default=False)
    """Compile the model before training: a slow start, then faster steps on a GPU."""

    liger_kernel: Annotated[bool, Advanced()] = Field(title="Liger kernels", default=False)
    """Replace norms, rotations and feed-forward layers by fused kernels (Liger), which save memory on a GPU."""
