"""Checks, each told as it is made, and how many of them failed."""

failures = 0


def check(condition, what, seen=""):
    global failures
    if not condition:
        failures += 1
    print(f"{'good  ' if condition else 'FAILED'} {what}{f' ({seen})' if seen else ''}", flush=True)


def verdict():
    """The last line, and the status to end with."""
    print(f"{failures} checks failed" if failures else "all good", flush=True)
    return 1 if failures else 0
