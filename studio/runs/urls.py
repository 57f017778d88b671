from django.urls import path

from studio.runs import artifact_views, views

app_name = "runs"
urlpatterns = [
    path("runs/", views.run_list, name="list"),
    path("runs/states/", views.states, name="states"),
    path("runs/compare/", views.compare, name="compare"),
    path("runs/new/", views.new, name="new"),
    path("runs/new/<slug:recipe_name>/", views.start, name="start"),
    path("runs/<int:run_id>/", views.detail, name="detail"),
    path("runs/<int:run_id>/live/", views.live, name="live"),
    path("runs/<int:run_id>/metrics.json", views.metrics, name="metrics"),
    path("runs/<int:run_id>/samples/", views.samples, name="samples"),
    path("runs/<int:run_id>/log/", views.log, name="log"),
    path("runs/<int:run_id>/cancel/", views.cancel, name="cancel"),
    path("runs/<int:run_id>/resume/", views.resume, name="resume"),
    path("runs/<int:run_id>/repeat/", views.repeat, name="repeat"),
    path("artifacts/", artifact_views.artifact_list, name="artifacts"),
    path("artifacts/upload/", artifact_views.upload, name="upload"),
    path("artifacts/<int:artifact_id>/", artifact_views.artifact, name="artifact"),
    path("artifacts/<int:artifact_id>/policy/", artifact_views.make_policy, name="set-policy"),
    path("artifacts/<int:artifact_id>/files/<path:name>", artifact_views.artifact_file, name="artifact-file"),
]
