# shellcheck shell=bash
# Sourced by the scripts beside it. One concept: the tools that the project needs besides Rust. They
# live in target/tools, so a fresh machine gets them by itself and deleting target/ removes them.

STAGELINE_ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
STAGELINE_TOOLS="$STAGELINE_ROOT/target/tools"

say() { printf '%s\n' "$*" >&2; }

die() {
  say "error: $*"
  exit 1
}

# stageline_python: prints a Python that can make virtual environments, or explains what is missing.
stageline_python() {
  local python
  python=$(command -v python3) || die "python3 is not installed; Python 3.10 or later is needed (Debian, Ubuntu: apt-get install python3 python3-venv)"
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    die "$python is $("$python" --version 2>&1); Python 3.10 or later is needed"
  "$python" -c 'import venv, ensurepip' 2>/dev/null ||
    die "$python cannot make virtual environments (Debian, Ubuntu: apt-get install python3-venv)"
  printf '%s\n' "$python"
}

# stageline_venv DIRECTORY REQUIREMENTS: a virtual environment that holds what the file pins. Made
# once: a stamp keeps the file's hash and the Python's version, and is written last.
stageline_venv() {
  local dir=$1 requirements=$2 python want
  python=$(stageline_python) || return 1
  want=$("$python" -c 'import hashlib, sys; print(sys.version.split()[0], hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())' "$requirements")
  [[ -f "$dir/stamp" && $(<"$dir/stamp") == "$want" ]] && return 0
  say "Installing tools into ${dir#"$STAGELINE_ROOT/"} (once)"
  rm -rf "$dir"
  mkdir -p "$(dirname "$dir")"
  "$python" -m venv "$dir" || die "could not make a virtual environment in $dir"
  "$dir/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements" >&2 ||
    die "could not install what $requirements pins"
  printf '%s\n' "$want" >"$dir/stamp"
}

# stageline_tools: installs scripts/tools.txt and puts it first on PATH.
stageline_tools() {
  stageline_venv "$STAGELINE_TOOLS/venv" "$STAGELINE_ROOT/scripts/tools.txt" || return 1
  export PATH="$STAGELINE_TOOLS/venv/bin:$PATH"
}
