"""Founding projects, and letting people into and out of them."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from django.db import IntegrityError, transaction

from studio.models import Membership, Project, Role, User

# Without letters and digits that people mix up when they copy a password by hand.
_ALPHABET = "abcdefghjkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"

LONGEST_SKILL = 40  # characters
MOST_SKILLS = 30


@dataclass(frozen=True)
class Credentials:
    """Of a new account, to be handed over; the password is kept nowhere."""

    username: str
    password: str


def found_project(project: Project, founder: User) -> Project:
    """Save a new project with its founder as owner."""
    with transaction.atomic():
        project.save()
        Membership.objects.create(project=project, user=founder, role=Role.OWNER)
    return project


def add_member(project: Project, username: str, role: str, user: User | None) -> Credentials | None:
    """Let `user` into the project, or a new account of that name when there is no user; then its credentials.

    Raises ValueError when somebody else did the same a moment earlier.
    """
    try:
        with transaction.atomic():
            if user is not None:
                Membership.objects.create(project=project, user=user, role=role)
                return None
            password = generate_password()
            created = User.objects.create_user(username=username, password=password)
            Membership.objects.create(project=project, user=created, role=role)
    except IntegrityError as error:
        what = "is a member already" if user is not None else "was just created"
        raise ValueError(f"{username} {what}: somebody was faster. Look at the list, then try again.") from error
    return Credentials(created.username, password)


def change_role(membership: Membership, role: str) -> None:
    """Raises ValueError when that would leave the project without an owner."""
    with transaction.atomic():
        if role != Role.OWNER:
            _keep_an_owner(membership, "change the role of")
        Membership.objects.filter(pk=membership.pk).update(role=role)


def skill_tag(text: str) -> str:
    """A skill as it is kept and compared: spaces and case evened out, so that "Async  IO" is "async io"."""
    return " ".join(text.lower().split())


def set_skills(membership: Membership, skills: str) -> list[str]:
    """Tags of what this person knows, with commas between: work may ask for one. Raises ValueError for a long one."""
    tags = sorted({tag for part in skills.split(",") if (tag := skill_tag(part))})
    if any(len(tag) > LONGEST_SKILL for tag in tags) or len(tags) > MOST_SKILLS:
        raise ValueError(f"At most {MOST_SKILLS} skills of {LONGEST_SKILL} characters each, with commas between them.")
    if any("\0" in tag for tag in tags):
        raise ValueError("A skill contains a NUL character, which no text has: remove it.")
    Membership.objects.filter(pk=membership.pk).update(skills=tags)
    return tags


def remove_member(membership: Membership) -> None:
    """End a membership; the account and all its work stay. Raises ValueError for the last owner."""
    with transaction.atomic():
        _keep_an_owner(membership, "remove")
        membership.delete()


def _keep_an_owner(membership: Membership, act: str) -> None:
    # Locks the owners' rows, so that two owners who remove each other at once do not both succeed (PostgreSQL;
    # on SQLite the transaction itself is exclusive).
    owners = Membership.objects.select_for_update().filter(project=membership.project, role=Role.OWNER)
    if {owner.pk for owner in owners} == {membership.pk}:
        raise ValueError(f"You cannot {act} the last owner. Make somebody else an owner first.")


def generate_password(groups: int = 4) -> str:
    """Groups of four letters and digits, 5.8 bits each: 92 bits for four groups."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(4)) for _ in range(groups))
