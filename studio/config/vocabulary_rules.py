"""Rules about new tokens: what can be one, and which methods train the embeddings that it gets."""

from __future__ import annotations

from collections.abc import Iterator

from studio.config.faults import Fault
from studio.config.method import Freeze
from studio.config.train import TrainConfig

# Those of peft's kinds that train single rows of an embedding beside what they do, and those that train it all.
TRAINING_ROWS = frozenset({"lora", "longlora", "full", "mixture-of-depths"})


def new_tokens_are_words(config: TrainConfig) -> Iterator[Fault]:
    """A token of nothing but space would change every text, and a word is added once."""
    words = config.model.new_tokens
    for number, word in enumerate(words):
        if not word.strip():
            yield Fault("model.new_tokens", "new_token_empty")
        elif word in words[:number]:
            yield Fault("model.new_tokens", "new_token_twice", word)


def new_tokens_are_trained(config: TrainConfig) -> Iterator[Fault]:
    """A new token that nobody trains says the same as every other one: the mean of all."""
    model, method = config.model, config.method
    if not model.new_tokens and not model.resize_vocabulary:
        return
    thawed = isinstance(method, Freeze) and any("embed" in name for name in method.extra_modules)
    if method.type not in TRAINING_ROWS and not thawed:
        path = "model.new_tokens" if model.new_tokens else "model.resize_vocabulary"
        code = "new_tokens_frozen" if isinstance(method, Freeze) else "new_tokens_method"
        yield Fault(path, code, details={"method": method.type})


RULES = (new_tokens_are_words, new_tokens_are_trained)
