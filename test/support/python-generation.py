"""Calls methods of OpenAI's and Hugging Face's Python clients that generate, and prints what they return.

stdin: {"url": "http://…", "calls": [{"client": "openai" | "hub", "method": "completions.create", "arguments": {…}}]}. stdout: for each call one
{"result": …}, a list where it is a stream, or {"error": {"class", "message"}}.
"""

import json
import sys
from dataclasses import asdict, is_dataclass
from functools import reduce

from huggingface_hub import InferenceClient
from openai import OpenAI


def to_plain(value):
    if hasattr(value, "model_dump"):
        return value.model_dump()
    if is_dataclass(value):
        return asdict(value)
    return value if isinstance(value, (str, int, float, bool, dict, list, type(None))) else [to_plain(each) for each in value]


def main():
    order = json.load(sys.stdin)
    clients = {
        "openai": OpenAI(base_url=f"{order['url']}/v1", api_key="any", max_retries=0),
        "hub": InferenceClient(order["url"]),
    }
    for call in order["calls"]:
        method = reduce(getattr, call["method"].split("."), clients[call["client"]])
        try:
            answer = {"result": to_plain(method(**call["arguments"]))}
        except Exception as error:  # whatever a client throws is what a test looks at
            answer = {"error": {"class": type(error).__name__, "message": str(error)}}
        print(json.dumps(answer))


if __name__ == "__main__":
    main()
