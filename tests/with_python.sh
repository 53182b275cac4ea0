#!/bin/sh
# with_python.sh "MODULE, MODULE" SCRIPT ARGUMENT...: runs it with the first interpreter that has these modules; 77 (skipped)
# when none has.
modules=$1
shift
for python in python3 /usr/bin/python3 /usr/local/bin/python3; do
    if "$python" -c "import $modules" 2>/dev/null; then exec "$python" "$@"; fi
done
echo "no Python with $modules"
exit 77
