#!/usr/bin/env bash
# Makes what `docker compose` needs beside the compose files: secrets/ (each file once, mode 0400)
# and .env. What is there is kept, so it can be run again at any time.
#
#   docker/make-secrets.sh [--dir DIR]     DIR: where secrets/ and .env go (default: this folder)
#
# The server refuses key files that others can read, and compose mounts them with the owner they
# have. So they belong to the user that the containers run as: you, or, if you are root, 10001.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
dir=$here
while [ $# -gt 0 ]; do
  case $1 in
    --dir) dir=${2:?--dir needs a folder}; shift 2 ;;
    -h | --help) sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) echo "unknown argument $1; see --help" >&2; exit 2 ;;
  esac
done

user=$(id -u):$(id -g)
if [ "${user%%:*}" = 0 ]; then user=10001:10001; fi
umask 077
mkdir -p "$dir/secrets"

hex() { od -An -v -tx1 -N "$1" /dev/urandom | tr -d ' \n'; }

# keep_or_make NAME TEXT: the file is whole or not there, whenever this is interrupted.
keep_or_make() {
  local file=$dir/secrets/$1
  if [ -s "$file" ]; then echo "kept  $file"; return; fi
  rm -f "$file" "$file.new"
  printf '%s\n' "$2" >"$file.new"
  chmod 0400 "$file.new"
  if [ "$(id -u)" = 0 ]; then chown "$user" "$file.new"; fi
  mv "$file.new" "$file"
  echo "made  $file"
}

keep_or_make api_token "$(hex 32)"
keep_or_make chain_key "$(hex 32)"
keep_or_make keystore_key "{\"format\":\"sequential-runner-keystore-1\",\"kid\":\"$(hex 8)\",\"key\":\"$(hex 32)\"}"
keep_or_make postgres_password "$(hex 24)"
keep_or_make store_url "postgresql://sequential:$(cat "$dir/secrets/postgres_password")@postgres:5432/sequential"

if [ -e "$dir/.env" ]; then
  echo "kept  $dir/.env"
else
  sed "s/^SEQUENTIAL_USER=.*/SEQUENTIAL_USER=$user/" "$here/.env.example" >"$dir/.env.new"
  mv "$dir/.env.new" "$dir/.env"
  echo "made  $dir/.env"
fi
echo "Back up secrets/keystore_key apart from the database: without it, stored secrets are lost."
