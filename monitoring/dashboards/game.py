"""The game in real time: sockets, matches, how late things happen, where results are."""

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import units
from monitoring.dashboards.board import board
from monitoring.dashboards.panels import (
    BLUE,
    FAILED_OK,
    GREEN,
    PERCENTILE_COLORS,
    RED,
    YELLOW,
    ZERO_IS_GOOD,
    Query,
    dial,
    heat,
    lines,
    number,
    percentiles,
    states,
)

QUIET = "nobody plays"
LATE = ((None, GREEN), (0.05, RED))

NOW = [
    number(
        "Players connected",
        "site:matchpoint_ws_connections:sum",
        "Open match sockets, spectators included. Nothing alerts on it: nights are quiet.",
    ),
    number(
        "Matches live",
        "site:matchpoint_matches_active:sum",
        "Matches that are being played. Nothing alerts on it: nights are quiet.",
    ),
    number(
        "Live workers",
        'sum(up{job="live",host=~"$host"}) / count(up{job="live",host=~"$host"})',
        "Share of the live workers that answer. Bad: below 100 %; below half is a page. Watched by LiveDown.",
        unit=units.PercentUnit,
        decimals=0,
        steps=((None, RED), (0.5, YELLOW), (1, GREEN)),
    ),
    number(
        "Last good match",
        "time() - max(matchpoint_canary_last_success_timestamp_seconds)",
        "How long ago the canary last played a whole match through the public name. Bad: more than 5 minutes. "
        "Watched by CanaryFailing.",
        unit=units.Seconds,
        decimals=0,
        steps=((None, GREEN), (150, YELLOW), (300, RED)),
        missing="never",
    ),
    number(
        "Inputs within 50 ms",
        'sum(le:matchpoint_input_broadcast_seconds_bucket:rate5m{le="0.05"})'
        ' / (sum(le:matchpoint_input_broadcast_seconds_bucket:rate5m{le="+Inf"}) > 0)',
        "Share of the paddles' inputs that reached all players' queues within 50 ms, in 5 minutes. Bad: below 99 %.",
        unit=units.PercentUnit,
        decimals=1,
        steps=((None, RED), (0.99, YELLOW), (0.999, GREEN)),
        missing=QUIET,
    ),
    number(
        "Worst loop lag",
        "max(histogram_quantile(0.99, le_host_process:matchpoint_event_loop_lag_seconds_bucket:rate5m))",
        "99th percentile of how late a live worker's loop runs what is due, the worst worker. Bad: above 50 ms.",
        unit=units.Seconds,
        steps=LATE,
    ),
    number(
        "Matches lost, 1 h",
        'sum(increase(matchpoint_matches_finished_total{job="live",outcome="server_error",host=~"$host"}[1h]))',
        "Matches of the last hour that the service broke off. Bad: any.",
        decimals=0,
        steps=ZERO_IS_GOOD,
    ),
    number(
        "Results waiting",
        'sum(matchpoint_results_spooled{job="live",host=~"$host"})',
        "Finished matches on workers' disks that PostgreSQL does not have yet. Bad: above 0 for long. "
        "Watched by ResultsSpooled.",
        steps=((None, GREEN), (1, YELLOW)),
    ),
]

