"""Methods that train small matrices or scales beside frozen weights."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from studio.config.method_base import MethodSection
from studio.config.section import Advanced, Choices

EVERY_QUANTIZATION = frozenset({"4bit", "8bit", "hqq", "torchao", "eetq", "checkpoint"})
BITSANDBYTES = frozenset({"4bit", "8bit"})
EIGHT_BIT = frozenset({"8bit"})  # peft takes the shapes of LoHa and LoKr from the weights, which 4 bits pack into a row

Targets = Annotated[Literal["all-linear"] | list[str], Choices("target_modules")]


class _Adapter(MethodSection):
    """What all of these methods choose: where they attach."""

    adapter: ClassVar[bool] = True
    merges: ClassVar[bool] = True
    usual_rates: ClassVar[tuple[float, float]] = (1e-4, 5e-4)

    target_modules: Targets = Field(default="all-linear", min_length=1)
    """Which matrices get an adapter: all-linear, a list of names such as [q_proj, v_proj], or one regular expression
    that matches whole names, such as .*layers.[0-9].*_proj."""

    modules_to_save: Annotated[list[str], Advanced()] = Field(default=[])
    """Modules that are trained in full beside the adapter and saved with it, such as embed_tokens."""


class _LowRank(_Adapter):
    """The settings that LoRA shares with its relatives."""

    rank: int = Field(default=16, ge=1, le=4096)
    """Width of the two matrices: more can learn more and takes more memory."""

    alpha: int | None = Field(default=None, ge=1, le=16384)
    """Strength of the adapter, divided by the rank; empty means twice the rank."""

    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the adapter's inputs that is set to zero at each step, against learning by heart."""

    create_new_adapter: Annotated[bool, Advanced()] = False
    """Merge all adapters under model.adapters first and train a new one on top, instead of going on with the last."""

    @property
    def effective_alpha(self) -> int:
        """Alpha as used: twice the rank unless set."""
        return self.alpha if self.alpha is not None else 2 * self.rank


class Lora(_LowRank):
    """Train two small matrices beside each chosen one (LoRA)."""

    quantized_bases: ClassVar[frozenset[str]] = EVERY_QUANTIZATION

    type: Literal["lora"] = "lora"
    """LoRA"""

    start: Annotated[
        Literal["default", "gaussian", "orthogonal", "pissa", "pissa_niter_16", "olora", "eva", "loftq"], Advanced()
    ] = "default"
    """What the matrices begin with: pissa and olora take the strongest directions of the weights, eva those of the
    data, loftq those that quantization loses."""

    rslora: Annotated[bool, Advanced()] = Field(title="Rank-stabilized (rsLoRA)", default=False)
    """Divide alpha by the square root of the rank, which keeps high ranks as strong as low ones."""

    dora: Annotated[bool, Advanced()] = Field(title="DoRA", default=False)
    """Train the length of each column apart from its direction: often better at low ranks, and slower."""

    loraplus_ratio: Annotated[float | None, Advanced()] = Field(title="LoRA+ ratio", default=None, ge=1, le=1000)
    """Learning rate of B divided by that of A (LoRA+); 16 is usual, empty gives both the same."""

    freeze_a: Annotated[bool, Advanced()] = Field(title="Freeze A (LoRA-FA)", default=False)
    """Train B alone, which needs fewer activations in memory."""

    bias: Annotated[Literal["none", "all", "lora_only"], Advanced()] = "none"
    """Which bias terms are trained along."""

    rank_pattern: Annotated[dict[str, Any], Advanced()] = Field(default={})
    """Other ranks for modules by name or regular expression, such as {q_proj: 32}."""

    alpha_pattern: Annotated[dict[str, Any], Advanced()] = Field(default={})
    """Other alphas for modules by name or regular expression, such as {q_proj: 64}."""

    layers: Annotated[list[int], Advanced()] = Field(default=[])
    """Numbers of the layers that get an adapter, counted from 0; empty means all."""


class BitLora(_LowRank):
    """LoRA whose two matrices are held to 1 bit or 1.58 bits while training (BitLoRA)."""

    quantized_bases: ClassVar[frozenset[str]] = BITSANDBYTES

    type: Literal["bitlora"] = "bitlora"
    """BitLoRA"""

    bits: Literal["1.58", "1"] = "1.58"
    """Values of a matrix: 1.58 bits are -1, 0 and 1, one bit is -1 and 1, each times one scale a matrix."""

    quantize_activations: Annotated[bool, Advanced()] = False
    """Normalize the adapter's inputs and round them to 8 bits too; such an adapter cannot be merged."""


