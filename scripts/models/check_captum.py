"""Compares the Layer Integrated Gradients references in `build/models/_expected` with Captum itself (optional; needs Captum's source on PYTHONPATH).

The forward function and the reference inputs are those of TorchServe's transformer example. Captum's plotting
dependency is replaced by a stand-in, because nothing is drawn.
"""

from __future__ import annotations

import json
import sys
from importlib.machinery import ModuleSpec
from unittest.mock import MagicMock

import torch


class NoPlots:
    """Answers every import of a plotting module with an empty stand-in."""

    def find_spec(self, name, _path=None, _target=None):
        return ModuleSpec(name, self, is_package=True) if name.split(".")[0] in ("matplotlib", "mpl_toolkits") else None

    def create_module(self, spec):
        return MagicMock(__path__=[], __spec__=spec, __name__=spec.name)

    def exec_module(self, _module):
        pass


sys.meta_path.append(NoPlots())

from captum.attr import LayerIntegratedGradients  # noqa: E402
from transformers import BertForQuestionAnswering, BertForSequenceClassification, BertForTokenClassification, DistilBertForSequenceClassification  # noqa: E402

import decision_model, emotion_model, ner_model, qa_model  # noqa: E401, E402
from common import build_arguments  # noqa: E402

MODELS = {
    emotion_model: (DistilBertForSequenceClassification, "distilbert"), ner_model: (BertForTokenClassification, "bert"),
    qa_model: (BertForQuestionAnswering, "bert"), decision_model: (BertForSequenceClassification, "bert"),
}


def forward(inputs, attention_mask, position, model, token_type_ids):
    extra = {} if token_type_ids is None else {"token_type_ids": token_type_ids.expand(len(inputs), -1)}
    return model(inputs, attention_mask=attention_mask, **extra)[position]


def compare(model, layer, case, expected, target, position, token_types) -> float:
    ids, reference = torch.tensor([case["input_ids"]]), torch.tensor([case["reference_ids"]])
    worst = 0.0
    for method in ("gausslegendre", "riemann_trapezoid"):
        attributions, delta = LayerIntegratedGradients(forward, layer).attribute(
            inputs=ids, baselines=reference, target=target, additional_forward_args=(torch.ones_like(ids), position, model, token_types), method=method,
            n_steps=case["n_steps"], return_convergence_delta=True)
        summed = attributions.sum(dim=-1).squeeze(0)
        summed = summed / torch.norm(summed)
        worst = max(worst, float((summed - torch.tensor(expected[method]["importances"])).abs().max()), abs(float(delta[0]) - expected[method]["delta"]))
    return worst


def main() -> None:
    arguments = build_arguments(__doc__.splitlines()[0])
    for script, (model_class, base) in MODELS.items():
        file = arguments.out / "_expected" / f"{script.NAME}.json"
        checkpoint = arguments.work / f"{script.NAME}.pt"
        if not file.exists() or not checkpoint.exists():
            continue
        weights = torch.load(checkpoint, weights_only=True)
        script.CONFIG.vocab_size = len(weights[f"{base}.embeddings.word_embeddings.weight"])
        model = model_class(script.CONFIG).eval()
        model.load_state_dict(weights)
        embeddings = getattr(model, base).embeddings
        layers = {"embeddings": embeddings, "word_embeddings": embeddings.word_embeddings}
        for case in json.loads(file.read_text())["explanations"]:
            for name, layer in layers.items():
                if "layers" in case:
                    target = tuple(case["target"]) if isinstance(case["target"], list) else case["target"]
                    worst = compare(model, layer, case, case["layers"][name], target, 0, None)
                else:
                    types = torch.tensor([case["token_type_ids"]]) if "token_type_ids" in case else None
                    worst = max(compare(model, layer, case, case[side][name], case[f"target_{side}"], position, types) for position, side in enumerate(("start", "end")))
                print(f"{script.NAME:20}{name:18}difference to Captum {worst:.1e}")
                assert worst < 1e-3


if __name__ == "__main__":
    main()
