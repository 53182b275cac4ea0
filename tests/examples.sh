#!/bin/sh
# examples.sh PROGRAMS WORK: runs the programs of tools/examples as somebody would who tries them.
set -eu
programs=$(cd "$1" && pwd)
tests=$(cd "$(dirname "$0")" && pwd)
model=$tests/models/digits-zeros.safetensors
rm -rf "$2"
mkdir -p "$2"
cd "$2"

fail() {
    echo "examples: $*"
    exit 1
}
# has FILE PATTERN
has() { grep -q -e "$2" "$1" || { cat "$1"; fail "$1: no line like '$2'"; }; }

# ---- classify: two pictures of a folder, one that is none, and their exit codes
mkdir pictures
cp "$tests/golden/china_420.jpg" pictures/a.jpg
cp "$tests/golden/flower_420.jpg" pictures/b.jpg
"$programs/classify" "$model" pictures >out
[ "$(grep -c '%' out)" = 2 ] || fail "classify: not two lines"
has out '^pictures/a.jpg  [0-9] [0-9.]* %  [0-9] '
echo nonsense >broken.jpg
if "$programs/classify" "$model" broken.jpg pictures/a.jpg >out 2>err; then fail "classify: a broken picture is no failure"; fi
has out '^pictures/a.jpg'
has err '^classify: broken.jpg: '
if "$programs/classify" missing.safetensors pictures 2>err; then fail "classify: a missing model is no failure"; fi
has err '^classify: missing.safetensors: '

# ---- embed: a picture is its own nearest neighbour
"$programs/embed" "$model" pictures/a.jpg pictures >out
[ "$(sed -n 1p out)" = "1.0000  pictures/a.jpg" ] || { cat out; fail "embed: a picture is not nearest to itself"; }
has out '  pictures/b.jpg$'

# ---- train: a tiny model; the same words again have nothing left to do
for class in china flower; do
    for split in train val; do
        mkdir -p "data/$split/$class"
        for n in 1 2 3 4; do cp "$tests/golden/${class}_420.jpg" "data/$split/$class/$n.jpg"; done
    done
done
tiny='img-size=16 patch-size=8 embed-dim=16 depth=1 num-heads=2 batch-size=4 epochs=2'
# shellcheck disable=SC2086
"$programs/train" data run $tiny >out 2>err
has out '^custom: [0-9]* parameters, 8 pictures of 2 classes, 2 epochs$'
has out '^epoch 2/2  loss '
has out ': run/best.safetensors$'
"$programs/classify" run pictures >out
has out ' china '
# shellcheck disable=SC2086
"$programs/train" data run $tiny >out 2>err
has out 'going on$'
if "$programs/train" data other epochs=0 2>err; then fail "train: epochs=0 is no failure"; fi
has err '^train: --epochs: 0 (expected 1 to '
"$programs/train" --settings >out
has out '^batch-size  *64 '
