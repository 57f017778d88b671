import django.db.models.deletion
from django.db import migrations, models

FILL = """
UPDATE annotation_claim SET project_id = (
    SELECT q.project_id FROM annotation_task t JOIN annotation_queue q ON q.id = t.queue_id
    WHERE t.id = annotation_claim.task_id
)
"""


class Migration(migrations.Migration):
    """A claim's project, filled from its task's queue. The next migration requires it: PostgreSQL alters no table
    whose foreign keys it has yet to check."""

    dependencies = [("annotation", "0005_claim_finished")]

    operations = [
        migrations.AddField(
            model_name="claim",
            name="project",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="claims",
                to="studio.project",
            ),
        ),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
    ]
