from django.apps import AppConfig
from prometheus_client import disable_created_metrics


class OpsConfig(AppConfig):
    name = "ops"

    def ready(self) -> None:
        disable_created_metrics()  # they double the number of series and nobody asks for them
        from ops import access  # needs the models, which are there by now

        access.connect()
