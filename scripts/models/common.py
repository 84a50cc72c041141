"""Helpers shared by all model builders: seeding, tokenizers, ONNX export, int8 quantization, repository layout."""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import random
import shutil
import warnings
from collections import Counter
from pathlib import Path
from typing import Any, Iterable, Mapping, Sequence

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

OPSET = 18
TORCHSERVE_LENGTH = 150  # The max_length of TorchServe's transformer example, which pads every text to it.
BERT_SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

logging.getLogger("torch.onnx").setLevel(logging.ERROR)
logging.getLogger("onnxscript").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", category=FutureWarning)
warnings.filterwarnings("ignore", message=".*axis name.*")


# ---------------------------------------------------------------------------------------------------------------------
# Command line, seeds, files
# ---------------------------------------------------------------------------------------------------------------------

def build_arguments(description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, default=Path("build/models"), help="folder that receives one repository per model")
    parser.add_argument("--work", type=Path, default=Path("build/checkpoints"), help="folder for checkpoints")
    parser.add_argument("--only", nargs="*", default=None, help="build only these models")
    parser.add_argument("--reuse", action="store_true", help="export from an existing checkpoint instead of training")
    parser.add_argument("--threads", type=int, default=1, help="one thread is best on small or shared machines")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.out.mkdir(parents=True, exist_ok=True)
    arguments.work.mkdir(parents=True, exist_ok=True)
    return arguments


