"""`manage.py trace 42`: what an artifact came from, and where the thread breaks."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from evaluation.lineage import trace
from studio.runs.models import Artifact


class Command(BaseCommand):
    help = "Count the labels, runs and artifacts behind an artifact and name every broken link. Exit status 1 for any."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("artifact", type=int, help="its number, as its page shows it")
        parser.add_argument("--no-files", action="store_true", help="do not compare the files with their sha256")

    def handle(self, *args: Any, **options: Any) -> None:
        artifact = Artifact.objects.filter(pk=options["artifact"]).first()
        if artifact is None:
            raise CommandError(f"There is no artifact {options['artifact']}.")
        found = trace([artifact], verify_files=not options["no_files"])
        self.stdout.write(f"{artifact.kind_label} {artifact.pk}, {artifact.name}")
        self.stdout.write(f"  came from {found.labels:,} labels, {found.runs:,} runs, {found.artifacts:,} artifacts")
        for problem in found.unresolved:
            self.stdout.write(f"  broken: {problem}")
        if found.unresolved:
            raise CommandError(f"{len(found.unresolved)} broken links")
        self.stdout.write("  every link holds" if options["no_files"] else "  every link holds, files included")
