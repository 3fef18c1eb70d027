#!/bin/sh
# Print the path of a Chromium: the one on the PATH, else Debian's package when root, else Playwright's. The shell comes
# first: it is the same without the windows that nobody sees, smaller and a tenth quicker.
for name in chromium-headless-shell chromium chromium-browser google-chrome; do
    if command -v "$name"; then exit 0; fi
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing Debian's chromium" >&2
    (apt-get update -qq; apt-get install -y -qq chromium-headless-shell || apt-get install -y -qq chromium) >/dev/null 2>&1
    if command -v chromium-headless-shell || command -v chromium; then exit 0; fi
fi
path=$(.venv/bin/python - <<'PY' 2>/dev/null
from playwright.sync_api import sync_playwright
with sync_playwright() as p:
    print(p.chromium.executable_path)
PY
)
if [ -x "$path" ]; then echo "$path"; exit 0; fi
if .venv/bin/python -m playwright install chromium >/dev/null 2>&1; then
    path=$(.venv/bin/python -c 'from playwright.sync_api import sync_playwright as s; p = s().start(); print(p.chromium.executable_path); p.stop()')
    if [ -x "$path" ]; then echo "$path"; exit 0; fi
fi
echo "No Chromium can be had: install one (Debian: apt-get install chromium) and run make test again." >&2
exit 1
