#!/usr/bin/env python3
"""Reads a pack (.zpk), a model or a state file of zvit with nothing but the standard library: docs/formats.md in code.

    read_files.py FILE...
"""
import json
import struct
import sys


def read_pack(path):
    """[(split, class, path, bytes of a JPEG or PNG)]"""
    data = open(path, "rb").read()
    magic, version, zero = struct.unpack("<8sII", data[:16])
    index, size, index_sum, footer_sum = struct.unpack("<QQQQ", data[-32:])
    assert magic == b"zvitpack" and version == 1 and index + size == len(data) - 32, "no pack, or damaged"
    at, picture, found = index, 16, []

    def number(form):
        nonlocal at
        at += struct.calcsize(form)
        return struct.unpack_from(form, data, at - struct.calcsize(form))[0]

    def text():
        nonlocal at
        length = number("<I")
        at += length
        return data[at - length:at].decode(errors="surrogateescape")

    for _ in range(number("<I")):
        split, classes = text(), [text() for _ in range(number("<I"))]
        for _ in range(number("<Q")):
            length, checksum, label, name = number("<Q"), number("<Q"), number("<I"), text()
            found.append((split, classes[label], name, data[picture:picture + length]))
            picture += length
    assert at == index + size and picture == index, "the index does not account for all bytes"
    return found


def read_safetensors(path):
    """{name: (type, shape, bytes)} and the metadata: a model or a state."""
    data = open(path, "rb").read()
    begin = 8 + struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:begin])
    metadata = header.pop("__metadata__", {})
    cut = {name: (t["dtype"], t["shape"], data[begin + t["data_offsets"][0]:begin + t["data_offsets"][1]]) for name, t in header.items()}
    return cut, metadata


def main():
    for path in sys.argv[1:]:
        if path.lower().endswith(".zpk"):
            pictures = read_pack(path)
            print(f"{path}: {len(pictures)} pictures, the first of {pictures[0][0] or 'no split'}, class {pictures[0][1]}: {pictures[0][2]}, {len(pictures[0][3])} bytes")
            continue
        tensors, metadata = read_safetensors(path)
        print(f"{path}: {len(tensors)} tensors, {sum(len(t[2]) for t in tensors.values())} bytes; metadata: {', '.join(metadata)}")
        if "zvit_state" in metadata:
            position = json.loads(metadata["position"])
            print(f"  state {metadata['zvit_state']}: step {position['step']}, {position['epochs_done']} epochs done, best {position['best_top1']}, {metadata['log'].count(chr(10)) - 1} rows of log.csv")
        elif "config" in metadata:
            config = json.loads(metadata["config"])
            print(f"  {config['architecture']}: {config['num_classes']} classes, {config['pretrained_cfg']['label_names'][:3]} ...")


if __name__ == "__main__":
    main()
