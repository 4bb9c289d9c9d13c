#!/usr/bin/env bash
# A SLURM of one node on this machine: cluster.sh start DIR, cluster.sh stop DIR. The daemons and their files live in DIR.
#
# Needs Debian's packages slurm-wlm and munge; `start` installs them where it may. Then, for commands of this cluster:
#   export SLURM_CONF=DIR/slurm.conf
# Everything listens on the loopback interface. No cgroups (a container has none to give), no accounting, and credentials
# that expire after 6 s: a requeued job waits for as long as they last, by default 2 minutes.
set -euo pipefail
verb=$1 dir=$(realpath -m "$2")
export PATH=$PATH:/usr/sbin SLURM_CONF=$dir/slurm.conf
me=$(id -un)

install() {
    command -v slurmctld slurmd munged sbatch >/dev/null && return
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || { echo "no SLURM, and no apt-get as root to install it" >&2; exit 3; }
    # A policy that starts no daemon: those of the packages would use /etc/slurm.
    { DEBIAN_FRONTEND=noninteractive timeout 60 apt-get install -y --no-install-recommends slurm-wlm munge ||
      { timeout 30 apt-get update && DEBIAN_FRONTEND=noninteractive timeout 60 apt-get install -y --no-install-recommends slurm-wlm munge; }
    } >"$dir/apt.log" 2>&1 || { echo "apt-get cannot install slurm-wlm and munge: $(tail -1 "$dir/apt.log")" >&2; exit 3; }
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

write_config() {
    local node; node=$(hostname -s)
    cat >"$SLURM_CONF" <<EOF
ClusterName=ebm
SlurmctldHost=$node(127.0.0.1)
SlurmctldPort=$(free_port)
SlurmdPort=$(free_port)
SlurmUser=$me
SlurmdUser=$me
AuthType=auth/munge
AuthInfo=socket=$dir/munge.socket,cred_expire=6
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=5
ReturnToService=2
SlurmdTimeout=6
SlurmctldTimeout=10
InactiveLimit=0
KillWait=30
JobRequeue=1
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
NodeName=$node NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=main Nodes=$node Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
EOF
}

start() {
    mkdir -p "$dir/state" "$dir/spool"
    chmod 755 "$dir"
    install
    [ -e "$dir/munge.key" ] || (umask 077 && dd if=/dev/urandom of="$dir/munge.key" bs=1024 count=1 status=none)
    munged --key-file="$dir/munge.key" --socket="$dir/munge.socket" --pid-file="$dir/munged.pid" --force \
        --log-file="$dir/munged.log" --seed-file="$dir/munged.seed" 2>"$dir/munged.err"
    write_config
    slurmctld
    slurmd
    for _ in $(seq 60); do
        sinfo --noheader --format=%t 2>/dev/null | grep -q idle && return
        sleep 0.5
    done
    echo "the node did not come up: see $dir/slurmctld.log and $dir/slurmd.log" >&2
    exit 1
}

stop() {
    local pids=() pid
    for name in slurmd slurmctld munged; do
        [ -e "$dir/$name.pid" ] && pids+=("$(cat "$dir/$name.pid")")
    done
    # Steps of jobs outlive the daemons.
    for pid in $(pgrep -x slurmstepd || true); do
        tr '\0' '\n' 2>/dev/null <"/proc/$pid/environ" | grep -qx "SLURM_CONF=$SLURM_CONF" && pids+=("$pid") || true
    done
    [ ${#pids[@]} = 0 ] && return
    kill "${pids[@]}" 2>/dev/null || true
    sleep 2
    kill -9 "${pids[@]}" 2>/dev/null || true
}

"$verb"
