#!/usr/bin/env python3
"""Seeds for the fuzz targets safetensors, model and state: one for each thing that may be wrong with a file.

    tests/fuzz/tensor_seeds.py tests/fuzz/seeds

Made from the sound files that are there: safetensors/timm, model/zeros, model/int8, state/run.
"""
import json
import os
import struct
import sys


def read(path):
    with open(path, "rb") as file:
        data = file.read()
    size = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8:8 + size]), data[8 + size:]


def write(path, header, data, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text) if length is None else length) + text + data)


def changed(header, *path_and_value):
    header = json.loads(json.dumps(header))
    *path, last, value = path_and_value
    node = header
    for key in path:
        node = node[key]
    if value is None:
        del node[last]
    else:
        node[last] = value
    return header


def safetensors(folder):
    def save(name, header, data=b"", length=None):
        write(os.path.join(folder, name + ".safetensors"), header, data, length)

    def one(**entry):
        return {"t": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **entry}}
    eight = b"\0\0\x80\x3f\0\0\0\0"
    save("dtype", one(dtype="F8"), eight)
    save("no_dtype", changed(one(), "t", "dtype", None), eight)
    save("no_shape", changed(one(), "t", "shape", None), eight)
    save("dims", one(shape=[1] * 9), eight)
    save("negative", one(shape=[-1]), eight)
    save("fraction", one(shape=[0.5]), eight)
    save("overflow", one(shape=[2 ** 40, 2 ** 40]), eight)
    save("overflow_bytes", one(shape=[2 ** 31, 2 ** 31]), eight)
    save("huge", one(shape=[2 ** 53]), eight)
    save("no_offsets", changed(one(), "t", "data_offsets", None), eight)
    save("three_offsets", one(data_offsets=[0, 8, 8]), eight)
    save("outside", one(data_offsets=[0, 16]), eight)
    save("backwards", one(data_offsets=[8, 0]), eight)
    save("bytes", one(shape=[1]), eight)
    save("no_object", {"t": 1}, eight)
    save("metadata_no_object", {"__metadata__": 1})
    save("metadata_number", {"__metadata__": {"a": 1}})
    save("overlap", {**one(), "u": one()["t"]}, eight)
    save("more_data", one(), eight * 2)
    save("two_empty", {"a": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]},
                       "b": {"dtype": "U8", "shape": [0, 3], "data_offsets": [0, 0]}, **one()}, eight)
    save("header_huge", b"{}", length=2 ** 40)
    save("header_cut", b"{}", length=100)
    save("header_no_object", b"[]")
    save("header_not_json", b'{"a":')
    save("f16", one(dtype="F16", shape=[4]), b"\0\0\1\0\0\x7c\1\x7e")
    save("bool", one(dtype="BOOL", shape=[8]), bytes(range(8)))
    with open(os.path.join(folder, "cut.safetensors"), "wb") as file:
        file.write(b"\1\2")


def model(folder):
    for kind in ("zeros", "int8"):
        header, data = read(os.path.join(folder, kind + ".safetensors"))

        def save(name, header, data=data):
            write(os.path.join(folder, kind + "_" + name + ".safetensors"), header, data)

        def config(*change):
            text = json.dumps(changed(json.loads(header["__metadata__"]["config"]), *change), separators=(",", ":"))
            return changed(header, "__metadata__", "config", text)
        args = "model_args"
        save("weights_alone", changed(header, "__metadata__", "zvit", None))
        save("layout", changed(header, "__metadata__", "zvit", "x"))
        save("later_layout", changed(header, "__metadata__", "zvit", "99"))
        save("first_layout", changed(header, "__metadata__", "zvit", "1"))
        save("no_config", changed(header, "__metadata__", "config", None))
        save("config_no_json", changed(header, "__metadata__", "config", "{"))
        save("config_no_object", changed(header, "__metadata__", "config", "[]"))
        save("quantization", config("quantization", "int4"))
        save("quantization_number", config("quantization", 8))
        save("depth", config(args, "depth", 1000))
        save("deeper", config(args, "depth", 2))
        save("embed_dim", config(args, "embed_dim", 16))
        save("attn", config(args, "attn", "nothing"))
        save("heads", config(args, "num_heads", 3))
        save("classes", config("num_classes", 3))
        save("pool", config("global_pool", "max"))
        save("names", config("pretrained_cfg", "label_names", ["a"]))
        save("name_number", config("pretrained_cfg", "label_names", ["a", 1]))
        save("name_empty", config("pretrained_cfg", "label_names", ["a", ""]))
        save("no_names", config("pretrained_cfg", "label_names", None))
        save("mean", config("pretrained_cfg", "mean", [1e9, 0, 0]))
        save("crop", config("pretrained_cfg", "crop_pct", 7))
        save("size", config("pretrained_cfg", "input_size", [3, 16, 16]))
        save("no_pretrained", config("pretrained_cfg", None))
        save("nan", header, b"\0\0\xc0\x7f" + data[4:])
        save("all_bad", header, b"\xff" * len(data))
        names = [name for name in header if name != "__metadata__"]
        save("dtype", changed(header, names[0], "dtype", "I32"))
        save("missing", {("other" if name == names[-1] else name): header[name] for name in header})
        extra = {"dtype": "U8", "shape": [0], "data_offsets": [len(data), len(data)]}
        save("unknown", {**header, "unknown.tensor": extra})
        save("unknown_scale", {**header, "unknown.weight.scale": extra, "x.scale": extra})


def state(folder):
    header, data = read(os.path.join(folder, "run.safetensors"))
    # Of the tensors only those that the target reads, so that the files stay small.
    kept, packed = {"__metadata__": header["__metadata__"]}, b""
    for name, entry in header.items():
        if name.endswith(".head.weight"):
            begin, end = entry["data_offsets"]
            kept[name] = {**entry, "data_offsets": [len(packed), len(packed) + end - begin]}
            packed += data[begin:end]

    def save(name, header, data=packed):
        write(os.path.join(folder, name + ".safetensors"), header, data)

    def position(*change):
        text = json.dumps(changed(json.loads(kept["__metadata__"]["position"]), *change), separators=(",", ":"))
        return changed(kept, "__metadata__", "position", text)
    save("small", kept)
    save("version", changed(kept, "__metadata__", "zvit_state", "2"))
    save("no_version", changed(kept, "__metadata__", "zvit_state", None))
    for key in ("position", "args", "log"):
        save("no_" + key, changed(kept, "__metadata__", key, None))
    save("position_array", changed(kept, "__metadata__", "position", "[]"))
    save("position_text", position("step", "many"))
    save("position_unknown", position("other", 1))
    save("position_lacks", position("step", None))
    save("args_no_json", changed(kept, "__metadata__", "args", "{"))
    save("nan", kept, b"\0\0\xc0\x7f" * (len(packed) // 4))
    names = [name for name in kept if name != "__metadata__"]
    for name in names:
        save("without_" + name.split(".")[0], {("x" if n == name else n): kept[n] for n in kept})
        save("shape_" + name.split(".")[0], changed(kept, name, "shape", [8, 2]))
        save("dtype_" + name.split(".")[0], changed(kept, name, "dtype", "I32"))


def main():
    safetensors(os.path.join(sys.argv[1], "safetensors"))
    model(os.path.join(sys.argv[1], "model"))
    state(os.path.join(sys.argv[1], "state"))


main()
