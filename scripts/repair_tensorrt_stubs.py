"""Copy TensorRT's stubs to a folder, without the slips that keep a type checker from reading them.

The generated stubs name a parameter `in`, which is a keyword, and give one method a parameter
without a default behind one with a default.
"""

import re
import sys
import sysconfig
from pathlib import Path

REPAIRS = (
    (re.compile(r"\bin: "), "in_: "),
    (re.compile(r"(def \w+\([^)]*= [^,)]+, )(\w+): ([\w.]+)(\) ->)"), r"\1\2: \3 = ...\4"),
)


def main() -> None:
    """Copy the packages `tensorrt` and `tensorrt_bindings` to the folder that is the first argument."""
    site, target = Path(sysconfig.get_path("purelib")), Path(sys.argv[1])
    for package in ("tensorrt", "tensorrt_bindings"):
        folder = target / package
        folder.mkdir(parents=True, exist_ok=True)
        for stub in (site / package).glob("*.pyi"):
            lines = stub.read_text(encoding="utf-8").splitlines(keepends=True)
            (folder / stub.name).write_text("".join(map(repaired, lines)), encoding="utf-8")


def repaired(line: str) -> str:
    """A line as it should be; only definitions are touched."""
    if line.lstrip().startswith("def "):
        for pattern, replacement in REPAIRS:
            line = pattern.sub(replacement, line)
    return line


if __name__ == "__main__":
    main()
