#!/usr/bin/env bash
# Builds sequential-runner, starts it on SQLite, and searches the mail of a whole Google Workspace
# with it: an offline one by default, the real one with a key. Stops everything it started.
set -euo pipefail
cd "$(dirname "$0")"

usage() {
  cat <<'TEXT'
usage: ./quickstart.sh [--google-key KEY.json --admin-email ADMIN@YOUR.DOMAIN]
                       [--query TEXT] [--max-users N] [--max-results N]

  --google-key FILE    service-account key with domain-wide delegation; without it an offline
                       Google Workspace with made-up mail is started on this machine
  --admin-email A@B    the administrator that the search of domains and users acts for
  --query TEXT         as typed into Gmail's search box (default: all mail)
  --max-users N        users per domain at most (default 50)
  --max-results N      messages per user at most (default 20)
TEXT
}

key="" admin="" query="" users=50 results=20
while [ $# -gt 0 ]; do
  case "$1" in
    --google-key) key="${2:?--google-key needs a file}"; shift 2 ;;
    --admin-email) admin="${2:?--admin-email needs an address}"; shift 2 ;;
    --query) query="${2?--query needs a text}"; shift 2 ;;
    --max-users) users="${2:?--max-users needs a number}"; shift 2 ;;
    --max-results) results="${2:?--max-results needs a number}"; shift 2 ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
done
if [ -n "$key" ] && [ -z "$admin" ] || [ -z "$key" ] && [ -n "$admin" ]; then
  echo "--google-key and --admin-email belong together" >&2
  exit 2
fi
if [ -n "$key" ] && [ ! -r "$key" ]; then
  echo "cannot read the key file $key" >&2
  exit 2
fi
case "$users$results" in *[!0-9]*) echo "--max-users and --max-results are whole numbers" >&2; exit 2 ;; esac

say() { printf '\n== %s\n' "$*"; }
work=$(pwd)/build/quickstart
workspace_pid="" server_pid=""
stop() {
  local status=$?
  trap - EXIT INT TERM
  for pid in $server_pid $workspace_pid; do kill -TERM "$pid" 2>/dev/null || true; done
  for pid in $server_pid $workspace_pid; do wait "$pid" 2>/dev/null || true; done
  [ "$status" -eq 0 ] || printf '\nquickstart failed; logs are in %s\n' "$work" >&2
  exit "$status"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say "1/5 What it needs"
scripts/setup.sh

say "2/5 Building (the first time takes some minutes)"
[ -f build/release/build.ninja ] || cmake --preset release >build/configure-release.log
cmake --build --preset release --target sequential-runner sequential-engine
bin=$work/../release/bin
rm -rf "$work"
mkdir -p "$work"

# Waits until a line that matches $2 is in file $1, at most 30 s or until process $3 ends.
wait_line() {
  local i
  for i in $(seq 1 300); do
    grep -m1 -E "$2" "$1" 2>/dev/null && return 0
    kill -0 "$3" 2>/dev/null || break
    sleep 0.1
  done
  cat "$1" "${1%.out}.log" >&2 2>/dev/null || true
  return 1
}

settings=()
if [ -z "$key" ]; then
  say "3/5 An offline Google Workspace (Gmail emulator from npm)"
  scripts/npm-install.sh tools/offline-workspace
  node tools/offline-workspace/start.mjs --dir "$work" </dev/null \
    >"$work/workspace.out" 2>"$work/workspace.log" &
  workspace_pid=$!
  ready=$(wait_line "$work/workspace.out" '^\{' "$workspace_pid")
  field() { node -e 'process.stdout.write(String(JSON.parse(process.argv[1])[process.argv[2]]))' "$ready" "$1"; }
  key=$(field keyFile) admin=$(field adminEmail)
  settings+=(--set "services.gapi.endpoint=$(field endpoint)")
  echo "listening on $(field endpoint | sed 's/\/_h.*//'), administrator $admin"
else
  say "3/5 The real Google Workspace of $admin"
fi

say "4/5 The server"
"$bin/sequential-runner" serve --set server.port=0 --set "store.path=$work/sequential.db" \
  ${settings[@]+"${settings[@]}"} </dev/null >"$work/server.out" 2>"$work/server.log" &
server_pid=$!
line=$(wait_line "$work/server.out" 'listening on' "$server_pid")
echo "$line"
export SEQUENTIAL_SERVER=${line##* }
"$bin/sequential-runner" keystore set default GAPI_KEY --value-file "$key"
printf '%s' "$admin" | "$bin/sequential-runner" keystore set default GAPI_ADMIN_EMAIL
"$bin/sequential-runner" publish taskcode/endpoints/*.js

say "5/5 The search, call by call"
input=$(node -e 'const [q,u,r]=process.argv.slice(1);process.stdout.write(JSON.stringify({gmailSearchQuery:q,maxUsersPerDomain:Number(u),maxResultsPerUser:Number(r)}))' "$query" "$users" "$results")
"$bin/sequential-runner" run comprehensive-gmail-search --input "$input" --wait --json >"$work/result.json"
node tools/gmail-report.mjs "$work/result.json"
