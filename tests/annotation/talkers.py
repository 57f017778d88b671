"""Models that talk: each with a stand-in of vLLM's server that is healthy already, in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
from django.conf import settings
from django.utils import timezone

from studio.models import Project, User
from studio.runs.models import Artifact
from studio.serving import processes
from studio.serving.models import Server

STAND_IN = [sys.executable, str(Path(__file__).parents[1] / "studio" / "stand_in_server.py")]


def make_model(project: Project, user: User, name: str, **behaviour) -> Artifact:
    """An artifact with everything that a model directory must have, but weights of no use."""
    directory = settings.VAR / "runs" / f"talker-{time.monotonic_ns()}"
    directory.mkdir(parents=True)
    config = {"model_type": "llama", "hidden_size": 128, "num_attention_heads": 4}
    (directory / "config.json").write_text(json.dumps(config))
    (directory / "model.safetensors").touch()
    (directory / "tokenizer.json").write_text(json.dumps({"added_tokens": [{"id": 3, "content": "<|im_end|>"}]}))
    (directory / "chat_template.jinja").write_text("{{ messages }}<|im_end|>")
    (directory / "behaviour.json").write_text(json.dumps(behaviour))
    return Artifact.register(project, Artifact.Kind.MODEL, name, directory, user)


class Talkers:
    """`talkers("Hare", says="…")` is a model that answers with these words; see tests/studio/stand_in_server.py."""

    def __init__(self, project: Project, user: User) -> None:
        self.project, self.user = project, user
        self.groups: list[subprocess.Popen] = []

    def __call__(self, name: str, **behaviour) -> Artifact:
        model = make_model(self.project, self.user, name, **behaviour)
        now = timezone.now()
        server = Server.objects.create(
            artifact=model, requested_by=self.user, state=Server.State.HEALTHY, device="test", host="127.0.0.1",
            port=processes.free_port("127.0.0.1"), started_at=now, healthy_at=now, last_used_at=now,
        )  # fmt: skip
        command = [*STAND_IN, "--model", str(model.directory), "--host", server.host, "--port", str(server.port)]
        environment = {**os.environ, "VLLM_API_KEY": server.secret}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
        self.groups.append(process)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                httpx.get(f"{server.base_url}/health", timeout=1)
                return model
            except httpx.HTTPError:
                time.sleep(0.02)
        raise TimeoutError(f"the stand-in for {name} does not answer")

    def end(self) -> None:
        for process in self.groups:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
