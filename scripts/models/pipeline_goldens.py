"""What Python answers with the test models: pipelines of transformers 5, beam search, question answering of 4.57.

Writes `pipelines.json` for `test/handler/tasks/pipelines.test.ts`. Where Python refuses, the answer is null.

    python pipeline_goldens.py ../../test/fixtures
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import AutoTokenizer, BatchEncoding, PreTrainedTokenizerFast, pipeline
from transformers.pipelines.base import PipelineException
from transformers.pipelines.document_question_answering import select_starts_ends

from common import rounded
from onnx_networks import load_network

STRATEGIES = ["none", "simple", "first", "average", "max"]


class Goldens:
    def __init__(self, fixtures: Path):
        self.models = fixtures / "models"
        self.sets: list[dict] = []

    def words(self, name: str) -> list[str]:
        vocabulary = json.loads((self.models / name / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
        return [word for word in vocabulary if len(word) > 2 and word[0] not in "[#"]

    def add(self, name: str, task: str, requests: list[dict], answer) -> None:
        cases = []
        for request in requests:
            try:
                with torch.no_grad():
                    found = rounded(answer(request["inputs"], **request.get("parameters", {})))
            except (ValueError, KeyError, TypeError, PipelineException) as error:
                print(f"  {task} refuses {request}: {error}"[:160])
                found = None
            cases.append({"request": request, "answer": found})
        self.sets.append({"model": name, "task": task, "cases": cases})
        print(f"{task} with {name}: {len(cases)} cases", flush=True)

    def pipeline(self, name: str, task: str):
        folder = self.models / name
        return pipeline(task, model=load_network(folder), tokenizer=AutoTokenizer.from_pretrained(folder))


def requests(inputs: list, parameters: list[dict]) -> list[dict]:
    return [{"inputs": one, "parameters": more} for one in inputs for more in parameters]


# ---------------------------------------------------------------------------------------------------------------------

class Windows:
    """A tokenizer that cuts long texts as `tokenizers` 0.22 does; 0.23.2 loses all but two of the windows."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer

    def __getattr__(self, name):
        return getattr(self.tokenizer, name)

    def __call__(self, text, stride=None, return_overflowing_tokens=None, padding=None, **options):
        if stride is None:
            return self.tokenizer(text, **options)
        whole = self.tokenizer(text, return_special_tokens_mask=True, return_offsets_mapping=True)
        fillers = {"special_tokens_mask": 1, "offset_mapping": (0, 0)}
        spans = list(cut(len(whole["input_ids"]) - 2, self.tokenizer.model_max_length - 2, stride))
        rows = {name: [[v[0], *v[1:-1][a:b], v[-1]] for a, b in spans] for name, v in whole.items()}
        longest = max(map(len, rows["input_ids"]))
        filled = {name: [row + [fillers.get(name, 0)] * (longest - len(row)) for row in lines] for name, lines in rows.items()}
        return BatchEncoding({name: torch.tensor(lines) for name, lines in filled.items()})


def cut(length: int, room: int, stride: int):
    for start in range(0, max(length, 1), room - stride):
        yield start, min(start + room, length)
        if start + room >= length:
            return


def add_token_classification(goldens: Goldens) -> None:
    pipe = goldens.pipeline("ner-bert", "token-classification")
    pipe.tokenizer = Windows(pipe.tokenizer)
    chance, words = random.Random(1), goldens.words("ner-bert")

    def text(length: int) -> str:
        chosen = [chance.choice(words) + chance.choice(["", "", "ton"]) for _ in range(length)]
        return " ".join(word.capitalize() if chance.random() < 0.4 else word for word in chosen)
    texts = ["I work at Contoso Bank in New York.", "Sarah Connor-Jones met Zoë Müller, of Fabrikam GmbH, in São Paulo 👍 on Monday.", "", text(12), text(20)]
    cases = requests(texts, [{"aggregation_strategy": s} for s in STRATEGIES])
    cases += requests(texts[:2], [{"aggregation_strategy": s, "ignore_labels": []} for s in STRATEGIES])
    cases += requests(texts[:2], [{"aggregation_strategy": "simple", "ignore_labels": ["PER"]}])
    cases += requests([text(250)], [{"aggregation_strategy": s, "stride": k} for s in STRATEGIES[1:] for k in (0, 7, 60)])
    goldens.add("ner-bert", "token-classification", cases, pipe)


