#!/bin/sh
# Who may include whom, and that each library of others is included by its one adapter only:
# CONTRIBUTING.md has the rules, this proves them; and that no two VIT_CLONES functions share a name
# (vit/simd.h), and that the library takes memory through vit/heap.h. Prints each breach; exit code 1 when there is one.
set -eu
cd "$(dirname "$0")/.."

sources=$(find vit data eval train api tools tests -name '*.[ch]' | LC_ALL=C sort)

# shellcheck disable=SC2086
awk '
BEGIN {
    may["vit"] = "vit"
    may["data"] = "data vit"
    may["eval"] = "eval data vit"
    may["train"] = "train eval data vit"
    may["api"] = "api train eval data vit"
    may["tools"] = "tools api train eval data vit"
    may["tests"] = "tests tools api train eval data vit"
    # What data/ takes of vit/: the ground that everything stands on, nothing of layers and models.
    split("arena config file heap memory number options rng simd status", list, " ")
    for (i in list) ground["vit/" list[i] ".h"] = 1
    # Folders whose headers are named by their path from the root.
    split("vit data eval train api tools tests", list, " ")
    for (i in list) ours[list[i]] = 1
    home["cblas.h"] = "vit/gemm.c"
    home["jpeglib.h"] = "data/decode_jpeg.c data/encode_jpeg.c" # one a direction
    home["jerror.h"] = "data/decode_jpeg.c data/encode_jpeg.c"
    home["png.h"] = "data/decode_png.c data/encode_png.c"
    home["cJSON.h"] = "vit/json.c"
    home["mpi.h"] = "train/comm_mpi.c"
    home["cairo.h"] = "eval/canvas.c"
    home["cairo-svg.h"] = "eval/canvas.c"
    home["microhttpd.h"] = "tools/serve/http.c"
    home["protobuf-c.h"] = "vit/onnx_graph.c"
    home["onnx.pb-c.c"] = "vit/onnx_graph.c"
    home["onnx.pb-c.h"] = "tests/support/onnx_file.c"
    home["sleef.h"] = "vit/vmath_kernels.h"
    bad = 0
}
function complain(why) {
    printf "%s:%d: %s\n", FILENAME, FNR, why
    bad = 1
}
FNR == 1 {
    folder = FILENAME
    sub(/\/.*/, "", folder)
}
/^[ \t]*#[ \t]*include[ \t]*[<"]/ {
    header = $0
    sub(/^[ \t]*#[ \t]*include[ \t]*[<"]/, "", header)
    sub(/[>"].*/, "", header)
    quoted = $0 ~ /include[ \t]*"/
    target = header
    if (!sub(/\/.*/, "", target)) target = ""
    base = header
    sub(/.*\//, "", base)
    beside = FILENAME
    sub(/[^\/]*$/, header, beside)
    if (base in home) {
        if (index(" " home[base] " ", " " FILENAME " ") == 0) complain(base " belongs in " home[base] " only")
    } else if (quoted && !(target in ours)) {
        # Beside or below the file itself is in the same folder of ours.
        if (header ~ /\.\./ || (getline line < beside) < 0)
            complain("\"" header "\" (expected a path from the root of the repository)")
        close(beside)
    } else if (FILENAME ~ /^tools\/(cmd_classify|classify_[a-z]*|sorter)\.[ch]$/ && quoted &&
               target != "tools" && header != "vit/zvit.h") {
        complain(header " (expected vit/zvit.h: this verb uses the public interface only)")
    } else if (FILENAME ~ /^tools\/examples\// && quoted) {
        complain("\"" header "\" (expected <zvit.h>, as any program has it)")
    } else if (quoted && folder == "data" && target == "vit" && !(header in ground)) {
        complain(header " (expected of vit/ only what knows no model: arena.h, status.h and the like)")
    } else if (quoted && index(" " may[folder] " ", " " target " ") == 0) {
        complain(folder "/ may not include " target "/ (allowed: " may[folder] ")")
    }
}
# Memory comes from the allocator of the library (vit/heap.h); what libjpeg gave goes back to libc.
folder ~ /^(vit|data|eval|train|api)$/ && FILENAME != "vit/heap.c" && !/^[ \t]*(\*|\/\*)/ &&
/(^|[^A-Za-z0-9_])(malloc|calloc|realloc|reallocarray|aligned_alloc|strdup|strndup|asprintf|vasprintf|free)\(/ &&
!(FILENAME == "data/encode_jpeg.c" && /free\(job.bytes\)/) {
    complain("memory of the C library (expected vit_malloc, vit_strdup, ..., vit_free of vit/heap.h)")
}
/^VIT_CLONES / {
    name = $0
    sub(/\(.*/, "", name)
    sub(/.*[ *]/, "", name)
    if (name in clones) complain("VIT_CLONES " name "() is also in " clones[name])
    clones[name] = FILENAME
}
END { exit bad }
' $sources
