#!/usr/bin/env bash
# The two programs as a user starts them: `unlearn` hands over to `unlearn_models` unseen.
set -u
folder=$(dirname "$1")
work=${TEST_TMPDIR:-$(mktemp -d)}
fail() { echo "FAILED: $*" >&2; exit 1; }

"$folder/unlearn" --help >"$work/help" 2>"$work/err" || fail "--help"
grep -q pretrain "$work/help" || fail "--help does not name pretrain"
[ -s "$work/err" ] && fail "--help wrote to stderr"

"$folder/unlearn" model logits --model "$work/none" --token_ids 1,2 --json >"$work/out" 2>"$work/err"
[ $? -eq 1 ] || fail "a missing model is not exit code 1"
[ -s "$work/out" ] && fail "a failure wrote to stdout"
grep -q "$work/none" "$work/err" || fail "the missing model is not named: $(cat "$work/err")"

"$folder/unlearn" model logits --token_ids 1 >"$work/out" 2>"$work/err"
[ $? -eq 2 ] || fail "wrong usage is not exit code 2"

# A link to the program is enough to find its companion.
ln -sf "$(readlink -f "$folder/unlearn")" "$work/linked"
"$work/linked" model logits --model "$work/none" --token_ids 1 2>"$work/err"
[ $? -eq 1 ] || fail "through a link"
grep -q "$work/none" "$work/err" || fail "through a link: $(cat "$work/err")"

# Without its companion it says what is missing.
cp "$(readlink -f "$folder/unlearn")" "$work/alone"
"$work/alone" model logits --model m --token_ids 1 >"$work/out" 2>"$work/err"
[ $? -eq 1 ] || fail "alone is not exit code 1"
grep -q unlearn_models "$work/err" || fail "alone: $(cat "$work/err")"

# Light commands do not load LibTorch.
ldd "$(readlink -f "$folder/unlearn")" | grep -q torch && fail "unlearn links LibTorch"
echo passed
