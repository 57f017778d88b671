"""Cancel and resume, from the web or the shell. Each is one conditional UPDATE; the worker does the rest."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from studio.runs.models import Run
from studio.runs.submit import enqueue


def cancel_run(run: Run) -> None:
    """A queued run is cancelled at once; a running one is asked to save a checkpoint and stop.

    Raises ValueError when it is over already.
    """
    for _ in range(2):  # twice: a worker may give the run back between the two looks
        waiting = Run.objects.filter(pk=run.pk, status=Run.Status.QUEUED)
        if waiting.update(status=Run.Status.CANCELLED, finished_at=timezone.now(), cancel_requested=True):
            return
        if Run.objects.filter(pk=run.pk, status=Run.Status.RUNNING).update(cancel_requested=True):
            return
    raise ValueError("This run is over; there is nothing left to cancel.")


def resume_run(run: Run) -> None:
    """Queue a failed or cancelled run again, on the same directory: it goes on from its newest checkpoint.

    Raises ValueError when it is live or has succeeded.
    """
    with transaction.atomic():
        stopped = Run.objects.filter(pk=run.pk, status__in=(Run.Status.FAILED, Run.Status.CANCELLED))
        changed = stopped.update(
            status=Run.Status.QUEUED, cancel_requested=False, error="", finished_at=None, fruitless_attempts=0
        )
        if not changed:
            raise ValueError("Only a failed or cancelled run can be resumed.")
        enqueue(run)
