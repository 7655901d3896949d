"""What a training run needs of this machine beside its weights: packages of optimizers and kernels, and a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec

from studio.config.faults import Fault
from studio.config.jobs import JobConfig
from studio.config.optimizers import OPTIMIZERS
from studio.config.train import TrainConfig

# What a way of computing attention imports, and how a person gets it.
ATTENTION = {
    "flash_attention_2": ("flash_attn", "pip install flash-attn --no-build-isolation"),
    "flash_attention_3": ("flash_attn_interface", "pip install of flash-attention's hopper folder"),
}


def machine_faults(config: JobConfig, has_gpu: Callable[[], bool]) -> list[Fault]:
    """What stands in the way of a training config on this machine, whose packages are looked for but not imported."""
    if not isinstance(config, TrainConfig):
        return []
    gpu = config.devices.use != "cpu" and has_gpu()
    return [*_optimizer(config, gpu), *_kernels(config, gpu)]


def _optimizer(config: TrainConfig, gpu: bool) -> Iterator[Fault]:
    name = config.optimisation.optimizer
    found = OPTIMIZERS.get(name)
    if found is not None and not found.installed():
        yield _missing("optimisation.optimizer", name, f"pip install {found.install}")
    if found is not None and found.gpu and not gpu:
        yield Fault("optimisation.optimizer", "optimizer_gpu", name)


def _kernels(config: TrainConfig, gpu: bool) -> Iterator[Fault]:
    chosen = config.model.attention
    if chosen in ATTENTION:
        module, install = ATTENTION[chosen]
        if find_spec(module) is None:
            yield _missing("model.attention", chosen, install)
        if not gpu:
            yield Fault("model.attention", "attention_gpu", chosen)
    if config.optimisation.liger_kernel:
        if find_spec("liger_kernel") is None:
            yield _missing("optimisation.liger_kernel", "liger_kernel", "pip install liger-kernel")
        if not gpu:
            yield Fault("optimisation.liger_kernel", "liger_gpu")
    if config.optimisation.tf32 and not gpu:
        yield Fault("optimisation.tf32", "tf32_on_cpu")


def _missing(path: str, name: str, install: str) -> Fault:
    return Fault(path, "package_missing", name, {"install": install})
