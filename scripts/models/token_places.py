"""Where Python's fast tokenizers have the tokens of odd texts, for `test/handler/model/token-places.test.ts`.

Makes a small tokenizer of each kind that is on the Hub, and asks it and the tokenizers of the test models.

    python token_places.py ../../test/fixtures
"""

from __future__ import annotations

import io
import json
import random
import re
import sys
import unicodedata
from pathlib import Path

import sentencepiece
import tokenizers
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

TEXTS_PER_KIND = 24
TEXTS_PER_MODEL = 8

LETTERS = list("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
POOLS = [
    LETTERS,
    list("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") + ["…", "“", "”", "’", "—", "€", "£", "°", "。", "、", "！", "™", "№", "½"],
    ["é", "è", "ü", "ñ", "ç", "Å", "ø", "ß", "İ", "ı", "e\u0301", "a\u0308", "o\u0302\u0323", "ﬁ", "ŉ", "ǆ", "Σ", "ς", "Ω", "Ж", "й", "и\u0306", "ẞ"],
    ["日", "本", "中", "文", "한", "국", "\u1112\u1161\u11ab", "م", "رَ", "न", "स्", "ते", "ก", "กำ", "שָׁ", "ｱ", "ﾞ", "カ", "１", "Ａ", "㍿", "①", "²", "𠮷", "𝐀", "𓀀"],
    ["👍", "👍🏽", "👨\u200d👩\u200d👧", "❤\ufe0f", "🇩🇪", "😀", "☺", "⚡"],
    [" ", " ", "  ", "   ", "\t", "\n", "\r\n", "\u00a0", "\u3000", "\u2009", "\u200b", "\u2028", "\u0085"],
    ["\u0000", "\u0007", "\ufffd", "\u00ad", "\u200d", "\u200e", "\ufe0f", "\u0300", "\u20dd", "\ue000", "\u0378", "\ufeff"],
]
WEIGHTS = [[8, 2, 0, 0, 0, 0, 0], [5, 2, 2, 1, 1, 1, 0], [3, 2, 2, 2, 2, 2, 1], [2, 1, 4, 4, 2, 2, 2], [1, 1, 1, 1, 1, 1, 4]]


def make_texts(name: str, words: list[str], specials: list[str], count: int) -> list[str]:
    chance = random.Random(name)
    texts = []
    for _ in range(count):
        weights = chance.choice(WEIGHTS)
        parts = []
        for _ in range(chance.randint(1, 8)):
            kind = chance.random()
            if kind < 0.35:
                parts.append(chance.choice(words))
            elif kind < 0.42 and specials:
                parts.append(chance.choice(specials))
            else:
                parts.append("".join(chance.choice(chance.choices(POOLS, weights)[0]) for _ in range(chance.randint(1, 5))))
            if chance.random() < 0.7:
                parts.append(chance.choice([" "] * 8 + ["  ", "\n", " \t"]))
        # JavaScript takes U+FEFF for white space, and a mask swallows that: the one difference that is left.
        texts.append(re.sub("\ufeff(?=\\s*(<mask>|\\[MASK\\]))", "", "".join(parts)))
    return texts


CORPUS = [
    "The quick brown fox jumps over the lazy dog, and the dog does not mind.",
    "Café naïve Straße ñandú fine Привет мир 日本 中文 한국",
    "In 2024 there were 365 days; it's what they've said, isn't it?",
    "A model reads tokens, a tokenizer writes tokens, and a test compares them.",
] * 8


# SentencePiece ---------------------------------------------------------------------------------------------------------

def sentencepiece_parts() -> tuple[list[tuple[str, float]], bytes]:
    """Pieces with scores, and a map of characters: what `nmt_nfkc`, which is 240 KB, says of the characters used here."""
    rule = sentencepiece.SentencePieceNormalizer(rule_name="nmt_nfkc", add_dummy_prefix=False, escape_whitespaces=False, remove_extra_whitespaces=False)
    singles = {c for pool in POOLS for text in pool for c in text} - {"\u0000"}
    pairs = {base + mark for base in LETTERS + ["Ж", "и", "カ"] for mark in "\u0300\u0301\u0302\u0306\u0308\u0323\uff9e\u3099"}
    rules = []
    for source in sorted(singles | pairs):
        target = rule.normalize(source)
        if target != source and (len(source) == 1 or len(target) == 1):
            rules.append("\t".join(" ".join(f"{ord(c):X}" for c in text) for text in (source, target)))
    table = Path("nmt-subset.tsv")
    table.write_text("\n".join(rules) + "\n", encoding="utf-8")
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS), model_writer=written, vocab_size=260, model_type="unigram", hard_vocab_limit=False,
        character_coverage=1.0, minloglevel=2, normalization_rule_tsv=str(table))
    table.unlink()
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(written.getvalue())
    pieces = [(p.piece, round(p.score, 4)) for p in model.pieces if p.piece not in ("<unk>", "<s>", "</s>")]
    return pieces, model.normalizer_spec.precompiled_charsmap


