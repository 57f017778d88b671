"""Try a model: start its server, ask it something, stop it."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.db.models import OuterRef, Subquery
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from studio.access import ENGINEERS, member_required
from studio.models import Project
from studio.runs.logs import read_tail
from studio.runs.model_directory import check_servable
from studio.runs.models import Artifact
from studio.serving import client, startup
from studio.serving.forms import PromptForm
from studio.serving.models import Server
from studio.serving.servers import live_server, mark_used, request_server, request_stop, seconds_left

UNTAKEN_SECONDS = 20  # a GPU host looks every second


@require_GET
@member_required(*ENGINEERS)
def models(request: HttpRequest, project: Project) -> HttpResponse:
    """Every model of the project, the newest first, and the state of its server."""
    newest = Server.objects.filter(artifact=OuterRef("pk")).order_by("-id").values("state")[:1]
    artifacts = _models(project).annotate(server_state=Subquery(newest))
    rows = [{"artifact": artifact, "refusal": _refusal(artifact)} for artifact in artifacts]
    return render(request, "serving/models.html", {"project": project, "rows": rows})


@require_GET
@member_required(*ENGINEERS)
def model(request: HttpRequest, project: Project, artifact_id: int) -> HttpResponse:
    artifact = _model(project, artifact_id)
    context = _context(artifact) | {"form": PromptForm(), "refusal": _refusal(artifact)}
    return render(request, "serving/model.html", context)


@require_GET
@member_required(*ENGINEERS)
def state(request: HttpRequest, project: Project, artifact_id: int) -> HttpResponse:
    """The server's state now. When it is no longer the one `shown`, also the button that depends on it."""
    context = _context(_model(project, artifact_id))
    server = context["server"]
    context["changed"] = request.GET.get("shown") != (server.state if server else "")
    return render(request, "serving/_server.html", context)


@require_POST
@member_required(*ENGINEERS)
def start(request: HttpRequest, project: Project, artifact_id: int) -> HttpResponse:
    artifact = _model(project, artifact_id)
    try:
        request_server(artifact, request.user)
    except ValueError as error:
        messages.error(request, str(error))
    return redirect("serving:model", project.slug, artifact.pk)


@require_POST
@member_required(*ENGINEERS)
def stop(request: HttpRequest, project: Project, artifact_id: int) -> HttpResponse:
    artifact = _model(project, artifact_id)
    server = live_server(artifact)
    if server is None or not request_stop(server, f"Stopped by {request.user.display_name}"[:200]):
        messages.info(request, "This model's server has stopped already.")
    return redirect("serving:model", project.slug, artifact.pk)


@require_POST
@member_required(*ENGINEERS)
def answer(request: HttpRequest, project: Project, artifact_id: int) -> HttpResponse:
    """The answer to one prompt, as a card; without htmx a whole page around it."""
    artifact = _model(project, artifact_id)
    form = PromptForm(request.POST)
    context: dict[str, Any] = {"project": project, "artifact": artifact}
    if not form.is_valid():
        errors = [f"{form[name].label}: {error}" for name, found in form.errors.items() for error in found]
        context["problem"] = " ".join(errors)
    else:
        context |= {"prompt": form.cleaned_data["prompt"]} | _ask(artifact, form)
    if request.htmx:
        return render(request, "serving/_answer.html", context)
    status = 200 if form.is_valid() else 422
    return render(request, "serving/model.html", _context(artifact) | context | {"form": form}, status=status)


def _ask(artifact: Artifact, form: PromptForm) -> dict[str, Any]:
    server = live_server(artifact)
    if server is None or server.state != Server.State.HEALTHY:
        return {"problem": "The model is not running. Start it, wait until it is ready, then ask again."}
    mark_used(server)
    try:
        found = client.chat(server, form.messages(), form.sampling())
    except (ValueError, client.ServerUnavailable) as error:
        return {"problem": str(error)}
    mark_used(server)
    return {"answer": found}


def _models(project: Project):
    return Artifact.objects.filter(project=project, kind=Artifact.Kind.MODEL).select_related("produced_by")


def _model(project: Project, artifact_id: int) -> Artifact:
    return get_object_or_404(_models(project), pk=artifact_id)


def _refusal(artifact: Artifact) -> str:
    """Why vLLM cannot serve it; empty when it can."""
    try:
        check_servable(artifact.directory, artifact.name)
    except ValueError as error:
        return str(error)
    return ""


def _context(artifact: Artifact) -> dict[str, Any]:
    server = Server.objects.filter(artifact=artifact).order_by("-id").first()
    context = {"project": artifact.project, "artifact": artifact, "server": server, "phases": len(startup.PHASES)}
    if server is not None and server.state == Server.State.CRASHED:
        context["log"] = read_tail(server.log_path, limit=8_000)
    if server is not None and server.state == Server.State.STARTING:
        waited = (timezone.now() - server.created_at).total_seconds()
        context["untaken"] = not server.device and not server.note.startswith("Waiting:") and waited > UNTAKEN_SECONDS
        context["expected_seconds"] = seconds_left(server)
    return context
