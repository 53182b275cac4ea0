#!/usr/bin/env python3
"""Mutation check: does some test fail when a layer's forward or backward, or what is done to pixels, is made wrong in one place?

    mutation.py plan                            # list what would be changed; needs nothing built
    mutation.py run [--jobs 2] [--cache FILE]   # needs a configured and built tree (ninja): --build, build/release
    mutation.py run --only vit/gelu.c           # one file, or a folder

The same mutants are drawn each time (--seed): of each file --per-file, of each kind of change as nearly as many as there are. Each
changed file is compiled by itself and linked before the library into the suites that look at that file, the nearest first; the first
red test ends it. A test that fails, crashes or takes longer than --limit seconds has killed the mutant; what does not compile, or
compiles to the same instructions, does not count. Each suite must first pass as it is.

mutation_survivors.txt lists the mutants that no test can kill, as they compute the same, with the reason of each. An entry that is of no
use any more, because its line has changed or a test kills it, is an error. Exit code 1 for that, or when fewer than --least percent of
all others are killed.

With --cache, what was found is kept, and holds as long as the changed file and the suites' own objects are the same.

What is not changed: conditions and steps of for loops but for their first and last turn (one turn too many reads or writes beside an
array, which is for sanitizers to find), initial values of parameters, errors and functions that only look for them.
"""
import argparse
import concurrent.futures
import hashlib
import json
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SURVIVORS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "mutation_survivors.txt")

ATTENTION = ["attention", "attention_weights", "attention_softmax", "attention_linear", "attention_zeros_sm", "attention_zeros",
             "attention_zeros_causal", "model"]
# Each file, and the suites that see it, the likeliest to kill first.
FILES = {
    "vit/linear.c": ["linear", "mlp", "model"],
    "vit/rows.c": ["linear", "head", "model", "slots"],
    "vit/layernorm.c": ["layernorm", "model"],
    "vit/gelu.c": ["gelu", "mlp", "model"],
    "vit/mlp.c": ["mlp", "model"],
    "vit/patch_embed.c": ["patch_embed", "model"],
    "vit/pos_embed.c": ["pos_embed", "model"],
    "vit/head.c": ["head", "model"],
    "vit/loss.c": ["loss", "training"],
    "vit/drop_path.c": ["drop_path", "model", "slots"],
    "vit/block.c": ["model", "slots"],
    "vit/model.c": ["model", "slots"],
    "vit/gemm.c": ["gemm", "linear"],
    "vit/vmath_kernels.h": ["vmath", "gelu"],
    "vit/attention/rope.c": ["rope", "attention_zeros"],
    "vit/attention/attention.c": ATTENTION,
    "vit/attention/kernels.c": ["attention_kernels", *ATTENTION],
    "vit/attention/softmax.c": ["attention_softmax", "attention_weights", "attention", "model"],
    "vit/attention/linear.c": ["attention_linear", "attention_weights", "attention", "model"],
    "vit/attention/deviation.c": ["attention_zeros", "attention_zeros_causal", "attention_weights"],
    "vit/attention/radial.c": ["attention_weights", "attention_zeros", "attention_zeros_sm", "attention_zeros_causal"],
    "vit/attention/zero_sum.c": ["attention_zeros_sm", "attention_zeros", "attention_weights", "attention_zeros_causal"],
    "vit/attention/zeros.c": ["attention_zeros", "attention_weights", "attention", "model"],
    "vit/attention/zeros_sm.c": ["attention_zeros_sm", "attention_weights", "attention", "model"],
    "vit/attention/zeros_causal.c": ["attention_zeros_causal", "attention_weights", "attention"],
    "vit/attention/causal_basis.c": ["attention_zeros_causal", "attention_weights"],
    "train/distill.c": ["distill"],
    "train/optimizer.c": ["optimizer", "training"],
    "train/schedule.c": ["schedule"],
    "data/mix.c": ["mix", "loader"],
    "data/resize.c": ["resize", "transform"],
    "data/affine.c": ["pixel_ops", "auto_augment"],
    "data/pixel_ops.c": ["pixel_ops", "auto_augment", "transform"],
    "data/auto_augment.c": ["auto_augment", "transform"],
    "data/erase.c": ["erase", "transform"],
    "data/transform.c": ["transform", "loader"],
}
# A header is compiled through these.
THROUGH = {"vit/vmath_kernels.h": ["vit/vmath_sse2.c", "vit/vmath_avx2.c", "vit/vmath_avx512f.c"]}

