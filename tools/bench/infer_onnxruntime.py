#!/usr/bin/env python3
"""Inference by onnxruntime of an exported model, in turns with `zvit bench infer`, and the ratio.

    zvit export MODEL --format onnx --out zeros_tiny.onnx
    infer_onnxruntime.py zeros_tiny.onnx --zvit build/zvit --model zeros_tiny_patch16_224

--model names the model of the same shape that zvit measures; what the weights are makes no difference. Random pictures,
float32, batches of 1 and of 32; figures are medians over rounds of medians over calls. Needs onnxruntime and numpy.
"""
import argparse
import os
import statistics
import sys
import time

import numpy
import onnxruntime

from compare_torch import run_zvit


def pictures_a_second(session, images, seconds):
    name = session.get_inputs()[0].name
    for _ in range(3):
        session.run(None, {name: images})
    times, begin = [], time.perf_counter()
    while len(times) < 5 or time.perf_counter() - begin < seconds:
        start = time.perf_counter()
        session.run(None, {name: images})
        times.append(time.perf_counter() - start)
    return len(images) / statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("onnx", metavar="FILE.onnx")
    parser.add_argument("--zvit", help="the zvit command; without it only onnxruntime is measured")
    parser.add_argument("--model", default="zeros_tiny_patch16_224", help="zvit's model")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of either program")
    parser.add_argument("-b", "--batch-size", type=int, default=32, help="beside 1")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=4, help="timed calls of zvit in a measurement")
    parser.add_argument("--seconds", type=float, default=3, help="of onnxruntime in a measurement")
    args = parser.parse_args()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    print(f"onnxruntime {onnxruntime.__version__}, {args.threads} threads")
    print("%-8s %16s %16s %8s" % ("batch", "onnxruntime", "zvit", "ratio"))
    for batch in (1, args.batch_size):
        ours, theirs = [], []
        for _ in range(args.rounds):
            session = onnxruntime.InferenceSession(args.onnx, options, providers=["CPUExecutionProvider"])
            shape = session.get_inputs()[0].shape
            images = numpy.random.default_rng(0).standard_normal((batch, *shape[1:]), dtype=numpy.float32)
            theirs.append(pictures_a_second(session, images, args.seconds))
            del session  # and its threads
            if args.zvit:
                ours.append(run_zvit(args, "infer1" if batch == 1 else "infer", args.threads)["rate"])
        other = statistics.median(theirs)
        mine = statistics.median(ours) if ours else float("nan")
        print("%-8d %8.1f images/s %8.1f images/s %7.2f" % (batch, other, mine, mine / other))
    return 0


if __name__ == "__main__":
    sys.exit(main())
