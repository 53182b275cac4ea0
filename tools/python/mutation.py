#!/usr/bin/env python3
"""Mutation check: does some test fail when a sign or a constant in a layer's forward or backward is wrong?

    mutation.py --build build/release plan PLAN      # what to change, how to build it, which suites look at it
    mutation.py run PLAN --jobs 2 [--out RESULT.json]

`plan` needs a configured and built tree (ninja). Mutants are drawn with --seed, --per-file of each layer's file. `run` compiles each
changed file by itself, links it before the library into the suites that look at that file, in order, and stops at the first that fails.
A suite that fails, crashes or takes longer than its limit has killed the mutant; what does not compile does not count. Paths in PLAN are
relative to the tree, so that it can run in a copy of it. Exit code 1 when fewer than --least percent are killed.
"""
import argparse
import concurrent.futures
import json
import os
import random
import re
import shlex
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

ATTENTION = ["test_attention_zeros", "test_attention_zeros_sm", "test_attention_softmax", "test_attention_linear",
             "test_attention_zeros_causal", "test_attention_weights", "test_attention", "test_model"]
# Each layer's file, and the suites that see it, the nearest first.
LAYERS = {
    "vit/linear.c": ["test_linear", "test_mlp", "test_model"],
    "vit/rows.c": ["test_linear", "test_head", "test_model", "test_slots"],
    "vit/layernorm.c": ["test_layernorm", "test_model"],
    "vit/gelu.c": ["test_gelu", "test_mlp", "test_model"],
    "vit/mlp.c": ["test_mlp", "test_model"],
    "vit/patch_embed.c": ["test_patch_embed", "test_model"],
    "vit/pos_embed.c": ["test_pos_embed", "test_model"],
    "vit/head.c": ["test_head", "test_model"],
    "vit/loss.c": ["test_loss", "test_training"],
    "vit/drop_path.c": ["test_drop_path", "test_model", "test_slots"],
    "vit/block.c": ["test_model", "test_slots"],
    "vit/model.c": ["test_model", "test_slots"],
    "vit/gemm.c": ["test_gemm", "test_linear"],
    "vit/vmath_kernels.h": ["test_vmath", "test_gelu"],
    "vit/attention/rope.c": ["test_rope", "test_attention_zeros"],
    "vit/attention/attention.c": ATTENTION,
    "vit/attention/kernels.c": ATTENTION,
    "vit/attention/softmax.c": ["test_attention_softmax", "test_model"],
    "vit/attention/linear.c": ["test_attention_linear", "test_model"],
    "vit/attention/deviation.c": ATTENTION,
    "vit/attention/radial.c": ATTENTION,
    "vit/attention/zero_sum.c": ATTENTION,
    "vit/attention/zeros.c": ATTENTION,
    "vit/attention/zeros_sm.c": ["test_attention_zeros_sm", "test_model"],
    "vit/attention/zeros_causal.c": ["test_attention_zeros_causal"],
    "vit/attention/causal_basis.c": ["test_attention_zeros_causal"],
}
# A header is compiled through these.
THROUGH = {"vit/vmath_kernels.h": ["vit/vmath_sse2.c", "vit/vmath_avx2.c", "vit/vmath_avx512f.c"]}

FLOAT = re.compile(r"(?<![\w.])(\d+\.\d*(?:e[+-]?\d+)?|\d+e-?\d+)(f?)(?![\w.])")
SIGNS = [
    (re.compile(r" \+ "), " - "),
    (re.compile(r" - "), " + "),
    (re.compile(r" \+= "), " -= "),
    (re.compile(r" -= "), " += "),
    (re.compile(r"(?<=[=(,?:] )-(?=[\w(])|(?<=\()-(?=[\w(])|(?<=return )-(?=[\w(])"), ""),
]


