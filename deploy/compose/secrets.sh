#!/bin/sh
# Make the passwords that deploy/compose.yaml reads, once. A second run changes nothing: the servers know the first ones.
set -eu
umask 077
folder=$(dirname "$0")/secrets
if [ -e "$folder" ]; then
    echo "secrets.sh: $folder is there already; remove it, and the volumes with it, to begin anew" >&2
    exit 1
fi
unfinished=$folder.new
rm -rf "$unfinished"
mkdir "$unfinished"
# Letters and digits: they need no encoding in a URL.
password() { od -An -v -tx1 -N 24 /dev/urandom | tr -d ' \n'; }
write() { printf '%s' "$2" > "$unfinished/$1"; }

owner=$(password)
worker=$(password)
operator=$(password)
nats_worker=$(password)
write postgres-owner "$owner"
write postgres-worker "$worker"
write postgres-operator "$operator"
write database-url-owner "postgresql://ach_owner:$owner@postgres:5432/ach"
write database-url-worker "postgresql://ach_worker:$worker@postgres:5432/ach"
write database-url-operator "postgresql://ach_operator:$operator@postgres:5432/ach"
write nats-worker "$nats_worker"
passwords="WORKER_PASSWORD=$nats_worker
"
for role in operator notify serve ingest acme_producer acme_reader; do
    made=$(password)
    write "nats-$role" "$made"
    passwords="$passwords$(printf '%s' "$role" | tr '[:lower:]' '[:upper:]')_PASSWORD=$made
"
done
write nats-passwords "$passwords"
write grafana-admin "$(password)"
# Compose mounts these files with their owners, and the servers run as other users: the folder is what keeps people out.
chmod 444 "$unfinished"/*
mv "$unfinished" "$folder"
echo "made $folder"
