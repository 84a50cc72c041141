"""Calls methods of OpenAI's Python client and prints what they return.

stdin: {"url": "http://…/v1", "calls": [{"method": "embeddings.create", "arguments": {…}}]}. stdout: one {"result": …} or
{"error": {"class", "status", "message", "code", "param"}} per call.
"""

import json
import sys
from functools import reduce

from openai import APIStatusError, OpenAI


def to_plain(value):
    return value.model_dump() if hasattr(value, "model_dump") else value


def main():
    order = json.load(sys.stdin)
    client = OpenAI(base_url=order["url"], api_key="any", max_retries=0)
    for call in order["calls"]:
        method = reduce(getattr, call["method"].split("."), client)
        try:
            answer = {"result": to_plain(method(**call["arguments"]))}
        except APIStatusError as error:
            answer = {
                "error": {
                    "class": type(error).__name__,
                    "status": error.status_code,
                    "message": error.message,
                    "code": error.code,
                    "param": error.param,
                }
            }
        print(json.dumps(answer))


main()
