#!/bin/sh
# Ends with 0 when the server of this container is ready to take work: store and engines answer.
set -eu
url=http://127.0.0.1:${SEQUENTIAL_SERVER_PORT:-8765}/readyz
token_file=${SEQUENTIAL_SERVER_API_TOKEN_FILE:-}
if [ -n "$token_file" ]; then
  token=$(head -n 1 "$token_file")
  header="header = \"Authorization: Bearer $token\""
else
  header=
fi
# Through standard input: the arguments of a process can be read by others.
printf '%s\n' "$header" |
  curl --config - --silent --show-error --fail --max-time 4 --noproxy '*' --output /dev/null "$url"
