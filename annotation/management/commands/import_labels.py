"""manage.py import_labels <file> --project P: as the import page does, preview included."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from annotation.imports import batches, stage
from annotation.imports.formats import FORMATS
from annotation.models import ImportBatch
from studio.access import ENGINEERS
from studio.models import Membership, Project, User


class Command(BaseCommand):
    help = "Import prompts, demonstrations or comparisons from a file or saved dataset; it is read here and now."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("path", help="the whole path, below one of STUDIO_IMPORT_ROOTS")
        parser.add_argument("--project", required=True, help="the project's slug")
        parser.add_argument("--user", help="username it is imported by (default: the project's first owner)")
        parser.add_argument("--format", choices=list(FORMATS), help="left out: recognised")
        parser.add_argument("--column", action="append", default=[], metavar="ROLE=COLUMN", help="what a column is")
        parser.add_argument("--split", choices=["hash", "train", "test", "file"], default="hash")
        parser.add_argument("--test-fraction", type=float, default=batches.DEFAULTS["test_fraction"])
        parser.add_argument("--source", default="", help="who made the labels")
        parser.add_argument("--licence", default="")
        parser.add_argument("--cluster", default="")
        parser.add_argument("--skip-bad", action="store_true", help="pass over bad rows and list them")
        parser.add_argument("--preview", action="store_true", help="show what the first rows would become, and stop")

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project '{options['project']}'.")
        columns = dict(_role_and_column(text) for text in options["column"])
        try:
            batch = batches.take_path(project, self._user(project, options["user"]), options["path"])
            self._choose(batch, columns, options)
            if options["preview"]:
                self._show(batch)
                batches.discard(batch)
                return
            ImportBatch.objects.filter(pk=batch.pk).update(status=ImportBatch.Status.WAITING)
        except ValueError as error:
            raise CommandError(str(error)) from error
        stage.stage(batch.pk)
        self._conclude(batch)

    def _user(self, project: Project, username: str | None) -> User:
        members = Membership.objects.filter(project=project, role__in=ENGINEERS).select_related("user")
        if username:
            members = members.filter(user__username=username)
        member = members.order_by("role", "pk").last()
        if member is None:
            raise CommandError("Labels are imported by an engineer or owner of the project; none was found.")
        return member.user

    def _choose(self, batch: ImportBatch, columns: dict[str, str], options: dict[str, Any]) -> None:
        names = ("split", "test_fraction", "source", "licence", "cluster", "skip_bad")
        chosen = {name: options[name] for name in names}
        batches.choose(batch, options["format"] or batch.format, columns=batch.options["columns"] | columns, **chosen)

    def _show(self, batch: ImportBatch) -> None:
        seen = batches.preview(batch)
        self.stdout.write(f"{FORMATS[batch.format].title}; of the first {seen.looked_at} rows: {seen.counts}")
        for problem, numbers in seen.problems:
            self.stdout.write(f"  {batch.options['unit']} {numbers[0]}: {problem}")
        for number, item in seen.items:
            self.stdout.write(f"  {batch.options['unit']} {number}: {item.kind}: {item.messages[-1]['content'][:70]!r}")

    def _conclude(self, batch: ImportBatch) -> None:
        batch.refresh_from_db()
        if batch.status == ImportBatch.Status.WAITING:
            self.stdout.write(f"import {batch.pk} waits: another import of this project is being read.")
            return
        if batch.status != ImportBatch.Status.VISIBLE:
            raise CommandError(batch.error or f"import {batch.pk} is {batch.get_status_display().lower()}.")
        counts = (f"{n} {name.replace('_', ' ')}" for name, n in batch.counts.items() if name != "skipped_rows")
        self.stdout.write(f"import {batch.pk}: {', '.join(counts)}")
        for number, problem in batch.counts.get("skipped_rows", []):
            self.stdout.write(f"  passed over: {batch.options['unit']} {number}: {problem}")


def _role_and_column(text: str) -> tuple[str, str]:
    role, equals, name = text.partition("=")
    if not equals:
        raise CommandError(f"--column takes ROLE=COLUMN, not '{text}'.")
    return role, name
