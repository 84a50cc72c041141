"""What Python makes of random scores: sampling's warpers, and the boxes and masks of image processors.

Writes `postprocess.json` for `test/handler/tasks/postprocess.test.ts`; no network is run.

    python postprocess_goldens.py ../../test/fixtures
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import torch
import transformers
from transformers import DetrImageProcessorPil, Mask2FormerImageProcessorPil, MaskFormerImageProcessorPil, RTDetrImageProcessorPil
from transformers.generation.logits_process import (EpsilonLogitsWarper, EtaLogitsWarper, LogitsProcessorList, MinPLogitsWarper, TemperatureLogitsWarper,
                                                    TopKLogitsWarper, TopPLogitsWarper, TypicalLogitsWarper)
from transformers.utils import ModelOutput

from common import rounded

HEIGHT, WIDTH = 21, 30
LABELS = 70  # so many that PyTorch's topk, which need not sort, does


def warped() -> list[dict]:
    chance = random.Random(2)
    choices = {"temperature": (1.0, [0.1, 0.7, 1.5, 4.0]), "topK": (0, [1, 3, 10]), "topP": (1.0, [0.05, 0.5, 0.9]), "minP": (0.0, [0.01, 0.2, 0.9]),
               "typicalP": (1.0, [0.1, 0.5, 0.95]), "epsilonCutoff": (0.0, [0.0003, 0.02, 0.3]), "etaCutoff": (0.0, [0.0003, 0.02, 0.3])}
    cases = []
    for _ in range(120):
        scores = torch.randn(chance.choice([4, 20])) * chance.choice([0.1, 1, 3, 8])
        sampling = {name: usual if chance.random() < 0.55 else chance.choice(others) for name, (usual, others) in choices.items()}
        least = chance.choice([1, 1, 2, 3])
        warpers = LogitsProcessorList([TemperatureLogitsWarper(sampling["temperature"])])
        keep = {"min_tokens_to_keep": least}
        for name, none, make in (("topK", 0, TopKLogitsWarper), ("topP", 1, TopPLogitsWarper), ("minP", 0, MinPLogitsWarper), ("typicalP", 1, TypicalLogitsWarper),
                                 ("epsilonCutoff", 0, EpsilonLogitsWarper), ("etaCutoff", 0, EtaLogitsWarper)):
            if sampling[name] != none:
                warpers.append(make(sampling[name], **keep))
        result = warpers(None, scores[None].clone())[0].softmax(-1)
        cases.append({"sampling": sampling, "atLeast": least, "scores": rounded(scores, 9), "probabilities": rounded(result, 6)})
    return cases


def boxes() -> list[dict]:
    cases = []
    for focal in (False, True):
        for threshold in (0.1, 0.5):
            outputs = ModelOutput(logits=torch.randn(1, 12, 6) * 3, pred_boxes=torch.rand(1, 12, 4))
            processor = RTDetrImageProcessorPil() if focal else DetrImageProcessorPil()
            more = {"use_focal_loss": True} if focal else {}
            [found] = processor.post_process_object_detection(outputs, threshold=threshold, target_sizes=torch.tensor([[HEIGHT, WIDTH]]), **more)
            objects = [{"score": s, "label": label, "box": [int(v) for v in box]} for s, label, box in zip(found["scores"].tolist(), found["labels"].tolist(), found["boxes"].tolist())]
            cases.append(rounded({"focal": focal, "threshold": threshold, "logits": outputs.logits[0], "boxes": outputs.pred_boxes[0], "objects": objects}, 9))
    return cases


def runs(mask: torch.Tensor) -> list[int]:
    """Lengths of what is outside, inside, outside …"""
    lengths, inside = [0], False
    for pixel in mask.flatten().tolist():
        if pixel != inside:
            lengths.append(0)
            inside = pixel
        lengths[-1] += 1
    return lengths


def masks() -> list[dict]:
    cases = []
    for kind, processor in (("maskformer", MaskFormerImageProcessorPil()), ("mask2former", Mask2FormerImageProcessorPil())):
        for threshold, mask_threshold, overlap in ((0.3, 0.5, 0.5), (0.3, 0.2, 0.8), (0.9, 0.5, 0.5)):
            classes, planes = torch.randn(1, 8, LABELS + 1) * 4, torch.nn.functional.interpolate(torch.randn(1, 8, 3, 3) * 4, (7, 10), mode="bicubic")
            outputs = ModelOutput(class_queries_logits=classes, masks_queries_logits=planes)
            size = {"target_sizes": [(HEIGHT, WIDTH)]}
            limits = {"threshold": threshold, "mask_threshold": mask_threshold, "overlap_mask_area_threshold": overlap}
            case = {"kind": kind, **limits, "classes": rounded(classes[0], 9), "masks": rounded(planes[0], 9)}
            for subtask, post_process in (("panoptic", processor.post_process_panoptic_segmentation), ("instance", processor.post_process_instance_segmentation)):
                [found] = post_process(outputs, **limits, **size)
                case[subtask] = [{"label": s["label_id"], "score": s["score"], "runs": runs(found["segmentation"] == s["id"])} for s in found["segments_info"]]
            [semantic] = processor.post_process_semantic_segmentation(outputs, **size)
            case["semantic"] = [{"label": label, "score": None, "runs": runs(semantic == label)} for label in semantic.unique().tolist()]
            cases.append(case)
    return cases


def main() -> None:
    torch.manual_seed(7)
    torch.set_num_threads(1)
    golden = {"transformers": transformers.__version__, "size": {"width": WIDTH, "height": HEIGHT}, "warped": warped(), "boxes": boxes(), "masks": masks()}
    text = json.dumps(golden, separators=(",", ":"))
    (Path(sys.argv[1]) / "postprocess.json").write_text(text + "\n", encoding="utf-8")
    print(f"{len(text) / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
