"""Celery: send queues to Label Studio, fetch what was done there."""

from __future__ import annotations

from celery import shared_task

from annotation.label_studio.client import why_not_configured
from annotation.label_studio.pull import pull
from annotation.label_studio.push import push
from annotation.models import LabelStudioLink
from studio.models import User


@shared_task(name="annotation.label_studio.tasks.push_link")
def push_link(link_id: int, user_id: int) -> None:
    link, user = LabelStudioLink.objects.get(pk=link_id), User.objects.get(pk=user_id)
    try:
        push(link, user)
    except ValueError:  # somebody else's push or pull has begun meanwhile: the page shows it
        return


@shared_task(name="annotation.label_studio.tasks.pull_link")
def pull_link(link_id: int, user_id: int | None = None) -> None:
    user = None if user_id is None else User.objects.get(pk=user_id)
    try:
        pull(LabelStudioLink.objects.get(pk=link_id), user)
    except ValueError:
        return


@shared_task(name="annotation.label_studio.tasks.pull_all")
def pull_all() -> None:
    """Beat: fetch what is new for every queue that is linked."""
    if why_not_configured():
        return
    linked = LabelStudioLink.objects.filter(is_active=True, remote_project__isnull=False)
    for link_id in linked.values_list("pk", flat=True):
        pull_link.delay(link_id)
