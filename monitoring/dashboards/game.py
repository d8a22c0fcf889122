"""The game in real time: sockets, matches, how late things happen, where results are."""

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import units
from monitoring.dashboards.board import board
from monitoring.dashboards.panels import (
    BLUE,
    FAILED_OK,
    GREEN,
    RED,
    YELLOW,
    ZERO_IS_BETTER,
    dial,
    durations,
    heat,
    lines,
    mishaps,
    number,
    share_up,
    states,
)
from monitoring.dashboards.queries import Query, increases, rates, totals
from monitoring.dashboards.shared import last_good_match, matches_live, players_connected

QUIET = "nobody plays"
LIVE = 'job="live",host=~"$host"'
WEB = 'job="web",host=~"$host"'
LATE = ((None, GREEN), (0.05, RED))

NOW = [
    players_connected(),
    matches_live(),
    share_up(
        "Live workers",
        f"sum(up{{{LIVE}}}) / count(up{{{LIVE}}})",
        "Share of the live workers that answer. Bad: below 100 %; below half is a page. Watched by LiveDown.",
    ),
    last_good_match(
        "How long ago the canary last played a whole match through the public name. Bad: more than 5 minutes. "
        "Watched by CanaryFailing."
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
    mishaps(
        "Matches lost, 1 h",
        'matchpoint_matches_finished_total{job="live",outcome="server_error",host=~"$host"}',
        "Matches of the last hour that the service broke off. Bad: any.",
    ),
    number(
        "Results waiting",
        f"sum(matchpoint_results_spooled{{{LIVE}}})",
        "Finished matches on workers' disks that PostgreSQL does not have yet. Bad: above 0 for long. "
        "Watched by ResultsSpooled.",
        steps=ZERO_IS_BETTER,
    ),
]

PLAYERS = [
    lines(
        "Sockets by worker",
        [
            *totals(LIVE, ("matchpoint_ws_connections", "{{worker}}"), by="worker"),
            *totals(LIVE, ("matchpoint_ws_polled", "of all, carried by HTTP requests")),
        ],
        "Open match sockets of each live worker. Bad: one far above the others, which should share the load; many "
        "that HTTP requests carry: something on the way, perhaps the own edge, lets no WebSocket through.",
    ),
    lines(
        "Connects by result",
        rates(LIVE, ("matchpoint_ws_connects_total", "{{result}}"), by="result"),
        "Sockets a second that players asked for. "
        "Bad: error and capacity; auth_rejected and gone are the player's side.",
        unit=units.EventsPerSecond,
        stacked=True,
        colors={"accepted": GREEN, "gone": BLUE, "error": RED},
    ),
    lines(
        "Sockets refused",
        increases(
            'job="live",result=~"capacity|error",host=~"$host"',
            ("matchpoint_ws_connects_total", "{{result}}"),
            over="5m",
            by="result",
        ),
        "Sockets that the live workers could not take, in 5 minutes. Bad: any. "
        "Watched by SocketsRefused and SocketConnectBurn.",
        colors={"error": RED},
    ),
    lines(
        "Disconnects by reason",
        rates(LIVE, ("matchpoint_ws_disconnects_total", "{{reason}}"), by="reason"),
        "Sockets a second that ended. "
        "Bad: error and protocol, or timeout for many at once; server_shutdown is a deploy.",
        unit=units.EventsPerSecond,
        stacked=True,
        colors={"over": GREEN, "client": BLUE, "error": RED},
        width=6,
    ),
    lines(
        "Messages in",
        rates('job="live",direction="in",host=~"$host"', ("matchpoint_ws_messages_total", "{{type}}"), by="type"),
        "Messages a second from players, by type. Bad: other, which no client of ours sends.",
        unit=units.MessagesPerSecond,
        stacked=True,
        colors={"in": BLUE, "ping": GREEN, "other": RED},
        missing=QUIET,
        width=6,
    ),
    lines(
        "Messages out",
        rates('job="live",direction="out",host=~"$host"', ("matchpoint_ws_messages_total", "{{type}}"), by="type"),
        "Messages a second to players, by type. Bad: error; late tells a player that an input came after its crossing.",
        unit=units.MessagesPerSecond,
        stacked=True,
        colors={"ev": BLUE, "pong": GREEN, "late": YELLOW, "error": RED},
        missing=QUIET,
        width=6,
    ),
    durations(
        "Round trips of players",
        f"sum by (le) (rate(matchpoint_player_rtt_seconds_bucket{{{LIVE}}}[$__rate_interval]))",
        "Time from the server to a player and back, as clients measure. "
        "Their networks are not ours: nothing alerts on it.",
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
            *increases(LIVE, ("matchpoint_match_takeovers_total", "taken over"), over="5m"),
            *increases(LIVE, ("matchpoint_match_handovers_total", "handed over, {{to}}"), over="5m", by="to"),
            *increases(
                LIVE,
                ("matchpoint_match_crashes_total", "crashed"),
                ("matchpoint_match_fenced_total", "fenced"),
                over="5m",
            ),
        ],
        "Matches in 5 minutes. Handed over is a deploy; taken over means that a worker died. Bad: crashed. "
        "Watched by LiveErrors.",
        colors={"crashed": RED},
    ),
]

