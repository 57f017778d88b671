"""The HTTP API that scripts and tools use: /api/v1, described by its openapi.json.

A program sends `Authorization: Bearer <token of a person>`, and the token's scopes bound what it may do; the pages use
their session with a CSRF token. Each endpoint looks at membership first (404 outside), then at the role (403). Whoever
sends more requests a minute than `API_REQUESTS_A_MINUTE` gets 429 with `Retry-After`.
"""

from __future__ import annotations

import math

from django.conf import settings
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import HttpError, Throttled

from annotation import submit
from annotation.api import (
    adjudication,
    effects,
    exchange,
    failures,
    gold,
    instrument,
    journal,
    label_studio,
    labels,
    people,
    probes,
    projects,
    quality,
    queues,
    staleness,
    vendors,
    work,
)
from annotation.api.auth import READ
from annotation.api.bodies import StrictJson
from annotation.api.throttle import PerPerson
from annotation.standing import MayNotWork

api = NinjaAPI(
    title="Studio",
    version="1",
    description=__doc__ or "",
    urls_namespace="api-v1",
    docs_url=None,  # its page needs inline styles, which our content security policy refuses
    auth=READ,
    throttle=PerPerson(),
    parser=StrictJson(),
)
ROOMS = (
    projects, instrument, queues, work, labels, failures, probes, exchange, vendors, label_studio, quality, gold,
    people, journal, adjudication, staleness, effects,
)  # fmt: skip
for part in ROOMS:
    api.add_router("", part.router)


@api.exception_handler(ValueError)
def bad_input(request: HttpRequest, error: ValueError) -> HttpResponse:
    status = 409 if isinstance(error, submit.AlreadySubmitted) else 422
    return api.create_response(request, {"detail": str(error)}, status=status)


@api.exception_handler(HttpError)
def refused_early(request: HttpRequest, error: HttpError) -> HttpResponse:
    """Before an operation is reached; 400 is a body that is not JSON, to us bad input like any other."""
    if error.status_code == 400 and error.__cause__ is not None:
        return api.create_response(request, {"detail": f"The body is not JSON: {error.__cause__}"}, status=422)
    return api.create_response(request, {"detail": str(error)}, status=error.status_code)


@api.exception_handler(RequestDataTooBig)
def too_large(request: HttpRequest, error: RequestDataTooBig) -> HttpResponse:
    most = f"{settings.DATA_UPLOAD_MAX_MEMORY_SIZE:,}"
    detail = f"The body is larger than {most} bytes: send less at a time, or a file where one is taken."
    return api.create_response(request, {"detail": detail}, status=422)


@api.exception_handler(Http404)
def not_found(request: HttpRequest, error: Http404) -> HttpResponse:
    return api.create_response(request, {"detail": str(error)}, status=404)


@api.exception_handler(MayNotWork)
@api.exception_handler(PermissionDenied)
def refused(request: HttpRequest, error: PermissionDenied | MayNotWork) -> HttpResponse:
    return api.create_response(request, {"detail": str(error)}, status=403)


@api.exception_handler(Throttled)
def too_many(request: HttpRequest, error: Throttled) -> HttpResponse:
    seconds = math.ceil(error.wait or 1)
    response = api.create_response(request, {"detail": f"Too many requests. Go on in {seconds} seconds."}, status=429)
    response["Retry-After"] = str(seconds)
    return response