def blank(text):
    """The code with comments, strings and preprocessor lines blanked out, character by character."""
    hide = lambda m: re.sub(r"[^\n]", " ", m.group())
    text = re.sub(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'", hide, text, flags=re.S)
    return re.sub(r"^[ \t]*#(?:\\\n|[^\n])*", hide, text, flags=re.M)


def mutants_of(path):
    """(position, length, replacement) of everything that can be changed inside functions."""
    with open(os.path.join(ROOT, path)) as file:
        text = file.read()
    code = blank(text)
    found = []
    for pattern, to in SIGNS:
        found += [(m.start(), len(m.group()), to) for m in pattern.finditer(code)]
    for m in FLOAT.finditer(code):
        value = float(m.group(1))
        found.append((m.start(), len(m.group()), repr(value * 1.01 if value else 0.01) + m.group(2)))
    # Inside a function: the last brace in the first column before it opens one.
    inside = [f for f in found if "\n}" not in code[code.rfind("{\n", 0, f[0]):f[0]]]
    # Initial values are neither forward nor backward.
    line = lambda at: code[code.rfind("\n", 0, at) + 1:code.find("\n", at)]
    return text, [f for f in inside if line(f[0])[:1] in " \t" and "VIT_INIT" not in line(f[0])]


def ninja_commands(build, target):
    out = subprocess.run(["ninja", "-C", build, "-t", "commands", target], check=True, capture_output=True, text=True).stdout
    return out.splitlines()


def compile_command(build, source):
    with open(os.path.join(build, "compile_commands.json")) as file:
        for entry in json.load(file):
            if os.path.relpath(entry["file"], ROOT) == source:
                words = shlex.split(entry["command"])
                words = [w for w in words if os.path.basename(w) != "ccache"]
                skip = {i + k for i, w in enumerate(words) for k in (0, 1) if w in ("-o", "-MT", "-MF", "-c")}
                return [w.replace(ROOT, "@ROOT@") for i, w in enumerate(words) if i not in skip and w != "-MD"]
    sys.exit(f"{source}: not in {build}/compile_commands.json")


def link_command(build, suite):
    line = ninja_commands(build, f"tests/{suite}")[-1]
    words = shlex.split(line.split("&& ", 1)[1].rsplit(" && ", 1)[0])
    at = words.index("-o")
    del words[at:at + 2]
    return [w.replace(ROOT, "@ROOT@") for w in words]


def plan(args):
    draw = random.Random(args.seed)
    files, suites, mutants = {}, {}, []
    for source, lookers in LAYERS.items():
        if not os.path.exists(os.path.join(ROOT, source)):
            continue
        text, found = mutants_of(source)
        files[source] = {"suites": lookers, "compile": {c: compile_command(args.build, c) for c in THROUGH.get(source, [source])}}
        for suite in lookers:
            suites.setdefault(suite, {"link": link_command(args.build, suite)})
        for at, length, to in sorted(draw.sample(found, min(args.per_file, len(found)))):
            mutants.append({"file": source, "line": text.count("\n", 0, at) + 1, "at": at, "length": length, "to": to})
    with open(args.plan, "w") as file:
        json.dump({"build": os.path.relpath(args.build, ROOT), "files": files, "suites": suites, "mutants": mutants}, file, indent=1)
    print(f"{len(mutants)} mutants of {len(files)} files")


def here(words):
    return [w.replace("@ROOT@", ROOT) for w in words]


def attempt(plan, mutant, limit):
    """"killed by SUITE", "survived" or "does not compile"."""
    source, build = mutant["file"], os.path.join(ROOT, plan["build"])
    with open(os.path.join(ROOT, source)) as file:
        text = file.read()
    changed = text[:mutant["at"]] + mutant["to"] + text[mutant["at"] + mutant["length"]:]
    with tempfile.TemporaryDirectory() as folder:
        objects = []
        for unit, command in plan["files"][source]["compile"].items():
            include = os.path.join(folder, os.path.dirname(source))
            os.makedirs(include, exist_ok=True)
            with open(os.path.join(folder, source), "w") as file:
                file.write(changed)
            if unit == source:
                path = os.path.join(folder, source)
            else:  # the unit's own text, with the changed header found first
                path = os.path.join(folder, unit)
                with open(os.path.join(ROOT, unit)) as original, open(path, "w") as file:
                    file.write(original.read())
            out = os.path.join(folder, os.path.basename(unit) + ".o")
            words = here(command)
            words = words[:1] + [f"-I{folder}", f"-I{os.path.join(ROOT, os.path.dirname(unit))}"] + words[1:]
            words = [w for w in words if w not in ("-Werror",)]
            if subprocess.run(words + ["-w", "-c", path, "-o", out], cwd=build, capture_output=True).returncode:
                return "does not compile"
            objects.append(out)
        environment = dict(os.environ, OMP_NUM_THREADS="2", CK_DEFAULT_TIMEOUT=str(limit), CK_FORK="yes")
        for suite in plan["files"][source]["suites"]:
            program = os.path.join(folder, suite)
            words = here(plan["suites"][suite]["link"])
            first = next(i for i, w in enumerate(words) if w.endswith((".a", ".so")))
            subprocess.run(words[:first] + objects + words[first:] + ["-o", program], cwd=build, check=True, capture_output=True)
            try:
                if subprocess.run([program], cwd=build, capture_output=True, env=environment, timeout=3 * limit).returncode:
                    return f"killed by {suite}"
            except subprocess.TimeoutExpired:
                return f"killed by {suite} (time)"
            os.remove(program)
    return "survived"


def run(args):
    with open(args.plan) as file:
        plan = json.load(file)
    results = []
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for mutant, result in zip(plan["mutants"], pool.map(lambda m: attempt(plan, m, args.limit), plan["mutants"])):
            results.append(dict(mutant, result=result))
            if result == "survived":
                with open(os.path.join(ROOT, mutant["file"])) as file:
                    line = file.read().splitlines()[mutant["line"] - 1].strip()
                print(f"survived: {mutant['file']}:{mutant['line']}: {line}   [-> {mutant['to'].strip() or 'no sign'}]", flush=True)
    counted = [r for r in results if r["result"] != "does not compile"]
    killed = sum(r["result"].startswith("killed") for r in counted)
    print(f"{killed} of {len(counted)} mutants killed ({100 * killed / max(1, len(counted)):.1f} %)")
    if args.out:
        with open(args.out, "w") as file:
            json.dump(results, file, indent=1)
    return 0 if killed * 100 >= args.least * len(counted) else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=os.path.join(ROOT, "build/release"))
    verbs = parser.add_subparsers(dest="verb", required=True)
    p = verbs.add_parser("plan")
    p.add_argument("plan")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--per-file", type=int, default=12)
    r = verbs.add_parser("run")
    r.add_argument("plan")
    r.add_argument("--jobs", type=int, default=os.cpu_count())
    r.add_argument("--limit", type=int, default=60, help="seconds a suite's test may take")
    r.add_argument("--least", type=float, default=95)
    r.add_argument("--out")
    args = parser.parse_args()
    args.build = os.path.abspath(args.build)
    return plan(args) if args.verb == "plan" else run(args)


if __name__ == "__main__":
    sys.exit(main())
