from django.urls import path

from evaluation import round_views, views

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
]
