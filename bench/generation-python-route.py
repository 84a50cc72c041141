"""What one writes in Python: a route around transformers' generate(), streamed, one request after the other.

    python bench/generation-python-route.py MODEL THREADS

The weights are drawn anew from MODEL's config.json, as Python's classes read no ONNX: their values change no speed. Nothing but
torch and transformers is needed. Requests wait for each other: PyTorch would use a core for each otherwise.
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.generation.streamers import BaseStreamer

folder, threads = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(threads)
torch.set_num_interop_threads(1)
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), dtype=torch.float32).eval()
turn = threading.Lock()


class Route(BaseHTTPRequestHandler, BaseStreamer):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        self.is_prompt = True
        inputs = tokenizer(body["prompt"], return_tensors="pt")
        count = body["newTokens"]
        try:
            with turn, torch.inference_mode():
                model.generate(**inputs, streamer=self, do_sample=False, max_new_tokens=count, min_new_tokens=count)
            self.event("[DONE]")
            self.wfile.write(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client has left

    def put(self, value):
        if not self.is_prompt:
            self.event(json.dumps({"token": int(value)}))
        self.is_prompt = False

    def end(self):
        pass

    def event(self, data):
        payload = f"data: {data}\n\n".encode()
        self.wfile.write(b"%x\r\n%b\r\n" % (len(payload), payload))
        self.wfile.flush()

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Route)
print(f"Listening on http://127.0.0.1:{server.server_address[1]}", flush=True)
server.serve_forever()
