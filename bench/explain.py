"""PyTorch's part of explain.ts: a forward pass, and integrated gradients by autograd, of DistilBERT's shape with random weights.

    python3 explain.py <tokens> <points>

Prints one line of JSON: milliseconds of the processor, the median of five runs, one thread.
"""
import json
import statistics
import sys
import time

import torch
from transformers import DistilBertConfig, DistilBertForSequenceClassification

RUNS = 5


def measure(run) -> float:
    run()
    times = []
    for _ in range(RUNS):
        before = time.process_time()
        run()
        times.append(1000 * (time.process_time() - before))
    return statistics.median(times)


def main() -> None:
    tokens, points = int(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    model = DistilBertForSequenceClassification(DistilBertConfig()).eval()
    ids = torch.arange(100, 100 + tokens).expand(points, -1)
    mask = torch.ones_like(ids)
    alphas = torch.linspace(0, 1, points)[:, None, None]
    embeddings = model.distilbert.embeddings
    with torch.no_grad():
        end, start = embeddings(ids[:1]), embeddings(torch.zeros_like(ids[:1]))

    def forward():
        with torch.no_grad():
            return model(input_ids=ids, attention_mask=mask).logits

    def explain():
        path = (start + alphas * (end - start)).requires_grad_(True)
        logits = model(inputs_embeds=path, attention_mask=mask).logits
        (gradient,) = torch.autograd.grad(logits[:, 1].sum(), path)
        return (gradient.mean(0) * (end - start)[0]).sum(-1)

    print(json.dumps({"forwardMs": measure(forward), "ms": measure(explain)}))


main()
