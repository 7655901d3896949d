"""Load the tokenizer and the base model: from a folder or a hub, in the wanted format, as safetensors only."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from studio.config.catalogue import find
from studio.config.workspace import Workspace
from studio.tasks import quantized
from studio.tasks.failures import TaskError
from studio.tasks.machine import Machine
from studio.tasks.routed_model import is_routed_config, loader_of, stored_config, tokenizer_options
from studio.tasks.vocabulary import add_tokens, make_room
from studio.tasks.weights import check_weights

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

logger = logging.getLogger(__name__)

Arguments = dict[str, Any]

Head = Literal["words", "score", "new score"]
SCORE_HEAD = "score.weight"  # the name that transformers' generic scoring head has in every architecture


def find_model(path: str, workspace: Workspace, hub: str, revision: str | None) -> str:
    """A local folder as an absolute path, or an id on Hugging Face as it is. Raises TaskError when it is neither.

    A ModelScope id is downloaded and becomes a folder. A folder's weights are checked for whole files.
    """
    folder = (workspace.root / Path(path).expanduser()).resolve()
    if folder.is_dir():
        check_weights(folder)
        return str(folder)
    if path.startswith(("/", ".", "~", "models/")) or path.count("/") != 1:
        raise TaskError(
            "model",
            f"There is no model folder {path}.",
            "Set model.path to a folder that holds config.json and safetensors files, or to an id such as owner/name.",
        )
    return _from_modelscope(path, revision) if hub == "modelscope" else path


def load_tokenizer(source: str, arguments: Arguments) -> Any:
    """The fast tokenizer of a model. Raises TaskError when there is none that knows where in the text a token lies.

    Without a padding token the end token takes its place: what is padding is told by the attention mask, so an end
    token that is trained on is not mistaken for it.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            source,
            revision=arguments["revision"],
            trust_remote_code=arguments["trust_remote_code"],
            **tokenizer_options(source),
        )
    except (ValueError, OSError, KeyError, json.JSONDecodeError) as error:
        if not Path(source).is_dir():
            raise
        raise TaskError(
            "tokenizer",
            f"The tokenizer in {source} cannot be loaded: {' '.join(str(error).split())[:300]}",
            "Copy tokenizer.json and tokenizer_config.json of the model into that folder.",
        ) from error
    if not tokenizer.is_fast:
        raise TaskError(
            "tokenizer",
            "This model has only a slow tokenizer, which does not say where in the text a token lies.",
            "Convert it to tokenizer.json, or choose another model.",
        )
    if tokenizer.eos_token_id is None:
        raise TaskError(
            "tokenizer", "The tokenizer names no end token (eos_token).", "Add it to tokenizer_config.json."
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "right"
    add_tokens(tokenizer, arguments.get("new_tokens", ()))
    return tokenizer


def load_model(
    source: str, arguments: Arguments, quantization: Arguments, machine: Machine, head: Head = "words"
) -> PreTrainedModel:
    """The base model on its device. Raises TaskError when weights are missing, and what transformers raises.

    It writes words, or gives one score to a row: with a head of its own, or with a new one of random numbers.
    """
    import torch

    config = _load_config(source, arguments)
    if is_routed_config(config):
        _check_routed(source, quantization, head)
    loader = loader_of(config, _loader(config, source, head))
    quantized.check(quantization, config, source, machine)
    options: Arguments = {
        "config": config,
        "revision": arguments["revision"],
        "trust_remote_code": arguments["trust_remote_code"],
        "dtype": getattr(torch, arguments["dtype"]),
        "use_safetensors": True,
    }
    if arguments["attention"]:
        options["attn_implementation"] = arguments["attention"]
    if machine.device == "cuda":
        options["device_map"] = {"": 0}
    elif quantization["type"] != "none":
        options["device_map"] = {"": "cpu"}
    options |= quantized.options(quantization, config)
    loaded: Any = loader.from_pretrained(source, output_loading_info=True, **options)
    model, report = loaded
    missing = sorted(set(report["missing_keys"]) - ({SCORE_HEAD} if head == "new score" else set()))
    if missing:
        raise TaskError(
            "model",
            f"{source} lacks {len(missing)} of the weights that its config.json names, such as "
            f"{', '.join(missing[:3])}.",
            "They would start as random numbers. Download the model again.",
        )
    model = quantized.finish(model, quantization, machine)
    if arguments["new_tokens"] or arguments["resize"]:
        _extend(model, source, arguments)
    return model


def _extend(model: Any, source: str, arguments: Arguments) -> None:
    """Rows for the tokens that the config adds and, where it says so, for those that the tokenizer has beyond them."""
    tokenizer = load_tokenizer(source, {**arguments, "new_tokens": []})
    rows, known = model.get_input_embeddings().weight.shape[0], len(tokenizer)
    missing = list(range(rows, known)) if arguments["resize"] else []
    make_room(model, min(rows, known), [*missing, *add_tokens(tokenizer, arguments["new_tokens"])])


def _loader(config: Any, source: str, head: Head) -> Any:
    """The class that loads the model. Raises TaskError for an architecture that has no scoring head."""
    from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING as SCORING
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    if head == "words":
        if any(str(name).endswith("ForSequenceClassification") for name in config.architectures or ()):
            raise TaskError(
                "model",
                f"{source} is a reward model: it gives points and writes no words.",
                "Use it as stage.reward_model of ppo, grpo and rloo, and another model here.",
            )
        return AutoModelForCausalLM
    if type(config) not in SCORING and not getattr(config, "auto_map", None):
        raise TaskError(
            "model",
            f"transformers has no scoring head for models of type {config.model_type}, such as {source}.",
            "Choose another model, such as one of the Llama, Qwen, Mistral or Gemma families.",
        )
    config.num_labels = 1
    return AutoModelForSequenceClassification


def _check_routed(source: str, quantization: Arguments, head: Head) -> None:
    """Raise TaskError for what routed layers (Mixture-of-Depths) cannot do."""
    if head != "words":
        raise TaskError(
            "model",
            f"{source} is a Mixture-of-Depths model, which can write words and give no scores.",
            "Choose another model.",
        )
    if quantization["type"] != "none":
        raise TaskError(
            "model",
            f"{source} is a Mixture-of-Depths model, whose routers cannot be quantized.",
            "Set quantization.type=none.",
        )


def check_vocabulary(tokenizer: Any, model: Any) -> None:
    """Raise TaskError when the tokenizer has ids for which the model has no embedding."""
    rows, ids = model.get_input_embeddings().weight.shape[0], len(tokenizer)
    if ids > rows:
        raise TaskError(
            "tokenizer",
            f"The tokenizer knows {ids:,} tokens, but the model only has {rows:,} embeddings.",
            "They do not belong together: copy the model's own tokenizer files into its folder. Or, when the further "
            "tokens are meant, set model.resize_vocabulary=true.",
        )


def _load_config(source: str, arguments: Arguments) -> PretrainedConfig:
    config = stored_config(source, arguments["revision"], arguments["trust_remote_code"])
    if arguments["rope"]:
        stretch_positions(config, arguments["rope"]["type"], arguments["rope"]["factor"])
    return config


def stretch_positions(config: Any, kind: str, factor: float) -> None:
    """Put RoPE scaling of `kind` by `factor` into a model's config, as transformers 5 keeps it (`rope_parameters`).

    Raises TaskError for a model that has no rotary positions, or different ones for different layers. The frequency
    borders of kind llama3 are those of Llama 3.1 (1 and 4).
    """
    old = getattr(config, "rope_parameters", None)
    if not isinstance(old, dict) or "rope_theta" not in old:
        raise TaskError("model", "RoPE scaling cannot be set for this model.", "Set model.rope_scaling to none.")
    trained = config.max_position_embeddings
    parameters = {"rope_type": kind, "rope_theta": old["rope_theta"], "factor": factor}
    if "partial_rotary_factor" in old:
        parameters["partial_rotary_factor"] = old["partial_rotary_factor"]
    if kind in ("yarn", "llama3", "dynamic"):
        parameters["original_max_position_embeddings"] = trained
    if kind == "llama3":
        parameters |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
    config.rope_parameters = parameters
    config.max_position_embeddings = int(trained * factor)


def _from_modelscope(name: str, revision: str | None) -> str:
    try:
        from modelscope import snapshot_download  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError:
        raise TaskError(
            "package",
            "Models from ModelScope need the package modelscope.",
            "Install it into Studio's environment: pip install modelscope. Or set model.hub=huggingface.",
        ) from None
    known = find(name)  # some models have another id there than on Hugging Face
    model_id = known.modelscope if known and known.modelscope else name
    folder = Path(snapshot_download(model_id, revision=revision, ignore_file_pattern=[r".*\.bin$", r".*\.pth?$"]))
    check_weights(folder)
    return str(folder)
