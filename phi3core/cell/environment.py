"""The environment of a process that runs somebody's model: a list of what it may have, and never ours.

Ours holds the key of the records, tokens of the hub and of the store, keys of endpoints.
"""

from __future__ import annotations

import os

# What the system, Python and the numerical libraries go by. None of them holds a secret.
_ALLOWED = """
PATH LANG LANGUAGE TZ VIRTUAL_ENV LD_LIBRARY_PATH DYLD_LIBRARY_PATH GLIBC_TUNABLES MALLOC_ARENA_MAX
OMP_NUM_THREADS MKL_NUM_THREADS PHI3_EXACT CUDA_VISIBLE_DEVICES CUDA_HOME
PYTHONPATH PYTHONHOME PYTHONUTF8 PYTHONIOENCODING PYTHONDONTWRITEBYTECODE PYTHONHASHSEED PYTHONWARNINGS
PYTHONFAULTHANDLER PYTHONPYCACHEPREFIX SYSTEMROOT WINDIR SYSTEMDRIVE PATHEXT NUMBER_OF_PROCESSORS
"""
# A proxy's address may hold a password: only a model that may use the network is told it.
_NETWORK = """
HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE CURL_CA_BUNDLE
"""
_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "HF_HUB_DISABLE_TELEMETRY": "1"}
_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}


def allowed(folder: str, network: bool = False) -> dict[str, str]:
    """The environment for such a process.

    Args:
        folder: its home and its folder for temporary files.
        network: whether it may use the network.
    """
    names = (_ALLOWED + _NETWORK if network else _ALLOWED).split()
    kept = {
        name: value for name, value in os.environ.items() if name.upper() in names or name.upper().startswith("LC_")
    }
    own = {"HOME": folder, "TMPDIR": folder, "TEMP": folder, "TMP": folder, "USER": "model", "LOGNAME": "model"}
    return {**kept, **own, **_QUIET, **({} if network else _OFFLINE)}
