#!/usr/bin/env bash
# Tests the image and the Kubernetes YAML without a Docker engine or a cluster: builds the image, lets
# `podman kube play` run the scheduler and two workers, maps a small world on them, kills a worker in the middle,
# and compares the maps byte by byte with those of a local run of the same image. Needs root, kubectl, openssl and
#   apt-get install buildah podman runc catatonit netavark aardvark-dns iptables   (and debootstrap for BASE=debian)
# Settings, as environment variables:
#   BASE         base image; `debian` makes one by debootstrap if no registry is available
#   TORCH_INDEX  as in the Dockerfile
#   BUILD_FLAGS  further options of buildah, e.g. "--volume /etc/pip.conf:/etc/pip.conf:ro" for an index of your own
#   SIZE         edge of the world in pixels (256)
#   KEEP         any value keeps the folder of the runs
set -Eeuo pipefail
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
here=$(dirname "$(readlink -f "$0")")
image=localhost/mlc-dask:0.1.0
size=${SIZE:-256}
scratch=$(mktemp -d "${TMPDIR:-/var/tmp}/mlc-dask-kube.XXXXXX")
data=$scratch/data

say() { echo "kube-play: $*"; }
fail() { say "FAILED: $*"; exit 1; }
in_image() {
  podman run --rm --interactive --network none --read-only --tmpfs /tmp:mode=1777 --volume "$data:/data" "$image" "$@"
}
state_of() { podman inspect --format '{{.State.Status}}' "$1"; }

clean_up() {
  podman kube down "$scratch/cluster.yaml" >/dev/null 2>&1 || true
  podman pod rm --force mlc-dask-run >/dev/null 2>&1 || true
  podman volume rm --force mlc-dask-{config,data,run,tls} >/dev/null 2>&1 || true
  if [[ -n ${KEEP:-} ]]; then say "kept $scratch"; else rm -rf "$scratch"; fi
}

