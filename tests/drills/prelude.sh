# shellcheck shell=sh disable=SC1091
# What the commands of faults may use, on the host, as root; DRILL is the name of the fault, with _ for -
set -u
DISKS=/run/drill-disks

# A disk of its own at /srv/drill-NAME: disk NAME MEGABYTES [INODES]. An overlay shows size and inodes of what is under it.
disk() {
  exec 8> /run/drill-disks.lock
  flock 8
  if ! findmnt -no PROPAGATION / | grep -q shared; then
    # In a container mounts do not reach the sandboxes of units that run, as they do on a machine
    mount --make-rshared /
    systemctl restart prometheus-node-exporter
  fi
  mkdir -p "$DISKS/$1" "/srv/drill-$1"
  mount -t tmpfs -o "size=$2m,nr_inodes=${3:-100000}" tmpfs "$DISKS/$1"
  mkdir "$DISKS/$1/lower" "$DISKS/$1/upper" "$DISKS/$1/work"
  mount -t overlay -o "lowerdir=$DISKS/$1/lower,upperdir=$DISKS/$1/upper,workdir=$DISKS/$1/work" overlay "/srv/drill-$1"
  exec 8>&-
}

undisk() {
  umount "/srv/drill-$1"
  umount "$DISKS/$1"
  rmdir "/srv/drill-$1" "$DISKS/$1"
}

# sql DATABASE STATEMENT
sql() {
  sudo -u postgres psql -d "$1" --no-psqlrc -qAtc "$2"
}

# A command that goes on until its repair: run_on NAME COMMAND...; stop_run NAME
run_on() {
  name=$1
  shift
  systemd-run --quiet --collect --unit="drill-$name" "$@"
}

stop_run() {
  systemctl stop "drill-$1" 2>/dev/null || true
}

# looking_for_players NAME...: these guests look for another player in the lobby, until `stop_run looking`
looking_for_players() {
  run_on looking matchpoint-manage shell -c "
import asyncio, json, websockets
from django.conf import settings
from lobby.protocol import Claim, lobby_token

async def speak(socket, name):
    for text in ({'t': 'hello', 'protocol': 1, 'token': lobby_token(Claim(name, name, None, name))}, {'t': 'wait'}):
        await socket.send(json.dumps(text))
    while True:
        await asyncio.sleep(2)
        await socket.send(json.dumps({'t': 'here'}))

async def look(name):
    while True:
        try:
            async with websockets.connect('ws://127.0.0.1:8001/ws/lobby', origin=settings.MATCHPOINT_ORIGIN) as socket:
                speaking = asyncio.create_task(speak(socket, name))
                async for _ in socket:
                    pass
                speaking.cancel()
        except (OSError, websockets.WebSocketException):
            pass
        await asyncio.sleep(1)

async def main():
    await asyncio.gather(*(look('g:drill-' + name) for name in '$*'.split()))

asyncio.run(main())"
}

# connections_up_to N: so many connections to PostgreSQL in all
connections_up_to() {
  taken=$(sql postgres "select count(*) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()")
  run_on connections --uid=postgres sh -c "
    for i in \$(seq $(($1 - taken))); do psql -d postgres -qAtc 'select pg_sleep(900)' & done
    wait"
}

# The server does not look whether a client is still there while it sleeps
connections_end() {
  stop_run connections
  sql postgres "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'postgres' and query = 'select pg_sleep(900)'"
}

# The game's own user, who may do all that fills and publishes
valkey_url() {
  (. /etc/matchpoint/app.env && echo "$MATCHPOINT_VALKEY_URL")
}

valkey() {
  valkey-cli -u "$(valkey_url)" --no-auth-warning "$@"
}

# valkey_fill PERCENT: of its memory
valkey_fill() {
  valkey eval '
    local info = redis.call("info", "memory")
    local used = tonumber(info:match("used_memory:(%d+)"))
    local till = tonumber(info:match("\nmaxmemory:(%d+)")) * tonumber(ARGV[1]) / 100
    local quarter = string.rep("x", 262000)  -- with what belongs to it, 256 kB
    for n = 1, math.floor((till - used) / 262144) do
      redis.call("set", "drill:" .. n, quarter)
    end' 0 "$1"
}

valkey_drain() {
  valkey unlink $(seq -f 'drill:%g' 1500)
}

# memory_group MEGABYTES: a group of processes that has no more; says where it is
memory_group() {
  tree=/sys/fs/cgroup
  [ -d $tree/memory ] && tree=$tree/memory
  mount -o remount,bind,rw "$tree" 2> /dev/null || true
  mkdir -p "$tree/drill"
  if [ -e "$tree/drill/memory.max" ]; then
    echo "${1}M" > "$tree/drill/memory.max"
    echo 0 > "$tree/drill/memory.swap.max"
  else
    echo "${1}M" > "$tree/drill/memory.limit_in_bytes"
  fi
  echo "$tree/drill"
}

