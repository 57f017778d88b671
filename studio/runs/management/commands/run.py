"""manage.py run <recipe> --project P --input role=artifact --set key=value --wait"""

from __future__ import annotations

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from studio.models import Membership, Project, Role
from studio.runs.contract import ConfigError
from studio.runs.models import Artifact, Run
from studio.runs.progress import read_progress
from studio.runs.registry import recipes
from studio.runs.submit import submit_run


class Command(BaseCommand):
    help = "Queue a run of a recipe, as its form in the browser does."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("recipe", help=f"one of: {', '.join(recipes())}")
        parser.add_argument("--project", required=True, help="the project's slug")
        parser.add_argument("--user", help="username that starts it (default: the project's first owner)")
        parser.add_argument("--input", action="append", default=[], metavar="ROLE=ARTIFACT", help="id or name")
        parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the recipe")
        parser.add_argument("--title", default="")
        parser.add_argument("--wait", action="store_true", help="follow it to its end; exit status 1 if it fails")

    def handle(self, *args: Any, **options: Any) -> None:
        project = Project.objects.filter(slug=options["project"]).first()
        if project is None:
            raise CommandError(f"There is no project '{options['project']}'.")
        inputs: dict[str, list[Artifact]] = {}
        for text in options["input"]:
            role, name = split_pair(text, "--input")
            inputs.setdefault(role, []).append(find_artifact(project, name))
        values = dict(split_pair(text, "--set") for text in options["set"])
        try:
            run = submit_run(
                project, self._user(project, options["user"]), options["recipe"], values, inputs, options["title"]
            )
        except ConfigError as error:
            raise CommandError(str(error)) from error
        except ValueError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"run {run.pk} queued: {run.title}")
        if options["wait"]:
            self._wait(run)

    def _user(self, project: Project, username: str | None):
        memberships = Membership.objects.filter(project=project, role__in=(Role.OWNER, Role.ENGINEER))
        if username:
            memberships = memberships.filter(user__username=username)
        membership = memberships.order_by("role", "pk").last()
        if membership is None:
            raise CommandError("Runs are started by an engineer or owner of the project; none was found.")
        return membership.user

    def _wait(self, run: Run) -> None:
        said = ""
        while run.is_live:
            time.sleep(0.5)
            run.refresh_from_db()
            progress = read_progress(run)
            line = f"{run.status}: {progress.text}" if progress else run.status
            if line != said:
                self.stdout.write(line)
                said = line
        if run.status != Run.Status.SUCCEEDED:
            raise CommandError(f"run {run.pk} {run.status}: {run.error}\nlog: {run.directory / 'log.txt'}")
        for name, value in run.result.items():
            self.stdout.write(f"  {name}: {value}")
        for artifact in run.outputs.all():
            self.stdout.write(f"  → {artifact.role}: {artifact.name} (artifact {artifact.pk}, {artifact.directory})")


def split_pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise CommandError(f"{option} takes NAME=VALUE, not '{text}'.")
    return name, value


def find_artifact(project: Project, name: str) -> Artifact:
    """By id, or the newest of that name."""
    artifacts = Artifact.objects.filter(project=project)
    found = artifacts.filter(pk=int(name)).first() if name.isdigit() else artifacts.filter(name=name).first()
    if found is None:
        raise CommandError(f"There is no artifact '{name}' in project '{project.slug}'.")
    return found
