"""What Python makes of conversations with chat templates, for `test/handler/model/chat-template.test.ts`.

The templates in `chat-templates/*.jinja` are written in the manner of well-known model families: each has the format and the constructs of its
family's. Writes `chat-templates/goldens.json`: for each template and conversation the text, or that there is an error. It needs transformers and
jinja2 alone.

    python chat_goldens.py ../../test/fixtures
"""

from __future__ import annotations

import copy
import json
import sys
from datetime import datetime
from pathlib import Path

import jinja2
import transformers
from transformers.utils import chat_template_utils

TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
NOW = datetime(2026, 3, 5, 14, 7, 9)

WEATHER = {"type": "function", "function": {"name": "get_weather", "description": "The weather of a city, in °C", "parameters": {
    "type": "object", "properties": {"city": {"type": "string", "description": "A city's name"}, "unit": {"type": ["string", "null"], "enum": ["c", "f"]}}, "required": ["city"]}}}
CLOCK = {"type": "function", "function": {"name": "get_time", "description": "Now", "parameters": {"type": "object", "properties": {}, "required": []}}}


def user(content: object) -> dict:
    return {"role": "user", "content": content}


def assistant(content: object, **more: object) -> dict:
    return {"role": "assistant", "content": content, **more}


def system(content: str) -> dict:
    return {"role": "system", "content": content}


CALL = {"id": "abcDEF123", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Köln", "unit": "c"}}}

CONVERSATIONS = {
    "one": {"messages": [user("Hello, who are you?")]},
    "no generation prompt": {"messages": [user("Hello"), assistant("Hi")], "add_generation_prompt": False},
    "system": {"messages": [system("Be brief.\n"), user("Hi"), assistant("Hello!\n"), user("  2 < 3 & \"quotes\"? ")]},
    "odd roles": {"messages": [user("a"), user("b")]},
    "skipped": {"messages": [user("a"), {"role": "skip", "content": "b"}, user("c"), {"role": "stop", "content": "d"}, user("e")]},
    "unicode": {"messages": [user("日本語 👩‍👩‍👧 ñ\t\u2028 \\n")]},
    "tools": {"messages": [system("Use tools."), user("Weather in Köln?")], "tools": [WEATHER, CLOCK]},
    "no tools": {"messages": [user("Hi")], "tools": []},
    "tool answer": {"messages": [user("Weather?"), assistant(None, tool_calls=[CALL]), {"role": "tool", "content": "{\"celsius\": 21.5}", "tool_call_id": "abcDEF123"}],
                    "tools": [WEATHER]},
    "two calls": {"messages": [user("Weather?"), assistant(None, tool_calls=[CALL, CALL]), {"role": "tool", "content": "21", "tool_call_id": "abcDEF123"},
                               {"role": "tool", "content": "22", "tool_call_id": "abcDEF123"}], "tools": [WEATHER]},
    "thoughts": {"messages": [user("1+1?"), assistant("<think>\nEasy.\n</think>\n\n2"), user("2+2?"), assistant("4", reasoning_content="Sum.")], "add_generation_prompt": False},
    "indented": {"messages": [user("\n  x = 1"), assistant("<think>\n\n a\n </think>\n\n    def f():\n"), user("y")]},
    "not thinking": {"messages": [user("1+1?")], "enable_thinking": False},
    "documents": {"messages": [user("Sum up")], "documents": [{"title": "B", "text": "two\nlines"}, {"title": "A", "text": "one"}]},
    "continued": {"messages": [user("Say abc"), assistant("ab")], "continue_final_message": True, "add_generation_prompt": False},
    "continued with spaces": {"messages": [user("Say ab"), assistant(" a  ")], "continue_final_message": True, "add_generation_prompt": False},
}


class Clock(datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


def render(template: str, conversation: dict) -> dict:
    given = copy.deepcopy(conversation)
    messages, tools = given.pop("messages"), given.pop("tools", None) or None
    given.setdefault("add_generation_prompt", True)
    try:
        [text], _ = chat_template_utils.render_jinja_template([messages], tools=tools, chat_template=template, **TOKENS, **given)
    except (jinja2.TemplateError, TypeError, ValueError, KeyError) as error:
        return {"error": str(error) if type(error) is jinja2.TemplateError else True}
    return {"text": text}


def main() -> None:
    folder = Path(sys.argv[1]) / "chat-templates"
    chat_template_utils.datetime = Clock
    goldens = {path.stem: {name: render(path.read_text(), conversation) for name, conversation in CONVERSATIONS.items()} for path in sorted(folder.glob("*.jinja"))}
    written = {"transformers": transformers.__version__, "jinja2": jinja2.__version__, "tokens": TOKENS, "now": NOW.isoformat(),
               "conversations": CONVERSATIONS, "goldens": goldens}
    (folder / "goldens.json").write_text(json.dumps(written, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
