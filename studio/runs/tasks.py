"""Celery's door to the launcher, and the sweep that keeps the database's queue moving."""

from __future__ import annotations

from datetime import timedelta

from celery import shared_task
from celery.signals import worker_shutting_down
from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from studio.runs.launcher import Execution, stop_for_worker_shutdown
from studio.runs.models import Run


@worker_shutting_down.connect
def _checkpoint_and_stop(**kwargs) -> None:
    stop_for_worker_shutdown()


@shared_task
def execute_run(run_id: int) -> None:
    """Redelivery is harmless: only a queued run can be claimed."""
    Execution(run_id).execute()


@shared_task
def recover_runs() -> None:
    """Queue runs again whose worker stopped its heartbeat, and hand over queued ones that no message speaks of."""
    now = timezone.now()
    silent = now - timedelta(seconds=settings.RUN_HEARTBEAT_TIMEOUT_SECONDS)
    for run in Run.objects.filter(status=Run.Status.RUNNING).filter(Q(heartbeat_at__lt=silent) | Q(heartbeat_at=None)):
        mine = Run.objects.filter(
            pk=run.pk, status=Run.Status.RUNNING, worker=run.worker, heartbeat_at=run.heartbeat_at
        )
        if run.fruitless_attempts >= settings.RUN_MAX_ATTEMPTS:
            mine.update(
                status=Run.Status.FAILED,
                finished_at=now,
                error=f"Its worker died {run.fruitless_attempts} times before the run reached a new checkpoint.",
            )
        elif mine.update(status=Run.Status.QUEUED, worker="", enqueued_at=now):
            execute_run.apply_async((run.pk,), queue=run.queue)
    forgotten = now - timedelta(seconds=60)
    for run in Run.objects.filter(status=Run.Status.QUEUED, enqueued_at__lt=forgotten):
        if Run.objects.filter(pk=run.pk, status=Run.Status.QUEUED, enqueued_at=run.enqueued_at).update(enqueued_at=now):
            execute_run.apply_async((run.pk,), queue=run.queue)