PIECES, CHARSMAP = sentencepiece_parts()


def special(content: str, **options) -> AddedToken:
    return AddedToken(content, special=True, normalized=False, **options)


def unigram(specials: list[str], unknown: str, normalizer, pre_tokenizer, template, added: list[AddedToken]) -> Tokenizer:
    names = [a.content for a in added if a.content not in specials]
    vocabulary = [(token, 0.0) for token in specials] + PIECES + [(name, 0.0) for name in names]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=specials.index(unknown), byte_fallback=False))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
    tokenizer.add_special_tokens(added)
    tokenizer.post_processor = template(tokenizer)
    return tokenizer


def template(single: str, pair: str, tokens: list[str]):
    def make(tokenizer: Tokenizer):
        return processors.TemplateProcessing(single=single, pair=pair, special_tokens=[(t, tokenizer.token_to_id(t)) for t in tokens])
    return make


BERT = template("[CLS]:0 $A:0 [SEP]:0", "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", ["[CLS]", "[SEP]"])
XLM = template("<s> $A </s>", "<s> $A </s> </s> $B </s>", ["<s>", "</s>"])
T5 = template("$A </s>", "$A </s> $B </s>", ["</s>"])


def sentencepiece_kinds() -> dict[str, Tokenizer]:
    charsmap = normalizers.Precompiled(CHARSMAP)
    one_space = normalizers.Replace(Regex(" {2,}"), " ")
    marks = pre_tokenizers.Metaspace(prepend_scheme="always")
    by_word = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), marks])
    xlm = [special(t) for t in ("<s>", "<pad>", "</s>", "<unk>")] + [special("<mask>", lstrip=True)]
    deberta = [special("[PAD]"), special("[CLS]"), special("[SEP]"), AddedToken("[UNK]", special=True, normalized=True), special("[MASK]")]
    albert = [special(t) for t in ("<pad>", "<unk>", "[CLS]", "[SEP]")] + [special("[MASK]", lstrip=True)]
    t5 = [special(t) for t in ("<pad>", "</s>", "<unk>", "<extra_id_0>")]
    quotes = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
    bare = [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
    end = normalizers.Strip(left=False, right=True)
    marked = normalizers.Replace(Regex(" {2,}"), "▁")
    names = [t.content for t in xlm[:4]]
    return {
        "xlm-roberta": unigram(names, "<unk>", normalizers.Sequence([charsmap, one_space]), by_word, XLM, xlm),
        "xlm-roberta-5": unigram(names, "<unk>", normalizers.Sequence([charsmap, end, marked]), marks, XLM, xlm),
        "deberta-v2": unigram([t.content for t in deberta[:4]], "[UNK]", normalizers.Sequence([normalizers.Strip(), charsmap, one_space]), pre_tokenizers.Sequence([marks]), BERT, deberta),
        "albert": unigram([t.content for t in albert[:4]], "<unk>", normalizers.Sequence([*quotes, *bare, charsmap, one_space]), marks, BERT, albert),
        "t5": unigram([t.content for t in t5[:3]], "<unk>", normalizers.Sequence([charsmap, end, marked]), marks, T5, t5),
    }


# Byte-pair encoding ----------------------------------------------------------------------------------------------------

def byte_level(pre_tokenizer, normalizer=None, added: list[AddedToken] = []) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    if normalizer:
        tokenizer.normalizer = normalizer
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=340, show_progress=False, initial_alphabet=alphabet))
    tokenizer.add_special_tokens(added)
    return tokenizer