def add_classifiers(goldens: Goldens) -> None:
    masked = ["The little [MASK] went to the park.", "They [MASK] the [MASK] and smiled.", "no mask"]
    cases = requests(masked, [{}, {"top_k": 2}, {"targets": ["cat", "dog", "sun"], "top_k": 2}, {"targets": "cat"}])
    goldens.add("tiny-bert-mlm", "fill-mask", cases + requests([masked[:2], masked[:1]], [{}]), goldens.pipeline("tiny-bert-mlm", "fill-mask"))
    labels = ["sports", "politics", "a story"]
    cases = requests(["The little cat went to the park.", "the " * 90], [
        {"candidate_labels": labels}, {"candidate_labels": "sports, a story"}, {"candidate_labels": labels, "multi_label": True},
        {"candidate_labels": ["one"]}, {"candidate_labels": ["one"], "multi_label": True}, {"candidate_labels": labels, "hypothesis_template": "It is {} here."},
        {"candidate_labels": labels, "hypothesis_template": "nothing"}])
    goldens.add("tiny-bert-nli", "zero-shot-classification", cases, goldens.pipeline("tiny-bert-nli", "zero-shot-classification"))
    pipe = goldens.pipeline("seqcls-bert-2way", "text-classification")
    cases = requests(["I love you", "", "so " * 300], [{}, {"top_k": 2}, {"top_k": 100}, {"function_to_apply": "none"}, {"function_to_apply": "sigmoid", "top_k": 2}])
    goldens.add("seqcls-bert-2way", "text-classification", cases, lambda text, **more: pipe(text, truncation=True, **more))


# ---------------------------------------------------------------------------------------------------------------------

