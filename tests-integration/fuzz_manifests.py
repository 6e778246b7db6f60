"""Feeds random and mutated label manifests to the loader; run in a process of its own.

Usage: fuzz_manifests.py COUNT SEED. Prints what went wrong, and at the end how many were tried and
how many of them loaded.
"""

import contextlib
import random
import resource
import sys
import time

from pycemrg.core import manifests
from pycemrg.data import LabelManager, LabelMapper

ALLOWED = (ValueError, KeyError, OSError)
SECONDS = 1.0
MEMORY = 1_000_000_000

CORPUS = [
    "labels:\n  background: 0\n  LV_myo: 2\n  RV_myo: 0x3\ngroups:\n  v:\n    - LV_myo\n    - RV\n",
    "labels: {NO: 3, on: -4, 010: 5, '7': 70}\ngroups: {a: [NO, b], b: [on, '7', 9]}\n",
    "base: &b {LV: 1, RV: 2}\nlabels: {<<: *b, LA: 3}\ngroups: {g: &g [LV], h: *g}\n",
    "colors: {LV: '#a1005c'}\naliases: {LV: [left]}\nlabels: {LV: 1}\n",
    "codes: {LV: {scheme: SCT, value: '1'}}\nlabels: {LV: 1}\n",
    "%YAML 1.1\n---\n!!map\nlabels: !!map {LV: 1}\n...\n",
    "labels:\n" + "".join(f"  s{n}: {n}\n" for n in range(60)),
    "groups:\n" + "".join(f"  g{n}: [g{(n * 7 + 1) % 40}, g{(n * 3) % 40}]\n" for n in range(40)),
    "a: |\n  text\n  more\nb: >-\n  folded\n? complex\n: value\n",
]
TOKENS = [
    *(": ", "- ", "? ", ", ", "[", "]", "{", "}", "#", "&", "*", "!", "|", ">", "'", '"', "%", "@"),
    *("`", "~", "<<: ", "---", "...", "true", "null", "010", "1:30", "0x", "1.0", "-0", "+1"),
    *(".inf", "9" * 22, "labels", "groups", "&a ", "*a", "*b", "\n", "\t", "  ", "\0", "\x85"),
    *("\ufeff", "\u2028", "\u00e9", "labels:\n", "!!int ", "!!binary "),
]


def manifest(random_: random.Random) -> bytes:
    kind = random_.random()
    if kind < 0.1:
        return bytes(random_.randrange(256) for _ in range(random_.randrange(200)))
    if kind < 0.25:
        return "".join(random_.choice(TOKENS) for _ in range(random_.randrange(120))).encode()
    if kind < 0.27:
        return hostile(random_)
    data = bytearray(random_.choice(CORPUS).encode())
    for _ in range(random_.randrange(1, 8)):
        mutate(data, random_)
    return bytes(data)


def hostile(random_: random.Random) -> bytes:
    depth = random_.choice([50, 99, 100, 101, 1000, 10**5, 10**6])
    kinds = [
        lambda: "[" * depth,
        lambda: "{a: " * min(depth, 10**5),
        lambda: "- " * min(depth, 10**5),
        lambda: "? " * min(depth, 10**4),
        lambda: "labels: " + "[" * depth + "]" * depth,
        lambda: bomb(random_.randrange(2, 40), random_.randrange(2, 12)),
        lambda: merges(random_.randrange(10, 2000), random_.randrange(2, 60)),
        lambda: "labels: {LV: " + "9" * min(depth, 10**5) + "}",
        lambda: "groups:\n" + "".join(f"  g{n}: [g{n + 1}]\n" for n in range(min(depth, 2000))),
    ]
    return random_.choice(kinds)().encode()


def bomb(levels: int, width: int) -> str:
    lines = ["a0: &a0 [LV]"]
    for level in range(1, levels):
        lines.append(f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * width)}]")
    return "\n".join([*lines, f"groups: {{g: *a{levels - 1}}}", f"labels: *a{levels - 1}"])


def merges(keys: int, times: int) -> str:
    wide = ", ".join(f"k{n}: {n}" for n in range(keys))
    return f"b: &b {{{wide}}}\nlabels: {{<<: [{', '.join(['*b'] * times)}]}}\n"


def mutate(data: bytearray, random_: random.Random) -> None:
    at = random_.randrange(len(data) + 1)
    other = random_.randrange(len(data) + 1)
    low, high = min(at, other), max(at, other)
    how = random_.randrange(6)
    if how == 0 and data:
        data[at % len(data)] = random_.randrange(256)
    elif how == 1:
        data[at:at] = random_.choice(TOKENS).encode()
    elif how == 2:
        del data[low : min(high, low + 30)]
    elif how == 3:
        data[at:at] = data[low : min(high, low + 60)]
    elif how == 4:
        lines = bytes(data).split(b"\n")
        random_.shuffle(lines)
        data[:] = b"\n".join(lines)
    else:
        data[low:high] = data[low:high][::-1] if high - low < 12 else data[low:high]


def use(data: bytes) -> None:
    """Do everything with a manifest that a program might."""
    standard = LabelManager.__new__(LabelManager)
    standard._load(manifests.parse(data, "fuzz.yaml"), "fuzz.yaml")
    for problem in standard.problems():
        str(problem)
    standard.get_tags_string(list(standard))
    LabelMapper(standard, standard).get_source_to_target_mapping()
    LabelManager.from_dict(standard.to_dict())
    for group in list(standard.groups)[:20]:
        with contextlib.suppress(*ALLOWED):
            standard.get_values_from_names([group])


def main(count: int, seed: int) -> int:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    random_ = random.Random(seed)
    loaded, faults = 0, 0
    for number in range(count):
        data = manifest(random_)
        start = time.process_time()
        try:
            use(data)
            loaded += 1
        except ALLOWED as error:
            if not str(error):
                faults += 1
                print(f"seed {seed}, manifest {number}: an error without a text")
        except BaseException as error:
            faults += 1
            print(f"seed {seed}, manifest {number}: {type(error).__name__}: {error} {data[:300]!r}")
        if time.process_time() - start > SECONDS:
            faults += 1
            print(f"seed {seed}, manifest {number}: took more than {SECONDS} s: {data[:300]!r}")
    print(f"seed {seed}: {count} manifests, {loaded} loaded, {faults} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
