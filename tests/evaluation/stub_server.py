"""A small server of OpenAI's completions: ``stub_server.py FOLDER PORT DTYPE``.

It answers with the saved model, greedily and one prompt at a time, by plain transformers. With the
variable ``STUB_ECHO`` it loads none and repeats the prompt; with ``STUB_DIES`` it ends after so
many requests, the first time that it is started.
"""

import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FOLDER, PORT, DTYPE = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
ECHO = "STUB_ECHO" in os.environ
SEEN = FOLDER.parent / "seen.jsonl"
MARK = FOLDER.parent / "was-started"
LIFE = 0 if MARK.exists() else int(os.environ.get("STUB_DIES", "0"))
MARK.touch()
one_at_a_time, answered = threading.Lock(), 0

if not ECHO:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    MODEL = AutoModelForCausalLM.from_pretrained(FOLDER, dtype=getattr(torch, DTYPE))
    TOKENIZER = AutoTokenizer.from_pretrained(FOLDER)


def answer(asked: dict[str, Any]) -> tuple[list[int], str]:
    if ECHO:
        return [*asked["prompt"][: asked["max_tokens"]], asked["stop_token_ids"][0]], ""
    prompt = torch.tensor([asked["prompt"]])
    ids = MODEL.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=asked["max_tokens"],
        do_sample=False,
    )[0, prompt.shape[1] :].tolist()
    return ids, TOKENIZER.decode(ids, skip_special_tokens=True)


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass

    def reply(self, content: Any, code: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.reply({"object": "list", "data": [{"id": str(FOLDER), "object": "model"}]})

    def do_POST(self) -> None:
        global answered
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with one_at_a_time:
            with SEEN.open("a") as seen:
                seen.write(json.dumps({**asked, "dtype": DTYPE}) + "\n")
            answered += 1
            if LIFE and answered > LIFE:
                print("out of memory, they say", flush=True)
                os._exit(3)
            if asked["max_tokens"] > 1000:
                self.reply({"error": {"message": "max_tokens is too large"}}, 400)
                return
            ids, text = answer(asked)
        ended = ids[-1:] == asked["stop_token_ids"]
        reason = "stop" if ended else "length"
        choice = {"index": 0, "text": text, "finish_reason": reason, "token_ids": ids}
        self.reply({"id": "1", "object": "text_completion", "created": 0, "model": "m",
                    "choices": [choice]})  # fmt: skip


ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
