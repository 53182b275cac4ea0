#!/usr/bin/env python3
"""Small pictures of every kind that the decoders know: seeds for the fuzz target "image".

    tests/fuzz/image_seeds.py tests/fuzz/seeds/image

PNG files are written here; JPEG files by cjpeg and jpegtran (libjpeg-turbo-progs). A fuzzer changes
small files more often in a place that matters, and is several times as fast on them, than on photographs.
"""
import os
import struct
import subprocess
import sys
import zlib

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden", "formats")


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def exif(orientation, order=">", kind=3):
    tag = struct.pack(order + "HHI", 0x0112, kind, 1)
    value = {1: struct.pack("B", orientation) + b"\0\0\0",
             3: struct.pack(order + "HH", orientation, 0),
             4: struct.pack(order + "I", orientation)}[kind]
    first = struct.pack(order + "HHI", 0x010F, 2, 4) + b"abc\0"  # a maker before it
    return ((b"MM" if order == ">" else b"II") + struct.pack(order + "HI", 42, 8) +
            struct.pack(order + "H", 2) + first + tag + value + b"\0\0\0\0")


ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def rows(width, height, bits, largest, filtered):
    """Rows of samples in a pattern, bits a pixel of them, with a filter byte each."""
    out = b""
    for y in range(height):
        value = 0
        for x in range(width):
            value = value << bits | (x * 2654435761 + y * 40503 & (1 << bits) - 1) % (largest + 1)
        size = (width * bits + 7) // 8
        out += bytes([y % 5 if filtered else 0]) + (value << size * 8 - width * bits).to_bytes(size, "big")
    return out


def png(color, depth, width=13, height=9, interlace=0, before=b"", after=b"", largest=None):
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    bits = depth * channels
    largest = (1 << bits) - 1 if largest is None else largest
    data = b""
    for x, y, dx, dy in ADAM7 if interlace else [(0, 0, 1, 1)]:
        w, h = (width - x + dx - 1) // dx, (height - y + dy - 1) // dy
        if w > 0 and h > 0:
            data += rows(w, h, bits, largest, color != 3)
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlace)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + chunk(b"IDAT", zlib.compress(data, 9)) +
            after + chunk(b"IEND", b""))


def png_files():
    yield "gray1", png(0, 1)
    yield "gray2_trns", png(0, 2, before=chunk(b"tRNS", b"\0\1"))
    yield "gray4_interlaced", png(0, 4, interlace=1)
    yield "gray8", png(0, 8)
    yield "gray16_trns", png(0, 16, before=chunk(b"tRNS", b"\x12\x34"))
    yield "rgb8", png(2, 8)
    yield "rgb8_interlaced", png(2, 8, interlace=1)
    yield "rgb8_trns", png(2, 8, before=chunk(b"tRNS", b"\0\1\0\2\0\3"))
    yield "rgb16", png(2, 16, 5, 4)
    colors = bytes(range(48))
    for depth in (1, 2, 4, 8):
        count = min(1 << depth, 16)
        yield "palette%d" % depth, png(3, depth, before=chunk(b"PLTE", colors[:3 * count]), largest=count - 1)
    yield "palette8_trns", png(3, 8, before=chunk(b"PLTE", colors) + chunk(b"tRNS", b"\0\x80\xff"), largest=15)
    yield "palette4_interlaced", png(3, 4, interlace=1, before=chunk(b"PLTE", colors), largest=15)
    yield "palette8_beyond", png(3, 8, before=chunk(b"PLTE", colors[:9]), largest=15)
    yield "gray_alpha8", png(4, 8)
    yield "gray_alpha16", png(4, 16, 5, 4, interlace=1)
    yield "rgba8", png(6, 8)
    yield "rgba8_interlaced", png(6, 8, interlace=1)
    yield "rgba16", png(6, 16, 5, 4)
    for orientation in (2, 6):
        yield "exif%d" % orientation, png(2, 8, 6, 4, before=chunk(b"eXIf", exif(orientation)))
    yield "exif8_after", png(0, 8, 6, 4, after=chunk(b"eXIf", exif(8, "<")))
    text = chunk(b"tEXt", b"Title\0x") + chunk(b"gAMA", struct.pack(">I", 45455)) + chunk(b"zTXt", b"a\0\0" + zlib.compress(b"b"))
    yield "text", png(2, 8, 6, 4, before=text, after=chunk(b"tIME", b"\x07\xea\1\1\0\0\0"))
    two = png(0, 8)
    yield "bad_kind", png(2, 8).replace(b"\x08\x02\0\0\0", b"\x04\x02\0\0\0")
    yield "unknown_critical", png(2, 8, 6, 4, before=chunk(b"ABCD", b"x"))
    yield "two_headers", png(2, 8, 6, 4, before=chunk(b"IHDR", b"\0\0\0\1\0\0\0\1\x08\0\0\0\0"))
    yield "no_palette", png(3, 8)
    yield "two_idat", two[:33] + split_idat(two[33:])
    yield "cut", two[:-30]


def split_idat(rest):
    size = struct.unpack(">I", rest[:4])[0]
    data = rest[8:8 + size]
    return chunk(b"IDAT", data[:7]) + chunk(b"IDAT", data[7:]) + rest[12 + size:]


def ppm(width, height, channels):
    kind = b"P6" if channels == 3 else b"P5"
    pixels = bytes((x * 9 + c * 40 + y * 5) & 255 for y in range(height) for x in range(width) for c in range(channels))
    return kind + b"\n%d %d\n255\n" % (width, height) + pixels


