from django.apps import AppConfig


class AnnotationConfig(AppConfig):
    name = "annotation"
    verbose_name = "Annotation"

    def ready(self) -> None:
        from annotation.completions import import_completions_of
        from annotation.overview import annotation_tiles
        from annotation.scoring import import_scores_of
        from studio.overview import register_tiles
        from studio.runs.registry import on_success

        on_success(import_completions_of)
        on_success(import_scores_of)
        register_tiles(annotation_tiles)
