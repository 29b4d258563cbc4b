"""Models and tokenizers from a folder, the hub, a GGUF file or from scratch; saving of models."""

import copy
import hashlib
import pickle
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    set_seed,
)
from transformers.utils.peft_utils import find_adapter_config_file

from adakd.config import Lora, Pretrained, Pruned, Scratch
from adakd.data.bpe import END, PADDING, trained_tokenizer
from adakd.errors import AdakdError, one_line
from adakd.models.converted import converted
from adakd.store.disk import share_tree, sync, sync_tree, writing

DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
DAMAGED = (SafetensorError, RuntimeError, EOFError, pickle.UnpicklingError, StrictDataclassError)
"""Exceptions of readers of models whose files are damaged or hold another model."""
ADAPTERS = "adapter_config.json"
"""The configuration of adapters on another model."""
WEIGHTS = ("*.safetensors", "pytorch_model*.bin", "adapter_model*.bin")
"""Names of files of weights."""


def device() -> torch.device:
    """Return the accelerator of this machine, or the CPU."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return accelerator or torch.device("cpu")


def place(model: Any, dtype: torch.dtype | None = None) -> Any:
    """Move a model to :func:`device`, and to another precision if one is given."""
    return model.to(device=device(), dtype=dtype)


# --- tokenizers -----------------------------------------------------------------------------


def load_tokenizer(base: Pretrained | Path) -> Any:
    """Return the tokenizer of a model, with a padding token.

    Raises:
        AdakdError: it cannot be loaded, or has no end token.
    """
    where, options = location(base)
    tokenizer = _loaded_tokenizer(where, options)
    if tokenizer.eos_token_id is None:
        raise AdakdError(
            f"model {where!r}: its tokenizer has no end token, so no response could end: set "
            "eos_token in its tokenizer_config.json"
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _loaded_tokenizer(where: str, options: Mapping[str, Any]) -> Any:
    folder = Path(where)
    if (folder / ADAPTERS).exists() and not any(folder.glob("tokenizer*")):
        # trained with the tokenizer of the model below, and saved without it
        settings = loaded(lambda: PeftConfig.from_pretrained(where), where)
        where, options = str(settings.base_model_name_or_path), {}
    return loaded(lambda: AutoTokenizer.from_pretrained(where, **options), where)


def train_tokenizer(texts: Sequence[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer trained on `texts`; training is deterministic."""
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=trained_tokenizer(texts, vocabulary),
        eos_token=END,
        pad_token=PADDING,
        padding_side="left",
    )


def check_folder(base: Pretrained) -> None:
    """Reject a folder that holds no model, or checkpoints of one: other programs leave such.

    Raises:
        AdakdError: it has no configuration, or no weights in a file that is read here.
    """
    folder = Path(base.model)
    if not folder.is_dir() or base.gguf_file is not None:
        return
    if not any((folder / name).exists() for name in ("config.json", ADAPTERS)):
        found = sorted(one.name for one in folder.glob("checkpoint-*") if one.is_dir())
        fix = (
            f"name one of its checkpoints: {', '.join(found)}"
            if found
            else "give the folder that the model was saved in"
        )
        raise AdakdError(f"model {base.model!r}: no config.json or {ADAPTERS} here; {fix}")
    if not any(any(folder.glob(name)) for name in WEIGHTS):
        raise AdakdError(
            f"model {base.model!r}: no weights ({', '.join(WEIGHTS)}) here; a sharded checkpoint "
            "of DeepSpeed or FSDP must be converted first, by the program that wrote it"
        )
    if (folder / ADAPTERS).exists():
        settings = loaded(lambda: PeftConfig.from_pretrained(base.model), base.model)
        if settings.is_prompt_learning:
            raise AdakdError(
                f"model {base.model!r}: adapters of kind {settings.peft_type.value} cannot be "
                "merged into their base: only weights can"
            )


def check_same_end(student: Any, teacher: Any) -> None:
    """Reject a student whose answers end with another token: in scoring they would go on.

    Raises:
        AdakdError: its tokenizer has another end token.
    """
    if student.eos_token != teacher.eos_token:
        raise AdakdError(
            f"its end token is {student.eos_token!r}, and the teacher's {teacher.eos_token!r}: its "
            "answers would not end where they should; train it to end with the teacher's, and set "
            "eos_token in its tokenizer_config.json"
        )


