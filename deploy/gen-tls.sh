#!/usr/bin/env bash
# Makes the certificates of one Dask cluster: an authority of its own, and one certificate that scheduler, workers and
# clients share. Everyone who has it can run code on the cluster. The authority's key is deleted, so nobody can issue
# another certificate: run this again before it expires, and restart the pods.
#   deploy/gen-tls.sh FOLDER [DAYS]
set -euo pipefail
folder=${1:?usage: gen-tls.sh FOLDER [DAYS]}
days=${2:-365}
[[ ! -e $folder/tls.key ]] || { echo "$folder/tls.key exists; choose another folder or remove it" >&2; exit 2; }

umask 077
mkdir -p "$folder"
authority=$(mktemp -d)
trap 'rm -rf "$authority"' EXIT
new_key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)

openssl req -x509 "${new_key[@]}" -days "$days" -subj "/CN=mlc-dask authority" \
  -addext "basicConstraints=critical,CA:TRUE,pathlen:0" -addext "keyUsage=critical,keyCertSign" \
  -keyout "$authority/ca.key" -out "$folder/ca.crt" 2>"$authority/log" || { cat "$authority/log" >&2; exit 1; }
openssl req "${new_key[@]}" -subj "/CN=mlc-dask" \
  -keyout "$folder/tls.key" -out "$authority/tls.csr" 2>"$authority/log" || { cat "$authority/log" >&2; exit 1; }
cat >"$authority/usage" <<'EOF'
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectAltName = DNS:mlc-dask-scheduler
EOF
openssl x509 -req -in "$authority/tls.csr" -days "$days" -extfile "$authority/usage" \
  -CA "$folder/ca.crt" -CAkey "$authority/ca.key" -CAserial "$authority/serial" -CAcreateserial \
  -out "$folder/tls.crt" 2>"$authority/log" || { cat "$authority/log" >&2; exit 1; }

echo "wrote ca.crt, tls.crt and tls.key, good for $days days; give them to the cluster with:"
echo "  kubectl create secret generic mlc-dask-tls --from-file=$folder"