# ---- what can be changed ----

NAME = r"\w+(?:(?:->|\.)\w+|\[[^\]\[]*\]|\([^()]*\))*"
# kind, where, what it becomes. The first group of a pattern, if there is one, is what is replaced.
CHANGES = [
    ("sign", r" \+ (?=\S)", " - "),
    ("sign", r" - (?=\S)", " + "),
    ("sign", r" \+= ", " -= "),
    ("sign", r" -= ", " += "),
    ("sign", r"(?:(?<=[=(,?:{] )|(?<=[({])|(?<=return ))-(?=[\w(])", ""),
    ("product", r" \* (?=\S)", " / "),
    ("product", r" / (?=\S)", " * "),
    ("product", r" \*= ", " /= "),
    ("product", r" /= ", " *= "),
    ("compare", r" < (?=[^;?\n]*\?)", " > "),  # in a choice: the other one
    ("compare", r" > (?=[^;?\n]*\?)", " < "),
    ("compare", r" < (?![^;?\n]*\?)", " <= "),
    ("compare", r" > (?![^;?\n]*\?)", " >= "),
    ("compare", r" <= ", " < "),
    ("compare", r" >= ", " > "),
    ("compare", r" == ", " != "),
    ("compare", r" != ", " == "),
    ("compare", r" && ", " || "),
    ("compare", r" \|\| ", " && "),
    ("dropped term", rf"(?<=[\w)\]])( [+-] {NAME}(?: [*/] {NAME})*)(?=[;,)])", ""),
    ("turn", r"for \(\w+ \w+ = (0);", "1"),
    ("turn", r"for \([^;]*;( )\w+ < [^;]+;", None),  # i < n: i + 1 < n
    ("flag", r"\btrue\b", "false"),
    ("flag", r"\bfalse\b", "true"),
    ("function", r"\bfmin\b", "fmax"),
    ("function", r"\bfmax\b", "fmin"),
    ("index", r"\[(\w+) \* \w+ \+ \w+\]", None),  # [i * d + j]: [j * d + i]
]
FLOAT = re.compile(r"(?<![\w.])(\d+\.\d*(?:e[+-]?\d+)?|\d+e-?\d+)(f?)(?![\w.])")
WHOLE = re.compile(r"(?<![\w.])(\d+)(?![\w.])")
FOR = re.compile(r"\bfor \([^;]*;[^;]*;(?:[^()]|\([^()]*\))*\)")


