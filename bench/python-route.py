"""What one writes in Python: a FastAPI route around transformers' pipeline().

    python bench/python-route.py MODEL TASK THREADS
"""

import socket
import sys

import torch
import uvicorn
from fastapi import FastAPI, Request
from transformers import pipeline

model, task, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
torch.set_num_threads(threads)
run = pipeline(task, model=model, device="cpu")
app = FastAPI()


@app.post("/")
async def predict(request: Request):
    return run((await request.json())["inputs"])


listener = socket.socket()
listener.bind(("127.0.0.1", 0))
print(f"Listening on http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="error")).run(sockets=[listener])
