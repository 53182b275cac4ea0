#!/bin/sh
# The figures of docs/performance.md on this machine, one row a line; takes some ten minutes. The processor must have
# nothing else to do.
#   tools/bench/performance.sh build/release/zvit [PYTHON with torch]
# With KERNELS="Haswell SkylakeX" in the environment, on those kernels of OpenBLAS in place of the one it chooses.
set -eu
zvit=$1
python=${2:-/usr/bin/python3}
model=zeros_tiny_patch16_224
here=$(dirname "$0")
unset OPENBLAS_L2_SIZE
for kernel in ${KERNELS:-chosen}; do
    if [ "$kernel" = chosen ]; then unset OPENBLAS_CORETYPE; else export OPENBLAS_CORETYPE="$kernel"; fi
    echo "== kernel: $kernel"
    "$zvit" bench train --model $model --batch-size 32
    "$zvit" bench infer --model $model --batch-size 32
    "$zvit" bench startup --model $model --repeats 30
    "$zvit" bench attention --model $model
    "$python" "$here/compare_torch.py" --zvit "$zvit"
done
