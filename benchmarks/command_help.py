"""CPU seconds of `gl10m --help` beside those of an empty Python process; the budget is 0.3 s.

Run: python benchmarks/command_help.py
"""

import resource
import subprocess
import sys

RUNS = 5


def cpu_seconds(*arguments: str) -> float:
    """Least CPU time, user and system, of some runs of a Python process."""
    spent = []
    for _ in range(RUNS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(spent)


if __name__ == "__main__":
    empty, shown = cpu_seconds("-c", ""), cpu_seconds("-m", "gl10m", "--help")
    print(f"empty process {empty:.3f} s, gl10m --help {shown:.3f} s, ratio {shown / empty:.1f}")
