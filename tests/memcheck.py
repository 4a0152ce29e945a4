"""Says which errors memcheck has found, from the logs in a directory: python tests/memcheck.py logs"""

import collections
import re
import sys
from pathlib import Path

ERROR = re.compile(
    r"Invalid |Conditional jump |Use of uninitialised |Syscall param |Argument |Mismatched |Jump to "
    r"|Source and destination "
    # Only what a process brings on itself: SIGILL, SIGABRT, SIGBUS, SIGFPE, SIGSEGV.
    r"|Process terminating with default action of signal (?:4|6|7|8|11) "
)
FRAME = re.compile(r"   (?:at|by) 0x[0-9A-F]+: (.*)")
# Python 3.11 multiplies a digit that it has not written by zero when it makes an int of zero bytes.
PYTHONS_OWN = "_PyLong_New "


def errors(log):
    """The paragraphs of a log that are errors, as lists of lines without memcheck's prefix."""
    lines = [re.sub(r"^==\d+== ?", "", line) for line in log.read_text(errors="replace").splitlines()]
    paragraph = []
    for line in [*lines, ""]:
        if line.strip():
            paragraph.append(line)
            continue
        if paragraph and ERROR.match(paragraph[0]):
            yield paragraph
        paragraph = []


def is_pythons_own(error):
    _, created, origin = "\n".join(error).partition("Uninitialised value was created by")
    frames = FRAME.findall(origin)
    return bool(created) and any(frame.startswith(PYTHONS_OWN) for frame in frames[:2])


def main(directory):
    logs = sorted(Path(directory).glob("*.log"))
    found = collections.defaultdict(list)
    ignored = 0
    for log in logs:
        for error in errors(log):
            if is_pythons_own(error):
                ignored += 1
            else:
                # Addresses differ from process to process.
                text = "\n".join(re.sub(r"0x[0-9A-F]+", "0x…", line, flags=re.I) for line in error)
                found[text].append(log.name)
    for text, names in found.items():
        print(f"{text}\n  in {len(names)} processes: {', '.join(names[:5])}\n")
    print(f"memcheck: {len(logs)} processes, {len(found)} errors; {ignored} of Python's own are left out")
    return 1 if found or not logs else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
