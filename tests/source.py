"""What the source promises about itself: short files, heavy dependencies only where they belong, rules that are tested.

python tests/source.py
"""

import json
import re
import subprocess
import sys

LONGEST = 600  # lines of a Rust or Python file
# crate -> what must not be among all its dependencies, at any depth
NEVER_BELOW = {
    "chunkwise-core": {"tokio", "zarrs", "object_store", "icechunk", "pyo3", "chunkwise_view"},
    "chunkwise": {"chunkwise_view", "tiny_skia"},
}
# dependency -> the only crates that may name it
NAMED_ONLY_BY = {
    "zarrs": {"chunkwise"},
    "object_store": {"chunkwise"},
    "icechunk": {"chunkwise-icechunk"},
    "pyo3": {"chunkwise-python"},
}


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def long_files():
    for path in run("git", "ls-files", "-co", "--exclude-standard", "*.rs", "*.py").splitlines():
        try:
            with open(path, encoding="utf-8") as file:
                lines = sum(1 for _ in file)
        except FileNotFoundError:
            continue  # deleted, not yet committed
        if lines >= LONGEST:
            yield f"{path} has {lines} lines; fewer than {LONGEST} are wanted"


def misplaced_dependencies():
    for crate, banned in NEVER_BELOW.items():
        tree = run("cargo", "tree", "--locked", "-p", crate, "-e", "normal", "--prefix", "none", "--format", "{lib}")
        for name in sorted(banned & set(tree.split())):
            yield f"`{crate}` must not depend on `{name}` (cargo tree -p {crate} -i {name})"
    metadata = json.loads(run("cargo", "metadata", "--locked", "--no-deps", "--format-version", "1"))
    for package in metadata["packages"]:
        for dependency in package["dependencies"]:
            owners = NAMED_ONLY_BY.get(dependency["name"])
            if owners is not None and package["name"] not in owners:
                yield f"`{package['name']}` names `{dependency['name']}`, which only {sorted(owners)} may"


def rules_without_test():
    """Each row of docs/semantics.md names a test that exists, `FILE::NAME`."""
    with open("docs/semantics.md", encoding="utf-8") as file:
        rows = [line for line in file.read().splitlines() if line.startswith("| ")]
    for row in rows:
        rule, test = (cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:3])
        if test == "test":
            continue  # the head of a table
        path, _, name = test.partition("::")
        full, define = (f"tests/python/{path}", "def") if path.endswith(".py") else (f"crates/{path}", "fn")
        try:
            with open(full, encoding="utf-8") as file:
                found = re.search(rf"^\s*{define} {re.escape(name)}\(", file.read(), re.MULTILINE)
        except FileNotFoundError:
            found = None
        if not name or not found:
            yield f"docs/semantics.md: no test `{test}` for “{rule}”"


if __name__ == "__main__":
    faults = [*long_files(), *misplaced_dependencies(), *rules_without_test()]
    for fault in faults:
        print(f"error: {fault}", file=sys.stderr)
    sys.exit(1 if faults else 0)
