# shellcheck shell=bash
# Shell functions that the scripts in tools/ share; sourced, never run.

UNLEARN_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)"
readonly UNLEARN_ROOT

# Bazel and the caches below need a home; daemons and bare containers often have none set.
if [[ -z ${HOME:-} ]]; then
  HOME="$(getent passwd "$(id -u)" | cut -d: -f6)"
  export HOME
fi
# shellcheck disable=SC2034  # used by those who source this
readonly UNLEARN_CACHE="$HOME/.cache/unlearn"

die() {
  echo "${0##*/}: $*" >&2
  exit 1
}

# Prints Bazel's options for this machine, one a line. A compilation that includes LibTorch takes
# up to 2 GB, so memory limits the jobs as well as cores do.
machine_options() {
  local cores memory_gb jobs
  cores="$(nproc)"
  memory_gb="$(awk '/^MemTotal:/ {print int($2 / 1e6)}' /proc/meminfo)"
  jobs=$((memory_gb / 3 < cores ? memory_gb / 3 : cores))
  printf '%s\n' "--jobs=$((jobs > 0 ? jobs : 1))"
  # Without a terminal (CI, a log file) a line now and then instead of a moving one.
  if [[ ! -t 2 ]]; then
    printf '%s\n' --curses=no --color=no --show_progress_rate_limit=20
  fi
}

# run_bazel COMMAND ARGUMENT…: Bazel in the root of the checkout, with the machine's options, for
# the commands that build. Everything that it prints goes to stderr.
run_bazel() {
  local command="$1"
  shift
  local options
  mapfile -t options < <(machine_options)
  (cd "$UNLEARN_ROOT" && bazel "$command" "${options[@]}" "$@" </dev/null >&2)
}
