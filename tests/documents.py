#!/usr/bin/env python3
"""Checks what the documents say of files, of each other and of the command:

    documents.py ZVIT FOLDER

- every relative link in a .md file leads to a file, and its #anchor to a heading of it;
- every `zvit VERB ...` in a code block has a verb and flags that the command knows;
- every function that a table row of docs/zeros.md names with a file is in that file;
- tools/python/read_files.py reads what zvit has written into FOLDER: a pack, a model, a state.
"""
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools" / "python"))
sys.dont_write_bytecode = True
wrong = []
seen = {"links": 0, "commands": 0, "functions": 0}


def complain(path, number, text):
    wrong.append(f"{path.relative_to(ROOT)}:{number}: {text}")


def documents():
    skip = {"build", ".git", "demo", "runs"}
    return [p for p in sorted(ROOT.rglob("*.md")) if not skip.intersection(p.relative_to(ROOT).parts)]


def lines_of(path):
    """(number, line, whether it is code)"""
    fenced, before = False, ""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        indented = line.startswith("    ") and (not before.strip() or before.startswith("    "))
        yield number, line, fenced or indented
        if line.strip():
            before = line if indented or fenced else line.lstrip()
        elif not before.startswith("    "):
            before = ""


def anchors(path):
    """Those that GitHub gives to headings: the second of a name ends in -1."""
    times, found = {}, set()
    for _, line, code in lines_of(path):
        heading = re.match(r"#+ +(.*)", line)
        if heading and not code:
            text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading[1]).strip().lower()
            slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
            found.add(f"{slug}-{times[slug]}" if slug in times else slug)
            times[slug] = times.get(slug, 0) + 1
    return found


def check_links(path):
    for number, line, code in lines_of(path):
        if code:
            continue
        for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "", line)):
            if re.match(r"[a-z]+:", target):
                continue
            seen["links"] += 1
            name, _, anchor = target.partition("#")
            file = (path.parent / name).resolve() if name else path
            if not file.exists():
                complain(path, number, f"{target}: there is no such file")
            elif anchor and file.suffix == ".md" and anchor not in anchors(file):
                complain(path, number, f"{target}: {file.name} has no such heading")


def help_of(zvit, *verb):
    return subprocess.run([zvit, *verb, "--help"], capture_output=True, text=True, check=True).stdout


def check_commands(zvit, path, helps):
    logical, begin = "", 0
    for number, line, code in lines_of(path):
        if logical:
            logical += line.strip()
        elif code and re.match(r"\s+(\$ )?([A-Z_]+=\S+ )*(mpirun .*)?zvit [a-z]+(?!\w*:)", line):
            logical, begin = line.strip(), number
        if logical.endswith("\\"):
            logical = logical[:-1]
            continue
        if logical:
            command = re.split(r" zvit ", " " + logical.lstrip("$"), maxsplit=1)[1]
            verb, rest = (command.split(None, 1) + [""])[:2]
            rest = re.split(r"\s(?:[|>;#]|2>|&&)", " " + rest)[0]
            check_command(zvit, path, begin, verb, rest, helps)
            logical = ""


def check_command(zvit, path, number, verb, rest, helps):
    seen["commands"] += 1
    if verb not in helps:
        complain(path, number, f"zvit {verb}: no such verb")
        return
    if helps[verb] is None:
        text = help_of(zvit, verb)
        helps[verb] = set(re.findall(r"^ +(?:(-\w), )?", text, re.M)) | {"-h"}
        for dashed in re.findall(r"--(\[no-\])?([a-z][a-z0-9-]*)", text):
            helps[verb].update(["--" + dashed[1]] + (["--no-" + dashed[1]] if dashed[0] else []))
    for flag in re.findall(r"(?<=\s)(--?[a-z][\w-]*)", rest):
        if flag not in helps[verb]:
            complain(path, number, f"zvit {verb} {flag}: no such flag")


def check_functions(path):
    """In a table: `name` in `file.c`, several names with commas."""
    for number, line, code in lines_of(path):
        if code or not line.startswith("|"):
            continue
        for names, file in re.findall(r"((?:`\w+`(?:, )?)+) in `([\w/]+\.c)`", line):
            source = ROOT / file if "/" in file else ROOT / "vit" / "attention" / file
            text = source.read_text() if source.exists() else ""
            for name in re.findall(r"`(\w+)`", names):
                seen["functions"] += 1
                if not re.search(rf"^[\w *]*\b{name}\(", text, re.M):
                    complain(path, number, f"{name} is not in {file}")


def check_reader(zvit, folder):
    import read_files

    shutil.rmtree(folder, ignore_errors=True)
    with tarfile.open(ROOT / "tools" / "digits" / "digits.tar.gz") as tar:
        few = [m for m in tar.getmembers() if re.search(r"(train|val)/[01]/\d_0{2}\d{2}\.png$", m.name)]
        tar.extractall(folder / "digits", few)
    run = ["--model", "zeros_micro_patch4_28", "--steps", "1", "-b", "8", "--no-report", "--threads", "1", "-q"]
    for command in (["pack", folder / "digits", folder / "digits.zpk", "-q"], ["train", folder / "digits", "--out", folder / "run", *run]):
        subprocess.run([zvit, *map(str, command)], check=True, stdout=subprocess.DEVNULL)
    pictures = read_files.read_pack(folder / "digits.zpk")
    assert len(pictures) == len(list((folder / "digits").rglob("*.png"))), "pictures in the pack"
    for split, label, path, data in pictures:
        assert path.startswith(f"{split}/{label}/") and (folder / "digits" / path).read_bytes() == data, path
    weights, metadata = read_files.read_safetensors(folder / "run" / "last.safetensors")
    assert "config" in metadata and weights["head.weight"][:2] == ("F32", [2, 96]), "the model's head"
    state, metadata = read_files.read_safetensors(folder / "run" / "last.state.safetensors")
    assert metadata["zvit_state"] == "1" and metadata["log"] == (folder / "run" / "log.csv").read_text()
    assert all(state["model." + name] == tensor for name, tensor in weights.items()), "the state's weights"


def main():
    zvit, folder = sys.argv[1], Path(sys.argv[2])
    helps = {verb: None for verb in re.findall(r"^  zvit ([a-z]+) ", help_of(zvit), re.M)}
    for path in documents():
        check_links(path)
        check_commands(zvit, path, helps)
    check_functions(ROOT / "docs" / "zeros.md")
    wrong.extend(f"hardly any {what} found" for what, count in seen.items() if count < 10)
    check_reader(zvit, folder)
    print("\n".join(wrong) or f"{len(documents())} documents are right")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