def cjpeg(*options, width=23, height=17, channels=3, scans=None):
    options = list(options)
    if scans:
        with open("scans.tmp", "w") as file:
            file.write(scans)
        options += ["-scans", "scans.tmp"]
    out = subprocess.run(["cjpeg", "-quality", "60", *options], input=ppm(width, height, channels), check=True,
                         stdout=subprocess.PIPE).stdout
    if scans:
        os.remove("scans.tmp")
    return out


def with_app1(jpeg, payload):
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(payload)) + payload + jpeg[2:]


def jpeg_files():
    small = cjpeg("-optimize")
    yield "420", small
    yield "standard_tables", cjpeg("-sample", "1x1", width=9, height=8)
    for sample in ("1x1", "2x1", "1x2", "4x1", "2x2,1x2,2x1"):
        yield "sample_" + sample.replace(",", "_"), cjpeg("-optimize", "-sample", sample)
    yield "gray", cjpeg("-optimize", "-grayscale")
    yield "rgb", cjpeg("-optimize", "-rgb")
    yield "restart", cjpeg("-optimize", "-restart", "1B", width=40)
    yield "progressive", cjpeg("-progressive")
    yield "progressive_gray", cjpeg("-progressive", channels=1)
    yield "arithmetic", cjpeg("-arithmetic")
    yield "arithmetic_progressive", cjpeg("-arithmetic", "-progressive")
    yield "scans", cjpeg("-optimize", scans="0;\n1;\n2;\n")
    yield "scans_lacking", cjpeg("-optimize", scans="0;\n1;\n2;\n").replace(b"\xff\xd9", b"")[:420]
    yield "progressive_lacking", cut_last_scan(cjpeg("-progressive"))
    scan = cjpeg("-progressive", width=8, height=8, channels=1)
    last = scan.rfind(b"\xff\xda")
    yield "many_scans", scan[:-2] + scan[last:-2] * 110 + b"\xff\xd9"
    yield "scan_lacking", cut_last_scan(cjpeg("-optimize", scans="0;\n1;\n2;\n"))
    yield "between", small[:2] + b"\0\0" + small[2:]
    yield "jfif_2", small.replace(b"JFIF\0\1", b"JFIF\0\2")
    yield "not_sequential", small.replace(b"\x11\0\x3f\0", b"\x11\1\x3e\0")
    yield "bad_table", small.replace(b"\xff\xc4", b"\xff\xc4\0\x03\x77\xff\xc4", 1)
    yield "two_channels", cjpeg("-optimize", "-grayscale").replace(b"\1\1\x11\0\xff", b"\2\1\x11\0\2\x11\0\xff").replace(
        b"\xff\xc0\0\x0b", b"\xff\xc0\0\x0e")
    yield "tall", cjpeg("-optimize", width=8, height=100, channels=1)
    yield "wide", cjpeg("-optimize", width=200, height=9, channels=1)
    yield "one", cjpeg("-optimize", width=1, height=1)
    for orientation in range(1, 9):
        kind, order = (1, 3, 4)[orientation % 3], "<>"[orientation & 1]
        yield "exif%d" % orientation, with_app1(small, b"Exif\0\0" + exif(orientation, order, kind))
    yield "exif_not", with_app1(small, b"http://ns.adobe.com/xap/1.0/\0<x/>")
    yield "exif_progressive", with_app1(cjpeg("-progressive"), b"Exif\0\0" + exif(5))
    for name, options in (("cmyk", []), ("cmyk_progressive", ["-progressive"])):
        out = subprocess.run(["jpegtran", "-copy", "all", "-optimize", "-crop", "16x16+8+8", *options,
                              os.path.join(GOLDEN, "cmyk.jpg")], check=True, stdout=subprocess.PIPE).stdout
        yield name, out
        marker = out.find(b"Adobe")
        yield name + "_ycck", out[:marker + 11] + b"\2" + out[marker + 12:]


def cut_last_scan(jpeg):
    return jpeg[:jpeg.rfind(b"\xff\xda")] + b"\xff\xd9"


def other_files():
    for order in "<>":
        yield "exif_block" + {"<": "_little", ">": "_big"}[order], exif(6, order)
    yield "exif_block_43", exif(6).replace(b"\0*", b"\0+")
    yield "exif_block_outside", exif(6).replace(b"\0\0\0\x08", b"\x7f\0\0\0")
    yield "exif_block_end", exif(6).replace(b"\0\0\0\x08", b"\0\0\0\x25")
    yield "exif_block_cut", exif(6)[:26]
    yield "exif_block_kind", exif(6).replace(b"\x01\x12\0\x03", b"\x01\x12\0\x07")
    yield "exif_block_none", exif(6).replace(b"\x01\x12\0\x03", b"\x01\x13\0\x03")
    yield "exif_block_9", exif(9)
    yield "gif", b"GIF89a\1\0\1\0\0\0\0;"
    yield "webp", b"RIFF\x1a\0\0\0WEBPVP8L"
    yield "bmp", b"BM\x1e\0\0\0"
    yield "text", b"<html><body>no picture</body></html>"
    yield "unknown", b"\x7fELF\2\1\1\0"
    yield "png_begun", b"\x89PNG"
    yield "jpeg_begun", b"\xff\xd8"
    yield "png_header", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
    yield "png_huge", b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 70000, 70000, 8, 2, 0, 0, 0))


def main():
    folder = sys.argv[1]
    for end, files in ((".png", png_files()), (".jpg", jpeg_files()), ("", other_files())):
        for name, data in files:
            with open(os.path.join(folder, name + end), "wb") as file:
                file.write(data)


main()