PLAYERS = [
    lines(
        "Sockets by worker",
        [Query('sum by (worker) (matchpoint_ws_connections{job="live",host=~"$host"})', "{{worker}}")],
        "Open match sockets of each live worker. Bad: one far above the others, which should share the load.",
    ),
    lines(
        "Connects by result",
        [
            Query(
                'sum by (result) (rate(matchpoint_ws_connects_total{job="live",host=~"$host"}[$__rate_interval]))',
                "{{result}}",
            )
        ],
        "Sockets a second that players asked for. "
        "Bad: error and capacity; auth_rejected and gone are the player's side.",
        unit=units.EventsPerSecond,
        stacked=True,
        colors={"accepted": GREEN, "gone": BLUE, "error": RED},
    ),
    lines(
        "Sockets refused",
        [
            Query(
                "sum by (result) "
                '(increase(matchpoint_ws_connects_total{job="live",result=~"capacity|error",host=~"$host"}'
                "[5m]))",
                "{{result}}",
            )
        ],
        "Sockets that the live workers could not take, in 5 minutes. Bad: any. "
        "Watched by SocketsRefused and SocketConnectBurn.",
        colors={"error": RED},
    ),
    lines(
        "Disconnects by reason",
        [
            Query(
                'sum by (reason) (rate(matchpoint_ws_disconnects_total{job="live",host=~"$host"}[$__rate_interval]))',
                "{{reason}}",
            )
        ],
        "Sockets a second that ended. "
        "Bad: error and protocol, or timeout for many at once; server_shutdown is a deploy.",
        unit=units.EventsPerSecond,
        stacked=True,
        colors={"over": GREEN, "client": BLUE, "error": RED},
        width=6,
    ),
    lines(
        "Messages in",
        [
            Query(
                'sum by (type) (rate(matchpoint_ws_messages_total{job="live",direction="in",host=~"$host"}'
                "[$__rate_interval]))",
                "{{type}}",
            )
        ],
        "Messages a second from players, by type. Bad: other, which no client of ours sends.",
        unit=units.MessagesPerSecond,
        stacked=True,
        colors={"in": BLUE, "ping": GREEN, "other": RED},
        missing=QUIET,
        width=6,
    ),
    lines(
        "Messages out",
        [
            Query(
                'sum by (type) (rate(matchpoint_ws_messages_total{job="live",direction="out",host=~"$host"}'
                "[$__rate_interval]))",
                "{{type}}",
            )
        ],
        "Messages a second to players, by type. Bad: error; late tells a player that an input came after its crossing.",
        unit=units.MessagesPerSecond,
        stacked=True,
        colors={"ev": BLUE, "pong": GREEN, "late": YELLOW, "error": RED},
        missing=QUIET,
        width=6,
    ),
    lines(
        "Round trips of players",
        percentiles(
            'sum by (le) (rate(matchpoint_player_rtt_seconds_bucket{job="live",host=~"$host"}[$__rate_interval]))'
        ),
        "Time from the server to a player and back, as clients measure. "
        "Their networks are not ours: nothing alerts on it.",
        unit=units.Seconds,
        colors=PERCENTILE_COLORS,
        missing=QUIET,
        width=6,
    ),
]

MATCHES = [
    lines(
        "Matches started and finished",
        [
            Query("mode:matchpoint_matches_started:rate5m * 60", "started, {{mode}}"),
            Query("sum by (mode) (mode_outcome:matchpoint_matches_finished:rate5m) * 60", "finished, {{mode}}"),
        ],
        "Matches a minute, by mode. Bad: starts without ends.",
    ),
    lines(
        "How matches ended",
        [Query("sum by (outcome) (mode_outcome:matchpoint_matches_finished:rate5m) * 60", "{{outcome}}")],
        "Matches a minute by how they ended. Bad: server_error. Watched by MatchAvailabilityBurn.",
        stacked=True,
        colors={"completed": GREEN, "forfeit": BLUE, "server_error": RED},
    ),
    lines(
        "Matches that changed workers",
        [
            Query('sum(increase(matchpoint_match_takeovers_total{job="live",host=~"$host"}[5m]))', "taken over"),
            Query(
                'sum by (to) (increase(matchpoint_match_handovers_total{job="live",host=~"$host"}[5m]))',
                "handed over, {{to}}",
            ),
            Query('sum(increase(matchpoint_match_crashes_total{job="live",host=~"$host"}[5m]))', "crashed"),
            Query('sum(increase(matchpoint_match_fenced_total{job="live",host=~"$host"}[5m]))', "fenced"),
        ],
        "Matches in 5 minutes. Handed over is a deploy; taken over means that a worker died. Bad: crashed.",
        colors={"crashed": RED},
    ),
]

TIMING = [
    lines(
        "Input to broadcast",
        percentiles("le:matchpoint_input_broadcast_seconds_bucket:rate5m"),
        "From the receipt of a paddle's input to its event at all players. Bad: p99 above 50 ms. "
        "Empty while nobody plays. Watched by InputLatencyBurn.",
        unit=units.Seconds,
        steps=LATE,
        colors=PERCENTILE_COLORS,
        missing=QUIET,
    ),
    heat(
        "Inputs by duration",
        'sum by (le) (rate(matchpoint_input_broadcast_seconds_bucket{job="live",host=~"$host"}[$__rate_interval]))',
        "The same, as inputs a second in each range. Bad: anything dark above 50 ms.",
        missing=QUIET,
    ),
    lines(
        "Crossings decided late",
        percentiles("le:matchpoint_crossing_lag_seconds_bucket:rate5m"),
        "How late hits and points were decided against their schedule. Bad: p99 above 50 ms. Empty while nobody plays.",
        unit=units.Seconds,
        steps=LATE,
        colors=PERCENTILE_COLORS,
        missing=QUIET,
    ),
    lines(
        "Event loop lag",
        [
            Query(
                "histogram_quantile(0.99,"
                ' le_host_process:matchpoint_event_loop_lag_seconds_bucket:rate5m{host=~"$host"})',
                "p99 {{host}}-{{process}}",
            )
        ],
        "How late the loop of a live worker runs what is due. Bad: above 50 ms, then balls stutter. "
        "Watched by EventLoopStarved.",
        unit=units.Seconds,
        steps=LATE,
    ),
    lines(
        "Grace used",
        percentiles(
            'sum by (le) (rate(matchpoint_grace_used_seconds_bucket{job="live",host=~"$host"}[$__rate_interval]))'
        ),
        "How long after a crossing the last input came that still counted. Bad: near the 120 ms that are allowed.",
        unit=units.Seconds,
        colors=PERCENTILE_COLORS,
        missing=QUIET,
    ),
    lines(
        "Last beat of the loop",
        [
            Query(
                "time() - max by (worker) "
                '(matchpoint_event_loop_last_tick_timestamp_seconds{job="live",host=~"$host"} > 0)',
                "{{worker}}",
            )
        ],
        "How long ago each worker's loop last ran, as of its scrape. "
        "Bad: above a minute; the process answers, the game stands.",
        unit=units.Seconds,
    ),
]

