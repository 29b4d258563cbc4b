"""Models and tokenizers from a folder, the hub, a GGUF file or from scratch; saving of models."""

import copy
import hashlib
import pickle
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import SafetensorError
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    set_seed,
)

from adakd.config import Lora, Pretrained, Pruned, Scratch
from adakd.errors import AdakdError, one_line
from adakd.store.disk import share_tree, sync, sync_tree, writing

DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
DAMAGED = (SafetensorError, RuntimeError, EOFError, pickle.UnpicklingError, StrictDataclassError)
"""Exceptions of readers of models whose files are damaged or hold another model."""
END, PADDING = "<end>", "<pad>"


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
        AdakdError: it cannot be loaded.
    """
    where, options = location(base)
    tokenizer = loaded(lambda: AutoTokenizer.from_pretrained(where, **options), where)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def train_tokenizer(texts: Sequence[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer trained on `texts`; training is deterministic."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END, PADDING],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, eos_token=END, pad_token=PADDING, padding_side="left"
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
            "token by token; choose a student with the teacher's tokenizer"
        )


# --- models ---------------------------------------------------------------------------------


def load_model(base: Pretrained | Path) -> PreTrainedModel:
    """Load a pretrained causal language model in float32, on the CPU.

    Raises:
        AdakdError: it cannot be loaded.
    """
    where, options = location(base)
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
        options = {"revision": base.revision, "gguf_file": base.gguf_file}
        given = {name: value for name, value in options.items() if value is not None}
        return AutoConfig.from_pretrained(base.model, **given)
    except Exception as error:  # a configuration can be wrong in any way
        raise AdakdError(f"configuration of a model: {' '.join(str(error).split())}") from None


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
    name, layers = _layers(teacher, "student.drop_layers")
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
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        raise AdakdError(f"{field}.target_modules: {error}") from None


def save(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write a model (or its adapters) and its tokenizer; the folder appears atomically."""
    draft = folder.with_name(folder.name + ".draft")
    shutil.rmtree(draft, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with writing(folder, folder.parent):
            model.save_pretrained(draft)
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
    merged: PreTrainedModel = PeftModel.from_pretrained(base(), folder).merge_and_unload()
    return merged.requires_grad_(True)  # peft froze them; a pruned student trains them again


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
    _, layers = _layers(model, "diagnostics.layer")
    if not -len(layers) <= layer < len(layers):
        raise AdakdError(
            f"diagnostics.layer: {layer}; the student has layers 0 to {len(layers) - 1}"
        )
    trained = tuple(part for part in layers[layer].parameters() if part.requires_grad)
    if not trained:
        raise AdakdError(f"diagnostics.layer: no parameter of layer {layer} is trained")
    return layer % len(layers), trained


def _layers(model: Any, field: str) -> tuple[str, torch.nn.ModuleList]:
    """Return the module list of the decoder layers, with its name in the model."""
    count = model.config.get_text_config().num_hidden_layers
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == count:
            return name, module
    raise AdakdError(f"{field}: no stack of {count} layers in {type(model).__name__}")


def location(base: Pretrained | Path) -> tuple[str, dict[str, Any]]:
    """Return the folder or hub id of a model, and the options to load it with.

    Raises:
        AdakdError: there is no such folder.
    """
    if isinstance(base, Path):
        return str(base), {}
    if base.model.startswith((".", "/", "~")) and not Path(base.model).is_dir():
        raise AdakdError(f"model {base.model!r}: no such folder")
    options = {"revision": base.revision, "gguf_file": base.gguf_file}
    return base.model, {key: value for key, value in options.items() if value is not None}


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
