"""Accounts, projects, guidelines and rounds."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from datetime import datetime

from django.contrib.auth.models import AbstractUser
from django.db import IntegrityError, models, transaction
from django.utils import timezone

from studio import statements


class User(AbstractUser):
    is_scripted = models.BooleanField(
        default=False, help_text="A program that acts through the HTTP API; marked as scripted wherever it appears."
    )

    is_pseudonym = models.BooleanField(
        default=False,
        help_text="Stands for people outside the studio (a vendor's, an imported file's); cannot sign in.",
    )

    @property
    def display_name(self) -> str:
        return self.get_full_name() or self.username


class Role(models.TextChoices):
    ANNOTATOR = "annotator", "Annotator"
    SME = "sme", "Subject-matter expert"
    ENGINEER = "engineer", "ML engineer"
    OWNER = "owner", "Owner"


class Project(models.Model):
    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=120)
    description = models.TextField(blank=True)
    policy = models.ForeignKey(
        "runs.Artifact", null=True, blank=True, on_delete=models.PROTECT, related_name="policy_of",
        help_text="The promoted model: the next round starts from it.",
    )  # fmt: skip
    created_at = models.DateTimeField(auto_now_add=True)
    members = models.ManyToManyField(User, through="Membership", related_name="projects")

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def guideline(self) -> Guideline | None:
        """The version in force."""
        return self.guidelines.order_by("-version").first()


class Membership(models.Model):
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices)
    skills = models.JSONField(default=list, blank=True, help_text="Tags of what this person knows: work asks for them.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["user__username"]
        constraints = [models.UniqueConstraint(fields=["project", "user"], name="one_membership_a_project")]

    def __str__(self) -> str:
        return f"{self.user.username} as {self.role} in {self.project.slug}"


class Guideline(models.Model):
    """One version of a project's instructions, in Markdown. Versions are only ever added."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="guidelines")
    version = models.PositiveIntegerField()
    text = models.TextField()
    change_note = models.CharField(max_length=200, blank=True)
    is_minor = models.BooleanField(
        default=False, help_text="A minor version (spelling, an example): judgements under the one before stay good."
    )
    created_by = models.ForeignKey(User, on_delete=models.PROTECT)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-version"]
        constraints = [models.UniqueConstraint(fields=["project", "version"], name="guideline_version_once")]

    def __str__(self) -> str:
        return f"{self.project.slug} guideline {self.version}"

    @classmethod
    def publish(
        cls,
        project: Project,
        text: str,
        user: User,
        change_note: str = "",
        after: int | None = None,
        is_minor: bool = False,
    ) -> Guideline:
        """Add the next version; with `after`, only if that one is still the newest (two editors do not overwrite).

        Raises ValueError when somebody published in between.
        """
        with transaction.atomic():
            newest = cls.objects.filter(project=project).aggregate(n=models.Max("version"))["n"] or 0
            if after is not None and after != newest:
                raise ValueError(f"Version {newest} was published meanwhile. Look at it, then publish yours again.")
            try:
                with transaction.atomic():
                    return cls.objects.create(
                        project=project,
                        version=newest + 1,
                        text=text,
                        created_by=user,
                        change_note=change_note,
                        is_minor=is_minor and newest > 0,  # the first version has nothing to be a minor change of
                    )
            except IntegrityError as error:  # PostgreSQL: somebody published since we looked
                raise ValueError(
                    f"Version {newest + 1} was published meanwhile. Look at it, then publish yours again."
                ) from error


class Round(models.Model):
    """One turn of collect → reward model → PPO → review, from the policy that the last one promoted."""

    class Status(models.TextChoices):
        COLLECTING = "collecting", "Collecting comparisons"
        TRAINING = "training", "Training"
        REVIEWING = "reviewing", "In review"
        PROMOTED = "promoted", "Promoted"
        CLOSED = "closed", "Closed without promotion"

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="rounds")
    number = models.PositiveIntegerField()
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.COLLECTING)
    start_policy = models.ForeignKey("runs.Artifact", on_delete=models.PROTECT, related_name="rounds_started")
    final_policy = models.ForeignKey(
        "runs.Artifact", null=True, blank=True, on_delete=models.PROTECT, related_name="rounds_finished"
    )
    config = models.JSONField(default=dict, help_text="What the starting form asked for.")
    note = models.TextField(blank=True)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT)
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-number"]
        constraints = [models.UniqueConstraint(fields=["project", "number"], name="round_number_once")]

    def __str__(self) -> str:
        return f"Round {self.number}"


class Scope(models.TextChoices):
    """What an API token may be used for; its person's role bounds it too."""

    READ = "read", "Read projects, prompts, labels and reports"
    ANNOTATE = "annotate", "Claim tasks, judge, file failures"
    IMPORT = "import", "Bring prompts and labels in"
    EXPORT = "export", "Take datasets and labels out"
    MANAGE = "manage", "Make queues, assign and withdraw work"


class PolicyChoice(models.Model):
    """Who made which model a project's policy, and when. Rows are only ever added."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="policy_choices")
    policy = models.ForeignKey("runs.Artifact", on_delete=models.PROTECT, related_name="chosen_as_policy")
    replaced = models.ForeignKey(
        "runs.Artifact", null=True, blank=True, on_delete=models.PROTECT, related_name="replaced_as_policy"
    )
    round = models.ForeignKey(
        Round, null=True, blank=True, on_delete=models.PROTECT, related_name="policy_choices",
        help_text="The round that promoted it. None: chosen by hand.",
    )  # fmt: skip
    chosen_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="policy_choices")
    chosen_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.policy_id} for {self.project_id}"


class ApiToken(models.Model):
    """A secret with which a program acts as its user. Only the digest is kept."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=80)
    scopes = models.JSONField(
        default=list, help_text="What it may be used for: read, annotate, import, export, manage."
    )
    expires_at = models.DateTimeField(null=True, blank=True)
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.name} of {self.user.username}"

    @staticmethod
    def digest_of(secret: str) -> str:
        return hashlib.sha256(secret.encode()).hexdigest()

    @classmethod
    def issue(
        cls, user: User, name: str, *, scopes: Iterable[str] = Scope.values, expires_at: datetime | None = None
    ) -> tuple[ApiToken, str]:
        """A new token and its secret, which cannot be read again."""
        secret = f"studio_{secrets.token_urlsafe(32)}"
        token = cls.objects.create(
            user=user, name=name, digest=cls.digest_of(secret), scopes=sorted(scopes), expires_at=expires_at
        )
        return token, secret

    @classmethod
    def authenticate(cls, secret: str) -> ApiToken | None:
        """The token with this secret, and its user; None when it is unknown, over, or of somebody inactive."""
        found = statements.first(_AUTHENTICATE, {"digest": cls.digest_of(secret)}, _TOKEN, _USER)
        if found is None:
            return None
        token, token.user = found[0], found[1]
        if not token.user.is_active or token.is_expired:
            return None
        now = timezone.now()
        if token.last_used_at is None or (now - token.last_used_at).total_seconds() > 60:
            cls.objects.filter(pk=token.pk).update(last_used_at=now)
        return token

    @property
    def is_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()

    def revoke(self) -> None:
        ApiToken.objects.filter(pk=self.pk, revoked_at=None).update(revoked_at=timezone.now())


_TOKEN, _USER = statements.Part(ApiToken, "t"), statements.Part(User, "u")
_AUTHENTICATE = f"""
SELECT {_TOKEN}, {_USER} FROM studio_apitoken t JOIN studio_user u ON u.id = t.user_id
WHERE t.digest = %(digest)s AND t.revoked_at IS NULL
"""
