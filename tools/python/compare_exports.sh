#!/bin/sh
# Compares every export in a folder with what zvit wrote beside it: FOLDER/*.onnx in onnxruntime
# (compare_onnx.py), FOLDER/*/ in timm (load_in_timm.py). Exit code 0 when all agree, 77 when the
# Python lacks onnx, onnxruntime or timm. PYTHON names another interpreter than python3.
#     compare_exports.sh FOLDER
set -u
here=$(dirname "$0")
folder=${1:?expected a folder of exports}
python=${PYTHON:-python3}
code=0
wrong=0
note() {
    [ "$1" -eq 0 ] || code=$1
    [ "$1" -eq 0 ] || [ "$1" -eq 77 ] || wrong=1
}
for file in "$folder"/*.onnx; do
    [ -f "${file%.onnx}.sample.safetensors" ] || continue
    "$python" "$here/compare_onnx.py" "$file" "${file%.onnx}.sample.safetensors"
    note $?
done
if "$python" -c 'import timm, safetensors' 2>/dev/null; then
    for config in "$folder"/*/config.json; do
        [ -f "$config" ] || continue
        "$python" "$here/load_in_timm.py" "$(dirname "$config")"
        note $?
    done
else
    echo "compare_exports.sh: $python has no timm or no safetensors" >&2
    note 77
fi
[ $wrong -eq 0 ] || exit 1
exit $code
