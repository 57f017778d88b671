from django.urls import path

from studio.serving import views

app_name = "serving"
urlpatterns = [
    path("", views.models, name="models"),
    path("<int:artifact_id>/", views.model, name="model"),
    path("<int:artifact_id>/state/", views.state, name="state"),
    path("<int:artifact_id>/start/", views.start, name="start"),
    path("<int:artifact_id>/stop/", views.stop, name="stop"),
    path("<int:artifact_id>/answer/", views.answer, name="answer"),
]
