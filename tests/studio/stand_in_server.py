"""Stands at vLLM's command line where its 45 seconds are not the point: real processes, real HTTP, no model.

Like vLLM it has a second process in its group that outlives the first. `behaviour.json` in the model directory:
"ready_after" and "answer_after" (seconds), "refuse" (message), "crash" (message), "says" (the answer), "word_after"
(seconds before each word of a stream), "break_after" (words after which the stream breaks off).
"""

import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

arguments = dict(zip(sys.argv[1::1], sys.argv[2::1], strict=False))
behaviour_file = Path(arguments["--model"], "behaviour.json")
behaviour = json.loads(behaviour_file.read_text()) if behaviour_file.exists() else {}
running = 0
lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/health":
            self.reply(503 if behaviour.get("engine_dead") else 200, b"")
        elif self.path == "/metrics":
            self.reply(200, f'# HELP x\nvllm:num_requests_running{{engine="0"}} {float(running)}\n'.encode())

    def do_POST(self) -> None:
        global running
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["Authorization"] != f"Bearer {os.environ['VLLM_API_KEY']}":
            return self.reply(401, b'{"error": {"message": "Unauthorized"}}')
        if "refuse" in behaviour:
            return self.reply(400, json.dumps({"error": {"message": behaviour["refuse"]}}).encode())
        text = behaviour.get("says") or f"You said **{body['messages'][-1]['content']}**."
        with lock:
            running += 1
        try:
            time.sleep(behaviour.get("answer_after", 0))
            if body.get("stream"):
                return self.stream(text)
        finally:
            with lock:
                running -= 1
        choice = {"message": {"content": text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 5, "completion_tokens": 7}
        echoed = {name: body[name] for name in ("model", "temperature", "top_p", "max_tokens", "seed")}
        self.reply(200, json.dumps({"choices": [choice], "usage": usage, "echo": echoed}).encode())

    def stream(self, text: str) -> None:
        """Word by word, as server-sent events; HTTP/1.0 ends with the connection."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        words = text.split(" ")
        for number, word in enumerate(words, 1):
            time.sleep(behaviour.get("word_after", 0))
            if number > behaviour.get("break_after", len(words)):
                return
            last = number == len(words)
            choice = {
                "delta": {"content": word if last else f"{word} "}, "finish_reason": "stop" if last else None,
            }  # fmt: skip
            self.event({"choices": [choice], "usage": {"completion_tokens": number}})
        self.event({"choices": [], "usage": {"completion_tokens": len(words)}})
        self.wfile.write(b"data: [DONE]\n\n")

    def event(self, content: dict) -> None:
        try:
            self.wfile.write(f"data: {json.dumps(content)}\n\n".encode())
        except OSError:
            raise SystemExit from None  # nobody listens any more

    def reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


engine_core = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("(APIServer) INFO non-default args: {}", flush=True)
time.sleep(behaviour.get("ready_after", 0))
if "crash" in behaviour:
    print(
        "(EngineCore) INFO Initializing a V1 LLM engine (v0.32.0)\n(EngineCore) ERROR ValueError:", behaviour["crash"]
    )
    print("RuntimeError: Engine core initialization failed. See root cause above.", flush=True)
    os._exit(1)
ThreadingHTTPServer((arguments["--host"], int(arguments["--port"])), Handler).serve_forever()
