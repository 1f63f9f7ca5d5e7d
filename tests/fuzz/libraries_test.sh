#!/usr/bin/env bash
# No fuzzer may depend on LibTorch. `$1` lists what they depend on.
set -euo pipefail
grep -q '^//offset/model:safetensors$' "$1" || {
  echo "the list of what the fuzzers depend on lacks what they test:" >&2
  cat "$1" >&2
  exit 1
}
if grep '^@libtorch' "$1" >&2; then
  echo "a fuzzer depends on LibTorch, which has no sanitizers; find the way with: bazel query" \
    "'somepath(//tests/fuzz:NAME_fuzz, @libtorch//:libtorch)'" >&2
  exit 1
fi
