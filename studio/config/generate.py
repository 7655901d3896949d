"""The config of a job that lets a model behind an endpoint write new rows of data."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from studio.config.generate_prompts import DIALOGUE, FROM_DOCUMENTS, FROM_SEEDS, PREFERENCE, QUESTION_ANSWER
from studio.config.jobs import JobConfig
from studio.config.section import Advanced, Choices, Section, with_default_type

DOCUMENT_ENDINGS = (".txt", ".md", ".markdown", ".rst", ".pdf")
DATASET_PATTERN = r"^[\w-][\w.-]{0,99}$"


class EndpointConfig(Section):
    """The model that writes: any server that speaks OpenAI's chat completions."""

    base_url: str = Field(title="Address", pattern=r"^https?://[^\s/?#@]+(/[^\s?#@]*)?$")
    """Address of the server up to and with /v1, such as http://127.0.0.1:8000/v1."""

    model: str = Field(title="Model name", min_length=1)
    """Name by which the server knows the model."""

    key_variable: str | None = Field(
        title="Variable with the key", default="OPENAI_API_KEY", pattern=r"^([A-Z][A-Z0-9_]*_(KEY|TOKEN))?$"
    )
    """Environment variable that holds the key; empty sends none. The key itself is never written down."""

    temperature: float | None = Field(default=0.8, ge=0, le=2)
    """How freely words are chosen: higher gives more varied rows; empty leaves it to the server."""

    max_tokens: int = Field(title="Longest answer", default=2048, ge=16, le=131072)
    """Most tokens of one answer, which may hold several rows."""

    price_in: float = Field(title="Price of input", default=0.0, ge=0)
    """What a million tokens of prompts cost, in any currency; 0 leaves the cost out."""

    price_out: float = Field(title="Price of output", default=0.0, ge=0)
    """What a million tokens of answers cost, in the same currency."""

    concurrency: Annotated[int, Advanced()] = Field(title="Requests at a time", default=4, ge=1, le=256)
    """How many requests are under way at once."""

    timeout: Annotated[float, Advanced()] = Field(title="Patience (seconds)", default=120.0, gt=0, le=3600)
    """Seconds after which an answer that is not complete is given up and asked for again."""

    retries: Annotated[int, Advanced()] = Field(title="Repeats", default=5, ge=0, le=50)
    """How often a request is repeated when the server is busy, fails or cannot be reached."""

    backoff: Annotated[float, Advanced()] = Field(title="First wait (seconds)", default=1.0, gt=0, le=60)
    """Seconds before the first repeat; each further one waits about twice as long, up to a minute."""

    further: Annotated[dict[str, Any], Advanced()] = Field(title="Further arguments", default={})
    """Further arguments of each request by their own names, such as top_p: 0.9."""


class Seeds(Section):
    """New tasks in the manner of some that are there already (self-instruct)."""

    type: Literal["seeds"] = "seeds"
    """From seed tasks"""

    dataset: Annotated[str | None, Choices("datasets", free=False)] = Field(title="Seed tasks", default=None)
    """Dataset with a few dozen good rows of the kind that is wanted."""

    file: str | None = Field(title="Or a file of seed tasks", default=None, min_length=1)
    """File of the workspace in place of a dataset; its format is detected."""

    shown: int = Field(title="Examples a request", default=3, ge=1, le=20)
    """How many seed tasks, drawn anew each time, a request shows as examples."""

    prompt: Annotated[str, Advanced()] = Field(title="First part of the prompt", default=FROM_SEEDS)
    """What the model is told about the examples; {examples} is where they stand."""


class Documents(Section):
    """Rows about what stands in documents, passage by passage."""

    type: Literal["documents"] = "documents"
    """From documents"""

    paths: Annotated[list[str], Choices("documents")] = Field(title="Files or folders", min_length=1)
    """Text, Markdown and PDF files, or folders of them, in the workspace or an allowed folder."""

    chunk_size: int = Field(title="Length of a passage", default=2000, ge=200, le=100_000)
    """Most characters of one passage; it ends with a paragraph or a sentence where there is one."""

    overlap: Annotated[int, Advanced()] = Field(default=200, ge=0, le=50_000)
    """Characters that a passage repeats of the one before it, so that nothing is cut apart."""

    rounds: Annotated[int, Advanced()] = Field(title="Rounds", default=1, ge=1, le=20)
    """How often each passage is shown; more than once brings further rows, and more that are alike."""

    prompt: Annotated[str, Advanced()] = Field(title="First part of the prompt", default=FROM_DOCUMENTS)
    """What the model is told about the passage; {text} is where it stands, {name} is the document's name."""


Source = Annotated[Seeds | Documents, Field(discriminator="type"), BeforeValidator(with_default_type("seeds"))]


class QuestionAnswer(Section):
    """A question and its answer."""

    type: Literal["question_answer"] = "question_answer"
    """Question and answer"""

    prompt: Annotated[str, Advanced()] = Field(title="Second part of the prompt", default=QUESTION_ANSWER)
    """What the model shall write and in which form; {count} is the number of rows."""


class Dialogue(Section):
    """A conversation of several turns."""

    type: Literal["dialogue"] = "dialogue"
    """Dialogue"""

    turns: int = Field(title="Questions a dialogue", default=3, ge=1, le=20)
    """How often the person speaks in each conversation."""

    prompt: Annotated[str, Advanced()] = Field(title="Second part of the prompt", default=DIALOGUE)
    """What the model shall write and in which form; {count} is the number of dialogues, {turns} of their questions."""


class Preference(Section):
    """A question with a better and a worse answer."""

    type: Literal["preference"] = "preference"
    """Better and worse answer"""

    prompt: Annotated[str, Advanced()] = Field(title="Second part of the prompt", default=PREFERENCE)
    """What the model shall write and in which form; {count} is the number of rows."""


Target = Annotated[
    QuestionAnswer | Dialogue | Preference,
    Field(discriminator="type"),
    BeforeValidator(with_default_type("question_answer")),
]


class RowsConfig(Section):
    """How many rows are made, and which of them are left out."""

    count: int = Field(title="Rows", default=100, ge=1, le=1_000_000)
    """How many rows to keep; documents may give fewer."""

    per_request: int = Field(title="Rows a request", default=3, ge=1, le=50)
    """How many rows are asked for at once: more is cheaper, fewer is more careful."""

    alike: float = Field(title="Alike from", default=0.7, gt=0, le=1)
    """Share of word pairs from which two questions count as the same, so that the later one is left out; 1 allows all
    but equal ones."""

    dataset: str | None = Field(title="Dataset", default=None, pattern=DATASET_PATTERN)
    """Dataset that accepted rows are meant for, new or already there; empty takes the name of the run."""

    most_requests: Annotated[int | None, Advanced()] = Field(default=None, ge=1)
    """Requests after which the job ends with what it has; empty allows three times as many as should be needed."""

    seed: Annotated[int, Advanced()] = Field(default=42, ge=0, le=2**32 - 1)
    """Draws the examples of each request and the order of the passages."""


class GenerateConfig(JobConfig):
    """Everything that a job which writes data depends on."""

    endpoint: EndpointConfig
    """The model that writes."""

    source: Source = Field(title="Made from")
    """What the rows are made from."""

    target: Target = Field(title="Kind of row", default=QuestionAnswer())
    """What the rows are."""

    rows: RowsConfig = RowsConfig()
    """How many rows are made."""
