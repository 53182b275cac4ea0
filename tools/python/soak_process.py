"""What a process holds, read from /proc: shared by soak_train.py and soak_serve.py."""
import os


def resident(pid):
    """Bytes of memory in use (RSS)."""
    with open(f"/proc/{pid}/status") as file:
        for line in file:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    raise ProcessLookupError(pid)


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def processor_seconds(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def spread(values):
    """How far apart the largest and the smallest are, as a share of the largest."""
    return (max(values) - min(values)) / max(values) if values else 0.0