def check_same_tokenizer(student: Any, teacher: Any) -> None:
    """Reject a student whose token ids differ in meaning from the teacher's.

    Raises:
        AdakdError: the vocabularies differ.
    """
    ours, theirs = student.get_vocab(), teacher.get_vocab()
    if ours != theirs:
        odd = sum(theirs.get(token) != number for token, number in ours.items())
        raise AdakdError(
            f"student and teacher have different tokenizers ({len(ours)} and {len(theirs)} "
            f"tokens, {odd} of the student's differ): distillation compares their distributions "
            "token by token; name a `bridge:` in the suite, such as overlap (adakd ls bridges), or "
            "choose a student with the teacher's tokenizer"
        )


# --- models ---------------------------------------------------------------------------------


def load_model(base: Pretrained | Path) -> PreTrainedModel:
    """Load a pretrained causal language model in float32, on the CPU.

    Raises:
        AdakdError: it cannot be loaded.
    """
    return _loaded_model(*location(base))


def _loaded_model(where: str, options: Mapping[str, Any]) -> PreTrainedModel:
    if "gguf_file" not in options and _is_adapter(where, options):
        merged: PreTrainedModel = loaded(lambda: _merged_adapter(where, options), where)
        return merged
    model = loaded(
        lambda: AutoModelForCausalLM.from_pretrained(where, dtype=torch.float32, **options), where
    )
    return _dequantized(model) if "gguf_file" in options else model


def base_config(base: Pretrained | Scratch) -> Any:
    """Return the transformers configuration of a base model, without its weights.

    Raises:
        AdakdError: there is none, or it cannot be read.
    """
    try:
        if isinstance(base, Scratch):
            settings = dict(base.config)
            return AutoConfig.for_model(settings.pop("model_type"), **settings)
        return _configuration(*location(base))
    except AdakdError:
        raise
    except Exception as error:  # a configuration can be wrong in any way
        raise AdakdError(f"configuration of a model: {' '.join(str(error).split())}") from None


def _vocabulary_layers(model: Any) -> tuple[Any, Any]:
    """Return the embeddings of a model and its LM head."""
    return model.get_input_embeddings(), model.get_output_embeddings()


def context_length(base: Pretrained | Scratch) -> int | None:
    """Return the number of positions that a model is made for; None where it says none.

    Raises:
        AdakdError: its configuration cannot be loaded.
    """
    config = (
        base.config if isinstance(base, Scratch) else base_config(base).get_text_config().to_dict()
    )
    names = ("n_positions", "max_position_embeddings", "n_ctx")
    found = (config.get(name) for name in names)
    return next((length for length in found if isinstance(length, int)), None)


def _configuration(where: str, options: Mapping[str, Any]) -> Any:
    if "gguf_file" not in options and _is_adapter(where, options):
        settings = PeftConfig.from_pretrained(where, **options)
        where, options = str(settings.base_model_name_or_path), {"revision": settings.revision}
    return AutoConfig.from_pretrained(where, **options)


def _is_adapter(where: str, options: Mapping[str, Any]) -> bool:
    """Return whether a model is a folder (or repository) of adapters on another model."""
    try:
        return find_adapter_config_file(where, revision=options.get("revision")) is not None
    except (OSError, ValueError):  # not reachable: loading the model says so
        return False


def _merged_adapter(where: str, options: Mapping[str, Any]) -> PreTrainedModel:
    """Return the model below some adapters with these merged into it, so that it trains whole."""
    settings = PeftConfig.from_pretrained(where, **options)
    below = str(settings.base_model_name_or_path)
    model = AutoModelForCausalLM.from_pretrained(
        below, revision=settings.revision, dtype=torch.float32
    )
    return _merged(model, lambda one: PeftModel.from_pretrained(one, where, **options), where)


def _merged(
    model: PreTrainedModel, adapt: Callable[[PreTrainedModel], PeftModel], field: str
) -> PreTrainedModel:
    """Return a model with adapters merged, all of it to be trained again (peft froze it)."""
    adapted = _without_tied_adapters(model, adapt, field)
    merged: PreTrainedModel = adapted.merge_and_unload()
    return merged.requires_grad_(True)


