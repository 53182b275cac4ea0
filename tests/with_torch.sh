#!/bin/sh
# Runs a Python script with the first interpreter that has PyTorch; 77 (skipped) when none has.
for python in python3 /usr/bin/python3 /usr/local/bin/python3; do
    if "$python" -c 'import numpy, torch' 2>/dev/null; then exec "$python" "$@"; fi
done
echo "no Python with PyTorch and numpy"
exit 77
