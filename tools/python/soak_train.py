#!/usr/bin/env python3
"""Trains while faults of many kinds happen, resumes after each, and compares what comes of it with a run that nothing disturbed:

    soak_train.py [--zvit build/release/zvit] [--seconds 3600] [--seed N] [--kinds kill,term,...] [--faults N] [--rest SHARE]

A run that comes to its end is compared (models, tables byte for byte, log.csv but for the times) and a new one begun, until the
time is up or so many faults happened; every start takes another number of threads. Between faults the process is watched while
nothing disturbs it: its memory must be flat within 1 % after the warm-up, and its descriptors constant. --rest 1 idles as long
as it works. As root the run lies on a small tmpfs that can be filled up. Prints a line for each kind of fault; exit code 1 on
any violation. The seed is that of the faults; what they meet also depends on how fast the machine is.
"""
import argparse
import collections
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
from soak_process import descriptors, resident, spread

HERE = Path(__file__).resolve().parent
# Everything that is random switched on, a checkpoint every third step. A picture that cannot be read ends the run: left out, it
# would make another training.
SETTINGS = ("--model zeros_micro_patch4_28 --embed-dim 16 --depth 2 --num-heads 2 --warmup-epochs 1 --batch-size 64 --drop-path 0.1 "
            "--mixup 0.8 --cutmix 1 --repeated-aug 2 --model-ema --model-ema-decay 0.9 --save-every 3s --on-error fail --quiet").split()
SAME = ["last.safetensors", "best.safetensors", "classes.txt", "args.json", "per_class.csv", "confusion_matrix.csv", "predictions.csv"]
PATIENCE = 120  # seconds for what should take one
WARM_UP = 6  # epochs: what is kept for use again is taken in the first ones
WATCH = 60


class Violation(Exception):
    pass


