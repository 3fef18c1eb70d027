#!/bin/sh
# Install a requirements file under the lock. torch comes first: PyPI's own Linux build is the CUDA one, several
# gigabytes, so PyTorch's CPU index is taken where one quick probe reaches it. TORCH=cuda asks for PyPI's.
set -e
python=$1 torch=$2 requirements=$3
index=https://download.pytorch.org/whl/cpu
pinned=$(sed -n 's/^\(torch==[^ ]*\).*/\1/p' requirements.txt)
export PIP_DISABLE_PIP_VERSION_CHECK=1

have=$("$python" -c 'from importlib.metadata import version; print("torch==" + version("torch"))' 2>/dev/null || true)
if [ "$torch" = cuda ] && [ "$have" = "$pinned+cpu" ]; then
    "$python" -m pip uninstall --quiet --yes torch
    have=
fi
if [ "${have%+*}" != "$pinned" ]; then
    if [ "$torch" != cuda ] && [ "$(uname -s)" = Linux ] &&
        "$python" -c "import urllib.request as u; u.urlopen('$index/torch/', timeout=3)" 2>/dev/null; then
        echo "1/2 Installing $pinned for the CPU from PyTorch's index (200 MB)"
        "$python" -m pip install --quiet --no-deps --index-url "$index" "$pinned+cpu"
    else
        echo "1/2 Installing $pinned, the largest package"
        "$python" -m pip install --quiet -c constraints.txt "$pinned"
    fi
fi
echo "2/2 Installing $requirements and what it needs, as constraints.txt has it (about a minute the first time)"
"$python" -m pip install --quiet -c constraints.txt -r "$requirements"
