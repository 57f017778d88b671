from django.contrib.auth import views as auth_views
from django.urls import include, path

from annotation.api import api
from studio import views

project_urls = [
    path("", views.project, name="project"),
    path("members/", views.members, name="members"),
    path("members/<int:membership_id>/", views.member, name="member"),
    path("guidelines/", views.guidelines, name="guidelines"),
    path("guidelines/edit/", views.edit_guidelines, name="edit-guidelines"),
    path("", include("studio.runs.urls")),
    path("serving/", include("studio.serving.urls")),
    path("", include("annotation.urls")),
    path("", include("evaluation.urls")),
]

urlpatterns = [
    path("", views.projects, name="projects"),
    path("sign-in/", auth_views.LoginView.as_view(redirect_authenticated_user=True), name="sign-in"),
    path("sign-out/", auth_views.LogoutView.as_view(), name="sign-out"),
    path("api/v1/", api.urls),
    path("account/", views.account, name="account"),
    path("preview/", views.preview_markdown, name="preview-markdown"),
    path("projects/new/", views.new_project, name="new-project"),
    path("projects/<slug:slug>/", include(project_urls)),
]
