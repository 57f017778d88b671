"""Accounts that stand for people outside the studio: an imported file's, a vendor's. Nobody can sign in with one."""

from __future__ import annotations

import hashlib

from django.utils.text import slugify

from studio.models import Project, User


def pseudonym(project: Project, source: str, name: str = "") -> User:
    """The account of this project for those behind `source`, or for the one of them whom it calls `name`."""
    digest = hashlib.sha256(f"{source}\0{name}".encode()).hexdigest()[:12]
    username = f"{project.slug[:60]}.{slugify(source)[:40] or 'source'}.{digest}"
    shown = f"{name} ({source[:60]})" if name else source
    user, made = User.objects.get_or_create(
        username=username, defaults={"first_name": shown[:150], "is_pseudonym": True, "is_active": False}
    )
    if made:
        user.set_unusable_password()
        user.save(update_fields=["password"])
    return user
