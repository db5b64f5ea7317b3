#!/usr/bin/env bash
# Installs what building and running sequential-runner needs on Debian 12 or 13, and only what is
# missing. With everything in place it is a no-op of a few hundredths of a second.
#
#   scripts/setup.sh [--test] [--fuzz] [--check] [--list] [--no-npm] [--quiet]
#
#   --test    also what only the tests use
#   --fuzz    also clang with libFuzzer's runtime (about 150 MB)
#   --check   install nothing; say what is missing, exit 1 if anything is
#   --list    print the package names for this release and exit
#   --no-npm  leave out node and npm (enough to build and serve; not for the offline Google)
#   --quiet   say nothing when nothing is to be done
#
# V8 comes from libnode-dev. Where the installed `nodejs` is not Debian's (NodeSource's, say), that
# package cannot be installed beside it; then it and its library are unpacked, never installed,
# under build/deps/libnode, where cmake/FindV8.cmake looks for them.
# SEQUENTIAL_SKIP_SETUP=1 makes this script do nothing at all (your own packages, another system).
set -u
export LC_ALL=C
if [ "${SEQUENTIAL_SKIP_SETUP:-0}" = 1 ]; then exit 0; fi

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
deps=$root/build/deps
libnode_dir=$deps/libnode
log=$root/build/setup.log
node_major_min=18

want_test=0 want_fuzz=0 want_npm=1 check=0 list=0 quiet=0
for arg in "$@"; do
  case $arg in
    --test) want_test=1 ;;
    --fuzz) want_fuzz=1 ;;
    --check) check=1 ;;
    --list) list=1 ;;
    --no-npm) want_npm=0 ;;
    --quiet) quiet=1 ;;
    -h | --help) sed -n '2,/^set -u/{/^#/s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    *) echo "setup: unknown option '$arg' (see --help)" >&2; exit 2 ;;
  esac
done

say() { [ $quiet = 1 ] || echo "setup: $*"; }
die() { echo "setup: $*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# --- which release --------------------------------------------------------------------------------
ID='' VERSION_ID='' VERSION_CODENAME='' PRETTY_NAME=''
# shellcheck disable=SC1091
[ -r /etc/os-release ] && . /etc/os-release
release=
if [ "$ID" = debian ]; then
  case ${VERSION_ID:-$VERSION_CODENAME} in
    12 | bookworm) release=12 ;;
    13 | trixie) release=13 ;;
  esac
fi

# --- what is needed -------------------------------------------------------------------------------
# Tools count as present when the command is there, wherever it comes from: "command package".
tools=(
  'g++ g++' 'cmake cmake' 'ninja ninja-build' 'ccache ccache' 'pkg-config pkg-config'
  'git git' 'curl curl'
)
libs=(
  ca-certificates tzdata
  libabsl-dev libsqlite3-dev libsodium-dev libseccomp-dev libcurl4-openssl-dev libssl-dev
  nlohmann-json3-dev libspdlog-dev libcli11-dev libxxhash-dev libzstd-dev
  libgtest-dev libgmock-dev libbenchmark-dev libpqxx-dev
)
boost=1.83 postgres=17
case $release in
  12)
    boost=1.81 postgres=15
    [ $want_fuzz = 1 ] && tools+=('clang++ clang') && libs+=(libclang-rt-14-dev)
    ;;
  *)
    [ $want_fuzz = 1 ] && tools+=('clang++ clang') && libs+=(libclang-rt-19-dev)
    ;;
esac
libs+=("libboost$boost-dev" "libboost-url$boost-dev")
if [ $want_test = 1 ]; then
  tools+=('openssl openssl' 'sqlite3 sqlite3')
  libs+=(pgbouncer haproxy faketime)
  # The server's programs, of any version: tests start servers of their own.
  if [ $list = 1 ] || ! compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; then
    libs+=("postgresql-$postgres")
  fi
fi

all_packages() {
  printf '%s\n' "${tools[@]##* }" "${libs[@]}" libnode-dev
  [ $want_npm = 1 ] && printf '%s\n' nodejs npm
}
if [ $list = 1 ]; then all_packages; exit 0; fi

if [ -z "$release" ]; then
  cat >&2 <<END