def roberta(adds_space: bool, trims: bool) -> Tokenizer:
    added = [special(t) for t in ("<s>", "</s>", "<unk>", "<pad>")] + [special("<mask>", lstrip=True)]
    tokenizer = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=adds_space), added=added)
    ends = [(t, tokenizer.token_to_id(t)) for t in ("</s>", "<s>")]
    tokenizer.post_processor = processors.RobertaProcessing(*ends, trim_offsets=trims, add_prefix_space=adds_space)
    return tokenizer


WORDS_OF_LLAMA = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
WORDS_OF_CLIP = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def split_as(pattern: str) -> pre_tokenizers.PreTokenizer:
    split = pre_tokenizers.Split(Regex(pattern), "isolated", invert=False)
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def llama3() -> Tokenizer:
    tokenizer = byte_level(split_as(WORDS_OF_LLAMA))
    value = json.loads(tokenizer.to_str())
    value["model"]["ignore_merges"] = True
    tokenizer = Tokenizer.from_str(json.dumps(value))
    tokenizer.add_special_tokens([special("<|begin_of_text|>"), special("<|eot_id|>")])
    begin = template("<|begin_of_text|> $A", "<|begin_of_text|> $A <|begin_of_text|>:1 $B:1", ["<|begin_of_text|>"])(tokenizer)
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=True), begin])
    return tokenizer


def clip() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token="<|endoftext|>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    words = pre_tokenizers.Split(Regex(WORDS_OF_CLIP), "removed", invert=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=420, show_progress=False, end_of_word_suffix="</w>", initial_alphabet=alphabet))
    value = json.loads(tokenizer.to_str())
    vocabulary = value["model"]["vocab"]
    for character in alphabet:
        vocabulary.setdefault(f"{character}</w>", len(vocabulary))
    tokenizer = Tokenizer.from_str(json.dumps(value))
    tokenizer.add_special_tokens([special("<|startoftext|>"), special("<|endoftext|>")])
    ends = [(t, tokenizer.token_to_id(t)) for t in ("<|endoftext|>", "<|startoftext|>")]
    tokenizer.post_processor = processors.RobertaProcessing(*ends, trim_offsets=False, add_prefix_space=False)
    return tokenizer


def llama2() -> Tokenizer:
    """No words: a space is a character like others, and what is not in the vocabulary is written in bytes."""
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    texts = [re.sub(r"[^ -~]", "", text) for text in CORPUS]
    trained.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=160, show_progress=False, max_token_length=12))
    model = json.loads(trained.to_str())["model"]
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + sorted(model["vocab"], key=model["vocab"].get)
    vocabulary = {token: index for index, token in enumerate(tokens)}
    merges = [tuple(merge) for merge in model["merges"]]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.normalizer = trained.normalizer
    tokenizer.add_special_tokens([special(t) for t in tokens[:3]])
    tokenizer.post_processor = template("<s> $A", "<s> $A <s>:1 $B:1", ["<s>"])(tokenizer)
    return tokenizer


def byte_kinds() -> dict[str, Tokenizer]:
    end = [special("<|endoftext|>")]
    gpt2 = byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False), added=end)
    gpt2.post_processor = processors.ByteLevel(trim_offsets=False)
    qwen2 = byte_level(split_as(WORDS_OF_LLAMA.replace("{1,3}", "")), normalizers.NFC(), [*end, special("<|im_start|>")])
    qwen2.post_processor = processors.ByteLevel(trim_offsets=False, use_regex=False, add_prefix_space=False)
    falcon = byte_level(pre_tokenizers.Sequence([
        pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.ByteLevel(add_prefix_space=False),
        pre_tokenizers.Digits(individual_digits=False), pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), "isolated", invert=False)]), added=end)
    falcon.post_processor = processors.ByteLevel(trim_offsets=False)
    return {
        "gpt2": gpt2, "roberta": roberta(False, True), "roberta-space": roberta(True, True), "roberta-untrimmed": roberta(False, False),
        "qwen2": qwen2, "llama3": llama3(), "llama2": llama2(), "clip": clip(), "falcon": falcon,
    }


