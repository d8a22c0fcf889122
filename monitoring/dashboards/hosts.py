"""Hosts: use, saturation and errors of what they are made of, and what systemd says."""

from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import units
from monitoring.dashboards.board import board
from monitoring.dashboards.panels import (
    BLUE,
    DOWN_UP,
    GREEN,
    NO_YES,
    ORANGE,
    PURPLE,
    RED,
    YELLOW,
    ZERO_IS_GOOD,
    Column,
    lines,
    states,
    table,
    value_map,
)
from monitoring.dashboards.queries import Query, increases, rates
from monitoring.dashboards.shared import FULL, cpu, memory

NODE = 'job="node",host=~"$host"'
BUSY = ((None, GREEN), (0.8, YELLOW), (0.95, RED))
LOAD = ((None, GREEN), (1, YELLOW), (2, RED))
FAILED = value_map(v0=("ok", GREEN), v1=("failed", RED))
WRITABLE = value_map(v0=("writable", GREEN), v1=("read-only", RED))

NOW = [
    table(
        "Hosts",
        {"host": "Host"},
        [
            Column("State", 'max by (host) (up{job!="probe",host=~"$host"})', mapping=DOWN_UP),
            Column("Up for", f"time() - max by (host) (node_boot_time_seconds{{{NODE}}})", units.Seconds),
            Column("CPU", 'host:node_cpu_utilisation:ratio_rate5m{host=~"$host"}', units.PercentUnit, BUSY, decimals=0),
            Column(
                "Load by core",
                f"max by (host) (node_load5{{{NODE}}})"
                f' / count by (host) (node_cpu_seconds_total{{{NODE},mode="idle"}})',
                steps=LOAD,
                decimals=2,
            ),
            Column("Memory", 'host:node_memory_utilisation:ratio{host=~"$host"}', units.PercentUnit, BUSY, decimals=0),
            Column(
                "Fullest file system",
                'host:node_filesystem_utilisation:ratio_max{host=~"$host"}',
                units.PercentUnit,
                FULL,
                decimals=0,
            ),
            Column(
                "Units failed",
                f'count by (host) (node_systemd_unit_state{{{NODE},state="failed"}} == 1)'
                f" or 0 * max by (host) (up{{{NODE}}})",
                steps=ZERO_IS_GOOD,
                decimals=0,
            ),
            Column("Reboot required", 'max by (host) (node_reboot_required{host=~"$host"})', mapping=NO_YES),
        ],
        "One line a host. Bad: red; a host that does not answer has a state and nothing else. "
        "Watched by HostDown and the alerts of the panels below.",
        width=24,
        height=5,
    ),
]

PROCESSOR = [
    cpu(BUSY),
    lines(
        "CPU by mode",
        [
            Query(
                "avg by (mode) (sum by (host, cpu, mode)"
                f' (rate(node_cpu_seconds_total{{{NODE},mode!="idle"}}[$__rate_interval])))',
                "{{mode}}",
            )
        ],
        "What the cores of the chosen hosts do, on average. "
        "Bad: iowait (the disk is slow), steal (the neighbours are).",
        unit=units.PercentUnit,
        stacked=True,
        maximum=1,
        colors={"user": BLUE, "system": PURPLE, "iowait": RED, "steal": ORANGE, "softirq": YELLOW},
    ),
    lines(
        "Load by core",
        [
            Query(
                f"max by (host) (node_load1{{{NODE}}})"
                f' / count by (host) (node_cpu_seconds_total{{{NODE},mode="idle"}})',
                "{{host}}",
            )
        ],
        "Processes that run or want to, by core. Bad: above 2 for long.",
        steps=LOAD,
    ),
]

