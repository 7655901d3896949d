"""The config of a job that says what a model is worth: who is asked, what, how the answers are made and scored."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field

from studio.config.devices import DevicesConfig
from studio.config.jobs import JobConfig
from studio.config.model import BaseModelConfig
from studio.config.quantization import NoQuantization, Quantization
from studio.config.section import Advanced, Choices, Section

ScoreName = Literal[
    "rouge_1",
    "rouge_2",
    "rouge_l",
    "bleu",
    "chrf",
    "exact_match",
    "token_f1",
    "json_valid",
    "regex",
    "llamafactory_rouge_1",
    "llamafactory_rouge_2",
    "llamafactory_rouge_l",
    "llamafactory_bleu_4",
]

SCORE_NAMES: tuple[str, ...] = get_args(ScoreName)
"""The scores of answers; loss and perplexity come from another pass over the rows."""


class CandidatesConfig(Section):
    """The models that are compared. Adapters are switched on one base, which is loaded once."""

    base: bool = Field(title="The untuned base", default=True)
    """Ask the base model too: without it nobody knows what the training has changed."""

    runs: Annotated[list[str], Choices("adapters")] = Field(title="Runs and checkpoints", default=[])
    """Runs, checkpoints or adapters such as saves/my-run or saves/my-run/checkpoint-60; a whole model may stand here
    too."""

    merged: Annotated[list[str], Choices("adapters"), Advanced()] = Field(title="Merged into the base", default=[])
    """Adapters that are merged into the base first, in this order, for runs that were trained on top of them."""


class QuestionsConfig(Section):
    """The rows whose last answer is the reference and what comes before it the question."""

    datasets: Annotated[list[str], Choices("datasets", free=False)] = Field(default=[])
    """Datasets to evaluate on, by their names in dataset_info.json; rows that the model was not trained on."""

    max_samples: int | None = Field(title="Most rows", default=None, ge=1)
    """Most rows of each dataset, the first ones; empty takes all."""

    context: Annotated[int | None, Advanced()] = Field(title="Longest row", default=None, ge=8, le=1_048_576)
    """Most tokens of a question with its answer; empty takes what the model was made for. Longer rows are counted and
    left out, never cut."""


class DecodingConfig(Section):
    """How an answer is made, token by token."""

    generate: bool = Field(title="Write answers", default=True)
    """Let the models answer; without it only the loss is measured."""

    max_new_tokens: int = Field(title="Longest answer", default=512, ge=1, le=131_072)
    """Most tokens of an answer."""

    do_sample: bool = Field(title="Draw by chance", default=False)
    """Draw each token by its probability; without it the most probable one is taken, which gives the same answer every
    time."""

    temperature: float = Field(default=0.95, gt=0, le=5)
    """How freely tokens are drawn: below 1 more careful, above 1 wilder. Only when drawing by chance."""

    top_p: float = Field(title="Top-p", default=0.7, gt=0, le=1)
    """Draw from the most probable tokens that together have this probability. Only when drawing by chance."""

    top_k: Annotated[int, Advanced()] = Field(title="Top-k", default=0, ge=0, le=1_000_000)
    """Draw from this many most probable tokens; 0 sets no limit. Only when drawing by chance."""

    repetition_penalty: Annotated[float, Advanced()] = Field(default=1.0, gt=0, le=10)
    """Above 1 makes tokens that came before less probable."""

    seed: Annotated[int, Advanced()] = Field(title="Seed of the answers", default=42, ge=0, le=2**32 - 1)
    """Start of every random choice. Each row has its own chance, the same for every model and every batch size."""

    batch_size: Annotated[int, Advanced()] = Field(title="Answers at a time", default=0, ge=0, le=4096)
    """How many answers are written side by side; 0 takes as many as fit. Too many are halved when memory runs out."""


class ScoresConfig(Section):
    """What is measured."""

    names: list[ScoreName] = Field(
        title="Scores of answers", default=["rouge_1", "rouge_2", "rouge_l", "bleu", "chrf", "exact_match"]
    )
    """Each answer is held against its reference by these; those called llamafactory are computed as LLaMA-Factory
    does."""

    loss: bool = Field(title="Loss and perplexity", default=True)
    """How probable the references are to the model, on the same rows; this needs no answers."""

    pattern: str | None = Field(title="Regular expression", default=None, min_length=1)
    """An answer that holds a match counts 1 for the score regex. With a group, the group's text must equal the
    reference's."""

    resamples: Annotated[int, Advanced()] = Field(title="Bootstrap samples", default=1000, ge=100, le=100_000)
    """How often the rows are drawn anew to find the 95 % interval of a score."""


class JudgeConfig(Section):
    """A language model that says which of two answers is better; off while it has no address."""

    base_url: str | None = Field(
        title="Address of the judge", default=None, pattern=r"^https?://[^\s/?#@]+(/[^\s?#@]*)?$"
    )
    """Address of a server that speaks OpenAI's chat completions, up to and with /v1; empty asks no judge."""

    model: str = Field(title="Name of the judge", default="")
    """Name by which the server knows the model."""

    key_variable: str = Field(
        title="Variable with the judge's key", default="OPENAI_API_KEY", pattern=r"^([A-Z][A-Z0-9_]*_(KEY|TOKEN))?$"
    )
    """Environment variable that holds the key; empty sends none. The key itself is never written down."""

    criteria: str = Field(title="What counts", default="correct, helpful and to the point", min_length=1)
    """What makes an answer the better one, in words."""

    max_rows: Annotated[int | None, Advanced()] = Field(title="Most judged rows", default=None, ge=1)
    """Most rows that are judged; each costs two requests for each comparison. Empty judges all."""

    concurrency: Annotated[int, Advanced()] = Field(title="Judgements at a time", default=4, ge=1, le=256)
    """How many requests are under way at once."""


class BenchmarksConfig(Section):
    """Tasks of lm-evaluation-harness, which is an optional package: pip install 'studio[benchmarks]'."""

    tasks: list[str] = Field(default=[])
    """Tasks by their names there, such as arc_easy or gsm8k; most are downloaded from the hub."""

    include: Annotated[str | None, Advanced()] = Field(title="Folder of own tasks", default=None, min_length=1)
    """Folder of the workspace with task files of your own."""

    few_shot: int | None = Field(title="Examples shown", default=None, ge=0, le=100)
    """Solved examples in front of each question; empty takes what the task says."""

    limit: int | None = Field(title="Most questions", default=None, ge=1)
    """Most questions of each task, for a quick look; empty takes all."""

    chat: Annotated[bool, Advanced()] = Field(title="Ask as in a chat", default=False)
    """Put the questions through the chat template, as a tuned model expects them."""


class EvaluateConfig(JobConfig):
    """Everything that an evaluation depends on."""

    model: BaseModelConfig
    """The base model."""

    quantization: Quantization = NoQuantization()
    """How the frozen base weights are held in memory."""

    candidates: CandidatesConfig = CandidatesConfig()
    """Which models are compared."""

    questions: QuestionsConfig = QuestionsConfig()
    """What they are asked."""

    decoding: DecodingConfig = Field(title="Answers", default=DecodingConfig())
    """How the answers are made."""

    scores: ScoresConfig = ScoresConfig()
    """What is measured."""

    judge: JudgeConfig = JudgeConfig()
    """Who says which answer is better."""

    benchmarks: BenchmarksConfig = BenchmarksConfig()
    """Public tests."""

    devices: DevicesConfig = DevicesConfig()
    """What the run computes on."""