RESULTS = [
    lines(
        "Results waiting for the database",
        [Query('sum by (worker) (matchpoint_results_spooled{job="live",host=~"$host"})', "{{worker}}")],
        "Finished matches on a worker's disk that PostgreSQL does not have yet. Bad: above 0 for long. "
        "Watched by ResultsSpooled.",
    ),
    lines(
        "Results saved",
        [
            Query('sum(increase(matchpoint_results_saved_total{job="live",host=~"$host"}[5m]))', "saved"),
            Query('sum(increase(matchpoint_results_failed_total{job="live",host=~"$host"}[5m]))', "failed attempts"),
        ],
        "Results that the database has committed, in 5 minutes, and attempts that it refused. Bad: any failed.",
        colors={"saved": GREEN, "failed": RED},
    ),
    lines(
        "Calls to the directory that failed",
        [
            Query(
                'sum by (worker) (rate(matchpoint_directory_errors_total{job="live",host=~"$host"}[$__rate_interval]))',
                "{{worker}}",
            )
        ],
        "Calls a second to Valkey that failed, by worker. Bad: any; nobody can join a match then.",
        unit=units.EventsPerSecond,
    ),
    lines(
        "Leases renewed",
        [
            Query(
                'time() - max by (worker) (matchpoint_directory_last_beat_timestamp_seconds{job="live",host=~"$host"} '
                "> 0)",
                "{{worker}}",
            )
        ],
        "How long ago each worker last renewed the leases of its matches in Valkey. "
        "Bad: growing; others take them over.",
        unit=units.Seconds,
        width=6,
    ),
    lines(
        "Canary",
        [Query('time() - max by (host) (matchpoint_canary_last_success_timestamp_seconds{host=~"$host"})', "{{host}}")],
        "How long ago each app host last played a whole match through the public name; they do every minute. "
        "Bad: more than 5 minutes. Watched by CanaryFailing.",
        unit=units.Seconds,
        steps=((None, GREEN), (300, RED)),
        missing="never played",
        width=6,
    ),
    states(
        "Results of the canary",
        [Query('min by (host) (matchpoint_canary_last_result{host=~"$host"})', "{{host}}")],
        "Whether the match that each app host plays every minute went well. Bad: red.",
        mapping=FAILED_OK,
        missing="never played",
        width=6,
    ),
    lines(
        "Duration of the canary",
        [Query('max by (host) (matchpoint_canary_last_duration_seconds{host=~"$host"})', "{{host}}")],
        "How long the canary's match took, from login to the stored result. Bad: twice the usual.",
        unit=units.Seconds,
        missing="never played",
        width=6,
    ),
]

PROCESSES = [
    lines(
        "CPU of live workers",
        [Query('rate(process_cpu_seconds_total{job="live",host=~"$host"}[$__rate_interval])', "{{worker}}")],
        "Cores that each worker uses; it has one. Bad: above 80 %, then everything in it is late.",
        unit=units.PercentUnit,
        steps=((None, GREEN), (0.8, RED)),
    ),
    lines(
        "Memory of live workers",
        [Query('process_resident_memory_bytes{job="live",host=~"$host"}', "{{worker}}")],
        "Resident memory of each worker. Bad: growth that does not end with the day.",
        unit=units.BytesIEC,
    ),
    dial(
        "File descriptors",
        'max(process_open_fds{job="live",host=~"$host"} / process_max_fds{job="live",host=~"$host"})',
        "Used share of the open files that a live worker may have, the worst of them. "
        "Bad: above 80 %; a socket is one.",
        width=8,
        height=8,
    ),
]


def dashboard() -> build.Dashboard:
    """What players feel, worker by worker."""
    return board(
        "game",
        "Game",
        "Do matches start, run smoothly and end as they should?",
        [
            ("Now", NOW),
            ("Players", PLAYERS),
            ("Matches", MATCHES),
            ("Timing", TIMING),
            ("Results, directory and canary", RESULTS),
            ("Processes", PROCESSES),
        ],
    )