LOBBY = [
    lines(
        "Players who wait for another",
        [
            *totals(WEB, ("matchpoint_lobby_waiting", "looking for a player")),
            *totals(WEB, ("matchpoint_lobby_sockets", "pages with the lobby open")),
        ],
        "Open lobbies, and how many of them look for a player. Bad: two who look for longer than a few seconds. "
        "Watched by LobbyPairsNobody.",
    ),
    lines(
        "Pairs",
        [
            *increases(WEB, ("matchpoint_lobby_pairs_total", "{{outcome}}"), over="5m", by="outcome"),
            *increases(WEB, ("matchpoint_lobby_failures_total", "looks that failed"), over="5m"),
        ],
        "Pairs that met in 5 minutes, and those of which one declined or did not come. Bad: none made while two wait, "
        "absent for many, any look that failed.",
        colors={"made": GREEN, "absent": YELLOW, "failed": RED},
    ),
    durations(
        "Waiting time",
        f"sum by (le) (rate(matchpoint_lobby_waiting_seconds_bucket{{{WEB}}}[$__rate_interval]))",
        "How long players of a pair had waited. Bad: above four seconds where more than two wait.",
        missing="nobody met",
    ),
]

TIMING = [
    durations(
        "Input to broadcast",
        "le:matchpoint_input_broadcast_seconds_bucket:rate5m",
        "From the receipt of a paddle's input to its event at all players. Bad: p99 above 50 ms. "
        "Empty while nobody plays. Watched by InputLatencyBurn.",
        steps=LATE,
        missing=QUIET,
    ),
    heat(
        "Inputs by duration",
        f"sum by (le) (rate(matchpoint_input_broadcast_seconds_bucket{{{LIVE}}}[$__rate_interval]))",
        "The same, as inputs a second in each range. Bad: anything dark above 50 ms.",
        missing=QUIET,
    ),
    durations(
        "Crossings decided late",
        "le:matchpoint_crossing_lag_seconds_bucket:rate5m",
        "How late hits and points were decided against their schedule. Bad: p99 above 50 ms. Empty while nobody plays.",
        steps=LATE,
        missing=QUIET,
    ),
    lines(
        "Event loop lag",
        [
            Query(
                "histogram_quantile(0.99, "
                'le_host_process:matchpoint_event_loop_lag_seconds_bucket:rate5m{host=~"$host"})',
                "p99 {{host}}-{{process}}",
            )
        ],
        "How late the loop of a live worker runs what is due. Bad: above 50 ms, then balls stutter. "
        "Watched by EventLoopStarved.",
        unit=units.Seconds,
        steps=LATE,
    ),
    durations(
        "Grace used",
        f"sum by (le) (rate(matchpoint_grace_used_seconds_bucket{{{LIVE}}}[$__rate_interval]))",
        "How long after a crossing the last input came that still counted. Bad: near the 120 ms that are allowed.",
        missing=QUIET,
    ),
    lines(
        "Last beat of the loop",
        [
            Query(
                f"time() - max by (worker) (matchpoint_event_loop_last_tick_timestamp_seconds{{{LIVE}}} > 0)",
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
        totals(LIVE, ("matchpoint_results_spooled", "{{worker}}"), by="worker"),
        "Finished matches on a worker's disk that PostgreSQL does not have yet. Bad: above 0 for long. "
        "Watched by ResultsSpooled.",
    ),
    lines(
        "Results saved",
        increases(
            LIVE,
            ("matchpoint_results_saved_total", "saved"),
            ("matchpoint_results_failed_total", "failed attempts"),
            over="5m",
        ),
        "Results that the database has committed, in 5 minutes, and attempts that it refused. Bad: any failed.",
        colors={"saved": GREEN, "failed": RED},
    ),
    lines(
        "Calls to the directory that failed",
        rates(LIVE, ("matchpoint_directory_errors_total", "{{worker}}"), by="worker"),
        "Calls a second to Valkey that failed, by worker. Bad: any; nobody can join a match then.",
        unit=units.EventsPerSecond,
    ),
    lines(
        "Leases renewed",
        [
            Query(
                f"time() - max by (worker) (matchpoint_directory_last_beat_timestamp_seconds{{{LIVE}}} > 0)",
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
        [Query(f"rate(process_cpu_seconds_total{{{LIVE}}}[$__rate_interval])", "{{worker}}")],
        "Cores that each worker uses; it has one. Bad: above 80 %, then everything in it is late.",
        unit=units.PercentUnit,
        steps=((None, GREEN), (0.8, RED)),
    ),
    lines(
        "Memory of live workers",
        [Query(f"process_resident_memory_bytes{{{LIVE}}}", "{{worker}}")],
        "Resident memory of each worker. Bad: growth that does not end with the day.",
        unit=units.BytesIEC,
    ),
    dial(
        "File descriptors",
        f"max(process_open_fds{{{LIVE}}} / process_max_fds{{{LIVE}}})",
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
            ("Lobby", LOBBY),
            ("Timing", TIMING),
            ("Results, directory and canary", RESULTS),
            ("Processes", PROCESSES),
        ],
    )