def _without_tied_adapters(
    model: PreTrainedModel, adapt: Callable[[PreTrainedModel], PeftModel], field: str
) -> PeftModel:
    """Return a model with adapters, none of them on weights that two layers share.

    Merging such an adapter would change the other layer too: another model would be scored than
    was trained.

    Raises:
        AdakdError: the LM head and the embeddings share their weight, and one has an adapter.
    """
    embeddings, head = _vocabulary_layers(model)
    is_tied = head is not None and head.weight is embeddings.weight
    with warnings.catch_warnings():  # peft warns of what is refused here
        warnings.filterwarnings("ignore", "Model has `tie_word_embeddings=True`")
        adapted = adapt(model)
    if is_tied:
        for layer in _vocabulary_layers(adapted.get_base_model()):
            if isinstance(layer, BaseTunerLayer):
                raise AdakdError(
                    f"{field}: the model's LM head and its embeddings share one weight, so an "
                    "adapter on either cannot be merged: leave lm_head and embed_tokens out"
                )
    return adapted


def scratch_model(base: Scratch, tokenizer: Any, seed: int) -> PreTrainedModel:
    """Return a model with the tokenizer's vocabulary and random weights from `seed`."""
    settings = dict(base.config)
    try:
        config = AutoConfig.for_model(
            settings.pop("model_type"),
            **settings,
            vocab_size=len(tokenizer),
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
        )
        set_seed(seed)
        model: PreTrainedModel = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
            config, dtype=torch.float32
        )
    except Exception as error:  # a configuration can be wrong in any way
        raise AdakdError(f"config of a model from scratch: {one_line(error)}") from None
    return model


def prune(teacher: PreTrainedModel, base: Pruned) -> PreTrainedModel:
    """Return a copy of `teacher` without the layers that `base` names.

    Raises:
        AdakdError: the model has no such layer, or no layer would be left.
    """
    name, layers = _layer_stack(teacher, "student.drop_layers")
    wrong = sorted(layer for layer in base.drop_layers if not 0 <= layer < len(layers))
    if wrong or len(set(base.drop_layers)) == len(layers):
        raise AdakdError(
            f"student.drop_layers: {wrong or 'all layers'}; the teacher has layers 0 to "
            f"{len(layers) - 1}, and one must be left"
        )
    student = copy.deepcopy(teacher)
    stack = enumerate(student.get_submodule(name).children())
    kept = [layer for i, layer in stack if i not in base.drop_layers]
    for index, layer in enumerate(kept):
        for module in layer.modules():
            if "layer_idx" in vars(module):  # its index in the key-value cache
                vars(module)["layer_idx"] = index
    student.set_submodule(name, torch.nn.ModuleList(kept))
    config = student.config.get_text_config()
    if getattr(config, "layer_types", None):
        config.layer_types = [
            kind for i, kind in enumerate(config.layer_types) if i not in base.drop_layers
        ]
    config.num_hidden_layers = len(kept)
    return student


def with_adapters(
    model: PreTrainedModel, lora: Lora, seed: int, field: str = "training.lora"
) -> PeftModel:
    """Return the model with low-rank adapters, initialised from `seed`.

    Raises:
        AdakdError: the model has no such modules; the message names the `field` of the settings.
    """
    modules = lora.target_modules
    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=modules if isinstance(modules, str) else list(modules),
        task_type="CAUSAL_LM",
    )
    set_seed(seed)
    where = f"{field}.target_modules"
    try:
        return _without_tied_adapters(model, lambda one: get_peft_model(one, config), where)
    except ValueError as error:
        raise AdakdError(f"{where}: {error}") from None


