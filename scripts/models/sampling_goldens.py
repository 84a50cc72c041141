"""What PyTorch may draw: the probabilities that transformers' logits processors leave of fixed scores over a vocabulary of GPT-2's size.

The scores are integers made by a generator that the test has as well, divided by 8: they are exact, many of them are equal, and nothing
but the outcome need be kept. Everything is computed in float64, so that a sum of 50 000 probabilities cuts where it should.

    python sampling_goldens.py ../../test/fixtures
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from transformers.generation.logits_process import (EpsilonLogitsWarper, EtaLogitsWarper, LogitsProcessorList, MinPLogitsWarper, RepetitionPenaltyLogitsProcessor,
                                                    TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper, TypicalLogitsWarper)

VOCABULARY = 50_257
# The higher the power, the fewer tokens are likely.
POWERS = {"flat": 6, "sharp": 24}
PREVIOUS = [3, 77, 77, 1234, 40_000, 50_256]

CASES = [
    {},
    {"temperature": 0.3},
    {"temperature": 1.7},
    {"top_k": 1},
    {"top_k": 50},
    {"top_k": 20_000},
    {"top_p": 0.1},
    {"top_p": 0.9},
    {"top_p": 0.999},
    {"temperature": 0.7, "top_p": 0.95},
    {"temperature": 0.5, "top_k": 200, "top_p": 0.8},
    {"min_p": 0.05},
    {"min_p": 0.5},
    {"top_p": 0.9, "min_p": 0.1},
    {"typical_p": 0.2},
    {"typical_p": 0.9},
    {"top_k": 300, "typical_p": 0.7},
    {"epsilon_cutoff": 0.0003},
    {"eta_cutoff": 0.0006},
    {"repetition_penalty": 1.3},
    {"repetition_penalty": 0.8, "temperature": 0.6, "top_k": 100, "top_p": 0.9},
]


def make_scores(power: int) -> torch.Tensor:
    state = 2026
    scores = []
    for _ in range(VOCABULARY):
        state = (state * 1664525 + 1013904223) % 2**32
        base = state >> 16
        value = base
        for _ in range(power - 1):
            value = value * base >> 16
        scores.append((value >> 9) / 8 - 4)
    return torch.tensor([scores], dtype=torch.float64)


def processors(repetition_penalty=None, temperature=None, top_k=None, top_p=None, min_p=None, typical_p=None, epsilon_cutoff=None, eta_cutoff=None):
    """In the order of `GenerationMixin._get_logits_processor`."""
    made = [(RepetitionPenaltyLogitsProcessor, repetition_penalty), (TemperatureLogitsWarper, temperature), (TopKLogitsWarper, top_k),
            (TopPLogitsWarper, top_p), (MinPLogitsWarper, min_p), (TypicalLogitsWarper, typical_p), (EpsilonLogitsWarper, epsilon_cutoff)]
    chain = [kind(value) for kind, value in made if value is not None]
    return LogitsProcessorList(chain + ([EtaLogitsWarper(eta_cutoff)] if eta_cutoff is not None else []))


def summary(scores: torch.Tensor, case: dict) -> dict:
    before = LogitsProcessorList([RepetitionPenaltyLogitsProcessor(case["repetition_penalty"])] if "repetition_penalty" in case else [])
    ids = torch.tensor([PREVIOUS])
    penalized = before(ids, scores.clone())[0]
    left = processors(**case)(ids, scores.clone())[0]
    probabilities = left.softmax(-1)
    kept = torch.isfinite(left)
    # Of equal scores some may be kept and others not: which, only the order of a sort says.
    is_exact = not set(penalized[kept].tolist()) & set(penalized[~kept].tolist())
    places = kept.nonzero()[:, 0]
    descending = probabilities[kept].sort(descending=True).values
    return {"parameters": case, "kept": int(kept.sum()), "largest": descending[:8].tolist(), "smallest": float(descending[-1]),
            "squares": float((descending**2).sum()), **({"ids": int(places.sum())} if is_exact else {})}


def main(target: str):
    cases = []
    for name, power in POWERS.items():
        scores = make_scores(power)
        cases += [{"scores": name, "power": power, **summary(scores, case)} for case in CASES]
    (Path(target) / "sampling.json").write_text(json.dumps({"vocabulary": VOCABULARY, "previous": PREVIOUS, "cases": cases}, indent=1) + "\n")
    for case in cases:
        print(case["scores"], case["parameters"], case["kept"], "ids" in case)


if __name__ == "__main__":
    main(sys.argv[1])
