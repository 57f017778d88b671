"""The journal refuses UPDATE and DELETE in the database itself, whoever asks.

On SQLite only UPDATE: Django empties a test database there with DELETE, on PostgreSQL with TRUNCATE.
"""

from django.db import migrations

TABLE = "annotation_journalentry"


def add_triggers(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(
            "CREATE FUNCTION annotation_journal_append_only() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'The journal is only ever added to.'; END $$"
        )
        schema_editor.execute(
            f"CREATE TRIGGER annotation_journal_append_only BEFORE UPDATE OR DELETE ON {TABLE} "
            "FOR EACH ROW EXECUTE FUNCTION annotation_journal_append_only()"
        )
    else:
        schema_editor.execute(
            f"CREATE TRIGGER annotation_journal_append_only BEFORE UPDATE ON {TABLE} "
            "BEGIN SELECT RAISE(ABORT, 'The journal is only ever added to.'); END"
        )


def drop_triggers(apps, schema_editor):
    on = f" ON {TABLE}" if schema_editor.connection.vendor == "postgresql" else ""
    schema_editor.execute(f"DROP TRIGGER annotation_journal_append_only{on}")
    if on:
        schema_editor.execute("DROP FUNCTION annotation_journal_append_only")


class Migration(migrations.Migration):
    dependencies = [("annotation", "0003_initial")]
    operations = [migrations.RunPython(add_triggers, drop_triggers)]
