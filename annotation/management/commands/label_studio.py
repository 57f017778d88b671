"""manage.py label_studio push|pull QUEUE: what the page does, for a shell or a timer."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from annotation.label_studio.links import link_queue
from annotation.label_studio.pull import pull
from annotation.label_studio.push import push
from annotation.models import LabelStudioLink, Queue
from studio.models import User


class Command(BaseCommand):
    help = "Send a queue's tasks to Label Studio, linking it where it is not, or fetch the annotations of a linked one."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("act", choices=["push", "pull"])
        parser.add_argument("queue", type=int, help="the number of the queue, as in its address")
        parser.add_argument("--as", dest="username", default="", help="whose act it is; push needs it")

    def handle(self, *args: Any, **options: Any) -> None:
        queue = Queue.objects.filter(pk=options["queue"]).first()
        if queue is None:
            raise CommandError(f"There is no queue {options['queue']}.")
        user = self._user(options["username"])
        link = LabelStudioLink.objects.filter(queue=queue, is_active=True).first()
        try:
            if options["act"] == "push":
                report = self._push(queue, link, user)
            elif link is None:
                raise CommandError(f"“{queue.name}” is not linked: push it first.")
            else:
                report = pull(link, user)
        except ValueError as error:
            raise CommandError(str(error)) from error
        if "error" in report:
            raise CommandError(report["error"])
        self.stdout.write(json.dumps(report, indent=2, ensure_ascii=False))

    def _user(self, username: str) -> User | None:
        if not username:
            return None
        user = User.objects.filter(username=username).first()
        if user is None:
            raise CommandError(f"There is no user '{username}'.")
        return user

    def _push(self, queue: Queue, link: LabelStudioLink | None, user: User | None) -> dict[str, Any]:
        if user is None:
            raise CommandError("Say with --as whose act it is: the journal keeps it.")
        return push(link or link_queue(queue, user), user)