setup: this is ${PRETTY_NAME:-an unknown system}; only Debian 12 and 13 are set up automatically.
       Install these (Debian 13's names) with your package manager:
         $(all_packages | paste -sd' ' | fold -sw 88 | sed '2,$s/^/         /')
       Needed: g++ 12.2 or newer, CMake 3.25, Boost 1.81 or newer with Boost.URL, Node.js $node_major_min and npm,
       and a shared libnode with its V8 headers (cmake -DV8_ROOT=PREFIX if it is in an unusual place).
       Then run again with SEQUENTIAL_SKIP_SETUP=1.
END
  exit 1
fi

# --- what is missing ------------------------------------------------------------------------------
declare -A status=()
read_status() {  # status[package]=1 for every package of the arguments that is installed
  local name state
  while read -r name state; do
    [ "$state" = installed ] && status[${name%%:*}]=1
  done < <(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" 2>/dev/null)
}

# The unpacked library counts when its stamp names a library that is there and its own
# dependencies, listed in the stamp too, are installed.
libnode_unpacked() {
  [ -r "$libnode_dir/stamp" ] || return 1
  local key value so='' needs=''
  while IFS='=' read -r key value; do
    case $key in so) so=$value ;; needs) needs=$value ;; esac
  done <"$libnode_dir/stamp"
  [ -n "$so" ] && [ -e "$libnode_dir/$so" ] || return 1
  local p
  # shellcheck disable=SC2086
  read_status $needs
  for p in $needs; do [ -n "${status[$p]-}" ] || return 1; done
}

node_major() { node --version 2>/dev/null | sed 's/^v\([0-9]*\).*/\1/'; }

missing=() need_libnode=0
find_missing() {
  missing=() need_libnode=0 status=()
  local entry p
  read_status "${libs[@]}" libnode-dev libboost1.88-dev libboost-url1.88-dev
  for entry in "${tools[@]}"; do have "${entry%% *}" || missing+=("${entry##* }"); done
  for p in "${libs[@]}"; do
    [ -n "${status[$p]-}" ] && continue
    # Any Boost from 1.81 will do; 13 has two, which exclude each other.
    [[ $p == libboost* && -n "${status[${p/$boost/1.88}]-}" ]] && continue
    missing+=("$p")
  done
  if [ $want_npm = 1 ]; then
    if ! have node; then
      missing+=(nodejs)
    elif [ "$(node_major)" -lt $node_major_min ] 2>/dev/null; then
      die "node $(node --version) at $(command -v node) is too old: version $node_major_min or newer is needed"
    fi
    have npm || missing+=(npm)
  fi
  if [ -z "${status[libnode-dev]-}" ] && ! libnode_unpacked; then need_libnode=1; fi
}