check_tools() {
  [[ $(id -u) == 0 ]] || fail "run it as root"
  for tool in buildah podman runc kubectl openssl; do
    command -v "$tool" >/dev/null || fail "$tool is missing; see the head of this script"
  done
  # This also works on machines without systemd and with low limits.
  cat >"$scratch/containers.conf" <<'EOF'
[containers]
default_ulimits = ["nofile=10000:10000", "nproc=10000:10000"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[network]
network_backend = "netavark"
EOF
  export CONTAINERS_CONF=$scratch/containers.conf
}

make_debian_base() {
  podman image exists localhost/debian-python:bookworm && return
  say "making a base image by debootstrap"
  debootstrap --variant=minbase --include=ca-certificates,python3,python3-dev,python3-venv \
    bookworm "$scratch/root" >"$scratch/debootstrap.log" 2>&1 || fail "$(tail -3 "$scratch/debootstrap.log")"
  tar -C "$scratch/root" -c . | podman import --change "ENV PATH=$PATH" - localhost/debian-python:bookworm >/dev/null
  rm -rf "$scratch/root"
}

build_image() {
  local flags=()
  if [[ ${BASE:-} == debian ]]; then
    make_debian_base
    BASE=localhost/debian-python:bookworm
  fi
  [[ -z ${BASE:-} ]] || flags+=(--build-arg "BASE=$BASE")
  [[ -z ${TORCH_INDEX+set} ]] || flags+=(--build-arg "TORCH_INDEX=$TORCH_INDEX")
  say "building $image"
  # shellcheck disable=SC2086  # BUILD_FLAGS holds several words.
  buildah build --network=host --isolation=chroot --layers "${flags[@]}" ${BUILD_FLAGS:-} \
    --file "$here/Dockerfile" --tag "$image" "$here/.." >"$scratch/build.log" 2>&1 ||
    fail "$(tail -20 "$scratch/build.log")"
}

# A world, and two configurations that differ only in the cluster; small patches, so that a killed worker loses some.
prepare_runs() {
  mkdir -p "$data/local" "$data/cluster"
  chown -R 1000:1000 "$data"
  in_image python -c "from pathlib import Path; from mlc_dask.worlds.demo import write_demo
write_demo(Path('/data/local'), size=$size, seed=0)"
  sed -i 's/^epochs = .*/epochs = 3/; s/^patch = .*/patch = 128/' "$data/local/demo.toml"
  sed "s#\"world/#\"/data/local/world/#; s#^\[execution\]#&\ncluster = \"tls://mlc-dask-scheduler-pod-0:8786\"#" \
    "$data/local/demo.toml" >"$data/cluster/demo.toml"
}

start_cluster() {
  "$here/gen-tls.sh" "$scratch/tls" 1 >/dev/null
  podman volume create --opt type=none --opt o=bind --opt "device=$data" mlc-dask-data >/dev/null
  {
    kubectl create configmap mlc-dask-tls --from-file="$scratch/tls" --dry-run=client --output yaml
    echo ---
    kubectl kustomize "$here/kubernetes/overlays/podman"
  } >"$scratch/rendered.yaml"
  # podman runs no Jobs, so the Job's pod is started as a plain pod. The volume of the claim already exists.
  in_image python -c "
import sys, yaml
documents = list(yaml.safe_load_all(sys.stdin))
(job,) = [d for d in documents if d['kind'] == 'Job']
config = [d for d in documents if d['kind'] == 'ConfigMap']
template = job['spec']['template']
pod = {'apiVersion': 'v1', 'kind': 'Pod', 'spec': template['spec'],
       'metadata': {'name': job['metadata']['name'], 'labels': template['metadata']['labels']}}
cluster = [d for d in documents if d['kind'] not in ('Job', 'PersistentVolumeClaim')]
yaml.safe_dump_all(cluster, open('/data/cluster.yaml', 'w'))
yaml.safe_dump_all([*config, pod], open('/data/run.yaml', 'w'))" <"$scratch/rendered.yaml"
  mv "$data/cluster.yaml" "$data/run.yaml" "$scratch"
  podman kube play "$scratch/cluster.yaml" >"$scratch/play.log" 2>&1 || fail "$(tail -5 "$scratch/play.log")"
}

of_pod() { podman ps --all --quiet --filter "pod=$1" --filter "name=-$2$"; }

wait_for_workers() {
  local scheduler registered
  scheduler=$(of_pod mlc-dask-scheduler-pod-0 scheduler)
  for _ in $(seq 120); do
    registered=$(podman logs "$scheduler" 2>&1 | grep -c "Register worker" || true)
    ((registered < 2)) || return 0
    sleep 1
  done
  fail "two workers did not come: $(podman logs --tail 5 "$scheduler" 2>&1)"
}

# Number of written patches of the multi-year LSTM's maps; files may appear and disappear during the count.
patches_of() { { find "$1" -path "*/multi-year-????????????????/patches/*.json" 2>/dev/null || true; } | wc -l; }

# Kills a worker when the first patch of the long step is written: both workers then have further patches to do.
kill_one_worker() {
  local done_patches
  for _ in $(seq 6000); do
    done_patches=$(patches_of "$data/cluster")
    ((done_patches == 0)) || break
    [[ $(state_of "$1") == running ]] || fail "the run ended: $(podman logs --tail 5 "$1" 2>&1)"
    sleep 0.1
  done
  podman kill --signal KILL "$(of_pod mlc-dask-worker-pod-0 worker)" >/dev/null
  killed_after=$done_patches
}

run_through_cluster() {
  podman kube play "$scratch/run.yaml" >>"$scratch/play.log" 2>&1 || fail "$(tail -5 "$scratch/play.log")"
  local client
  client=$(of_pod mlc-dask-run run)
  kill_one_worker "$client"
  local code
  code=$(podman wait "$client")
  podman logs "$client" >"$scratch/cluster.log" 2>&1
  [[ $code == 0 ]] || fail "the run through the cluster ended with $code: $(tail -5 "$scratch/cluster.log")"
  podman logs "$(of_pod mlc-dask-scheduler-pod-0 scheduler)" >"$scratch/scheduler.log" 2>&1
  grep -q "Remove worker" "$scratch/scheduler.log" || fail "the scheduler never lost a worker"
}

compare() {
  in_image python - <<'EOF'
import hashlib
import sys
from pathlib import Path

import mlc_dask as mlc

def stored(output):
    """Digest of every chunk of every map, by its place."""
    steps = [p for p in (output / "artifacts").iterdir() if (p / "patches").is_dir()]
    return {
        (s.name.rpartition("-")[0], str(p.relative_to(s))): hashlib.sha256(p.read_bytes()).hexdigest()
        for s in steps for p in s.glob("*/c/**/*") if p.is_file()
    }

one, other = Path("/data/local"), Path("/data/cluster")
maps, others = mlc.open_maps(one).load(), mlc.open_maps(other).load()
for name in maps.data_vars:
    if maps[name].values.tobytes() != others[name].values.tobytes():
        sys.exit(f"{name} differs in {(maps[name].values != others[name].values).sum()} pixels")
chunks, other_chunks = stored(one), stored(other)
if not chunks or chunks != other_chunks:
    sys.exit(f"{len(set(chunks.items()) ^ set(other_chunks.items()))} stored chunks differ")
print(f"{len(maps.data_vars)} layers of {dict(maps.sizes)} and {len(chunks)} stored chunks are equal")
EOF
}

check_tools
trap 'say "FAILED in line $LINENO" >&2' ERR
trap clean_up EXIT
build_image
say "making a world of $size × $size pixels, and its maps by local processes"
prepare_runs
in_image mlc-dask run /data/local/demo.toml >"$scratch/local.log" 2>&1 || fail "$(tail -5 "$scratch/local.log")"
say "the same through the scheduler and two workers of the YAML, over TLS"
start_cluster
wait_for_workers
run_through_cluster
equal=$(compare) || fail "$equal"
killed_after+=" of $(patches_of "$data/local")"
say "PASSED: one of two workers was killed after $killed_after patches of the LSTM's maps; $equal"