def add_question_answering(goldens: Goldens) -> None:
    """The steps of 4.57's pipeline, which 5 has lost; of equal answers in several windows the best counts."""
    folder = goldens.models / "qa-bert"
    tokenizer, model = AutoTokenizer.from_pretrained(folder), load_network(folder)

    def window_answers(enc, keep, context, top_k, handle_impossible_answer, max_answer_len, align_to_words, least):
        ids, owners, words, offsets = ([values[i] for i in keep] for values in (enc.ids, enc.sequence_ids, enc.word_ids, enc.offsets))
        outputs = model(input_ids=torch.tensor([ids]), token_type_ids=torch.tensor([[enc.type_ids[i] for i in keep]]))
        masked = np.array([[int(owner != 1 and token != tokenizer.cls_token_id) for owner, token in zip(owners, ids)]])
        count = top_k * 2 + 10 if align_to_words else top_k
        starts, ends, scores, least = select_starts_ends(outputs["start_logits"].numpy(), outputs["end_logits"].numpy(), masked, np.ones((1, len(ids)), int),
                                                         least, count, handle_impossible_answer, max_answer_len)
        found: dict[str, dict] = {}
        for first, last, score in zip(starts, ends, scores):
            if owners[first] != 1 or owners[last] != 1:
                continue  # the beginning's token, with a score of 0: no answer
            if align_to_words:
                start = next(offsets[i][0] for i in range(len(ids)) if owners[i] == 1 and words[i] == words[first])
                end = [offsets[i][1] for i in range(len(ids)) if owners[i] == 1 and words[i] == words[last]][-1]
            else:
                start, end = offsets[first][0], offsets[last][1]
            same = found.setdefault(context[start:end].lower(), {"score": 0.0, "start": start, "end": end, "answer": context[start:end]})
            same["score"] += score.item()
        return found, least

    def answer(inputs, top_k=1, handle_impossible_answer=False, max_answer_len=15, align_to_words=True, max_seq_len=None, doc_stride=None):
        limit = min(max_seq_len or 384, tokenizer.model_max_length)
        stride = min(limit // 2, 128) if doc_stride is None else doc_stride
        enc = tokenizer(inputs["question"], inputs["context"]).encodings[0]
        places = [i for i, owner in enumerate(enc.sequence_ids) if owner == 1]
        room = limit - (len(enc.ids) - len(places))
        best, least = {}, 1000000
        for a, b in cut(len(places), room, stride):
            keep = [*range(places[0]), *places[a:b], *range(places[-1] + 1, len(enc.ids))]
            found, least = window_answers(enc, keep, inputs["context"], top_k, handle_impossible_answer, max_answer_len, align_to_words, least)
            for key, one in found.items():
                if key not in best or one["score"] > best[key]["score"]:
                    best[key] = one
        answers = list(best.values()) + ([{"score": least, "start": 0, "end": 0, "answer": ""}] if handle_impossible_answer else [])
        answers = sorted(answers, key=lambda one: one["score"], reverse=True)[:top_k]
        return answers[0] if top_k == 1 else answers

    chance, words = random.Random(9), goldens.words("qa-bert")

    def story(count: int) -> str:
        return " ".join(chance.choice(words) for _ in range(count))
    short = [{"question": "Where does Peter live?", "context": "Anna lives in Paris. Peter lives in London."},
             {"question": "Where does Zoë live?", "context": "Anna lives in Paris. Zoë Müller-Çelik lives in São Paulo 👍."}]
    long = [{"question": "Where does Peter live?", "context": f"{story(before)} Peter lives in London. {story(after)}"} for before, after in ((5, 90), (60, 150))]
    cases = requests(short, [{}, {"top_k": 3}, {"top_k": 20}, {"align_to_words": False, "top_k": 5}, {"max_answer_len": 1}, {"handle_impossible_answer": True, "top_k": 5}])
    cases += requests(long, [{}, {"max_seq_len": 64, "doc_stride": 16}, {"max_seq_len": 40, "doc_stride": 10, "top_k": 5}, {"max_seq_len": 50, "doc_stride": 0, "top_k": 3, "handle_impossible_answer": True}])
    goldens.add("qa-bert", "question-answering", cases, answer)


# ---------------------------------------------------------------------------------------------------------------------

BEAMS = [{"num_beams": n} for n in (2, 5)] + [{"num_beams": 4, "length_penalty": p} for p in (-1.0, 0.0, 2.0)] + [
    {"num_beams": 3, "early_stopping": True}, {"num_beams": 3, "early_stopping": "never"}, {"num_beams": 3, "early_stopping": "never", "length_penalty": 2.0},
    {"num_beams": 3, "no_repeat_ngram_size": 2}, {"num_beams": 2, "min_length": 8}, {"num_beams": 3, "repetition_penalty": 1.5}, {"num_beams": 4, "max_new_tokens": 2},
    {"num_beams": 5, "length_penalty": 1.5, "no_repeat_ngram_size": 2, "repetition_penalty": 1.2, "min_length": 4, "early_stopping": True},
    {"num_beams": 1, "no_repeat_ngram_size": 2}, {"num_beams": 1, "repetition_penalty": 1.3}, {"num_beams": 1, "repetition_penalty": 0.5}, {"num_beams": 1, "min_new_tokens": 12}]


def add_generation(goldens: Goldens) -> None:
    for name in ("tiny-t5", "tiny-bart", "tiny-marian", "tiny-m2m100", "tiny-gpt2", "tiny-llama"):
        folder = goldens.models / name
        # Marian and M2M100 have no fast tokenizer of their own in Python; the file is the same.
        tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
        model = load_network(folder)
        is_causal = not model.config.is_encoder_decoder

        def read(ids):
            specials = {token["id"] for token in json.loads(tokenizer.backend_tokenizer.to_str())["added_tokens"] if token["special"]}
            return tokenizer.decode([i for i in ids.tolist() if i not in specials], clean_up_tokenization_spaces=False)

        def answer(text, return_full_text=None, **parameters):
            encoded = tokenizer(text, return_tensors="pt", return_token_type_ids=False)
            ids = model.generate(**encoded, do_sample=False, **parameters)[0]
            prompt = read(encoded["input_ids"][0]) if is_causal else ""
            return [{"generated_text": read(ids)[len(prompt):]}]
        texts = ["Once upon a time", "Tom"] if is_causal else ["The little cat went to the park.", "Sara was sad. She lost her ball and could not find it."]
        more = {"return_full_text": False} if is_causal else {}
        cases = requests(texts, [{"max_new_tokens": 20, **more, **parameters} for parameters in BEAMS])
        goldens.add(name, "text-generation" if is_causal else "text2text-generation", cases, answer)


def main() -> None:
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    fixtures = Path(sys.argv[1]).resolve()
    goldens = Goldens(fixtures)
    add_token_classification(goldens)
    add_classifiers(goldens)
    add_question_answering(goldens)
    add_generation(goldens)
    text = json.dumps({"transformers": transformers.__version__, "sets": goldens.sets}, ensure_ascii=False, separators=(",", ":"))
    (fixtures / "pipelines.json").write_text(text + "\n", encoding="utf-8")
    print(f"{len(text) / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