find_missing
if [ ${#missing[@]} = 0 ] && [ $need_libnode = 0 ]; then
  say "nothing to install"
  exit 0
fi
if [ $check = 1 ]; then
  [ $need_libnode = 1 ] && missing+=(libnode-dev)
  echo "setup: missing: ${missing[*]}"
  exit 1
fi

# --- installing -----------------------------------------------------------------------------------
mkdir -p "$deps" || die "cannot write to $deps"
: >"$log" || die "cannot write to $log"

as_root=()
if [ "$(id -u)" != 0 ]; then
  have sudo || die "not root, and no sudo. As root, run: $0 $*"
  as_root=(sudo)
fi
if ! have flock; then exec 9>/dev/null; else
  # Two set-ups of one tree at a time would unpack into each other.
  exec 9>"$deps/.lock" && flock 9
fi

# Waits for another apt or dpkg at work instead of failing beside it.
apt() {
  local tries=0 begin
  while :; do
    begin=$(wc -l <"$log")
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive LC_ALL=C \
      apt-get -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 "$@" >>"$log" 2>&1 9>&- && return 0
    tail -n "+$((begin + 1))" "$log" | grep -q 'Could not get lock\|Unable to lock' || return 1
    [ $((tries += 1)) -le 120 ] || return 1
    [ $tries = 1 ] && say "waiting for another package installation on this machine"
    sleep 5
  done
}
updated=0
apt_update() {
  [ $updated = 1 ] && return 0
  updated=1
  say "reading the package lists"
  # A source that does not answer is only a warning here: the packages may come from the others.
  apt update
}
known() {  # every package of the arguments has a candidate in the lists already read
  local n
  n=$(apt-cache policy "$@" 2>/dev/null | grep -c '^  Candidate: [^(]')
  [ "$n" = $# ]
}
fail() {
  echo "setup: $*" >&2
  echo "setup: the last lines of $log:" >&2
  grep -v '^$' "$log" | tail -n 25 | sed 's/^/    /' >&2
  exit 1
}
# PostgreSQL and PgBouncer are for tests that start their own: no cluster is made and no service is
# started, now or at the next boot. What the machine's owner has set up stays as it is.
policy=/usr/sbin/policy-rc.d made_policy=0
no_services() {
  [[ " $* " == *' postgresql-'* || " $* " == *' pgbouncer '* ]] || return 0
  local conf=/etc/postgresql-common/createcluster.conf
  if [ ! -e $conf ]; then
    "${as_root[@]}" sh -c "mkdir -p ${conf%/*} && echo 'create_main_cluster = false' >$conf" || return 1
  fi
  if [ ! -e $policy ]; then
    made_policy=1
    "${as_root[@]}" sh -c "printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy" || return 1
  fi
}
services_again() {
  [ $made_policy = 1 ] && "${as_root[@]}" rm -f $policy
  made_policy=0
}
trap services_again EXIT

# --no-remove: never at the price of another package on this machine.
install() {
  known "$@" || apt_update || fail "the package lists could not be read"
  apt install -y --no-install-recommends --no-remove "$@" && return 0
  # Lists from yesterday name packages that a point release has replaced since.
  [ $updated = 0 ] && apt_update && apt install -y --no-install-recommends --no-remove "$@"
}

# True when apt can install libnode-dev and nothing of it meets files of another Node.
libnode_installable() {
  if dpkg-query -S /usr/include/node/v8.h >>"$log" 2>&1; then return 1; fi
  if [ -e /usr/include/node/v8.h ]; then return 1; fi
  known libnode-dev || apt_update
  local plan
  plan=$(apt-get install -s --no-install-recommends --no-remove libnode-dev 2>>"$log") || return 1
  ! grep -q '^Remv' <<<"$plan"
}

unpack_libnode() {
  local work=$deps/.libnode.new debs dev_deb lib_deb lib so p needs=()
  local sandbox=()
  [ "$(id -u)" = 0 ] && sandbox=(-o APT::Sandbox::User=root)
  say "unpacking libnode-dev under build/deps/libnode (Debian's cannot be installed beside this nodejs)"
  rm -rf "$work" && mkdir -p "$work/root" "$deps/debs" || die "cannot write to $deps"

  known libnode-dev || apt_update || fail "the package lists could not be read"
  lib_of() { apt-cache show libnode-dev 2>/dev/null | sed -n '/^Depends:/s/.*\(libnode[0-9][0-9]*\) (= \([^)]*\)).*/\1 \2/p' | head -n 1; }
  download() {
    read -r lib version < <(lib_of) || return 1
    (cd "$deps/debs" && apt-get "${sandbox[@]}" download "libnode-dev=$version" "$lib=$version") >>"$log" 2>&1
  }
  local version=
  if ! download; then
    apt_update
    download || fail "libnode-dev and its library could not be downloaded"
  fi
  debs=$deps/debs
  dev_deb=$(ls -t "$debs"/libnode-dev_*.deb 2>/dev/null | head -n 1)
  lib_deb=$(ls -t "$debs/${lib}"_*.deb 2>/dev/null | head -n 1)
  [ -n "$dev_deb" ] && [ -n "$lib_deb" ] || fail "libnode-dev or $lib did not arrive"
  dpkg -x "$dev_deb" "$work/root" >>"$log" 2>&1 && dpkg -x "$lib_deb" "$work/root" >>"$log" 2>&1 ||
    fail "libnode-dev could not be unpacked"

  # The library's own libraries, but not the node-* packages: they are JavaScript for Node itself,
  # read by no one who only links V8, and they are what cannot be installed here.
  while read -r p; do
    case $p in '' | node* ) ;; *) needs+=("$p") ;; esac
  done < <(dpkg-deb -f "$lib_deb" Depends | tr ',' '\n' | sed 's/^ *//; s/[ |(:].*//')
  read_status "${needs[@]}"
  local absent=()
  for p in "${needs[@]}"; do [ -n "${status[$p]-}" ] || absent+=("$p"); done
  if [ ${#absent[@]} != 0 ]; then install "${absent[@]}" || fail "could not install ${absent[*]}"; fi

  so=$(cd "$work/root" && find . -name 'libnode.so.*' -type f | head -n 1)
  [ -n "$so" ] || fail "$lib_deb has no libnode.so"
  {
    echo "version=$version"
    echo "so=${so#./}"
    echo "needs=${needs[*]}"
  } >"$work/root/stamp"
  rm -rf "$libnode_dir" && mv "$work/root" "$libnode_dir" || die "cannot write to $libnode_dir"
  rm -rf "$work" "$debs"
}

started=$SECONDS
if [ $need_libnode = 1 ] && libnode_installable; then
  missing+=(libnode-dev)
  need_libnode=0
fi
if [ ${#missing[@]} != 0 ]; then
  known "${missing[@]}" || apt_update || fail "the package lists could not be read"
  say "installing ${missing[*]}"
  no_services "${missing[@]}" || fail "services could not be kept from starting"
  install "${missing[@]}" || fail "these could not be installed: ${missing[*]}"
  services_again
  if [[ " ${missing[*]} " == *' pgbouncer '* ]] && have systemctl; then
    "${as_root[@]}" systemctl disable pgbouncer >>"$log" 2>&1 || true
  fi
fi
if [ $need_libnode = 1 ]; then unpack_libnode; fi

find_missing
if [ ${#missing[@]} != 0 ] || [ $need_libnode = 1 ]; then
  [ $need_libnode = 1 ] && missing+=(libnode-dev)
  fail "still missing after the installation: ${missing[*]}"
fi
say "done in $((SECONDS - started)) s"
