#!/bin/sh
# valgrind.sh ZVIT FOLDER: a small run of the command under memcheck, from pictures to predictions. What is read before it
# is written, read or written out of bounds, freed twice or lost ends it with an error. Leaves the number of commands in
# FOLDER/says.
set -eu
zvit=$(realpath "$1")
here=$(cd "$(dirname "$0")" && pwd)
rm -rf "$2"
mkdir -p "$2/data"
cd "$2"

# A few pictures of each of three digits; one of train is no picture.
mkdir all
tar -xzf "$here/../tools/digits/digits.tar.gz" -C all
for class in 0 1 2; do
    mkdir -p data/train/$class data/val/$class
    for file in $(find all/train/$class -name '*.png' | LC_ALL=C sort | head -n 6); do mv "$file" data/train/$class/; done
    for file in $(find all/val/$class -name '*.png' | LC_ALL=C sort | head -n 2); do mv "$file" data/val/$class/; done
done
rm -rf all
printf 'no picture' >data/train/2/zz_broken.png
cp "$here/golden/china_420.jpg" data/val/1/

count=0
check() {
    echo "== zvit $*"
    valgrind --quiet --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite,indirect \
        --suppressions="$here/valgrind.supp" --num-callers=30 "$zvit" "$@" ||
        {
            echo "FAILED: code $? from zvit $*"
            exit 1
        }
    count=$((count + 1))
}
model="--img-size 16 --patch-size 8 --embed-dim 16 --depth 2 --num-heads 2 --batch-size 4 --threads 2 --seed 3"
check train data --out run $model --epochs 2 --model-ema --mixup 0.5 --cutmix 0.5 --aa rand-m9-mstd0.5-inc1 --reprob 0.5
check train --resume run --epochs 3 --override
check eval run data --out measured --tta flip
check classify run data/val/1/china_420.jpg data/val/0 --json
check explain run data/val/1/china_420.jpg --out map.png --deletion 2
check export run --format int8 --out int8
check classify int8/model.safetensors data/val/2
check export run --format onnx --out onnx
check pack data data.zpk
check train data.zpk --out causal $model --epochs 1 --causal --opt lamb --init run --checkpoint-activations
check info causal
echo "$count commands" >says
