#!/bin/sh
# Install a requirements file under the lock. torch comes first: PyPI's own Linux build is the CUDA one, several
# gigabytes, so PyTorch's CPU index is taken where one quick probe reaches it. TORCH=cuda asks for PyPI's.
set -e
python=$1 torch=$2 requirements=$3
index=https://download.pytorch.org/whl/cpu
pinned=$(sed -n 's/^\(torch==[^ ]*\).*/\1/p' requirements.txt)
log=${PHI3_HOME:-.phi3}/logs/install.log
mkdir -p "$(dirname "$log")"
export PIP_DISABLE_PIP_VERSION_CHECK=1

# In a terminal pip and uv show their own progress; elsewhere what they say goes into the log.
install() {
    if [ -t 1 ]; then "$python" -m "$@"; else "$python" -m "$@" >>"$log" 2>&1; fi || {
        [ -t 1 ] || tail -3 "$log" >&2
        echo "Not everything could be installed; run make again when the cause is gone. The log is $log." >&2
        exit 1
    }
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
        install pip install --no-compile --no-deps --index-url "$index" "$pinned+cpu"
    else
        echo "Installing $pinned, the largest package"
        install pip install --no-compile -c constraints.txt "$pinned"
    fi
fi
echo "Installing $requirements and what it needs, at the versions of constraints.txt (half a minute the first time)"
# uv takes a third of pip's time. It does not read pip's configuration, where a company names its own index.
install pip install -c constraints.txt uv
UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-$("$python" -m pip config get global.index-url 2>/dev/null || echo https://pypi.org/simple)}
export UV_DEFAULT_INDEX
install uv pip install --python "$python" --link-mode copy -c constraints.txt -r "$requirements"
"$python" -m pip install --quiet --no-deps --no-build-isolation --editable .
echo "    compiling them"
# All cores, where pip takes one; without what is hardly ever imported, four files in ten. Some packages bring files
# that are no Python.
packages=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
rarely='site-packages/(.*/(tests?|testing|_inductor)/|transformers/models/|(moto|networkx|pip)/)'
"$python" -m compileall -q -j 0 -x "$rarely" "$packages" >/dev/null || true
