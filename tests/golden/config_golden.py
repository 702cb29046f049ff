#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Golden tests of the configuration: config/NAME.ini is given to config_check, and its exit status,
stderr and stdout are compared with config/NAME.expected.

    config_golden.py CONFIG_CHECK SHIPPED_INI [--update] [NAME ...]

The first lines of a case may direct the runner:
    ;args: --node b          arguments of config_check
    ;kind: directory         what stands at the path: directory, fifo, missing, symlink
    ;key: MODE TEXT          a key file at @DIR@/key (symlink: a link to it)
In the text, @DIR@ is the temporary directory, @NUL@ @CR@ @BOM@ @ESC@ are those characters, @X123@
is 123 times x, and the lines between `@repeat N` and `@end` come N times with {n} from 1.
"""
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "config")
CHARACTERS = {"@NUL@": b"\0", "@CR@": b"\r", "@BOM@": b"\xef\xbb\xbf", "@ESC@": b"\x1b"}


def directive(lines, name):
    for line in lines[:5]:
        if line.startswith(f";{name}: "):
            return line.split(": ", 1)[1]
    return None


def repeat(lines):
    out, block, times = [], None, 0
    for line in lines:
        if line.startswith("@repeat "):
            block, times = [], int(line.split()[1])
        elif line == "@end":
            for n in range(1, times + 1):
                out += [part.replace("{n}", str(n)) for part in block]
            block = None
        elif block is not None:
            block.append(line)
        else:
            out.append(line)
    return out


def expand(text, where):
    text = "\n".join(repeat(text.split("\n"))).replace("@DIR@", where)
    text = re.sub(r"@X(\d+)@", lambda m: "x" * int(m.group(1)), text)
    data = text.encode()
    for mark, character in CHARACTERS.items():
        data = data.replace(mark.encode(), character)
    return data


def make_key(spec, where):
    mode, text = spec.split(" ", 1)
    path = os.path.join(where, "key")
    real = os.path.join(where, "real") if mode == "symlink" else path
    with open(real, "wb") as f:
        f.write(text.encode().decode("unicode_escape").encode())
    os.chmod(real, 0o600 if mode == "symlink" else int(mode, 8))
    if mode == "symlink":
        os.symlink(real, path)


def make_file(kind, data, path):
    if kind == "directory":
        os.mkdir(path)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind != "missing":
        with open(path, "wb") as f:
            f.write(data)


def run(check, name, text):
    lines = text.split("\n")
    with tempfile.TemporaryDirectory(prefix="supd-golden-") as where:
        key = directive(lines, "key")
        if key:
            make_key(key, where)
        make_file(directive(lines, "kind"), expand(text, where), os.path.join(where, name + ".ini"))
        args = (directive(lines, "args") or "").replace("@DIR@", where).split()
        p = subprocess.run([check, *args, name + ".ini"], cwd=where, capture_output=True,
                           timeout=60, env={**os.environ, "LC_ALL": "C"})
        out = f"exit {p.returncode}\n{p.stderr.decode()}{p.stdout.decode()}"
        return out.replace(where, "@DIR@")


def compare(check, name, update):
    with open(os.path.join(HERE, name + ".ini")) as f:
        got = run(check, name, f.read())
    expected_path = os.path.join(HERE, name + ".expected")
    if update:
        with open(expected_path, "w") as f:
            f.write(got)
        return True
    with open(expected_path) as f:
        want = f.read()
    if got != want:
        print(f"FAIL {name}\n--- expected\n{want}--- got\n{got}")
    return got == want


def shipped_is_clean(check, path, uncomment):
    """The sample on any host: whom it names need not exist there.  Again with all it shows in use."""
    with open(path) as f:
        text = f.read()
    if uncomment:
        text = re.sub(r"^;([a-z_]+ = )", r"\1", text, flags=re.MULTILINE)
    else:
        text = text.replace("[supd]\n", "[supd]\nuser = root\nsocket_group = root\n")
    text = re.sub(r"^(user|group|socket_group) = .*$", r"\1 = root", text, flags=re.MULTILINE)
    got = run(check, "shipped", text)
    clean = got.startswith("exit 0\n") and "warning:" not in got and "tier 0: never" in got
    if not clean:
        print(f"FAIL shipped {path}\n{got}")
    return clean


def main():
    args = [a for a in sys.argv[1:] if a != "--update"]
    check, shipped, names = os.path.abspath(args[0]), args[1], args[2:]
    if not names:
        names = sorted(f[:-4] for f in os.listdir(HERE) if f.endswith(".ini"))
    if os.geteuid() != 0:
        print("key files must belong to root: skipped")
        return 77
    failed = [n for n in names if not compare(check, n, "--update" in sys.argv)]
    failed += ["shipped"] * (not shipped_is_clean(check, shipped, False))
    failed += ["shipped, uncommented"] * (not shipped_is_clean(check, shipped, True))
    print(f"{len(names) + 2} cases, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
