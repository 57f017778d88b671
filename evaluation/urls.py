from django.urls import path

from evaluation import views

app_name = "evaluation"
urlpatterns = [
    path("reports/", views.report_list, name="reports"),
    path("reports/<int:artifact_id>/", views.report, name="report"),
]