MEMORY = [
    memory(BUSY, more=" Watched by HostOomKill."),
    lines(
        "Memory by use",
        [
            Query(f"sum(node_memory_AnonPages_bytes{{{NODE}}})", "of programs"),
            Query(f"sum(node_memory_Cached_bytes{{{NODE}}} + node_memory_Buffers_bytes{{{NODE}}})", "cache of files"),
            Query(f"sum(node_memory_Slab_bytes{{{NODE}}})", "of the kernel"),
            Query(f"sum(node_memory_MemFree_bytes{{{NODE}}})", "free"),
        ],
        "What the memory of the chosen hosts is used for. Bad: programs alone near the top.",
        unit=units.BytesIEC,
        stacked=True,
        colors={"of programs": BLUE, "cache of files": PURPLE, "of the kernel": ORANGE, "free": GREEN},
    ),
    lines(
        "Pressure",
        [
            Query(f"rate(node_pressure_cpu_waiting_seconds_total{{{NODE}}}[$__rate_interval])", "CPU {{host}}"),
            Query(f"rate(node_pressure_memory_waiting_seconds_total{{{NODE}}}[$__rate_interval])", "memory {{host}}"),
            Query(f"rate(node_pressure_io_waiting_seconds_total{{{NODE}}}[$__rate_interval])", "disk {{host}}"),
            Query(f"increase(node_vmstat_oom_kill{{{NODE}}}[10m])", "killed for memory {{host}}"),
        ],
        "Share of the time in which something waited for a core, memory or a disk; and programs that the kernel killed "
        "for memory, in 10 minutes. Bad: memory above 5 %, any that was killed. Watched by HostOomKill.",
        unit=units.PercentUnit,
        reach=1,
    ),
]

DISK = [
    lines(
        "Fullest file system",
        [
            Query(
                f"1 - min by (host, mountpoint) (node_filesystem_avail_bytes{{{NODE}}}"
                f" / (node_filesystem_size_bytes{{{NODE}}} > 0))",
                "{{host}} {{mountpoint}}",
            )
        ],
        "Used share of each file system. Bad: above 90 %. Watched by HostDiskAlmostFull and HostDiskWillFill.",
        unit=units.PercentUnit,
        maximum=1,
        steps=FULL,
    ),
    lines(
        "Free space in four hours",
        [
            Query(
                f"min by (host, mountpoint) (predict_linear(node_filesystem_avail_bytes{{{NODE}}}[1h], 4 * 3600))",
                "{{host}} {{mountpoint}}",
            )
        ],
        "What will be free if it goes on as in the last hour. Bad: below 0. Watched by HostDiskWillFill.",
        unit=units.BytesIEC,
        below_zero=True,
    ),
    lines(
        "Inodes",
        [
            Query(
                f"1 - min by (host, mountpoint) (node_filesystem_files_free{{{NODE}}}"
                f" / (node_filesystem_files{{{NODE}}} > 0))",
                "{{host}} {{mountpoint}}",
            )
        ],
        "Used share of the files that a file system can have. Bad: above 95 %. Watched by HostInodesAlmostGone.",
        unit=units.PercentUnit,
        maximum=1,
        steps=FULL,
    ),
    lines(
        "Disks busy",
        [
            Query(
                f"max by (host, device) (rate(node_disk_io_time_seconds_total{{{NODE}}}[$__rate_interval]))",
                "{{host}} {{device}}",
            )
        ],
        "Share of the time in which a disk had something to do. Bad: 100 % for long, if commits are slow as well.",
        unit=units.PercentUnit,
        maximum=1,
        missing="no disk of its own",
    ),
    lines(
        "Disk traffic",
        rates(
            NODE,
            ("node_disk_read_bytes_total", "read {{host}}"),
            ("node_disk_written_bytes_total", "written {{host}}"),
            by="host",
        ),
        "Bytes a second from and to all disks. Bad: a plateau, which is what the disk can do.",
        unit=units.BytesPerSecondSI,
        missing="no disk of its own",
    ),
    states(
        "Read-only file systems",
        [
            Query(
                f"max by (host, mountpoint) (node_filesystem_readonly{{{NODE}}})",
                "{{host}} {{mountpoint}}",
            )
        ],
        "File systems that take no writes; the kernel does so to a broken disk. Bad: red. "
        "Watched by HostFilesystemReadOnly.",
        mapping=WRITABLE,
        width=8,
    ),
]

