from django.apps import AppConfig


class ServingConfig(AppConfig):
    name = "studio.serving"
    label = "serving"

    def ready(self) -> None:
        from studio.runs.registry import before_lease
        from studio.serving.servers import evict_idle

        before_lease(evict_idle)
