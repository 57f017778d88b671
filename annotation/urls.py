from django.urls import path

from annotation import (
    views,
    views_datasets,
    views_failures,
    views_journal,
    views_labels,
    views_prompts,
    views_reviews,
    views_work,
)

app_name = "annotation"
urlpatterns = [
    path("annotate/", views.home, name="home"),
    path("annotate/queues/<int:queue_id>/", views.queue_page, name="queue"),
    path("annotate/work/<int:claim_id>/", views_work.work, name="work"),
    path("annotate/work/<int:claim_id>/release/", views_work.release, name="release"),
    path("annotate/work/<int:claim_id>/failure/", views_work.failure, name="work-failure"),
    path("prompts/", views_prompts.prompts, name="prompts"),
    path("prompts/import/", views_prompts.import_prompts, name="import-prompts"),
    path("prompts/queue/", views_prompts.queue_work, name="queue-work"),
    path("prompts/<int:prompt_id>/", views_prompts.prompt, name="prompt"),
    path("comparisons/", views_labels.comparisons, name="comparisons"),
    path("comparisons/<int:label_id>/", views_labels.comparison, name="comparison"),
    path("comparisons/<int:label_id>/withdraw/", views_labels.withdraw_comparison, name="withdraw-comparison"),
    path("comparisons/demonstrations/", views_labels.demonstrations, name="demonstrations"),
    path("comparisons/demonstrations/<int:label_id>/", views_labels.demonstration, name="demonstration"),
    path(
        "comparisons/demonstrations/<int:label_id>/withdraw/",
        views_labels.withdraw_demonstration,
        name="withdraw-demonstration",
    ),
    path("reviews/", views_reviews.reviews, name="reviews"),
    path("reviews/new/", views_reviews.new_review, name="new-review"),
    path("reviews/<int:review_id>/", views_reviews.review, name="review"),
    path("reviews/<int:review_id>/close/", views_reviews.close, name="close-review"),
    path("failure-classes/", views_failures.failure_classes, name="failure-classes"),
    path("failure-classes/new/", views_failures.new_failure_class, name="new-failure-class"),
    path("failure-classes/file/", views_failures.file_failure, name="file-failure"),
    path("failure-classes/<int:class_id>/", views_failures.failure_class, name="failure-class"),
    path("failure-classes/<int:class_id>/status/", views_failures.set_failure_status, name="failure-status"),
    path(
        "failure-classes/examples/<int:example_id>/withdraw/", views_failures.withdraw_example, name="withdraw-example"
    ),
    path("datasets/", views_datasets.datasets, name="datasets"),
    path("datasets/freeze/", views_datasets.freeze, name="freeze"),
    path("quality/journal/", views_journal.entries, name="journal"),
    path("quality/journal/export/<slug:format>/", views_journal.export, name="journal-export"),
]
