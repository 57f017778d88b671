"""The demo project, the people who sign in to it and the scripted annotators."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass

from django.conf import settings
from django.db import transaction

from annotation.failures import add_class
from annotation.models import FailureClass
from annotation.prompts import import_prompts
from evaluation.demo.content import DemoContent
from evaluation.demo.scripted_preferences import SCRIPTED_ANNOTATORS
from studio.models import ApiToken, Guideline, Membership, Project, Role, User

SLUG = "helpdesk"
PEOPLE = {"annotator": Role.ANNOTATOR, "sme": Role.SME, "engineer": Role.ENGINEER, "owner": Role.OWNER}
SCRIPTED_SME = "scripted-sme"
SEVERITY = {"minor": FailureClass.Severity.MINOR, "major": FailureClass.Severity.MAJOR}


@dataclass(frozen=True)
class Accounts:
    """Passwords by username, and API secrets of the scripted accounts by username; kept in var/demo/accounts.json."""

    passwords: dict[str, str]
    secrets: dict[str, str]


def set_up(content: DemoContent) -> tuple[Project, Accounts]:
    """The project with members, guideline, prompts and failure classes; made once, found again later."""
    path = settings.VAR / "demo" / "accounts.json"
    project = Project.objects.filter(slug=SLUG).first()
    if project is not None and path.exists():
        return project, Accounts(**json.loads(path.read_text()))
    with transaction.atomic():
        project = Project.objects.create(
            slug=SLUG,
            name="Python helpdesk",
            description="Short, finished, correct answers to questions about Python.",
        )
        accounts = _make_accounts(project)
        owner = User.objects.get(username="owner")
        Guideline.publish(project, content.guideline.text, owner, "First version")
        import_prompts(project, prompt_rows(content), owner, source="evaluation/demo/prompts.jsonl")
        for failure_class in content.failure_classes:
            add_class(
                project,
                failure_class.name,
                User.objects.get(username="sme"),
                description=failure_class.description,
                severity=SEVERITY.get(failure_class.severity, FailureClass.Severity.CRITICAL),
            )
        path.parent.mkdir(exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(handle, "w") as file:
            json.dump({"passwords": accounts.passwords, "secrets": accounts.secrets}, file, indent=1)
    return project, accounts


def prompt_rows(content: DemoContent) -> list[dict]:
    return [
        {
            "messages": [{"role": "user", "content": p.text}],
            "cluster": p.cluster,
            "tags": list(p.tags),
            "reference": {"terms": list(p.reference_terms)},
            "split": "test" if p.held_out else "train",
        }
        for p in content.prompts
    ]


def _make_accounts(project: Project) -> Accounts:
    passwords, tokens = {}, {}
    for username, role in PEOPLE.items():
        passwords[username] = secrets.token_urlsafe(9)
        user = User.objects.create_user(username, password=passwords[username])
        Membership.objects.create(project=project, user=user, role=role)
    scripted = {a.name.replace(" ", "-"): Role.ANNOTATOR for a in SCRIPTED_ANNOTATORS} | {SCRIPTED_SME: Role.SME}
    for username, role in scripted.items():
        user = User.objects.create_user(username, is_scripted=True)  # no usable password: only through the API
        Membership.objects.create(project=project, user=user, role=role)
        tokens[username] = ApiToken.issue(user, "demo")[1]
    return Accounts(passwords, tokens)
