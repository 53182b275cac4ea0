#!/bin/sh
# From a fresh clone to a trained model in one command: installs what is missing, builds zvit in
# build/, trains on the handwritten digits that come with it, measures, and names three pictures.
# Everything it makes lies in build/ and demo/; running it again is safe and trains anew.
set -eu
cd "$(dirname "$0")/.."
. tools/setup.sh

begun=$(date +%s)
zvit_setup

echo "== building zvit in build/"
cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=Release -DZVIT_TESTS=OFF >/dev/null
cmake --build build --target zvit

echo "== unpacking 10,000 digits into demo/digits"
mkdir -p demo
rm -rf demo/digits.part demo/digits demo/run
mkdir demo/digits.part
tar -xzf tools/digits/digits.tar.gz -C demo/digits.part
mv demo/digits.part demo/digits

echo "== this machine"
build/zvit info

# Digits fill their pictures and have a right side up: crops that lose little, no mirror images, no margin.
echo "== training zeros_micro_patch4_28 for 12 epochs"
build/zvit train demo/digits --model zeros_micro_patch4_28 --out demo/run \
    --epochs 12 --lr 3e-3 --crop-pct 1 --scale 0.8 1 --hflip 0 --color-jitter 0

echo "== measuring demo/run on demo/digits/val"
build/zvit eval demo/run demo/digits

echo "== naming three pictures"
build/zvit classify demo/run --topk 3 demo/digits/val/2/2_0004.png demo/digits/val/5/5_0004.png \
    demo/digits/val/8/8_0004.png

echo "== done in $(($(date +%s) - begun)) s"
echo "model       demo/run/best.safetensors"
echo "each epoch  demo/run/log.csv"
echo "settings    demo/run/args.json"
echo "pictures    demo/digits"
echo "command     build/zvit (try: build/zvit train --help)"
