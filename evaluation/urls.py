from django.urls import path

from evaluation import lineage_views, round_views, views

app_name = "evaluation"
urlpatterns = [
    path("reports/", views.report_list, name="reports"),
    path("reports/<int:artifact_id>/", views.report, name="report"),
    path("rounds/", round_views.round_list, name="rounds"),
    path("rounds/new/", round_views.new_round, name="new-round"),
    path("rounds/<int:number>/", round_views.round_page, name="round"),
    path("rounds/<int:number>/train/", round_views.train, name="train-round"),
    path("rounds/<int:number>/promote/", round_views.promote, name="promote-round"),
    path("rounds/<int:number>/close/", round_views.close, name="close-round"),
    path("lineage/<int:artifact_id>/", lineage_views.lineage, name="lineage"),
    path("lineage/<int:artifact_id>/check/", lineage_views.check_files, name="check-files"),
    path("lineage/<slug:kind>/<int:label_id>/", lineage_views.label_lineage, name="label-lineage"),
]
