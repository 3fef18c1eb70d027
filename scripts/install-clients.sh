#!/bin/sh
# Install the clients of other makers that clients/run.py runs, into .clients, at the versions that clients/ pins.
set -e
python=$1 into=.clients
command -v npm >/dev/null || { echo "npm is needed for the JavaScript clients: install Node.js 20 or newer." >&2; exit 1; }
mkdir -p "$into/js"
for name in python llamaindex; do
    echo "Installing clients/requirements-$name.txt"
    "$python" -m venv --clear "$into/$name"
    "$into/$name/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "clients/requirements-$name.txt"
done
echo "Installing clients/package-lock.json"
cp clients/package.json clients/package-lock.json "$into/js/"
npm ci --prefix "$into/js" --no-audit --no-fund --loglevel error
