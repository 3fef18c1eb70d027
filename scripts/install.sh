#!/bin/sh
# Install a requirements file under the lock. torch comes first: PyPI's own Linux build is the CUDA one, several
# gigabytes, so PyTorch's CPU index is taken where one quick probe reaches it. TORCH=cuda asks for PyPI's.
set -e
python=$1 torch=$2 requirements=$3
index=https://download.pytorch.org/whl/cpu
pinned=$(sed -n 's/^\(torch==[^ ]*\).*/\1/p' requirements.txt)
export PIP_DISABLE_PIP_VERSION_CHECK=1

if ! "$python" -c 'import torch' 2>/dev/null; then
    if [ "$torch" != cuda ] && [ "$(uname -s)" = Linux ] &&
        "$python" -c "import urllib.request as u; u.urlopen('$index/torch/', timeout=3)" 2>/dev/null; then
        echo "Installing $pinned for the CPU from PyTorch's index"
        "$python" -m pip install --quiet -c constraints.txt --extra-index-url "$index" "$pinned+cpu"
    else
        echo "Installing $pinned (the largest package; this takes a minute)"
        "$python" -m pip install --quiet -c constraints.txt "$pinned"
    fi
fi
echo "Installing $(grep -cE '^[a-zA-Z]' "$requirements") packages of $requirements and what they need (about two minutes the first time)"
"$python" -m pip install --quiet -c constraints.txt -r "$requirements"
