#!/bin/sh
# Install a requirements file under the lock, saying how far it is. torch comes first: PyPI's own Linux build is the
# CUDA one, several gigabytes, so PyTorch's CPU index is taken where one quick probe reaches it. TORCH=cuda asks for
# PyPI's.
set -e
python=$1 torch=$2 requirements=$3
index=https://download.pytorch.org/whl/cpu
pinned=$(sed -n 's/^\(torch==[^ ]*\).*/\1/p' requirements.txt)
log=${PHI3_HOME:-.phi3}/logs/install.log
mkdir -p "$(dirname "$log")"
export PIP_DISABLE_PIP_VERSION_CHECK=1

install() {
    status=$(mktemp)
    { "$python" -m pip install --no-compile --progress-bar off "$@" 2>&1 && echo 0 >"$status" || echo 1 >"$status"; } |
        tee -a "$log" |
        awk -v total="$(grep -c == constraints.txt)" '
            /^Collecting/ && ++found % 20 == 0 { print "    " found " of about " total " packages found" }
            /^Installing collected/ { print "    installing them" }
            { fflush() }'
    failed=$(cat "$status")
    rm -f "$status"
    if [ "$failed" != 0 ]; then
        grep '^ERROR' "$log" | tail -3 >&2
        echo "pip could not install everything; run make again when the cause is gone. Its log is $log." >&2
        exit 1
    fi
}

have=$("$python" -c 'from importlib.metadata import version; print("torch==" + version("torch"))' 2>/dev/null || true)
if [ "$torch" = cuda ] && [ "$have" = "$pinned+cpu" ]; then
    "$python" -m pip uninstall --quiet --yes torch
    have=
fi
if [ "${have%+*}" != "$pinned" ]; then
    if [ "$torch" != cuda ] && [ "$(uname -s)" = Linux ] &&
        "$python" -c "import urllib.request as u; u.urlopen('$index/torch/', timeout=3)" 2>/dev/null; then
        echo "Installing $pinned for the CPU from PyTorch's index (200 MB)"
        install --no-deps --index-url "$index" "$pinned+cpu"
    else
        echo "Installing $pinned, the largest package"
        install -c constraints.txt "$pinned"
    fi
fi
echo "Installing $requirements and what it needs, at the versions of constraints.txt (about a minute the first time)"
install -c constraints.txt -r "$requirements"
"$python" -m pip install --quiet --no-deps --no-build-isolation --editable .
echo "    compiling them"
# All cores, where pip takes one; without what is hardly ever imported, four files in ten. Some packages bring files
# that are no Python.
packages=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
rarely='site-packages/(.*/(tests?|testing|_inductor)/|transformers/models/|(moto|networkx|pip)/)'
"$python" -m compileall -q -j 0 -x "$rarely" "$packages" >/dev/null || true
