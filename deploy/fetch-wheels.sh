#!/usr/bin/env bash
# Download what the serving images install into deploy/wheels, with this machine's own pip configuration.
#
#   deploy/fetch-wheels.sh            for triton-cpu (Python 3.11)
#   deploy/fetch-wheels.sh 3.12       for triton, whose image has Python 3.12
#
# For networks where pip inside a build can't reach an index: a mirror, a proxy or a certificate authority of
# one's own, or no network at all. An image that finds wheels there installs from them alone, and nothing of
# this machine's configuration gets into it. To go back to the index: rm deploy/wheels/*.whl
set -euo pipefail
cd "$(dirname "$0")/.."

version=${1:-3.11}
pip=("${PYTHON:-python3}" -m pip --disable-pip-version-check)
target=(--quiet --dest deploy/wheels --only-binary=:all: --implementation cp --python-version "$version")
for tag in manylinux2014 manylinux_2_17 manylinux_2_27 manylinux_2_28 manylinux_2_34 manylinux_2_35; do
    target+=(--platform "${tag}_$(uname -m)")
done

rm -f deploy/wheels/*.whl
"${pip[@]}" download "${target[@]}" -r pipeline/tritonpack/server/runtime-requirements.txt
"${pip[@]}" download "${target[@]}" --no-deps -r pipeline/tritonpack/server/server-wheel.txt
du -sh deploy/wheels
