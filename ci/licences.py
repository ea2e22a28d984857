"""Checks the crates that are built against deny.toml: licences, bans, sources, duplicate versions.

Reads what `cargo tree` says is built, for every target of deny.toml and with all features, tests and build scripts
included. Understands the part of deny.toml that this project uses and refuses keys it does not know, so that a rule
written there is never silently left out.
"""

import re
import subprocess
import sys
import tomllib
from collections import defaultdict

KNOWN = {
    "graph": {"targets", "all-features"},
    "licenses": {"allow", "confidence-threshold", "exceptions"},
    "bans": {"multiple-versions", "wildcards", "allow-wildcard-paths", "deny"},
    "sources": {"unknown-registry", "unknown-git", "allow-registry"},
}


def main():
    with open("deny.toml", "rb") as file:
        rules = tomllib.load(file)
    faults = [f"deny.toml: [{section}] {key} is not understood by ci/licences.py"
              for section, keys in rules.items() for key in set(keys) - KNOWN.get(section, set())]
    packages = built_packages(rules["graph"]["targets"])
    faults += licence_faults(packages, rules["licenses"])
    faults += ban_faults(packages, rules["bans"])
    faults += source_faults(packages)
    for name, versions in sorted(duplicates(packages).items()):
        print(f"warning: {name} is built in several versions: {', '.join(sorted(versions))}")
    for fault in faults:
        print(f"error: {fault}")
    print(f"licences: {len(packages)} crates, {len(faults)} faults")
    return 1 if faults else 0


def built_packages(targets):
    """{(name, version, where from): licence expression}; the project's own crates carry a path as their source."""
    packages = {}
    for target in targets:
        listing = subprocess.run(
            ["cargo", "tree", "--workspace", "--locked", "--all-features", "--target", target,
             "--edges", "normal,build,dev", "--prefix", "none", "--no-dedupe", "--format", "{p}|{l}"],
            check=True, capture_output=True, text=True,
        ).stdout
        for line in filter(None, listing.splitlines()):
            package, licence = line.split("|")
            name, version, *source = re.sub(r" \(\*\)| \(proc-macro\)", "", package).split(" ", 2)
            packages[name, version.removeprefix("v"), source[0] if source else "crates.io"] = licence
    return packages


def licence_faults(packages, rules):
    allowed = set(rules["allow"])
    excepted = {entry["crate"]: set(entry["allow"]) for entry in rules.get("exceptions", [])}
    unused = set(allowed)
    for (name, version, _), expression in sorted(packages.items()):
        if not expression:
            yield f"{name} {version} states no licence"
            continue
        unused -= set(terms(expression))
        if not satisfied(expression, allowed | excepted.get(name, set())):
            yield f"{name} {version} is under {expression}"
    for licence in sorted(unused):
        print(f"warning: no crate states the allowed licence {licence}")


def terms(expression):
    return re.findall(r"[\w.+-]+(?: WITH [\w.-]+)?", expression.replace("/", " OR "))


def satisfied(expression, allowed):
    """Whether the SPDX expression can be met with allowed licences alone. AND binds closer than OR."""
    tokens = re.findall(r"\(|\)|[\w.+-]+(?: WITH [\w.-]+)?", expression.replace("/", " OR "))
    position = 0

    def alternative():
        nonlocal position
        met = conjunction()
        while position < len(tokens) and tokens[position] == "OR":
            position += 1
            met |= conjunction()
        return met

    def conjunction():
        nonlocal position
        met = single()
        while position < len(tokens) and tokens[position] == "AND":
            position += 1
            met &= single()
        return met

    def single():
        nonlocal position
        token = tokens[position]
        position += 1
        if token == "(":
            met = alternative()
            position += 1
            return met
        return token in allowed

    return alternative()


def ban_faults(packages, rules):
    reasons = {entry["crate"]: entry["reason"] for entry in rules["deny"]}
    for name, version, _ in sorted(packages):
        if name in reasons:
            yield f"{name} {version} is banned: {reasons[name]}"
    if rules["multiple-versions"] == "deny":
        for name, versions in duplicates(packages).items():
            yield f"{name} is built in several versions: {', '.join(sorted(versions))}"


def duplicates(packages):
    versions = defaultdict(set)
    for name, version, _ in packages:
        versions[name].add(version)
    return {name: found for name, found in versions.items() if len(found) > 1}


def source_faults(packages):
    """`cargo tree` names a source only when it is not crates.io: a path for our own crates, an address for the rest."""
    for name, version, source in sorted(packages):
        if source != "crates.io" and not source.startswith("(/"):
            yield f"{name} {version} comes from {source}"


if __name__ == "__main__":
    sys.exit(main())
