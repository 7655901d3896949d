"""ROUGE and BLEU-4 exactly as LLaMA-Factory computes them, so that numbers can be laid beside its own.

Its ways, kept on purpose (train/sft/metric.py of 0.9.5): words are cut by jieba, which knows Chinese; rouge_chinese
compares them; BLEU-4 looks at single characters with nltk's smoothing method 3, so any two English sentences already
share a quarter. Each row's number is rounded to four digits before the mean. For other languages than Chinese the
scores of the neighbouring files say more.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

ROUND_DIGITS = 4


@lru_cache(maxsize=100_000)  # three scores ask for the same row
def rouge(answer: str, reference: str) -> Mapping[str, float]:
    """F-scores in percent by their keys rouge-1, rouge-2 and rouge-l; 0 where one side has no words."""
    hypothesis, expected = " ".join(_cut(answer)), " ".join(_cut(reference))
    if not hypothesis.split() or not expected.split():
        return {"rouge-1": 0.0, "rouge-2": 0.0, "rouge-l": 0.0}
    from rouge_chinese import Rouge

    found: Any = Rouge().get_scores(hypothesis, expected)[0]
    return {key: round(value["f"] * 100, ROUND_DIGITS) for key, value in found.items()}


def bleu_4(answer: str, reference: str) -> float:
    """BLEU of n-grams of one to four characters, in percent."""
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    score: Any = sentence_bleu([list(reference)], list(answer), smoothing_function=SmoothingFunction().method3)
    return round(float(score) * 100, ROUND_DIGITS)


def _cut(text: str) -> list[str]:
    import jieba

    jieba.setLogLevel(logging.WARNING)  # it reports the reading of its dictionary
    return list(jieba.cut(text))
