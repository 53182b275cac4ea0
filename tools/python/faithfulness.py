#!/usr/bin/env python3
"""How faithful the heat maps of `zvit explain` are to a model: the area under the class's
probability while patches are hidden in a map's order, averaged over pictures (docs/explain.md).

usage: faithfulness.py ZVIT MODEL FOLDER [--pictures N] [--orders N] [--methods NAME ...]

FOLDER holds folders of pictures; N of them are taken, one of each folder in turn, by name. Prints a
line for each method that suits the model. Python's standard library only.
"""
import argparse
import itertools
import json
import pathlib
import subprocess

PICTURES = {".png", ".jpg", ".jpeg"}


def choose(folder, count):
    classes = [sorted(p for p in d.rglob("*") if p.suffix.lower() in PICTURES)
               for d in sorted(pathlib.Path(folder).iterdir()) if d.is_dir()]
    rounds = itertools.zip_longest(*classes)
    return [p for row in rounds for p in row if p is not None][:count]


def measure(zvit, model, picture, method, orders):
    words = [zvit, "explain", model, str(picture), "--json", "--method", method, "--deletion",
             str(orders), "--threads", "1"]
    result = subprocess.run(words, capture_output=True, text=True)
    if "does not suit" in result.stderr:
        return None
    result.check_returncode()
    return json.loads(result.stdout)["deletion"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("zvit")
    parser.add_argument("model")
    parser.add_argument("folder")
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--orders", type=int, default=10)
    parser.add_argument("--methods", nargs="+", default=["zeros-rollout", "rollout", "gradient"])
    args = parser.parse_args()
    pictures = choose(args.folder, args.pictures)
    print(f"{len(pictures)} pictures, {args.orders} random orders each")
    print(f"{'method':<14} {'map':>7} {'random':>7} {'reversed':>8}  below random")
    for method in args.methods:
        areas = [measure(args.zvit, args.model, p, method, args.orders) for p in pictures]
        if None in areas:
            continue
        mean = {k: sum(a[k] for a in areas) / len(areas) for k in ("map", "random", "reversed")}
        below = sum(a["map"] < a["random"] for a in areas)
        print(f"{method:<14} {mean['map']:7.4f} {mean['random']:7.4f} {mean['reversed']:8.4f}"
              f"  {below} of {len(areas)}", flush=True)


if __name__ == "__main__":
    main()
