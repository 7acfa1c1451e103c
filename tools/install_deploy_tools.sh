#!/bin/sh
# Puts into build/tools what the tests of compose.yaml, deploy/ and /asyncapi.json ask for, each of one version:
#     sh tools/install_deploy_tools.sh
# Needs go (the Compose schema; kustomize where there is no kubectl), npm (AsyncAPI's schema), python3, and on Debian
# apt-get (promtool).
# What cannot be had here is named on stderr and left out; the tests that need it are then skipped, or fail in CI.
set -eu

COMPOSE_GO=v2.9.0
ASYNCAPI_SPECS=6.11.1
KUSTOMIZE=v5.7.1
KUBERNETES_VALIDATE=1.37.0

root=$(cd "$(dirname "$0")/.." && pwd)
tools=$root/build/tools
mkdir -p "$tools/bin"

missing() {
  echo "left out: $1" >&2
}

if [ ! -e "$tools/compose-spec-$COMPOSE_GO.json" ]; then
  if module=$(go mod download -json "github.com/compose-spec/compose-go/v2@$COMPOSE_GO" 2>/dev/null); then
    folder=$(printf '%s\n' "$module" | sed -n 's/^[[:space:]]*"Dir": "\(.*\)",$/\1/p')
    install -m 0644 "$folder/schema/compose-spec.json" "$tools/compose-spec-$COMPOSE_GO.json"
    ln -sf "compose-spec-$COMPOSE_GO.json" "$tools/compose-spec.json"
  else
    missing "the Compose schema (go mod download failed)"
  fi
fi

if [ ! -e "$tools/asyncapi-3.0.0-$ASYNCAPI_SPECS.json" ]; then
  packed=$(mktemp -d)
  if (cd "$packed" && npm pack --silent "@asyncapi/specs@$ASYNCAPI_SPECS" >/dev/null 2>&1); then
    tar -xzf "$packed"/*.tgz -O 'package/schemas/3.0.0-without-$id.json' >"$tools/asyncapi-3.0.0-$ASYNCAPI_SPECS.json"
    ln -sf "asyncapi-3.0.0-$ASYNCAPI_SPECS.json" "$tools/asyncapi-3.0.0.json"
  else
    missing "the AsyncAPI schema (npm pack failed)"
  fi
  rm -rf "$packed"
fi

if ! command -v kubectl >/dev/null && [ ! -x "$tools/bin/kustomize" ]; then
  GOBIN=$tools/bin go install "sigs.k8s.io/kustomize/kustomize/v5@$KUSTOMIZE" || missing kustomize
fi

if [ ! -e "$tools/kubernetes-validate-$KUBERNETES_VALIDATE" ]; then
  rm -rf "$tools/schemas"
  if python3 -m venv "$tools/schemas" &&
    "$tools/schemas/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile \
      "kubernetes-validate==$KUBERNETES_VALIDATE"; then
    ln -sf ../schemas/bin/kubernetes-validate "$tools/bin/kubernetes-validate"
    touch "$tools/kubernetes-validate-$KUBERNETES_VALIDATE"
  else
    missing kubernetes-validate
  fi
fi

# The package itself would start a server.
if ! command -v promtool >/dev/null && [ ! -x "$tools/bin/promtool" ]; then
  packages=$(mktemp -d)
  trap 'rm -rf "$packages"' EXIT INT TERM
  fetch() {
    (cd "$packages" && apt-get download -qq prometheus >/dev/null 2>&1)
  }
  if fetch || { apt-get update -qq >/dev/null 2>&1 && fetch; }; then
    dpkg-deb --fsys-tarfile "$packages"/prometheus_*.deb | tar -x -C "$packages" ./usr/bin/promtool
    install -m 0755 "$packages/usr/bin/promtool" "$tools/bin/promtool"
  else
    missing "promtool (apt-get download prometheus failed)"
  fi
fi
