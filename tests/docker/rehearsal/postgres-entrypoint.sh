#!/bin/bash
# What the official image's entrypoint does with the settings that docker-compose.yml gives it.
set -euo pipefail
as_postgres=(setpriv --reuid=postgres --regid=postgres --init-groups)
mkdir -p "$PGDATA"
chown -R postgres:postgres "$PGDATA"
chmod 0700 "$PGDATA"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  password=$(mktemp)
  cat "$POSTGRES_PASSWORD_FILE" >"$password"
  chown postgres "$password"
  # shellcheck disable=SC2086  # the image splits these arguments too
  "${as_postgres[@]}" initdb --username="$POSTGRES_USER" --pwfile="$password" \
    --auth-local=trust --auth-host=scram-sha-256 ${POSTGRES_INITDB_ARGS:-}
  rm "$password"
  printf '\nhost all all all scram-sha-256\n' >>"$PGDATA/pg_hba.conf"
  # On a socket only, so that nobody takes it for ready.
  "${as_postgres[@]}" pg_ctl start --wait --pgdata="$PGDATA" --options="-c listen_addresses=''"
  "${as_postgres[@]}" createdb --username="$POSTGRES_USER" --maintenance-db=postgres "$POSTGRES_DB"
  "${as_postgres[@]}" pg_ctl stop --wait --mode=fast --pgdata="$PGDATA"
fi
exec "${as_postgres[@]}" "$@" -c listen_addresses='*'
