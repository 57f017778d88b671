from django.apps import AppConfig


class EvaluationConfig(AppConfig):
    name = "evaluation"

    def ready(self) -> None:
        from evaluation.rounds import advance
        from studio.runs.registry import on_success

        on_success(advance)  # after annotation's import of completions: apps are readied in order