memory_group_remove() {
  rmdir /sys/fs/cgroup/memory/drill 2> /dev/null || rmdir /sys/fs/cgroup/drill
}

# backups_aged HOURS: the metrics say that the newest backups are so old; `matchpoint-backup look` makes them anew
backups_aged() {
  sed -i "s/^\(matchpoint_backup_last_success_timestamp_seconds{.*}\) .*/\1 $(($(date +%s) - $1 * 3600))/" \
    /var/lib/postgresql/pgbackrest/metrics.prom
}

# The units of the game's workers that start with the host
workers() {
  for unit in /etc/systemd/system/multi-user.target.wants/matchpoint-web@* \
    /etc/systemd/system/multi-user.target.wants/matchpoint-live@*; do
    echo "${unit##*/}"
  done
}

# metric NAME: of the files that the node exporter reads
metric() {
  sed -n "s/^$1 //p" /var/lib/prometheus/node-exporter/*.prom
}

# Four requests a second for a page that comes from the database; stop_run visitors
visitors() {
  id=$(sql matchpoint "select public_id from matches_match limit 1")
  . /etc/matchpoint/app.env
  run_on visitors sh -c "while :; do
    curl -sk -o /dev/null -m 20 --connect-to ::127.0.0.1: https://$MATCHPOINT_DOMAIN/api/matches/$id &
    sleep 0.25
  done"
}

# block HOOK RULE...: a rule before the host's own firewall, for the host itself as well; unblock takes all away
block() {
  nft add table inet "drill_$DRILL"
  nft add chain inet "drill_$DRILL" "$1" "{ type filter hook $1 priority -300; }"
  hook=$1
  shift
  nft add rule inet "drill_$DRILL" "$hook" "$@"
}

unblock() {
  nft delete table inet "drill_$DRILL"
}

# serve_certificate DAYS: nginx gets a certificate that is valid so long, of a CA that the monitoring trusts for the drill
serve_certificate() {
  mkdir /run/drill-tls
  readlink /etc/matchpoint/tls/current > /run/drill-tls/before
  make_certificate "$1"
  for ca in /etc/prometheus/probe-ca.pem /etc/matchpoint/canary-ca.pem; do
    [ -e $ca ] || continue
    cp -a $ca /run/drill-tls/
    cat /run/drill-tls/ca.pem >> $ca
  done
  ln -sfnT /run/drill-tls /etc/matchpoint/tls/current
  systemctl reload nginx
}

make_certificate() {
  (
    cd /run/drill-tls || exit
    . /etc/matchpoint/app.env
    echo "subjectAltName=DNS:$MATCHPOINT_DOMAIN" > names
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 800 -subj "/CN=Drills" -keyout ca.key -out ca.pem
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=drill" -keyout privkey.pem -out request
    openssl x509 -req -in request -CA ca.pem -CAkey ca.key -days "$1" -extfile names -out certificate
    cat certificate ca.pem > fullchain.pem
  ) 2> /dev/null
}

# Back to the site's own certificate
restore_certificate() {
  ln -sfnT "$(cat /run/drill-tls/before)" /etc/matchpoint/tls/current
  systemctl reload nginx
  for ca in /etc/prometheus/probe-ca.pem /etc/matchpoint/canary-ca.pem; do
    kept=/run/drill-tls/${ca##*/}
    [ ! -e "$kept" ] || cat "$kept" > $ca
  done
  rm -r /run/drill-tls
}

# other_release WORKERS FILE EXPRESSION: some workers run a copy of the release in which sed changed a file
other_release() {
  own=$(readlink -f /opt/matchpoint/current)
  copy=/opt/matchpoint/releases/$DRILL
  rm -rf "$copy"
  cp -a "$own" "$copy"
  sed -i "$3" "$copy/$2"
  ! cmp -s "$own/$2" "$copy/$2"
  find "$copy/app" -name '*.pyc' -delete
  sed "s#/releases/$(basename "$own")/#/releases/$DRILL/#g" /etc/matchpoint/release.env > "/run/$DRILL.env"
  for unit in $(workers | grep -E "$1"); do
    mkdir -p "/run/systemd/system/$unit.d"
    printf '[Service]\nEnvironmentFile=%s\n' "/run/$DRILL.env" > "/run/systemd/system/$unit.d/$DRILL.conf"
  done
  systemctl daemon-reload
  workers | grep -E "$1" | xargs systemctl restart
}

own_release() {
  rm -f "/run/systemd/system/"matchpoint-*@*.service.d/"$DRILL.conf"
  systemctl daemon-reload
  workers | grep -E "$1" | xargs systemctl restart
  rm -rf "/opt/matchpoint/releases/$DRILL" "/run/$DRILL.env"
}
