"""manage.py demo: the Python helpdesk works through the whole loop, then the studio keeps serving."""

from __future__ import annotations

import json
import signal
import sys
import time
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console

from evaluation.demo import summary
from evaluation.demo.accounts import Accounts, set_up
from evaluation.demo.content import load_content
from evaluation.demo.loop import Demo
from evaluation.demo.scale import STOCK
from studio import services


class Command(BaseCommand):
    help = "Work through the whole loop with the demo project on this machine, then keep serving it."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1")
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--once", action="store_true", help="exit after the table instead of serving")

    def handle(self, *args: Any, **options: Any) -> None:
        console = Console(width=None if sys.stdout.isatty() else 110)
        call_command("migrate", verbosity=0)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        project, accounts = set_up(load_content())
        try:
            with services.running(options["host"], options["port"]) as address:
                self.say_who_signs_in(console, address, accounts)
                figures = self.work(Demo(project, accounts, load_content(), STOCK, address, console))
                summary.print_table(figures, console)
                console.print(f"Summary: {summary.PATH}")
                if options["once"]:
                    return
                console.print(f"The studio is at [link]{address}[/link]. Ctrl-C stops it.")
                signal.pause()
        except KeyboardInterrupt:
            console.print("Stopped. Start the demo again to go on where it was.")
        except RuntimeError as error:
            raise CommandError(str(error)) from error

    def work(self, demo: Demo) -> dict[str, Any]:
        if summary.PATH.exists():
            return json.loads(summary.PATH.read_text())
        started = time.monotonic()
        demo.work_through()
        demo.seconds["loop"] = demo.seconds.get("loop", 0) + time.monotonic() - started
        return summary.write_summary(demo.project, demo.seconds)

    def say_who_signs_in(self, console: Console, address: str, accounts: Accounts) -> None:
        console.print(f"The studio is at {address}. Sign in as:")
        for username, password in accounts.passwords.items():
            console.print(f"  {username:<10} {password}", highlight=False)
