#!/bin/sh
# Starts the PostgreSQL of a trial: makes the cluster where there is none, sets the password to the
# Secret's (a new Secret after `helm uninstall` meets the old volume), and becomes the server.
# Works with any image that has PostgreSQL's programs and a shell.
set -eu
PATH=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1):/usr/local/bin:$PATH
export PATH PGDATA=/var/lib/postgresql/gridloom/data
password=$(cat /etc/gridloom/postgresql/password)

if [ ! -s "$PGDATA/PG_VERSION" ]; then
  # A start that was cut off leaves a folder without its end: initdb makes a new one beside it.
  rm -rf "$PGDATA" "$PGDATA.new"
  initdb --pgdata="$PGDATA.new" --username=postgres --auth=scram-sha-256 --pwfile=/etc/gridloom/postgresql/password \
    --encoding=UTF8 --locale=C.UTF-8 --data-checksums
  printf 'host all all all scram-sha-256\n' >> "$PGDATA.new/pg_hba.conf"
  printf '%s\n' 'CREATE ROLE gridloom LOGIN;' 'CREATE DATABASE gridloom OWNER gridloom;' |
    postgres --single -D "$PGDATA.new" postgres >/dev/null
  sync
  mv "$PGDATA.new" "$PGDATA"
fi
for role in postgres gridloom; do
  printf "ALTER ROLE %s PASSWORD '%s';\n" "$role" "$password"
done | postgres --single -D "$PGDATA" -c log_statement=none postgres >/dev/null
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/tmp "$@"
