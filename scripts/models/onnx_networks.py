"""Models of transformers whose weights are an ONNX graph: tokenizer, pipeline and generation stay Python's own.

The checkpoints of the test models are gone, their graphs are what is served; so Python's answers are made with these.
"""

from __future__ import annotations

import functools
import inspect
from pathlib import Path

import numpy as np
import onnxruntime
import torch
import transformers
from transformers.modeling_outputs import BaseModelOutput, Seq2SeqLMOutput
from transformers.utils import ModelOutput

TYPES = {"tensor(int64)": np.int64, "tensor(float)": np.float32, "tensor(bool)": np.bool_}


class Graph:
    def __init__(self, path: Path):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.inputs = {value.name: value for value in self.session.get_inputs()}
        self.outputs = [value.name for value in self.session.get_outputs()]

    def __call__(self, feeds: dict) -> dict[str, torch.Tensor]:
        arrays = {name: np.asarray(feeds[name]).astype(TYPES[value.type]) for name, value in self.inputs.items()}
        return {name: torch.from_numpy(np.array(value)) for name, value in zip(self.outputs, self.session.run(None, arrays))}

    def empty_cache(self, rows: int) -> dict[str, np.ndarray]:
        """Without a past: every step reads the whole sequence."""
        caches = {name: value.shape for name, value in self.inputs.items() if name.startswith("past_key_values")}
        return {name: np.zeros((rows, shape[1], 0, shape[3]), np.float32) for name, shape in caches.items()}


def replace_forward(module: torch.nn.Module, forward) -> None:
    """`forward(feeds)` gets the arguments by their names; generation looks at the signature."""
    original = module.forward
    names = list(inspect.signature(original).parameters)

    @functools.wraps(original)
    def named(*values, **others):
        return forward({**dict(zip(names, values)), **others})
    module.forward = named


def load_network(folder: Path, architecture: str | None = None):
    config = transformers.AutoConfig.from_pretrained(folder)
    model = getattr(transformers, architecture or config.architectures[0])(config).eval()
    graphs = {path.stem: path for path in (folder / "onnx").glob("*.onnx") if "quantized" not in path.stem}
    if "decoder_model_merged" in graphs:
        replace_halves(model, Graph(graphs["encoder_model"]), Graph(graphs["decoder_model_merged"]))
    else:
        replace_whole(model, Graph(graphs["model"]))
    if (folder / "generation_config.json").exists():
        model.generation_config = transformers.GenerationConfig.from_pretrained(folder)
        model.generation_config.use_cache = False
    return model


def replace_halves(model, encoder: Graph, decoder: Graph) -> None:
    def encode(feeds):
        return BaseModelOutput(last_hidden_state=encoder({name: feeds[name] for name in encoder.inputs})["last_hidden_state"])

    def decode(feeds):
        ids, encoded = feeds["decoder_input_ids"], feeds.get("encoder_outputs")
        hidden = encode(feeds).last_hidden_state if encoded is None else encoded[0]
        given = {"input_ids": ids, "encoder_hidden_states": hidden, "use_cache_branch": [False], **decoder.empty_cache(len(ids))}
        return Seq2SeqLMOutput(logits=decoder({**given, "encoder_attention_mask": feeds.get("attention_mask")})["logits"])
    replace_forward(model.get_encoder(), encode)
    replace_forward(model, decode)


def replace_whole(model, graph: Graph) -> None:
    def run(feeds):
        ids = feeds.get("input_ids")
        if ids is not None:
            mask = feeds["attention_mask"] if feeds.get("attention_mask") is not None else torch.ones_like(ids)
            places = (mask.long().cumsum(-1) - 1).clamp(min=0)
            feeds = {"token_type_ids": torch.zeros_like(ids), "position_ids": places, **feeds, "attention_mask": mask, **graph.empty_cache(len(ids))}
        return ModelOutput({name: value for name, value in graph(feeds).items() if not name.startswith("present")})
    replace_forward(model, run)
