"""Pictures of the dashboards without a Grafana: ``python -m monitoring.dashboards.preview --help``."""