# Words -----------------------------------------------------------------------------------------------------------------

def word_piece(vocabulary: dict[str, int], lowercase: bool, strip_accents: bool | None, added: list[AddedToken]) -> Tokenizer:
    vocabulary = dict(vocabulary)
    for token in added:
        vocabulary.setdefault(token.content, len(vocabulary))
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=strip_accents)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(added)
    return tokenizer


def word_kinds(vocabulary: dict[str, int]) -> dict[str, Tokenizer]:
    bert = [special(t) for t in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")]
    mpnet = word_piece(vocabulary, True, None, [special(t) for t in ("<s>", "<pad>", "</s>", "[UNK]")] + [special("<mask>", lstrip=True)])
    ends = [(t, mpnet.token_to_id(t)) for t in ("</s>", "<s>")]
    mpnet.post_processor = processors.RobertaProcessing(*ends, trim_offsets=True, add_prefix_space=False)
    kinds = {"mpnet": mpnet}
    for name, lowercase, strip_accents in (("bert", True, None), ("bert-cased", False, None), ("bert-accents", True, False)):
        kinds[name] = word_piece(vocabulary, lowercase, strip_accents, bert)
        kinds[name].post_processor = BERT(kinds[name])
    words = ["[UNK]", "the", "quick", "fox", "é", "日", ",", "naïve"]
    kinds["words"] = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="[UNK]"))
    kinds["words"].pre_tokenizer = pre_tokenizers.Whitespace()
    return kinds


# -----------------------------------------------------------------------------------------------------------------------

def places(name: str, tokenizer: Tokenizer, count: int) -> list[dict]:
    tokenizer.no_truncation()
    tokenizer.no_padding()
    specials = [token["content"] for token in json.loads(tokenizer.to_str())["added_tokens"]]
    readable = (t.replace("##", "").replace("▁", " ").replace("Ġ", " ").replace("</w>", "") for t in sorted(tokenizer.get_vocab()) if t not in specials)
    words = [word for word in readable if len(word) > 2 and not word.startswith("<0x")] or ["hello"]
    texts = make_texts(name, words, specials, count)
    cases = []
    for index, text in enumerate(texts):
        pair = texts[index - 3] if index % 6 == 3 else None
        found = tokenizer.encode(text, pair)
        cases.append({
            "text": text, "pair": pair, "ids": found.ids, "types": found.type_ids,
            "texts": [-1 if s is None else s for s in found.sequence_ids],
            "words": [-1 if w is None else w for w in found.word_ids],
            "starts": [start for start, _ in found.offsets], "ends": [end for _, end in found.offsets],
        })
    return cases


def main() -> None:
    fixtures = Path(sys.argv[1])
    assert unicodedata.unidata_version >= "14"
    small = json.loads((fixtures / "models/tiny-bert-mlm/tokenizer.json").read_text(encoding="utf-8"))
    kinds = {**word_kinds(small["model"]["vocab"]), **byte_kinds(), **sentencepiece_kinds()}
    golden = {"tokenizers": tokenizers.__version__, "kinds": {}, "models": {}}
    for name, tokenizer in kinds.items():
        golden["kinds"][name] = {"tokenizer": json.loads(tokenizer.to_str()), "cases": places(name, tokenizer, TEXTS_PER_KIND)}
    for path in sorted((fixtures / "models").glob("*/tokenizer.json")):
        kind = json.loads(path.read_text(encoding="utf-8"))
        # CTC and VITS put characters side by side; nobody asks where they are.
        if kind["model"].get("type") in ("WordPiece", "BPE", "Unigram"):
            golden["models"][path.parent.name] = places(path.parent.name, Tokenizer.from_file(str(path)), TEXTS_PER_MODEL)
    text = json.dumps(golden, ensure_ascii=True, separators=(",", ":"))
    (fixtures / "token-places.json").write_text(text + "\n", encoding="utf-8")
    print(f"{len(text) / 1024:.0f} KiB, {len(kinds)} kinds, {len(golden['models'])} models")


if __name__ == "__main__":
    main()
