#!/bin/sh
# Make the virtual environment with Python 3.11, or say in one line what is missing.
python=$1 venv=$2
found=
for candidate in "$python" python3.11 python3 python; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
        found=$candidate
        break
    fi
done
if [ -z "$found" ]; then
    have=$(python3 --version 2>/dev/null || echo "no Python")
    echo "Python 3.11 is needed (found: $have). Install it, or say where it is: make PYTHON=/path/to/python3.11" >&2
    exit 1
fi
echo "Creating $venv with $("$found" --version)"
if ! "$found" -m venv --clear "$venv"; then
    rm -rf "$venv"
    echo "The virtual environment could not be made: on Debian and Ubuntu, install python3.11-venv." >&2
    exit 1
fi
