# What the commands of faults may use, on the host, as root
set -u
DISKS=/run/drill-disks

# A disk of its own at /srv/drill-NAME: disk NAME MEGABYTES [INODES]. An overlay shows size and inodes of what is under it.
disk() {
  exec 8> /run/drill-disks.lock
  flock 8
  if [ "$(findmnt -no PROPAGATION /)" != shared ]; then
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
