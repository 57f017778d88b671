"""Vendors: what is out, handing work over, what came back, and the decision about it."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.text import slugify
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from annotation import returns, vendors, verdicts
from annotation.forms_vendors import DecisionForm, HandOverForm, ReturnForm
from annotation.models import VendorBatch
from studio.access import ENGINEERS, member_required
from studio.models import Project
from studio.web.downloads import download

PAGE = 25
Status = VendorBatch.Status


def _find(project: Project, batch_id: int) -> VendorBatch:
    found = VendorBatch.objects.select_related("queue", "returned", "created_by", "decided_by")
    batch = get_object_or_404(found, pk=batch_id, project=project)
    batch.project = batch.queue.project = project
    return batch


@require_GET
@member_required(*ENGINEERS)
def vendor_batches(request: HttpRequest, project: Project) -> HttpResponse:
    found = VendorBatch.objects.filter(project=project).select_related("queue", "created_by").annotate(
        places=Count("items", filter=Q(items__slot__isnull=False)),
    )  # fmt: skip
    page = Paginator(found.order_by("-id"), PAGE).get_page(request.GET.get("page"))
    context = {"project": project, "page": page, "can_start": bool(page.object_list) or _has_places(project)}
    return render(request, "annotation/vendors.html", context)


def _has_places(project: Project) -> bool:
    return bool(vendors.places_by_queue(project))


@require_http_methods(["GET", "POST"])
@member_required(*ENGINEERS)
def new_vendor_batch(request: HttpRequest, project: Project) -> HttpResponse:
    places = vendors.places_by_queue(project)
    form = HandOverForm(
        request.POST or None, project=project, places=places, initial={"queue": request.GET.get("queue")}
    )
    if request.method == "POST" and form.is_valid():
        try:
            made = vendors.hand_over(user=request.user, **form.cleaned_data)
        except ValueError as error:
            form.add_error(None, str(error))
        else:
            handed = made.report["handed"]
            messages.success(request, f"{handed['places']:,} places are away, with {handed['gold']:,} gold items.")
            return redirect("annotation:vendor", project.slug, made.pk)
    context = {"project": project, "form": form, "places": sum(places.values())}
    return render(request, "annotation/new_vendor_batch.html", context, status=422 if form.errors else 200)


@require_GET
@member_required(*ENGINEERS)
def vendor_batch(request: HttpRequest, project: Project, batch_id: int) -> HttpResponse:
    return _page(request, _find(project, batch_id))


def _page(request: HttpRequest, batch: VendorBatch, form: ReturnForm | None = None) -> HttpResponse:
    context: dict[str, Any] = {
        "project": batch.project,
        "batch": batch,
        "handed": batch.report.get("handed", {}),
        "arrival": batch.report.get("arrival"),
        "guideline": vendors.guideline_of(batch),
        "form": form or ReturnForm(),
        "decision": DecisionForm(),
        "open": batch.status in (Status.OUT, Status.RETURNED),
    }
    return render(request, "annotation/vendor.html", context, status=422 if form and form.errors else 200)


@require_GET
@member_required(*ENGINEERS)
def download_vendor_batch(request: HttpRequest, project: Project, batch_id: int) -> HttpResponse:
    batch = _find(project, batch_id)
    name = slugify(f"{batch.vendor} {batch.name}") or f"batch-{batch.pk}"
    return download(vendors.hand_off(batch), f"{name}.jsonl", "application/jsonl; charset=utf-8")


@require_POST
@member_required(*ENGINEERS)
def return_vendor_batch(request: HttpRequest, project: Project, batch_id: int) -> HttpResponse:
    batch = _find(project, batch_id)
    if batch.status not in (Status.OUT, Status.RETURNED):
        messages.error(request, "This batch is not waiting for a return any more.")
        return redirect("annotation:vendor", project.slug, batch.pk)
    form = ReturnForm(request.POST, request.FILES)
    if form.is_valid():
        file = form.cleaned_data["file"]
        try:
            returns.take_return(batch, file.name or "return.jsonl", file.read(), request.user)
        except ValueError as error:
            form.add_error("file", str(error))
        else:
            messages.success(request, "The return was checked. Nothing of it counts before you accept it.")
            return redirect("annotation:vendor", project.slug, batch.pk)
    return _page(request, batch, form)


@require_POST
@member_required(*ENGINEERS)
def decide_vendor_batch(request: HttpRequest, project: Project, batch_id: int) -> HttpResponse:
    """`verdict` is accept or reject."""
    batch = _find(project, batch_id)
    accepted = request.POST.get("verdict") == "accept"
    try:
        if not accepted and request.POST.get("verdict") != "reject":
            raise ValueError("Accept the batch, or reject it.")
        (verdicts.accept if accepted else verdicts.reject)(batch, request.user, request.POST.get("note", ""))
    except ValueError as error:
        messages.error(request, str(error))
    else:
        said = "Its labels count from now on." if accepted else "None of its labels counts; its places are free again."
        messages.success(request, f"“{batch.name}” is {batch.get_status_display().lower()}. {said}")
    return redirect("annotation:vendor", project.slug, batch.pk)


@require_POST
@member_required(*ENGINEERS)
def recall_vendor_batch(request: HttpRequest, project: Project, batch_id: int) -> HttpResponse:
    batch = _find(project, batch_id)
    try:
        freed = vendors.recall(batch, request.user)
    except ValueError as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"{freed:,} places are in the queue again.")
    return redirect("annotation:vendor", project.slug, batch.pk)
