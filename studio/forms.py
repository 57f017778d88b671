"""Forms for projects, members, guidelines and API tokens."""

from __future__ import annotations

from datetime import timedelta

from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone

from studio.models import ApiToken, Guideline, Membership, Project, Role, Scope, User


class ProjectForm(forms.ModelForm):
    class Meta:
        model = Project
        fields = ["name", "slug", "description"]
        widgets = {
            "slug": forms.TextInput(attrs={"data-slug-of": "id_name"}),
            "description": forms.Textarea(attrs={"rows": 3}),
        }
        labels = {"slug": "Address"}
        help_texts = {
            "name": "What the models of this project are for, in a few words: Python helpdesk.",
            "slug": "The last part of its address: small letters, digits and hyphens. It cannot be changed later.",
            "description": "Shown to everybody who joins.",
        }

    def clean_slug(self) -> str:
        slug = self.cleaned_data["slug"]
        if slug == "new":
            raise ValidationError("The studio uses this address itself. Choose another one.")
        return slug


class MemberForm(forms.Form):
    """Adds a member: an account that exists, or a new one."""

    username = forms.CharField(
        max_length=150, validators=User._meta.get_field("username").validators, label="User name",
        help_text="Of an account that exists, or of the one to create.",
    )  # fmt: skip
    role = forms.ChoiceField(choices=Role.choices, initial=Role.ANNOTATOR)
    create = forms.BooleanField(
        required=False, label="Create this account",
        help_text="With a generated password, which you will see once and hand over.",
    )  # fmt: skip

    def __init__(self, *args, project: Project, **kwargs):
        super().__init__(*args, **kwargs)
        self.project = project
        self.user: User | None = None

    def clean(self) -> dict:
        data = super().clean()
        name = data.get("username")
        if not name:
            return data
        self.user = User.objects.filter(username__iexact=name).first()
        if self.user is None and not data["create"]:
            raise ValidationError({"username": f"There is no account named {name}. Tick the box to create it."})
        if self.user is not None and data["create"]:
            raise ValidationError({"username": f"The account {self.user.username} exists. Clear the box to add it."})
        if self.user is not None and Membership.objects.filter(project=self.project, user=self.user).exists():
            raise ValidationError(
                {"username": f"{self.user.username} is a member already. Change the role in the list."}
            )
        return data


class RoleForm(forms.Form):
    role = forms.ChoiceField(choices=Role.choices)


class GuidelineForm(forms.ModelForm):
    text = forms.CharField(
        max_length=100_000, label="Guidelines",
        widget=forms.Textarea(attrs={"rows": 24, "class": "code", "spellcheck": "true"}),
        help_text="Markdown. Say what a good answer is, what to do in doubt, and show examples.",
    )  # fmt: skip
    after = forms.IntegerField(widget=forms.HiddenInput, min_value=0)

    class Meta:
        model = Guideline
        fields = ["text", "change_note", "is_minor"]
        labels = {"change_note": "What changed", "is_minor": "A minor change"}
        help_texts = {
            "change_note": "One line for the history.",
            "is_minor": "Spelling, clearer words, one more example: what was judged before stays good. "
            "Otherwise those judgements count as stale, and leads can ask for them again.",
        }


class ApiTokenForm(forms.Form):
    NEVER = ""
    LIFETIMES = [("30", "30 days"), ("90", "90 days"), ("365", "A year"), (NEVER, "Until revoked")]

    name = forms.CharField(
        max_length=80, label="What is it for?",
        widget=forms.TextInput(attrs={"placeholder": "nightly import", "autocomplete": "off"}),
    )  # fmt: skip
    scopes = forms.MultipleChoiceField(
        choices=Scope.choices, widget=forms.CheckboxSelectMultiple, label="It may",
        initial=[Scope.READ, Scope.ANNOTATE], help_text="Never more than you may yourself.",
    )  # fmt: skip
    days = forms.ChoiceField(choices=LIFETIMES, required=False, label="Works for", initial="90")

    def issue(self, user: User) -> str:
        """Make the token; returns its secret."""
        data = self.cleaned_data
        expires = timezone.now() + timedelta(days=int(data["days"])) if data["days"] else None
        return ApiToken.issue(user, data["name"], scopes=data["scopes"], expires_at=expires)[1]
