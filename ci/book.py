"""The manual as a book: every page is in it, every link leads somewhere. Started by ci/docs; needs nothing but Python.

Looked at are links between the pages, to their headings, and to other files of the project. Links to the outside are not followed: CI
has no network to speak of, and what is there today may not be tomorrow.
"""

import os
import re
import subprocess
import sys

PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BOOK = "docs"
# Pages of the project that readers meet besides the book.
OTHERS = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "bench/README.md", "crates/faults/README.md"]
# What the manual is for: a page that is taken away is missed.
PROMISED = [
    "quick-start", "commands", "settings", "listeners", "cache", "systemd", "container", "kubernetes", "metrics", "control", "troubleshooting", "security",
]
LINK = re.compile(r"(?<!!)\[(?:[^\]\\]|\\.)*\]\(([^()\s]+(?:\([^()]*\))?)\)")
IMAGE = re.compile(r"!\[[^\]]*\]\(([^()\s]+)\)")


def without_code(text):
    """The same with code replaced by spaces: nothing in it is a link or a heading. Lines stay."""
    blank = lambda found: re.sub(r"[^\n]", " ", found[0])
    text = re.sub(r"^(```|~~~).*?^\1\s*$", blank, text, flags=re.M | re.S)
    return text


def anchors(text):
    """The fragments of a page's headings, as mdBook and GitHub make them."""
    seen, found = {}, set()
    for heading in re.findall(r"^#{1,6}\s+(.+?)\s*#*$", without_code(text), re.M):
        heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        number = seen.get(anchor, 0)
        seen[anchor] = number + 1
        found.add(anchor if number == 0 else f"{anchor}-{number}")
    return found


def links(path, texts):
    """(line, target) of each link and image of a page."""
    text = re.sub(r"`[^`\n]*`", lambda found: " " * len(found[0]), without_code(texts[path]))
    for pattern in (LINK, IMAGE):
        for found in pattern.finditer(text):
            yield text.count("\n", 0, found.start()) + 1, found[1]


def broken(path, texts, tracked):
    for line, target in links(path, texts):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, fragment = target.partition("#")
        place = os.path.normpath(os.path.join(os.path.dirname(path), file)) if file else path
        if place not in tracked and not any(name.startswith(place + "/") for name in tracked):
            yield f"{path}:{line}: {target} leads nowhere"
        elif fragment and place in texts and fragment not in anchors(texts[place]):
            yield f"{path}:{line}: {target}: that page has no such heading"


def main():
    os.chdir(PROJECT)
    listed = subprocess.run(["git", "ls-files", "-z"], check=True, capture_output=True, text=True).stdout.split("\0")
    tracked = {name for name in listed if name and os.path.exists(name)}
    pages = sorted(name for name in tracked if name.startswith(f"{BOOK}/") and name.endswith(".md"))
    texts = {}
    for name in [*pages, *OTHERS]:
        with open(name) as file:
            texts[name] = file.read()
    faults = [fault for name in texts for fault in broken(name, texts, tracked)]
    summary = f"{BOOK}/SUMMARY.md"
    chapters = [os.path.normpath(os.path.join(BOOK, target)) for _, target in links(summary, texts)]
    faults += [f"{summary}: {name} is not in the book" for name in pages if name != summary and name not in chapters]
    faults += [f"{summary}: {name} is outside the book, which would write it there" for name in chapters if not name.startswith(f"{BOOK}/")]
    faults += [f"{summary}: {name} is in the book twice" for name in sorted(set(chapters)) if chapters.count(name) > 1]
    faults += [f"{BOOK}: no page {name}.md" for name in PROMISED if f"{BOOK}/{name}.md" not in pages]
    for name in pages:
        if name != summary and not texts[name].startswith("# "):
            faults.append(f"{name}:1: a page begins with its title")
    for fault in faults:
        print(f"error: {fault}")
    count = sum(1 for name in texts for _ in links(name, texts))
    print(f"the book: {len(pages) - 1} pages, {count} links, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