def use_plain_generation(model: Any, tokenizer: Any) -> None:
    """Let a model stop at its tokenizer's end token, and drop its other generation settings.

    A folder's ``generation_config.json`` may hold a repetition penalty, suppressed tokens or other
    end tokens, which no suite asks for and no training knows.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    ends = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    for config in {id(one): one for one in (base.config, base.config.get_text_config())}.values():
        for name, token in ends.items():
            setattr(config, name, token)
    base.generation_config = GenerationConfig(**ends)  # type: ignore[no-untyped-call]


def save(
    model: Any, tokenizer: Any, folder: Path, state: Mapping[str, torch.Tensor] | None = None
) -> None:
    """Write a model (or its adapters) and its tokenizer; the folder appears atomically.

    The saved model stops where its tokenizer ends a response, as it was trained to. Adapters have a
    ``generation_config.json`` beside them that says so, in place of their base's.

    Args:
        model: a causal language model, with adapters or without.
        tokenizer: its tokenizer.
        folder: where to; it does not exist yet.
        state: its weights, where it has parts of them alone.
    """
    use_plain_generation(model, tokenizer)
    draft = folder.with_name(folder.name + ".draft")
    shutil.rmtree(draft, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with writing(folder, folder.parent):
            model.save_pretrained(draft, state_dict=state)
            model.generation_config.save_pretrained(draft)  # which adapters leave to their base
            tokenizer.save_pretrained(draft)
            share_tree(draft)
            sync_tree(draft)  # a record will claim it
            draft.rename(folder)
            sync(folder.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def load_student(folder: Path, base: Callable[[], PreTrainedModel]) -> PreTrainedModel:
    """Return a saved model; adapters are merged into the `base` that they were trained on."""
    if not (folder / "adapter_config.json").exists():
        return load_model(folder)
    return _merged(base(), lambda model: PeftModel.from_pretrained(model, folder), str(folder))


def weights_digest(model: torch.nn.Module) -> str:
    """Return a hash of all weights of a model on the CPU."""
    content = hashlib.sha256()
    for name, weight in model.named_parameters():
        content.update(name.encode())
        content.update(weight.detach().contiguous().flatten().view(torch.uint8).numpy().data)
    return content.hexdigest()[:16]


def trained_layer(model: Any, layer: int) -> tuple[int, tuple[torch.nn.Parameter, ...]]:
    """Return the index of a decoder layer, from 0, and its trainable parameters.

    A negative index counts from the last layer.

    Raises:
        AdakdError: the model has no such layer, or none of its parameters is trained.
    """
    layers = decoder_layers(model, "diagnostics.layer")
    if not -len(layers) <= layer < len(layers):
        raise AdakdError(
            f"diagnostics.layer: {layer}; the student has layers 0 to {len(layers) - 1}"
        )
    trained = tuple(part for part in layers[layer].parameters() if part.requires_grad)
    if not trained:
        raise AdakdError(f"diagnostics.layer: no parameter of layer {layer} is trained")
    return layer % len(layers), trained


def decoder_layers(model: Any, field: str) -> torch.nn.ModuleList:
    """Return the decoder layers of a model.

    Raises:
        AdakdError: it has no stack of them; the message names the `field` of the settings.
    """
    return _layer_stack(model, field)[1]


def _layer_stack(model: Any, field: str) -> tuple[str, torch.nn.ModuleList]:
    """Return the decoder layers, with the name of their stack in the model."""
    count = model.config.get_text_config().num_hidden_layers
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == count:
            return name, module
    raise AdakdError(f"{field}: no stack of {count} layers in {type(model).__name__}")


def location(base: Pretrained | Path) -> tuple[str, dict[str, Any]]:
    """Return the folder or hub id of a model, and the options to load it with.

    A GGUF file and adapters on another model are converted first, once a machine.

    Raises:
        AdakdError: there is no such folder.
    """
    if isinstance(base, Path):
        return str(base), {}
    if base.model.startswith((".", "/", "~")) and not Path(base.model).is_dir():
        raise AdakdError(f"model {base.model!r}: no such folder")
    options = {"revision": base.revision, "gguf_file": base.gguf_file}
    source = base.model, {key: value for key, value in options.items() if value is not None}
    folder = converted(base, lambda: _from_source(*source))
    return source if folder is None else (str(folder), {})


def _from_source(where: str, options: Mapping[str, Any]) -> tuple[PreTrainedModel, Any]:
    tokenizer = _loaded_tokenizer(where, options)  # first: it may be missing, and is quick
    return _loaded_model(where, options), tokenizer


def loaded(load: Callable[[], Any], where: str) -> Any:
    """Return what `load` loads from a model's folder or hub id.

    Raises:
        AdakdError: it cannot be loaded, or a file is damaged.
    """
    try:
        return load()
    except (OSError, ValueError, ImportError, KeyError, TypeError, *DAMAGED) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise AdakdError(
            f"model {where!r}: {first} (a folder, or a hub id where there is a network; "
            "for GGUF also gguf_file)"
        ) from None


def _dequantized(model: PreTrainedModel) -> PreTrainedModel:
    """Return the model without its GGUF quantization settings, so that it can be saved."""
    config = copy.deepcopy(model.config)
    del config.quantization_config
    plain = type(model)(config)
    plain.load_state_dict(model.state_dict())
    plain.generation_config = model.generation_config
    return plain
