"""What all dashboards have in common: variables, links among them, what is marked on their time axes."""

from collections.abc import Sequence

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import dashboard as models
from monitoring.dashboards.panels import SOURCE, Tile, place

TAG = "matchpoint"
# Marks: what changed, and when somebody was called
ANNOTATIONS = (
    ("Deploys", "blue", "time() - matchpoint_deploy_timestamp_seconds < 180"),
    ("Pages", "red", 'ALERTS{severity="page",alertstate="firing"}'),
)


def choice(name: str, label: str, query: str) -> build.QueryVariable:
    """A variable of which several values can be chosen, or all, as they are at the chosen time."""
    return (
        build.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".+")
        .current(models.VariableOption(selected=True, text="All", value="$__all"))
    )


HOST = ("host", "Host", "label_values(up, host)")


def board(
    uid: str,
    title: str,
    description: str,
    rows: Sequence[tuple[str, Sequence[Tile]]],
    *,
    variable: tuple[str, str, str] = HOST,
    start: str = "now-3h",
) -> build.Dashboard:
    """A dashboard of titled rows, with ``variable`` (name, label, query) to choose by."""
    made = build.Dashboard(title).uid(f"matchpoint-{uid}").tags([TAG]).readonly().description(description)
    made.time(start, "now").refresh("30s").timezone("browser").tooltip(models.DashboardCursorSync.CROSSHAIR)
    made.with_variable(build.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    made.with_variable(choice(*variable))
    made.link(
        build.DashboardLink("Dashboards")
        .type(models.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .include_vars(True)
        .keep_time(True)
    )
    for name, color, expr in ANNOTATIONS:
        made.annotation(build.AnnotationQuery().name(name).icon_color(color).datasource(SOURCE).expr(expr).enable(True))
    place(made, rows)
    return made