def blank(text):
    """The code with comments, strings and preprocessor lines blanked out, character by character."""
    hide = lambda m: re.sub(r"[^\n]", " ", m.group())
    text = re.sub(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'", hide, text, flags=re.S)
    return re.sub(r"^[ \t]*#(?:\\\n|[^\n])*", hide, text, flags=re.M)


def line_at(text, at):
    return text[text.rfind("\n", 0, at) + 1:(text + "\n").find("\n", at)]


def function_at(code, at):
    """The name of the function that position `at` lies within, or None."""
    opened = code.rfind("{\n", 0, at)
    while opened >= 0:
        head = re.search(r"(?:^|\n)([A-Za-z_][^;{}]*)$", code[:opened])
        if head:
            name = re.search(r"(\w+)\([^()]*(?:\([^()]*\)[^()]*)*\)\s*$", head.group(1))
            return name.group(1) if name and "\n}" not in code[opened:at] else None
        opened = code.rfind("{\n", 0, opened)
    return None


def changes_in(code):
    """(position, length, replacement, kind) of everything."""
    for kind, pattern, to in CHANGES:
        for m in re.finditer(pattern, code):
            group = 1 if m.lastindex else 0
            at, length, put = m.start(group), m.end(group) - m.start(group), to
            if kind == "turn" and to is None:
                name, rest = re.match(r" (\w+)( < .*)", code[at:]).groups()
                length, put = 1 + len(name), f" {name} + 1"
            if kind == "index":
                a, b, c = re.match(r"(\w+) \* (\w+) \+ (\w+)\]", code[at:]).groups()
                if a == c:
                    continue
                length, put = len(f"{a} * {b} + {c}"), f"{c} * {b} + {a}"
            yield at, length, put, kind
    for m in FLOAT.finditer(code):
        value = float(m.group(1))
        yield m.start(), m.end() - m.start(), repr(value * 1.01 if value else 0.01) + m.group(2), "constant"
    for m in WHOLE.finditer(code):
        yield m.start(), m.end() - m.start(), str(int(m.group(1)) + 1), "constant"


def mutants_of(path):
    """The text, and every mutant there can be of a file."""
    with open(os.path.join(ROOT, path)) as file:
        text = file.read()
    code = blank(text)
    loops = [m.span() for m in FOR.finditer(code)]
    mutants = []
    for at, length, to, kind in sorted(set(changes_in(code))):
        function, line = function_at(code, at), line_at(code, at)
        if not function or line[:1] not in " \t" or re.match(r"check_|fail_|vit_check_", function):
            continue
        if re.search(r"VIT_INIT|vit_fail|VIT_ERROR|_overflow|SIZE_MAX", line):
            continue
        if kind != "turn" and any(a <= at < b for a, b in loops):
            continue
        # Memory that is asked for: more than enough is not wrong.
        if kind == "constant" and re.search(r"scratch|floats|reserve|plan", function):
            continue
        if text[at:at + length] == to:
            continue
        changed = text[:at] + to + text[at + length:]
        mutants.append({"file": path, "line": text.count("\n", 0, at) + 1, "kind": kind, "at": at, "length": length, "to": to,
                        "was": line_at(text, at).strip(), "is": line_at(changed, at).strip()})
    return mutants


def drawn(args):
    """The mutants of each file, of each kind as nearly as many as there are."""
    found = []
    for path in FILES:
        if args.only and not path.startswith(args.only):
            continue
        draw = random.Random(f"{args.seed} {path}")
        kinds = {}
        for mutant in mutants_of(path):
            kinds.setdefault(mutant["kind"], []).append(mutant)
        for of_kind in kinds.values():
            draw.shuffle(of_kind)
        chosen = []
        while len(chosen) < args.per_file and any(kinds.values()):
            for kind in sorted(kinds):
                if kinds[kind] and len(chosen) < args.per_file:
                    chosen.append(kinds[kind].pop())
        found += sorted(chosen, key=lambda m: m["at"])
    return found


# ---- those that compute the same ----

def read_survivors():
    """{(file, line as it is, line as changed): reason}"""
    entries, path, was, to = {}, None, None, None
    if not os.path.exists(SURVIVORS):
        return entries
    with open(SURVIVORS) as file:
        for number, line in enumerate(file, 1):
            line = line.rstrip("\n")
            if not line or line.startswith("#"):
                continue
            if not line.startswith(" "):
                path = line
            elif line.startswith("    - "):
                was = line[6:]
            elif line.startswith("    + "):
                to = line[6:]
            elif path and was is not None and to is not None:
                entries[path, was, to] = (entries.get((path, was, to), "") + " " + line.strip()).strip()
            else:
                sys.exit(f"{SURVIVORS}:{number}: {line.strip()} (expected a file, '    - its line', '    + the mutant', '      why')")
    return entries


def survivors_of_no_use(entries, only):
    known = {}
    for path, was, to in entries:
        if only and not path.startswith(only):
            continue
        if path not in known:
            known[path] = {(m["was"], m["is"]) for m in mutants_of(path)} if path in FILES else set()
        if (was, to) not in known[path]:
            yield f"{os.path.basename(SURVIVORS)}: {path}: no such mutant any more: {was}   [-> {to}]"


# ---- how it is built ----

def compile_command(build, source):
    with open(os.path.join(build, "compile_commands.json")) as file:
        for entry in json.load(file):
            if os.path.relpath(entry["file"], ROOT) == source:
                words = [w for w in shlex.split(entry["command"]) if os.path.basename(w) != "ccache"]
                skip = {i + k for i, w in enumerate(words) for k in (0, 1) if w in ("-o", "-MT", "-MF", "-c")}
                return [w for i, w in enumerate(words) if i not in skip and w not in ("-MD", "-Werror")] + ["-w"]
    sys.exit(f"{source}: not in {build}/compile_commands.json")


def link_command(build, suite):
    """The words before the first library, and those from it on."""
    out = subprocess.run(["ninja", "-C", build, "-t", "commands", f"tests/test_{suite}"], check=True, capture_output=True, text=True)
    words = shlex.split(out.stdout.splitlines()[-1].split("&& ", 1)[1].rsplit(" && ", 1)[0])
    words = [w for w in words if os.path.basename(w) != "ccache"]
    at = words.index("-o")
    del words[at:at + 2]
    first = next(i for i, w in enumerate(words) if w.endswith((".a", ".so")))
    return words[:first], words[first:]


class Builder:
    def __init__(self, build, files):
        self.build = build
        self.compile = {unit: compile_command(build, unit) for path in files for unit in THROUGH.get(path, [path])}
        self.link = {suite: link_command(build, suite) for suite in sorted({s for path in files for s in FILES[path]})}
        self.digest = {suite: self.digest_of(words[0]) for suite, words in self.link.items()}
        self.plain = {unit: self.instructions(self.object_of(unit)) for unit in self.compile}

    def digest_of(self, words):
        sum = hashlib.sha256()
        for word in words + ["tests/libtest_support.a"]:
            if word.endswith((".o", ".a")):
                with open(os.path.join(self.build, word), "rb") as file:
                    sum.update(file.read())
        return sum.hexdigest()

    def object_of(self, unit):
        with tempfile.TemporaryDirectory() as folder:
            out = self.compile_into(folder, unit, None, None)
            with open(out, "rb") as file:
                return file.read()

    def compile_into(self, folder, unit, source, changed):
        """unit compiled with the changed text of source (unit itself or a header of it); None when that fails."""
        path = os.path.join(folder, unit)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(os.path.join(ROOT, unit)) as original, open(path, "w") as file:
            file.write(original.read())
        if source:
            with open(os.path.join(folder, source), "w") as file:
                file.write(changed)
        out = os.path.join(folder, os.path.basename(unit) + ".o")
        words = self.compile[unit]
        words = words[:1] + [f"-I{folder}", f"-I{os.path.join(ROOT, os.path.dirname(unit))}", f"-ffile-prefix-map={folder}/="] + words[1:]
        done = subprocess.run(words + ["-c", path, "-o", out], cwd=self.build, capture_output=True)
        return out if done.returncode == 0 else None

    @staticmethod
    def instructions(data):
        """An object file's content, to compare: of the same source it is the same."""
        return hashlib.sha256(data).hexdigest()

    def link_into(self, folder, suite, objects):
        program = os.path.join(folder, "test_" + suite)
        before, after = self.link[suite]
        mold = ["-fuse-ld=mold"] if subprocess.run(["sh", "-c", "command -v mold"], capture_output=True).returncode == 0 else []
        subprocess.run(before + mold + objects + after + ["-o", program], cwd=self.build, check=True, capture_output=True)
        return program


# ---- running ----

def end_session(leader):
    """Check gives each test a process group of its own; the session is what they have in common."""
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and os.getsid(int(entry)) == leader:
                os.kill(int(entry), signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass


def run_suite(program, limit, cwd):
    """None when the suite passes, else what was first red: a test's name, "crash" or "time". Check's log has a line for each test
    as it ends."""
    environment = dict(os.environ, CK_DEFAULT_TIMEOUT=str(limit), CK_FORK="yes", CK_VERBOSITY="silent", CK_LOG_FILE_NAME="-")
    environment.setdefault("OMP_NUM_THREADS", "2")
    process = subprocess.Popen([program], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment,
                               start_new_session=True, text=True, errors="replace")
    late = threading.Event()

    def end():
        late.set()
        end_session(process.pid)

    timer = threading.Timer(5 * limit, end)
    timer.start()
    red = None
    try:
        for line in process.stdout:
            m = re.match(r"[^:]+:\d+:[FE]:[^:]*:([^:]*:\d+)", line)
            if m:
                red = m.group(1).removesuffix(":0")
                break
        if red:
            end_session(process.pid)
        code = process.wait()
    finally:
        timer.cancel()
        end_session(process.pid)
        process.stdout.close()
    return red or ("time" if late.is_set() else "crash" if code else None)


def attempt(builder, mutant, limit):
    """"killed by SUITE: TEST", "survived", "same" or "does not compile"."""
    source = mutant["file"]
    with open(os.path.join(ROOT, source)) as file:
        text = file.read()
    changed = text[:mutant["at"]] + mutant["to"] + text[mutant["at"] + mutant["length"]:]
    with tempfile.TemporaryDirectory() as folder:
        objects, same = [], True
        for unit in THROUGH.get(source, [source]):
            out = builder.compile_into(folder, unit, source, changed)
            if not out:
                return "does not compile"
            with open(out, "rb") as file:
                same = same and builder.instructions(file.read()) == builder.plain[unit]
            objects.append(out)
        if same:
            return "same"
        for suite in FILES[source]:
            program = builder.link_into(folder, suite, objects)
            red = run_suite(program, limit, builder.build)
            os.remove(program)
            if red:
                return f"killed by {suite}: {red}"
    return "survived"


class Cache:
    """Results by the changed file and the suites: a survivor's by all of them, a kill by the one that killed."""

    def __init__(self, path, builder):
        self.path, self.builder, self.lock, self.kept = path, builder, threading.Lock(), {}
        if path and os.path.exists(path):
            with open(path) as file:
                self.kept = json.load(file)

    def key(self, mutant):
        with open(os.path.join(ROOT, mutant["file"])) as file:
            text = file.read()
        return hashlib.sha256(f"{mutant['at']} {mutant['length']} {mutant['to']} {text}".encode()).hexdigest()

    def suites(self, mutant, result):
        named = re.match(r"killed by (\w+)", result)
        return {s: self.builder.digest[s] for s in ([named.group(1)] if named else FILES[mutant["file"]])}

    def get(self, mutant):
        kept = self.kept.get(self.key(mutant))
        if kept and all(s in self.builder.digest for s in kept["suites"]) and kept["suites"] == self.suites(mutant, kept["result"]):
            return kept["result"]
        return None

    def put(self, mutant, result):
        if not self.path:
            return
        with self.lock:
            self.kept[self.key(mutant)] = {"result": result, "suites": self.suites(mutant, result)}
            with open(self.path + ".tmp", "w") as file:
                json.dump(self.kept, file)
            os.replace(self.path + ".tmp", self.path)


def show(mutant):
    return f"{mutant['file']}:{mutant['line']}: {mutant['was']}   [-> {mutant['is']}]"


def run(args):
    mutants, listed = drawn(args), read_survivors()
    wrong = list(survivors_of_no_use(listed, args.only))
    builder = Builder(args.build, sorted({m["file"] for m in mutants}))
    for suite in builder.link:
        red = run_suite(os.path.join(args.build, "tests", "test_" + suite), args.limit, args.build)
        if red:
            sys.exit(f"test_{suite} fails as it is: {red}")
    cache = Cache(args.cache, builder)

    def one(mutant):
        result = cache.get(mutant)
        if not result:
            result = attempt(builder, mutant, args.limit)
            cache.put(mutant, result)
        reason = listed.get((mutant["file"], mutant["was"], mutant["is"]))
        if result == "survived" and reason is None:
            print(f"survived: {show(mutant)}", flush=True)
        if args.verbose:
            print(f"{result}: {show(mutant)}", flush=True)
        return dict(mutant, result=result, reason=reason)

    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        results = list(pool.map(one, mutants))
    wrong += [f"{os.path.basename(SURVIVORS)}: listed, but {r['result']}: {show(r)}" for r in results
              if r["reason"] and r["result"].startswith("killed")]
    if args.out:
        with open(args.out, "w") as file:
            json.dump(results, file, indent=1)
    return report(args, results, wrong)


def report(args, results, wrong):
    survived = [r for r in results if r["result"] == "survived"]
    explained = [r for r in survived if r["reason"]]
    if explained:
        print("compute the same, so that nothing can kill them:")
        for r in explained:
            print(f"  {show(r)}\n      {r['reason']}")
    for line in wrong:
        print(line)
    counted = [r for r in results if r["result"] == "survived" or r["result"].startswith("killed")]
    killed = len(counted) - len(survived)
    for top in sorted({r["file"].split("/")[0] for r in counted}) if not args.only else []:
        of = [r for r in counted if r["file"].startswith(top + "/")]
        print(f"{top}/: {sum(r['result'] != 'survived' for r in of)} of {len(of)} killed")
    for kind in sorted({r["kind"] for r in counted}):
        of = [r for r in counted if r["kind"] == kind]
        print(f"{kind}: {sum(r['result'] != 'survived' for r in of)} of {len(of)} killed")
    score = 100 * killed / max(1, len(counted) - len(explained))
    print(f"{killed} of {len(counted)} mutants killed ({100 * killed / max(1, len(counted)):.1f} %); of the {len(survived)} others "
          f"{len(explained)} compute the same: {score:.1f} % of those that do not; {len(results) - len(counted)} not counted, as they do not "
          "compile or make the same object")
    return 1 if wrong or score < args.least else 0


def plan(args):
    mutants = drawn(args)
    for mutant in mutants:
        print(f"{mutant['kind']}: {show(mutant)}")
    every = sum(len(mutants_of(path)) for path in FILES if not args.only or path.startswith(args.only))
    print(f"{len(mutants)} of {every} mutants, of {len({m['file'] for m in mutants})} files")
    wrong = list(survivors_of_no_use(read_survivors(), args.only))
    for line in wrong:
        print(line)
    return 1 if wrong else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    drawing = argparse.ArgumentParser(add_help=False)
    drawing.add_argument("--seed", type=int, default=1)
    drawing.add_argument("--per-file", type=int, default=20)
    drawing.add_argument("--only", help="files whose path begins so")
    verbs.add_parser("plan", parents=[drawing])
    r = verbs.add_parser("run", parents=[drawing])
    r.add_argument("--build", default=os.path.join(ROOT, "build/release"))
    r.add_argument("--jobs", type=int, default=1)
    r.add_argument("--limit", type=int, default=20, help="seconds a test may take, and a fifth of what a suite may")
    r.add_argument("--least", type=float, default=95, help="percent to be killed of those that compute something else")
    r.add_argument("--cache", help="file to keep results in")
    r.add_argument("--out", help="file for all results, JSON")
    r.add_argument("--verbose", action="store_true", help="a line for each mutant")
    args = parser.parse_args()
    if args.verb == "plan":
        return plan(args)
    args.build = os.path.abspath(args.build)
    return run(args)


if __name__ == "__main__":
    sys.exit(main())