def set_seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def write_json(path: Path, value: Any, compact: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if compact:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    else:
        text = json.dumps(value, ensure_ascii=False, indent=2)
    path.write_text(text + "\n", encoding="utf-8")


def new_repository(out: Path, name: str) -> Path:
    """An empty repository folder with an `onnx` sub-folder."""
    folder = out / name
    if folder.exists():
        shutil.rmtree(folder)
    (folder / "onnx").mkdir(parents=True)
    return folder


def folder_size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def rounded(value: Any, digits: int = 7) -> Any:
    """Tensors, arrays and nested containers as plain JSON values, floats with `digits` significant digits."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return float(f"{value:.{digits}g}") if math.isfinite(value) else value
    if isinstance(value, Mapping):
        return {key: rounded(item, digits) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item, digits) for item in value]
    return value


def tensor_sample(tensor: torch.Tensor, count: int = 64) -> dict:
    """A big tensor in short: shape, some evenly spaced values, mean and standard deviation."""
    flat = tensor.detach().float().reshape(-1)
    step = max(1, flat.numel() // count)
    indices = list(range(0, flat.numel(), step))[:count]
    return {
        "dims": list(tensor.shape),
        "mean": rounded(flat.mean()),
        "std": rounded(flat.std(unbiased=False)),
        "sample_indices": indices,
        "sample_values": rounded(flat[indices]),
    }


def write_expected(out: Path, name: str, task: str, cases: list, **extra: Any) -> None:
    """Reference outputs live next to the repositories, in `_expected/NAME.json`."""
    import transformers

    write_json(out / "_expected" / f"{name}.json", {
        "model": name,
        "task": task,
        "reference": {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__},
        **extra,
        "cases": cases,
    }, compact=True)


def write_readme(folder: Path, title: str, body: str) -> None:
    (folder / "README.md").write_text(f"# {title}\n\n{body.strip()}\n", encoding="utf-8")


# ---------------------------------------------------------------------------------------------------------------------
# Tokenizers
# ---------------------------------------------------------------------------------------------------------------------

PRINTABLE_ASCII = [chr(code) for code in range(33, 127)]


def train_wordpiece(texts: Iterable[str], vocab_size: int, lowercase: bool = True,
                    extra_characters: Sequence[str] = ()) -> Tokenizer:
    """A BERT WordPiece tokenizer: single characters (so that no ASCII word is unknown), frequent words, frequent parts of words.

    The vocabulary is chosen here instead of with WordPieceTrainer, because that one breaks ties differently in every run.
    """
    normalizer = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=lowercase)
    pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(word for word, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(text)))

    alphabet = [c for c in PRINTABLE_ASCII if not (lowercase and c.isupper())] + list(extra_characters)
    pieces = BERT_SPECIALS + alphabet + [f"##{c}" for c in alphabet if c.isalnum() or c in extra_characters]
    words = sorted((w for w, n in counts.items() if n >= 2 and len(w) > 1), key=lambda w: (-counts[w], w))
    parts: Counter[str] = Counter()
    for word in counts:
        if word.isalpha():
            parts.update({word[:n] for n in (2, 3, 4) if n < len(word)})
            parts.update({f"##{word[i:i + n]}" for n in (2, 3, 4) for i in range(1, len(word) - n + 1)})
    fragments = sorted((p for p, n in parts.items() if n >= 3), key=lambda p: (-parts[p] * (len(p.removeprefix("##")) - 1), p))
    room = vocab_size - len(pieces)
    kept_fragments = fragments[:max(room - len(words), room // 4)]
    pieces = list(dict.fromkeys(pieces + words[:room - len(kept_fragments)] + kept_fragments))
    vocabulary = {piece: index for index, piece in enumerate(pieces)}

    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.add_special_tokens(BERT_SPECIALS)
    cls_id, sep_id = vocabulary["[CLS]"], vocabulary["[SEP]"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0", pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", cls_id), ("[SEP]", sep_id)])
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    return tokenizer


def save_bert_tokenizer(tokenizer: Tokenizer, folder: Path, tokenizer_class: str, lowercase: bool, max_length: int) -> None:
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    vocabulary = tokenizer.get_vocab()
    (folder / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.get)) + "\n", encoding="utf-8")
    names = dict(zip(["pad_token", "unk_token", "cls_token", "sep_token", "mask_token"], BERT_SPECIALS))
    write_json(folder / "special_tokens_map.json", names)
    write_json(folder / "tokenizer_config.json", {
        "tokenizer_class": tokenizer_class, "do_lower_case": lowercase, "model_max_length": max_length,
        "clean_up_tokenization_spaces": True, "strip_accents": None, "tokenize_chinese_chars": True, **names,
    })


def train_byte_bpe(texts: Iterable[str], vocab_size: int, specials: Sequence[str]) -> Tokenizer:
    """A GPT-2 style byte-level BPE tokenizer; special tokens get the first ids."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=list(specials), show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def pad_batch(sequences: Sequence[Sequence[int]], pad: int, left: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and attention mask, padded to the longest sequence."""
    longest = max(len(s) for s in sequences)
    ids = torch.full((len(sequences), longest), pad, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        columns = slice(longest - len(sequence), longest) if left else slice(0, len(sequence))
        ids[row, columns] = torch.tensor(sequence)
        mask[row, columns] = 1
    return ids, mask


# ---------------------------------------------------------------------------------------------------------------------
# ONNX
# ---------------------------------------------------------------------------------------------------------------------

def strip_metadata(model: onnx.ModelProto) -> None:
    """Removes exporter traces (stack traces with local paths, name spaces, inferred shapes) from the graph."""
    def clean(graph: onnx.GraphProto) -> None:
        graph.doc_string = ""
        graph.ClearField("metadata_props")
        graph.ClearField("value_info")
        for node in graph.node:
            node.doc_string = ""
            node.ClearField("metadata_props")
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.GRAPH:
                    clean(attribute.g)
        for item in [*graph.input, *graph.output, *graph.initializer]:
            item.doc_string = ""
            item.ClearField("metadata_props")
    clean(model.graph)
    model.ClearField("metadata_props")
    model.doc_string = ""
    model.producer_name = "pytorch"
    for function in model.functions:
        function.doc_string = ""
        function.ClearField("metadata_props")


def export_onnx(module: torch.nn.Module, inputs: Sequence[torch.Tensor], path: Path, input_names: Sequence[str],
                output_names: Sequence[str], dynamic_axes: Mapping[str, Mapping[int, str]], legacy: bool = False,
                optimize: bool = True) -> None:
    """Exports with the torch.export based exporter, or with the older tracing exporter where that one cannot cope."""
    path.parent.mkdir(parents=True, exist_ok=True)
    module = module.eval()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if legacy:
            torch.onnx.export(module, tuple(inputs), str(path), input_names=list(input_names),
                              output_names=list(output_names), dynamic_axes={k: dict(v) for k, v in dynamic_axes.items()},
                              opset_version=OPSET, dynamo=False)
        else:
            shapes = tuple(dict(dynamic_axes.get(name, {})) or None for name in input_names)
            shapes = _match_varargs(module, shapes)
            torch.onnx.export(module, tuple(inputs), str(path), input_names=list(input_names),
                              output_names=list(output_names), dynamic_shapes=shapes, opset_version=OPSET,
                              dynamo=True, external_data=False, optimize=optimize, verbose=False)
    model = onnx.load(str(path))
    strip_metadata(model)
    _rename_dimensions(model, output_names, dynamic_axes)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def _match_varargs(module: torch.nn.Module, shapes: tuple) -> tuple:
    """torch.export wants the shapes of `*args` as one nested tuple."""
    import inspect
    parameters = list(inspect.signature(module.forward).parameters.values())
    for position, parameter in enumerate(parameters):
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL and len(shapes) > position:
            return (*shapes[:position], tuple(shapes[position:]))
    return shapes


def _rename_dimensions(model: onnx.ModelProto, output_names: Sequence[str],
                       dynamic_axes: Mapping[str, Mapping[int, str]]) -> None:
    """Gives symbolic dimensions the readable names that the caller asked for."""
    for value in [*model.graph.input, *model.graph.output]:
        for axis, name in dynamic_axes.get(value.name, {}).items():
            dimension = value.type.tensor_type.shape.dim[axis] if axis < len(value.type.tensor_type.shape.dim) else None
            if dimension is not None and not dimension.HasField("dim_value"):
                dimension.dim_param = name


def operators(model: onnx.ModelProto) -> set[str]:
    found: set[str] = set()

    def visit(graph: onnx.GraphProto) -> None:
        for node in graph.node:
            found.add(node.op_type)
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.GRAPH:
                    visit(attribute.g)
    visit(model.graph)
    return found


def quantize_int8(source: Path, target: Path | None = None) -> Path:
    """Dynamic int8 quantization, written as NAME_quantized.onnx (what transformers.js loads for dtype "q8").

    Weights are signed 8 bit, except for graphs with convolutions: the CPU provider has no ConvInteger for signed
    weights. Signed weights use seven bits only (`reduce_range`), which avoids overflow on CPUs without VNNI.
    """
    target = target or source.with_name(f"{source.stem}_quantized.onnx")
    model = onnx.load(str(source))
    has_convolution = bool({"Conv", "ConvTranspose"} & operators(model))
    logging.getLogger().setLevel(logging.ERROR)
    quantize_dynamic(model, str(target), weight_type=QuantType.QUInt8 if has_convolution else QuantType.QInt8,
                     reduce_range=not has_convolution, per_channel=False,
                     extra_options={"EnableSubgraph": True, "MatMulConstBOnly": True})
    quantized = onnx.load(str(target))
    strip_metadata(quantized)
    onnx.save(quantized, str(target))
    return target


def run_onnx(path: Path, feeds: Mapping[str, Any]) -> dict[str, np.ndarray]:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    arrays = {k: (v.detach().numpy() if isinstance(v, torch.Tensor) else np.asarray(v)) for k, v in feeds.items()}
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, arrays)))


