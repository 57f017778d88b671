"""The watcher of this host's model servers: a thread of the worker that serves the gpu queue.

A thread, not a task: it must go on while that queue's one slot is busy with a run, which may take weeks.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

from celery.signals import worker_ready, worker_shutdown, worker_shutting_down
from django.conf import settings
from django.db import close_old_connections, connections

from studio.serving.processes import TERMINATE_SECONDS
from studio.serving.servers import stop_all, sweep_orphans, watch

log = logging.getLogger(__name__)
WATCH_SECONDS = 1.0
_stopping = threading.Event()
_watcher = threading.Thread(target=lambda: watch_servers(), name="servers", daemon=True)


@worker_ready.connect
def _start_watching(sender: Any, **kwargs: Any) -> None:
    if "gpu" in sender.app.amqp.queues.consume_from:
        _watcher.start()


@worker_shutting_down.connect
def _stop_watching(**kwargs: Any) -> None:
    _stopping.set()


@worker_shutdown.connect
def _wait_for_watcher(**kwargs: Any) -> None:
    _stopping.set()
    if _watcher.is_alive():
        _watcher.join(2 * TERMINATE_SECONDS + 5)


def watch_servers() -> None:
    """Until the worker shuts down, which stops the servers. A worker that is killed leaves them to the next one."""
    device = settings.DEVICE_NAME
    _safely(sweep_orphans, device)
    while not _stopping.wait(WATCH_SECONDS):
        _safely(watch, device)
    _safely(stop_all, device, "The studio was shut down")
    connections.close_all()


def _safely(act: Any, *arguments: Any) -> None:
    """A database that is away for a moment must not end the watcher."""
    try:
        close_old_connections()
        act(*arguments)
    except Exception:
        log.exception("watching model servers failed; trying again")
