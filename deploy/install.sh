#!/bin/sh
# Builds the wheel of this checkout (the web page with it) and installs it, with the pinned versions, into an
# environment of its own:
#     deploy/install.sh /opt/queryscope
# The Dockerfile runs it, and so does a test in a clean folder. PYTHON: the interpreter to use. EXTRAS: what of the
# optional parts to install. The environment has no pip: it is replaced, not changed.
set -eu

if [ $# -ne 1 ]; then
  echo "usage: deploy/install.sh FOLDER" >&2
  exit 2
fi
target=$1
if [ -e "$target" ]; then
  echo "$target exists: name a folder that does not" >&2
  exit 2
fi
source_dir=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
extras=${EXTRAS:-postgres,elasticsearch,otel,http2}
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
if [ -n "${PIP_INDEX_URL:-}" ]; then
  export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$PIP_INDEX_URL}"
fi

# An image is made once and started often, and uv's cache is not in it.
export UV_COMPILE_BYTECODE="${UV_COMPILE_BYTECODE:-1}" UV_LINK_MODE="${UV_LINK_MODE:-copy}"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

"$python" -m venv "$work/tools"
"$work/tools/bin/pip" install --quiet --no-compile uv==0.13.9
uv="$work/tools/bin/uv"
"$python" -m venv --without-pip "$target"
"$uv" build --quiet --wheel --python "$python" --out-dir "$work/wheels" "$source_dir"
for wheel in "$work/wheels"/*.whl; do
  "$uv" pip install --quiet --python "$target/bin/python" \
    -c "$source_dir/constraints.txt" "${wheel}[${extras}]"
done
"$target/bin/queryscope" --version
