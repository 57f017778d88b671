"""Celery: put a large queue into its order."""

from __future__ import annotations

from celery import shared_task

from annotation.models import Queue
from annotation.ordering import reorder
from studio.models import User


@shared_task(name="annotation.ordering_tasks.reorder_queue")
def reorder_queue(queue_id: int, user_id: int | None = None) -> None:
    reorder(Queue.objects.get(pk=queue_id), User.objects.filter(pk=user_id).first())
