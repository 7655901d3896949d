"""What a preview says is what runs: file, command and form all read back as the same config."""

from __future__ import annotations

import shlex
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from studio.config.combination_tables import members
from studio.config.combinations import refused
from studio.config.io import command_of, dump, load_config, override, overrides_of, parse, read_yaml
from studio.config.jobs import JobConfig
from studio.config.kinds import KINDS
from studio.config.leaves import Leaf, leaves, value_at
from studio.config.method import Method
from studio.config.optimizers import OPTIMIZERS
from studio.config.quantization import Quantization
from studio.config.rules import examine
from studio.config.stage import Stage
from studio.config.train import TrainConfig

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=20)


TOGETHER = [
    (stage.type, method.type, bits.type)
    for stage, method, bits in product(members(Stage), members(Method), members(Quantization))
    if not any(refused(stage, method, bits))
]


def schema_of(file: Path) -> type[JobConfig]:
    """The config of the kind that an example's name begins with; of a training run when it names none."""
    kind = file.stem.partition("_")[0]
    return KINDS[kind].config if kind in KINDS else TrainConfig


def value_of(leaf: Leaf) -> st.SearchStrategy[Any]:
    """Values that the schema allows for one setting."""
    if leaf.path == "name":
        return st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,20}\Z")
    if leaf.path == "devices.use":
        return st.sampled_from(["auto", "cpu", "cuda:0", "cuda:0,cuda:1"])
    if leaf.path == "method.layers":
        return st.lists(st.integers(0, 40), min_size=1, max_size=3)
    if leaf.path == "optimisation.optimizer":
        return st.sampled_from(sorted(OPTIMIZERS))
    if leaf.path == "trainer":
        return st.sampled_from([{}, {"adam_beta1": 0.8}, {"eval_delay": 2, "full_determinism": False}])
    if leaf.path == "method.layers":
        return st.lists(st.integers(0, 80), min_size=1, max_size=3)
    simple: dict[str, st.SearchStrategy[Any]] = {
        "flag": st.booleans(),
        "select": st.sampled_from(leaf.options) if leaf.options else st.nothing(),
        "text": TEXT,
        "mapping": st.dictionaries(TEXT, st.one_of(st.integers(), st.booleans(), TEXT), max_size=3),
        "list": st.lists(st.sampled_from(leaf.options) if leaf.options else TEXT, min_size=1, max_size=3),
    }
    if leaf.kind in simple:
        return simple[leaf.kind]
    low, high = leaf.at_least or 0, leaf.at_most if leaf.at_most is not None else 10_000
    if leaf.whole:
        return st.integers(int(low), int(high))
    return st.floats(low, high, exclude_min=True, exclude_max=True, allow_subnormal=False)


@st.composite
def configs(draw: st.DrawFn) -> TrainConfig:
    """Any config without a fault."""
    tree: dict[str, Any] = {"model": {"path": draw(TEXT)}, "data": {"datasets": ["a"]}}
    types = [leaf for leaf in leaves(TrainConfig) if leaf.kind == "type"]
    chosen = dict(zip(("stage", "method", "quantization"), draw(st.sampled_from(TOGETHER)), strict=True))
    tree |= {section: {"type": variant} for section, variant in chosen.items()}
    if chosen["stage"] in ("ppo", "grpo", "rloo"):
        tree["stage"]["rewards"] = ["thinking_format"]
    others = [
        leaf for leaf in leaves(TrainConfig) if leaf not in types and leaf.variant in (None, chosen.get(leaf.section))
    ]
    for leaf in draw(st.lists(st.sampled_from(others), max_size=8)):
        (tree.setdefault(leaf.section, {}) if leaf.section else tree)[leaf.name] = draw(value_of(leaf))
    try:
        config = TrainConfig.model_validate(tree)
    except ValidationError as error:  # a bound that the strategy does not know of would hide here
        raise AssertionError(f"the strategy made a config that the schema refuses: {error}") from error
    assume(not any(fault.severity == "fault" for fault in examine(config)))
    return config


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(configs())
def test_the_file_and_the_command_read_back_as_the_same_config(config: TrainConfig) -> None:
    assert parse(read_yaml(dump(config))) == config
    words = shlex.split(shlex.join(command_of(config)))
    assert words[:2] == ["studio", "train"]
    assert parse(override({}, words[2:])) == config


def test_the_command_names_only_what_differs_from_the_defaults() -> None:
    config = parse({"model": {"path": "models/tiny"}, "data": {"datasets": ["a"]}, "method": {"rank": 16}})
    assert overrides_of(config) == ["model.path=models/tiny", "data.datasets=[a]"]


def test_an_override_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("model: {path: a}\ndata: {datasets: [x]}\nmethod: {type: lora, rank: 4}\n", encoding="utf-8")
    config = load_config(file, ["method.rank=32", "optimisation.learning_rate=5e-5"])
    assert value_at(config, next(leaf for leaf in leaves(TrainConfig) if leaf.path == "method.rank")) == 32
    assert config.optimisation.learning_rate == 5e-5


@pytest.mark.parametrize("file", CONFIGS, ids=lambda file: file.stem)
def test_every_worked_example_loads_without_fault_or_hint(file: Path) -> None:
    config = load_config(file, schema=schema_of(file))
    assert list(examine(config)) == []


def test_there_is_an_example_of_every_stage_method_and_quantization() -> None:
    found = [load_config(file) for file in CONFIGS if schema_of(file) is TrainConfig]
    for section in ("stage", "method", "quantization"):
        types = {leaf.options for leaf in leaves(TrainConfig) if leaf.path == f"{section}.type"}.pop()
        assert {getattr(config, section).type for config in found} == set(types)


@pytest.mark.parametrize(("word", "meant"), [("on", "on"), ("off", "off"), ("'on'", "on"), ("auto", "auto")])
def test_on_and_off_are_words_where_a_setting_takes_words(word: str, meant: str) -> None:
    tree = {"model": {"path": "m"}, "data": {"datasets": ["d"]}}
    config = parse(override(tree, [f"optimisation.gradient_checkpointing={word}"]))
    assert config.optimisation.gradient_checkpointing == meant
    assert parse(read_yaml(f"{{model: {{path: m}}, data: {{datasets: [d]}}, optimisation: "
                                f"{{gradient_checkpointing: {word}}}}}")) == config  # fmt: skip
