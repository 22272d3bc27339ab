#!/usr/bin/env bash
# Makes .venv with xpu and xpu_rtl installed, unless it is there and up to date.
# It is made under another name and renamed when complete, so an interruption leaves nothing half
# made, and the previous one works until then. PYTHON chooses the interpreter.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

key=$({ pwd; cat pyproject.toml constraints.txt tools/setup.sh; } | sha256sum | cut -d' ' -f1)
ready() { [ -x .venv/bin/python ] && [ "$(cat .venv/.complete 2>/dev/null)" = "$key" ]; }
say() { echo "setup: $*" >&2; }
fail() { say "$1"; say "install with: sudo apt-get install -y ${*:2}"; exit 1; }

ready && exit 0
# One set-up at a time; the lock ends with this process.
exec 9<.
if command -v flock >/dev/null && ! flock -n 9; then
  say "waiting for another set-up of this folder"
  flock 9
fi
ready && exit 0

suits() { "$1" -c "import sys; sys.exit(not (3, 11) <= sys.version_info < (3, $2))" 2>/dev/null; }
choose() {
  local name
  if [ -n "${PYTHON:-}" ]; then
    suits "$PYTHON" 99 && echo "$PYTHON"
    return
  fi
  for name in python3 python3.12 python3.11; do
    if suits "$name" 13; then echo "$name"; return; fi
  done
  for name in python3 python3.13 python3.14; do     # works as far as its packages exist
    if suits "$name" 99; then echo "$name"; return; fi
  done
}
python=$(choose || true)
[ -n "$python" ] || fail "no Python of version 3.11 or later${PYTHON:+ (PYTHON=$PYTHON)}" \
  python3 python3-venv

missing=()
"$python" -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
for tool in g++ make perl; do
  command -v "$tool" >/dev/null || missing+=("$tool")
done
[ ${#missing[@]} -eq 0 ] || fail "missing: ${missing[*]}" "${missing[@]}"

say "making .venv with $("$python" --version); takes about a minute"
rm -rf .venv.new
ticker=
trap '[ -z "$ticker" ] || kill "$ticker" 2>/dev/null || true' EXIT
( trap 'kill $! 2>/dev/null; exit' TERM
  while :; do sleep 10 & wait $!; say "still installing, $SECONDS s"; done ) 9<&- &
ticker=$!

"$python" -m venv --prompt xpu .venv.new
.venv.new/bin/python -m pip install --quiet --no-input --disable-pip-version-check \
  -c constraints.txt -e '.[test]'
# Scripts hold the path of their interpreter.
grep -rlI -- "$PWD/.venv.new" .venv.new/bin | xargs -r sed -i "s#$PWD/.venv.new#$PWD/.venv#g"
.venv.new/bin/python -c 'import xpu_rtl'
if [ -z "$(.venv.new/bin/python -m find_libpython 2>/dev/null)" ]; then
  say "note: no shared libpython, which the testbenches need (make sim, part of make test);"
  say "install with: sudo apt-get install -y python3-dev"
fi
rm -rf .venv
mv .venv.new .venv
echo "$key" > .venv/.complete.new
mv .venv/.complete.new .venv/.complete
say "done in $SECONDS s"