def check_onnx(path: Path, feeds: Mapping[str, Any], expected: Mapping[str, torch.Tensor], tolerance: float = 1e-4) -> float:
    """Largest absolute difference between the ONNX file and torch; raises when it is above `tolerance`."""
    outputs = run_onnx(path, feeds)
    worst = 0.0
    for name, reference in expected.items():
        reference = reference.detach().numpy()
        assert outputs[name].shape == reference.shape, (path.name, name, outputs[name].shape, reference.shape)
        assert np.isfinite(reference).all(), f"{path.name}: {name} is not finite"
        worst = max(worst, float(np.abs(outputs[name] - reference).max()) if reference.size else 0.0)
    if not worst <= tolerance:
        raise AssertionError(f"{path}: ONNX differs from torch by {worst:.2e}")
    return worst


class Outputs(torch.nn.Module):
    """Calls a transformers model with named inputs and returns only the named outputs, as the exporter needs it."""

    def __init__(self, model: torch.nn.Module, input_names: Sequence[str], output_names: Sequence[str], **fixed: Any):
        super().__init__()
        self.model, self.input_names, self.output_names, self.fixed = model, input_names, output_names, fixed

    def forward(self, *inputs: torch.Tensor):
        result = self.model(**dict(zip(self.input_names, inputs)), **self.fixed)
        values = tuple(getattr(result, name) for name in self.output_names)
        return values if len(values) > 1 else values[0]


def export_encoder(model: torch.nn.Module, folder: Path, example: Mapping[str, torch.Tensor], outputs: Sequence[str],
                   dynamic_axes: Mapping[str, Mapping[int, str]], other_example: Mapping[str, torch.Tensor] | None = None,
                   file_name: str = "model", legacy: bool = False, quantized: bool = True, onnx_outputs: Sequence[str] | None = None,
                   tolerance: float = 1e-4, **fixed: Any) -> Path:
    """Exports one forward pass to onnx/FILE.onnx and onnx/FILE_quantized.onnx and checks it on a second input."""
    path = folder / "onnx" / f"{file_name}.onnx"
    names = list(example)
    wrapper = Outputs(model, names, outputs, **fixed).eval()
    onnx_outputs = list(onnx_outputs or outputs)
    export_onnx(wrapper, list(example.values()), path, names, onnx_outputs, dynamic_axes, legacy=legacy)
    for feeds in [example, other_example or example]:
        with torch.no_grad():
            reference = wrapper(*feeds.values())
        reference = reference if isinstance(reference, tuple) else (reference,)
        difference = check_onnx(path, feeds, dict(zip(onnx_outputs, reference)), tolerance)
    if quantized:
        quantize_int8(path)
    print(f"  {folder.name}/{path.name}: {path.stat().st_size / 1024:.0f} KiB, torch difference {difference:.1e}", flush=True)
    return path


TEXT_AXES = {name: {0: "batch_size", 1: "sequence_length"} for name in ("input_ids", "attention_mask", "token_type_ids")}


def save_config(folder: Path, config, architecture: str, **changes: Any) -> dict:
    """config.json without local paths or versions of this machine; `architectures` is what transformers.js looks at."""
    value = config.to_dict()
    for key in ("_name_or_path", "transformers_version", "_attn_implementation", "_attn_implementation_internal",
                "attn_implementation", "dtype", "torch_dtype"):
        value.pop(key, None)
    value["architectures"] = [architecture]
    value.update(changes)
    write_json(folder / "config.json", value)
    return value
