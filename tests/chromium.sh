#!/usr/bin/env bash
# Find a Chromium for the browser tests, or install Debian's where one may; without one those tests skip and say so.
set -euo pipefail
for name in chromium chromium-browser google-chrome; do
    if command -v "$name" >/dev/null; then exit 0; fi
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing Chromium for the browser tests."
    # A page without any font has no text to click on.
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        chromium fonts-dejavu-core >/dev/null && exit 0
fi
echo "No Chromium was found and none can be installed here: the browser tests will be skipped." >&2
[ -z "${STUDIO_BROWSER_REQUIRED:-}" ] || { echo "STUDIO_BROWSER_REQUIRED is set: they must not be." >&2; exit 1; }
