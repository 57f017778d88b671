"""manage.py up: migrate and serve the studio on one machine until Ctrl-C."""

from __future__ import annotations

import signal
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser

from studio import services


class Command(BaseCommand):
    help = "Migrate the database and run web server, workers, beat and (unless REDIS_URL is set) a private Redis."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000)

    def handle(self, *args: Any, **options: Any) -> None:
        call_command("migrate", verbosity=0)
        if services.is_running():
            self.stdout.write("The studio is running already.")
            return
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            with services.running(options["host"], options["port"]) as address:
                self.stdout.write(f"Studio is at {address} (Ctrl-C stops it; runs save a checkpoint first).")
                signal.pause()
        except KeyboardInterrupt:
            self.stdout.write("Stopped.")
        except RuntimeError as error:
            raise CommandError(str(error)) from error
