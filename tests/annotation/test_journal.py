"""The journal is only ever added to: the model refuses, and so does the database."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, connection, transaction

from annotation.journal import record
from annotation.models import JournalEntry
from studio.models import Membership, Project, Role, User


def assert_nothing_written_changes(project, annotator) -> None:
    entry = record(project, annotator, "submitted", person=annotator, reason="first")
    for change in (entry.save, entry.delete, JournalEntry.objects.all().delete):
        with pytest.raises(TypeError, match="only ever added to"):
            change()
    with pytest.raises(TypeError):
        JournalEntry.objects.update(act="nothing")
    with pytest.raises(DatabaseError, match="only ever added to"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE annotation_journalentry SET act = 'nothing'")
    assert list(JournalEntry.objects.values_list("act", "actor", "person", "detail")) == [
        ("submitted", annotator.pk, annotator.pk, {"reason": "first"})
    ]


def test_no_entry_changes(project, annotator):
    assert_nothing_written_changes(project, annotator)


@pytest.mark.postgres
def test_no_entry_changes_on_postgres(on_postgres):

    project = Project.objects.create(slug="crowd", name="Crowd")
    user = User.objects.create(username="person")
    Membership.objects.create(project=project, user=user, role=Role.ANNOTATOR)
    assert_nothing_written_changes(project, user)
    with pytest.raises(DatabaseError, match="only ever added to"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM annotation_journalentry")