class LongLora(_LowRank):
    """LoRA with shifted sparse attention while training, for contexts longer than the model knows (LongLoRA)."""

    quantized_bases: ClassVar[frozenset[str]] = BITSANDBYTES

    type: Literal["longlora"] = "longlora"
    """LongLoRA"""

    group_share: float = Field(default=0.25, gt=0, le=1)
    """Share of a row that one group of attention covers; half of the heads look at groups shifted by half of one."""

    train_embeddings: bool = True
    """Train embeddings and norms too, which long contexts need."""


class AdaLora(_Adapter):
    """LoRA that moves its rank to the matrices that need it (AdaLoRA)."""

    quantized_bases: ClassVar[frozenset[str]] = BITSANDBYTES
    usual_rates: ClassVar[tuple[float, float]] = (5e-4, 5e-3)

    type: Literal["adalora"] = "adalora"
    """AdaLoRA"""

    initial_rank: int = Field(default=12, ge=1, le=4096)
    """Rank of every matrix at the start."""

    target_rank: int = Field(default=8, ge=1, le=4096)
    """Rank of the matrices at the end, on average."""

    alpha: int = Field(default=32, ge=1, le=16384)
    """Strength of the adapter."""

    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the adapter's inputs that is set to zero at each step."""

    warmup_share: Annotated[float, Advanced()] = Field(default=0.1, ge=0, lt=1)
    """Share of the run before ranks are cut."""

    final_share: Annotated[float, Advanced()] = Field(default=0.3, ge=0, lt=1)
    """Share of the run behind the last cut."""

    orthogonality: Annotated[float, Advanced()] = Field(default=0.5, ge=0, le=100)
    """Weight of the pull towards orthogonal matrices."""


class Vera(_Adapter):
    """Train two vectors beside random matrices that all layers share (VeRA)."""

    quantized_bases: ClassVar[frozenset[str]] = BITSANDBYTES
    usual_rates: ClassVar[tuple[float, float]] = (1e-3, 2e-2)

    type: Literal["vera"] = "vera"
    """VeRA"""

    rank: int = Field(default=256, ge=1, le=16384)
    """Width of the shared random matrices; only vectors of this length are trained."""

    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the adapter's inputs that is set to zero at each step."""


class Loha(_Adapter):
    """Low rank with a Hadamard product of two pairs of matrices (LoHa)."""

    quantized_bases: ClassVar[frozenset[str]] = EIGHT_BIT
    usual_rates: ClassVar[tuple[float, float]] = (1e-4, 1e-3)

    type: Literal["loha"] = "loha"
    """LoHa"""

    rank: int = Field(default=8, ge=1, le=4096)
    """Width of each pair: the product reaches the square of it."""

    alpha: int = Field(default=16, ge=1, le=16384)
    """Strength of the adapter, divided by the rank."""

    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of rows of the adapter's update that is set to zero at each step."""


class Lokr(_Adapter):
    """Low rank with a Kronecker product (LoKr)."""

    quantized_bases: ClassVar[frozenset[str]] = EIGHT_BIT
    usual_rates: ClassVar[tuple[float, float]] = (1e-4, 1e-3)

    type: Literal["lokr"] = "lokr"
    """LoKr"""

    rank: int = Field(default=8, ge=1, le=4096)
    """Width of the low-rank part."""

    alpha: int = Field(default=16, ge=1, le=16384)
    """Strength of the adapter, divided by the rank."""

    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of rows of the adapter's update that is set to zero at each step."""

    decompose_factor: Annotated[int, Advanced()] = Field(default=-1, ge=-1, le=4096)
    """How the sides of a matrix are split into two factors; -1 splits them as evenly as can be."""


class Oft(_Adapter):
    """Turn the weights by an orthogonal matrix instead of adding to them (OFT)."""

    quantized_bases: ClassVar[frozenset[str]] = BITSANDBYTES
    usual_rates: ClassVar[tuple[float, float]] = (1e-4, 1e-3)

    type: Literal["oft"] = "oft"
    """OFT"""

    block_size: int = Field(default=32, ge=2, le=4096)
    """Size of the blocks that are turned: larger ones can learn more and take more memory."""

    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of blocks that is left unturned at each step."""


class Ia3(MethodSection):
    """Train a scale for keys, values and the feed-forward layer (IA³): the fewest parameters of all."""

    adapter: ClassVar[bool] = True
    merges: ClassVar[bool] = True
    quantized_bases: ClassVar[frozenset[str]] = BITSANDBYTES
    usual_rates: ClassVar[tuple[float, float]] = (1e-3, 1e-2)

    type: Literal["ia3"] = "ia3"
    """IA³"""

    target_modules: Annotated[list[str], Choices("target_modules"), Advanced()] = Field(default=[])
    """Modules whose outputs, or inputs in the feed-forward layer, are scaled; empty takes what suits the model."""

    feedforward_modules: Annotated[list[str], Choices("target_modules"), Advanced()] = Field(default=[])
    """Those of the modules above whose inputs are scaled; empty takes what suits the model."""