NETWORK = [
    lines(
        "Network",
        rates(
            NODE,
            ("node_network_receive_bytes_total", "in {{host}}"),
            ("node_network_transmit_bytes_total", "out {{host}}"),
            by="host",
        ),
        "Bytes a second over all interfaces but loopback. Bad: a plateau, which is what the link can do.",
        unit=units.BytesPerSecondSI,
    ),
    lines(
        "Network trouble",
        [
            Query(
                f"sum by (host) (rate(node_network_receive_errs_total{{{NODE}}}[$__rate_interval])"
                f" + rate(node_network_transmit_errs_total{{{NODE}}}[$__rate_interval]))",
                "errors {{host}}",
            ),
            Query(
                f"sum by (host) (rate(node_network_receive_drop_total{{{NODE}}}[$__rate_interval])"
                f" + rate(node_network_transmit_drop_total{{{NODE}}}[$__rate_interval]))",
                "dropped {{host}}",
            ),
            *rates(NODE, ("node_netstat_Tcp_RetransSegs", "sent again {{host}}"), by="host"),
        ],
        "Packets a second that were lost or sent again. Bad: errors, ever; others by the hundred.",
        unit=units.PacketsPerSecond,
    ),
    lines(
        "Connections",
        [
            Query(
                f"max by (host) (node_nf_conntrack_entries{{{NODE}}} / node_nf_conntrack_entries_limit{{{NODE}}})",
                "tracked {{host}}",
            ),
            *rates(NODE, ("node_netstat_TcpExt_ListenOverflows", "refused a second {{host}}"), by="host", over="5m"),
        ],
        "Used share of the connections that the firewall can track, and connections that no program took. "
        "Bad: above 80 %; any refused. Watched by HostConnectionsNearLimit.",
        unit=units.PercentUnit,
        reach=1,
        steps=((None, GREEN), (0.8, RED)),
    ),
]

SYSTEM = [
    states(
        "Units failed",
        [
            Query(
                f'max by (host, name) (node_systemd_unit_state{{{NODE},state="failed",name=~".+[.]service"}})',
                "{{name}} {{host}}",
            )
        ],
        "Services that systemd has given up on. Bad: red. "
        "Watched by SystemdUnitFailed, UnitStopped and TlsRenewalFailing.",
        mapping=FAILED,
        height=12,
    ),
    lines(
        "Unit restarts",
        increases(NODE, ("node_systemd_service_restart_total", "{{name}} {{host}}"), over="10m", by="host, name"),
        "How often systemd started services again in 10 minutes, because they had died. Bad: more than 3. "
        "Watched by SystemdUnitCrashLooping and StoreRestarted.",
        width=12,
        height=12,
    ),
    lines(
        "Timers",
        [
            Query(
                f"time() - max by (host, name) (node_systemd_timer_last_trigger_seconds{{{NODE}}} > 0)",
                "{{name}} {{host}}",
            )
        ],
        "How long ago timers last ran what they are for. Bad: longer than their period. Watched by SystemdTimerStale.",
        unit=units.Seconds,
    ),
    lines(
        "Age of textfile metrics",
        [Query(f"time() - max by (host, file) (node_textfile_mtime_seconds{{{NODE}}})", "{{host}} {{file}}")],
        "How old the files are from which facts on disk are read; old ones keep telling what was good once. "
        "Bad: older than their writer's period. Watched by TextfileStale.",
        unit=units.Seconds,
    ),
    lines(
        "Clock",
        [Query(f"max by (host) (node_timex_offset_seconds{{{NODE}}})", "{{host}}")],
        "How far the clock is off, as the kernel was told. Bad: more than 50 ms; logins and certificates depend on it. "
        "Watched by HostClockWrong.",
        unit=units.Seconds,
        below_zero=True,
    ),
    states(
        "Reboot required",
        [Query('max by (host) (node_reboot_required{host=~"$host"})', "{{host}}")],
        "Whether an update waits for a reboot. Bad: for a week. Watched by HostRebootRequired.",
        mapping=NO_YES,
        height=6,
    ),
    lines(
        "Processes and files",
        [
            Query(f"max by (host) (node_procs_running{{{NODE}}})", "running {{host}}"),
            Query(f"max by (host) (node_procs_blocked{{{NODE}}})", "waiting for a disk {{host}}"),
        ],
        "Processes that run, and those that wait for a disk. Bad: waiting ones for long.",
        width=12,
        height=6,
    ),
]


def dashboard() -> build.Dashboard:
    """What the services stand on."""
    return board(
        "hosts",
        "Hosts",
        "Do the hosts have what their services need?",
        [
            ("Now", NOW),
            ("Processor", PROCESSOR),
            ("Memory", MEMORY),
            ("Disk", DISK),
            ("Network", NETWORK),
            ("System", SYSTEM),
        ],
    )
