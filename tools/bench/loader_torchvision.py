#!/usr/bin/python3
"""The work of `zvit bench loader DATA` by torchvision's DataLoader: pictures per second and per CPU-second.

Reads DATA/train/CLASS/..., RandomResizedCrop(224), mirror, ToTensor, Normalize, in batches.
With --zvit PATH it also runs `zvit bench loader` in turns with it and prints the ratios.
Debian packages: python3-torch, python3-torchvision.
"""
import argparse
import json
import resource
import statistics
import subprocess
import time

import torch
import torchvision
from torchvision import transforms


def cpu_seconds():
    """User and system time of this process and of its workers that have ended."""
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        total += usage.ru_utime + usage.ru_stime
    return total


def read_epoch(loader):
    pictures = 0
    wall, cpu = time.perf_counter(), cpu_seconds()
    for images, _ in loader:
        pictures += images.shape[0]
    return pictures / (time.perf_counter() - wall), pictures / (cpu_seconds() - cpu)


def run_zvit(args):
    command = [args.zvit, "bench", "loader", args.data, "--json", "--threads", "1", "--repeats", "1", "-b",
               str(args.batch_size)] + ([] if args.fast_decode else ["--no-fast-decode"])
    results = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["results"]
    return results[0]["value"], results[1]["value"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--workers", type=int, default=0, help="worker processes; 0: in this process, which is cheapest")
    parser.add_argument("-b", "--batch-size", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--zvit", help="the zvit command, to compare with")
    parser.add_argument("--no-fast-decode", dest="fast_decode", action="store_false")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()

    torch.set_num_threads(1)
    transform = transforms.Compose([
        transforms.RandomResizedCrop(224),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    ])
    dataset = torchvision.datasets.ImageFolder(args.data + "/train", transform)
    loader = torch.utils.data.DataLoader(dataset, args.batch_size, shuffle=True, num_workers=args.workers)
    read_epoch(loader)
    theirs, ours = [], []
    for _ in range(args.repeats):
        theirs.append(read_epoch(loader))
        if args.zvit:
            ours.append(run_zvit(args))

    def row(name, rates):
        return {"name": name, "images_per_second": statistics.median(r[0] for r in rates),
                "images_per_cpu_second": statistics.median(r[1] for r in rates)}

    rows = [row(f"torchvision {torchvision.__version__}, {args.workers} workers", theirs)]
    if ours:
        rows.append(row("zvit, 1 thread", ours))
        rows[1]["ratio_per_cpu_second"] = rows[1]["images_per_cpu_second"] / rows[0]["images_per_cpu_second"]
    if args.json:
        print(json.dumps({"bench": "loader", "data": args.data, "results": rows}))
        return
    for r in rows:
        print(f"{r['name']:36} {r['images_per_second']:8.1f} images/s {r['images_per_cpu_second']:8.1f} images/CPU-s")
    if ours:
        print(f"{'ratio per CPU-second':36} {rows[1]['ratio_per_cpu_second']:8.2f}")


if __name__ == "__main__":
    main()
