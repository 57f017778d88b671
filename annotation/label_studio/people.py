"""Who somebody in Label Studio is here: the member with that e-mail address, or a pseudonym."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from annotation.label_studio.client import server
from annotation.pseudonyms import pseudonym
from studio.models import Project, User

if TYPE_CHECKING:
    from label_studio_sdk import LabelStudio


class People:
    """Looks each person up once. `unknown` gathers those who are no members, in words for the report."""

    def __init__(self, project: Project, client: LabelStudio) -> None:
        self.project = project
        self.client = client
        self.unknown: list[str] = []
        self._emails: dict[int, str] | None = None
        self._found: dict[int, User] = {}

    def find(self, remote_user: int) -> User:
        if remote_user not in self._found:
            self._found[remote_user] = self._member(remote_user) or self._pseudonym(remote_user)
        return self._found[remote_user]

    def _email(self, remote_user: int) -> str:
        if self._emails is None:
            self._emails = {user.id: (user.email or "").strip() for user in self.client.users.list()}
        return self._emails.get(remote_user, "")

    def _member(self, remote_user: int) -> User | None:
        """None also when the address is several members': then nobody knows whose the work is."""
        email = self._email(remote_user)
        members = User.objects.filter(memberships__project=self.project, email__iexact=email) if email else []
        return members[0] if len(members) == 1 else None

    def _pseudonym(self, remote_user: int) -> User:
        """Named by the number there: an address of somebody who never came here is not kept."""
        made = pseudonym(self.project, f"Label Studio {urlsplit(server()).netloc}", f"Person {remote_user}")
        email = self._email(remote_user) or f"user {remote_user}"
        self.unknown.append(f"{email} is no member here: their work is kept under “{made.display_name}”.")
        return made
