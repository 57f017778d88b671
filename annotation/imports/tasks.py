"""Celery: bring imports in and take them out, and take up what a dead worker left."""

from __future__ import annotations

from celery import shared_task

from annotation.imports import stage, undo


@shared_task(name="annotation.imports.tasks.stage_import")
def stage_import(batch_id: int) -> None:
    stage.stage(batch_id)


@shared_task(name="annotation.imports.tasks.clear_import")
def clear_import(batch_id: int) -> None:
    undo.take_up(batch_id)


@shared_task(name="annotation.imports.tasks.recover_imports")
def recover_imports() -> None:
    for act, batch_id in stage.unattended():
        (stage_import if act == "stage" else clear_import).delay(batch_id)