class Soak:
    def __init__(self, options, work):
        self.options, self.work = options, work
        self.random = random.Random(options.seed)
        self.root = os.geteuid() == 0
        self.data = work / "data"
        self.disk = work / "disk"
        self.disk.mkdir()
        if self.root:
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "soak", self.disk], check=True)
        self.faults, self.resumed, self.messages = collections.Counter(), collections.Counter(), collections.Counter()
        self.pending = []  # kinds since the run last was seen to go on
        self.stretches = []
        self.runs = self.starts = 0
        self.run = self.disk / "run0"
        self.pictures = []

    # ---- the trainer ----

    def unpack(self):
        """840 pictures of each class: an epoch every few seconds, so that epochs end often."""
        most, taken = {"train": 800, "val": 40}, collections.Counter()
        with tarfile.open(HERE.parent / "digits" / "digits.tar.gz") as tar:
            for member in tar:
                split, name = (*Path(member.name).parts, "", "")[:2]
                if member.isfile() and split in most and taken[split, name] < most[split]:
                    taken[split, name] += 1
                    picture = self.data / split / name / Path(member.name).name
                    picture.parent.mkdir(parents=True, exist_ok=True)
                    picture.write_bytes(tar.extractfile(member).read())
                    self.pictures.append(picture)

    def command(self, out, resume):
        threads = ["--threads", str(self.random.choice([1, 1, 2, 3]))]
        if resume:
            return [self.options.zvit, "train", "--resume", out, "--quiet", *threads]
        return [self.options.zvit, "train", self.data, "--out", out, "--steps", str(self.options.steps), *SETTINGS, *threads]

    def start(self, out, resume, **more):
        self.starts += 1
        self.errors = open(self.work / "errors", "w+b")
        return subprocess.Popen(self.command(out, resume), stdout=subprocess.DEVNULL, stderr=self.errors, **more)

    def said(self):
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace").strip()

    def has_state(self):
        return (self.run / "last.state.safetensors").exists()

    def state_mark(self):
        try:
            info = os.stat(self.run / "last.state.safetensors")
            return info.st_ino, info.st_mtime_ns
        except OSError:
            return None

    def wait(self, process, seconds=PATIENCE):
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Violation(f"still at work after {seconds} s: {self.said()}") from None

    def pause(self, process, shortest=0.02, longest=4.0):
        """A random while, short ones more often: most of what can go wrong is at the start and in saving."""
        try:
            process.wait(shortest + (longest - shortest) * self.random.random() ** 2)
        except subprocess.TimeoutExpired:
            pass

    def finish(self, process, codes, pattern=None):
        """The process's end, which has to be one of these codes; an exit with 1 says why in one line that has the pattern."""
        code = self.wait(process)
        said = self.said()
        if code == 0:
            return code
        if code not in codes:
            raise Violation(f"exit code {code}, expected one of {sorted(codes)}: {said}")
        if code in (1, 2):
            if not re.search(pattern, said) or len(said.splitlines()) > 2:
                raise Violation(f"expected a line with {pattern!r}: {said!r}")
            for line in said.splitlines():
                self.messages[re.sub(r"\d+_?\d*|/\S*/", "~", line)[:150]] += 1
        return code

    # ---- the faults: each gets a process that has been at work for a while, and returns its exit code ----

    def kill(self, process):
        process.kill()
        return self.finish(process, {-9})

    def signalled(self, process, number):
        process.send_signal(number)
        return self.finish(process, {128 + number, -number})

    def term(self, process):
        return self.signalled(process, signal.SIGTERM)

    def interrupt(self, process):
        return self.signalled(process, signal.SIGINT)

    def twice(self, process):
        """The second one ends the process at once."""
        process.send_signal(signal.SIGTERM)
        self.pause(process, 0, 0.02)
        return self.signalled(process, signal.SIGTERM)

    def stop(self, process):
        for _ in range(self.random.randint(1, 4)):
            process.send_signal(signal.SIGSTOP)
            time.sleep(0.5 * self.random.random() ** 2)
            process.send_signal(signal.SIGCONT)
            self.pause(process, 0, 0.5)
        return self.signalled(process, signal.SIGTERM)

    def full_disk(self, process):
        """Leaves room for a random part of what is saved."""
        filler = self.disk / "filler"
        try:
            with open(filler, "wb", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(1 << 20))
                except OSError:
                    pass
                size = os.fstat(file.fileno()).st_size
                file.truncate(max(0, size - int((1 << 19) * self.random.random() ** 3)))
            return self.finish(process, {1}, "No space left on device")
        finally:
            filler.unlink()

    def file_size(self, process):
        try:
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (self.random.randint(1000, 60000), resource.RLIM_INFINITY))
        except ProcessLookupError:
            pass
        return self.finish(process, {1}, "File too large")

    def spoil(self, process, replacement):
        """A picture is away, or something else, for a while. Never while a run begins, which would begin with other data."""
        picture = self.random.choice(self.pictures)
        apart = self.work / "apart"
        os.rename(picture, apart)
        try:
            if replacement is not None:
                picture.write_bytes(replacement)
            self.pause(process, 0.5, 6)
        finally:
            os.rename(apart, picture)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        return self.finish(process, {1, 143, -15}, f"{re.escape(picture.name)}|pictures")

    def vanish(self, process):
        return self.spoil(process, None)

    def garbage(self, process):
        return self.spoil(process, self.random.choice([b"", b"\x89PNG\r\n\x1a\n", self.random.randbytes(500), b"<html>no</html>"]))

    def move_run(self, process):
        apart = self.disk / "apart"
        os.rename(self.run, apart)
        try:
            self.pause(process, 0.1, 2)
        finally:
            if self.run.exists():
                raise Violation(f"{self.run} was made anew")
            os.rename(apart, self.run)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        return self.finish(process, {1, 143, -15}, "No such file|no such folder")

    def unreadable_run(self, process):
        """Not to be written to, as root; as another, not to be read either."""
        aside = self.work / "read-only"
        if self.root:
            # Made read-only aside and then laid over RUN at once: made so in its place, it is refused as long as the trainer has a
            # file open that it opened there in between.
            aside.mkdir(exist_ok=True)
            subprocess.run(["mount", "--bind", self.run, aside], check=True)
            subprocess.run(["mount", "-o", "remount,bind,ro", aside], check=True)
            subprocess.run(["mount", "--bind", aside, self.run], check=True)
        else:
            self.run.chmod(0)
        try:
            self.pause(process, 0.1, 2)
        finally:
            if self.root:
                self.insist(["umount", self.run])
                self.insist(["umount", aside])
            else:
                self.run.chmod(0o755)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        return self.finish(process, {1, 143, -15}, "Read-only file system|Permission denied")

    @staticmethod
    def insist(command):
        """Again while a file there is open."""
        for _ in range(200):
            if subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0:
                return
            time.sleep(0.02)
        raise Violation(f"{command} fails")

    def second(self, process):
        """Another trainer in the same folder, while the first holds the lock and stands still."""
        while process.poll() is None and not self.holds_lock(process.pid):
            time.sleep(0.01)
        if process.poll() is None:
            process.send_signal(signal.SIGSTOP)
            if self.holds_lock(process.pid):
                other = subprocess.run(self.command(self.run, True), capture_output=True, text=True, timeout=PATIENCE)
                if other.returncode not in (1, 2) or "another trainer" not in other.stderr:
                    raise Violation(f"a second trainer ended with {other.returncode}: {other.stderr}")
                self.messages[re.sub(r"\d+|/\S*/", "~", other.stderr.strip())[:150]] += 1
            process.send_signal(signal.SIGCONT)
        return self.signalled(process, signal.SIGTERM)

    def holds_lock(self, pid):
        with open("/proc/locks") as file:
            return any(line.split()[1] == "FLOCK" and line.split()[4] == str(pid) for line in file)

    # ---- nothing happens ----

    @staticmethod
    def rows(run):
        try:
            return (run / "log.csv").read_text().count("\n")
        except OSError:
            return 0

    def watch(self, process, seconds, out):
        """Samples what an undisturbed process holds; True when it was long enough to tell."""
        begin = time.monotonic()
        memory, files, window = [], [], []
        first = self.rows(out)
        while process.poll() is None and time.monotonic() - begin < seconds:
            try:
                if self.rows(out) - first >= WARM_UP:
                    memory.append(resident(process.pid))
                    window.append(descriptors(process.pid))
                    if len(window) == 40:  # the pictures and files that are open for a moment are not in the minimum
                        files.append(min(window))
                        window = []
            except (OSError, ProcessLookupError):
                break
            time.sleep(0.1)
        memory = memory[:-30]  # what the end of a run takes, which draws the plots
        if len(files) < 2:
            return False
        duration = time.monotonic() - begin
        self.stretches.append((duration, max(memory), spread(memory), min(files), max(files)))
        if self.options.verbose:
            print(f"watched {out.name} for {duration:.0f} s: {max(memory) >> 10} KiB +- {100 * spread(memory):.2f} %, "
                  f"{min(files)} to {max(files)} descriptors", flush=True)
        if spread(memory) > 0.01:
            raise Violation(f"memory moved by {100 * spread(memory):.2f} %: {memory[::10]}")
        if min(files) != max(files):
            raise Violation(f"descriptors: {files}")
        return True

    # ---- the whole ----

    def compare(self, whole, run):
        for name in SAME:
            if (whole / name).read_bytes() != (run / name).read_bytes():
                raise Violation(f"{name} of {run.name} differs from the undisturbed run's")
        rows = [[line.split(",")[:7] for line in (folder / "log.csv").read_text().splitlines()] for folder in (whole, run)]
        if rows[0] != rows[1]:
            raise Violation(f"log.csv of {run.name} differs")
        names = [sorted(p.name for p in folder.iterdir()) for folder in (whole, run)]
        if names[0] != names[1]:
            raise Violation(f"files of {run.name}: {names[1]}, expected {names[0]}")

    def note_progress(self):
        self.resumed.update(self.pending)
        self.pending = []

    def kinds(self):
        anywhere = {"kill": self.kill, "term": self.term, "int": self.interrupt, "twice": self.twice, "stop": self.stop,
                    "file-size": self.file_size, "full-disk": self.full_disk}
        resumes = {"second": self.second, "vanish": self.vanish, "garbage": self.garbage, "move-run": self.move_run,
                   "unreadable-run": self.unreadable_run}
        if not self.root:
            del anywhere["full-disk"]
        chosen = self.options.kinds.split(",") if self.options.kinds else [*anywhere, *resumes]
        if unknown := set(chosen) - set(anywhere) - set(resumes):
            sys.exit(f"no such fault: {', '.join(unknown)} (there are {', '.join([*anywhere, *resumes])})")
        possible = {**anywhere, **resumes}
        return ({k: possible[k] for k in chosen if k in anywhere or self.has_state()} or {"kill": self.kill})

    def episode(self):
        """One process: a fault, or a while in which it is watched."""
        resume = (self.run / "args.json").exists()
        mark = self.state_mark()
        if self.random.random() < self.options.watch_share:
            process = self.start(self.run, resume)
            self.watch(process, WATCH, self.run)
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            code = self.finish(process, {143})
        else:
            kinds = self.kinds()
            kind = self.random.choice(list(kinds))
            # Python has SIGXFSZ ignored, and hands that on, so that a limit is an error of write(2).
            process = self.start(self.run, resume, restore_signals=kind != "file-size")
            if kind not in ("move-run", "vanish", "garbage", "unreadable-run") or self.random.random() < 0.8:
                self.pause(process)  # else the fault meets the start
            self.happened = kind
            code = kinds[kind](process)
            if code == 0:
                # The training was over, but what follows, the report, may have met the fault.
                code = self.finish(self.start(self.run, True), set())
            else:
                self.faults[kind] += 1
                if self.state_mark() != mark:
                    self.note_progress()
                self.pending.append(kind)
        if code == 0:
            self.complete()

    def complete(self):
        self.compare(self.whole, self.run)
        self.note_progress()
        shutil.rmtree(self.run)
        self.runs += 1
        print(f"run {self.runs}: the same as the undisturbed one; {sum(self.faults.values())} faults so far", flush=True)
        self.run = self.disk / f"run{self.runs}"

    def all(self):
        begin = time.monotonic()
        self.unpack()
        self.whole = self.work / "whole"
        process = self.start(self.whole, False)
        self.watch(process, 10 * PATIENCE, self.whole)
        if self.finish(process, set()) != 0:
            raise Violation(self.said())
        print(f"undisturbed: {time.monotonic() - begin:.0f} s", flush=True)
        over = lambda: (time.monotonic() - begin > self.options.seconds or
                        0 < self.options.faults <= sum(self.faults.values()))
        while not over():
            since = time.monotonic()
            self.episode()
            time.sleep(self.options.rest * min(30, time.monotonic() - since))
        while self.pending or self.run.exists():  # the last one comes to its end undisturbed
            process = self.start(self.run, (self.run / "args.json").exists())
            self.watch(process, 10 * PATIENCE, self.run)
            self.finish(process, set())
            self.complete()
        self.report(time.monotonic() - begin)

    def report(self, seconds):
        print(f"\n{seconds:.0f} s, seed {self.options.seed}: {self.starts} starts, {sum(self.faults.values())} faults, "
              f"{self.runs} runs, all the same to the byte")
        for kind, count in sorted(self.faults.items()):
            print(f"  {kind:15} {count:5} times, resumed {self.resumed[kind]:5}")
        if self.stretches:
            print(f"  undisturbed     {len(self.stretches):5} stretches, {sum(s[0] for s in self.stretches):.0f} s: memory of "
                  f"at most {max(s[1] for s in self.stretches) >> 10} KiB, moving by at most "
                  f"{100 * max(s[2] for s in self.stretches):.2f} %; {min(s[3] for s in self.stretches)} to "
                  f"{max(s[4] for s in self.stretches)} descriptors, constant in each")
        if self.options.verbose:
            for message, count in self.messages.most_common():
                print(f"  {count:5}  {message}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zvit", default=HERE.parent.parent / "build/release/zvit")
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--faults", type=int, default=0, help="end after so many (0: by the time)")
    parser.add_argument("--kinds", default="", help="faults to choose from, between commas (default: all)")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--steps", type=int, default=1500, help="length of a run")
    parser.add_argument("--rest", type=float, default=0, help="time to idle, as a multiple of the time at work")
    parser.add_argument("--watch-share", type=float, default=0.06, help="of the starts that nothing disturbs")
    parser.add_argument("--work", help="folder for a temporary folder")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    options.zvit = Path(options.zvit).resolve()
    if options.seed is None:
        options.seed = random.randrange(1 << 32)
    print(f"seed {options.seed}", flush=True)
    work = Path(tempfile.mkdtemp(prefix="soak", dir=options.work))
    soak = Soak(options, work)
    try:
        soak.all()
    except (Violation, subprocess.SubprocessError, OSError) as violation:
        print(f"FAILED after {sum(soak.faults.values())} faults, the last being {soak.pending[-3:]}, at {getattr(soak, 'happened', '')}: "
              f"{violation}\nkept: {work}")
        return 1
    else:
        if soak.root:
            subprocess.run(["umount", soak.disk], check=True)
        shutil.rmtree(work)
    return 0


if __name__ == "__main__":
    sys.exit(main())
