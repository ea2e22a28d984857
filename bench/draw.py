"""Turns the results of bench/table.py into a table and a drawing."""

import os
import statistics
import xml.sax.saxutils as xml

DOCS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "docs")
BEGIN, END = "<!-- table: bench/run --table --draw writes what is below -->\n", "<!-- end of table -->\n"
COLUMNS = ("cached, UDP", "cached, UDP, paced", "cached, TCP", "cached, TLS", "forwarded")
OURS, FLOOR = "dotward", "floor"
#: the programs that together are the floor, each under its loads
FLOORS = ("echo", "echo-tcp", "echo-tls", "relay")


def subjects(results):
    return [name for name in results if name != "two workers"]


HEADING = (
    f"{'':<33} {'us per answer':^22} {'least':>7} {'most':>7} {'waits':>6} {'busy':>5} {'answers':>9} {'':>6} {'ms':^13}\n"
    f"{'load':<18} {'subject':<14} {'all':>7} {'user':>6} {'system':>7} {'':>7} {'':>7} {'each':>6} {'%':>5} {'per s':>9} {'lost':>6} {'p50':>6} {'p99':>6}"
)


def line(name, load, runs):
    middle = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    least, most = (choose(run["us"] for run in runs) for choose in (min, max))
    text = (
        f"{load:<18} {name:<14} {middle['us']:7.2f} {middle['user_us']:6.2f} {middle['system_us']:7.2f} {least:7.2f} {most:7.2f}"
        f" {middle['waits']:6.2f} {100 * middle['busy']:5.0f} {middle['per_second']:9.0f} {sum(run['lost'] for run in runs):6.0f}"
    )
    return text + (f" {middle['p50']:6.2f} {middle['p99']:6.2f}" if "p50" in middle else "")


def median(runs):
    """The run in the middle by processor time; waits are in the middle of their own."""
    middle = dict(sorted(runs, key=lambda run: run["us"])[len(runs) // 2])
    for key in ("p50", "p99"):
        if key in middle:
            middle[key] = statistics.median(run[key] for run in runs)
    return middle


def medians(results):
    """One figure of each kind for each subject, and the floors as one subject."""
    middle = {name: {load: median(runs) for load, runs in result.items()} for name, result in results.items()}
    floor = {}
    for name in FLOORS:
        floor.update(middle.pop(name, {}))
    return {FLOOR: floor, **middle} if floor else middle


def best_peer(results, column, key="us"):
    """The peer with the smallest figure."""
    figures = {
        name: results[name][column][key] for name in subjects(results)
        if name not in (OURS, FLOOR) and results[name].get(column, {}).get(key)
    }
    return min(figures.items(), key=lambda item: item[1]) if figures else None


def table(results):
    rows = ["| processor time per answer, µs | " + " | ".join(COLUMNS) + " | p50 / p99 at 2,000 per second forwarded, ms |",
            "|---|" + "---:|" * (len(COLUMNS) + 1)]
    for name in subjects(results):
        result = results[name]
        cells = [f"{result[column]['us']:.2f}" if column in result else "–" for column in COLUMNS]
        paced = result.get("forwarded, paced", {})
        cells.append(f"{paced['p50']:.2f} / {paced['p99']:.2f}" if "p50" in paced else "–")
        rows.append(f"| {name} | " + " | ".join(cells) + " |")
    if OURS in results:
        rows.append(ratios(results, "dotward ÷ the best peer", lambda column: best_peer(results, column)))
        floor = results.get(FLOOR, {})
        rows.append(ratios(results, "dotward ÷ the floor", lambda column: (FLOOR, floor[column]["us"]) if column in floor else None))
    if workers := results.get("two workers"):
        rows.append("")
        times = 2 * workers["one"]["us"] / workers["two"]["us"]
        rows.append(f"Two workers answer {times:.2f} times as many cached queries as one ({workers['one']['us']:.2f} µs each with one, "
                    f"{workers['two']['us']:.2f} µs with two).")
    return "\n".join(rows) + "\n"


def ratios(results, title, other):
    cells = []
    for column in COLUMNS:
        ours, found = results[OURS].get(column), other(column)
        cells.append(f"**{ours['us'] / found[1]:.2f}**" + (f" ({found[0]})" if found[0] != FLOOR else "") if ours and found else "–")
    return f"| {title} | " + " | ".join([*cells, "–"]) + " |"


def drawing(results):
    """Bars for each column, one a subject; the floor is drawn last."""
    names = subjects(results)
    row, label, width, gap = 18, 120, 420, 30
    parts, y = [], 10
    for column in COLUMNS:
        shown = [(name, results[name][column]["us"]) for name in names if column in results[name]]
        if not shown:
            continue
        longest = max(figure for _, figure in shown)
        parts.append(f'<text x="0" y="{y + 12}" class="title">{xml.escape(column)}</text>')
        y += 20
        for name, figure in shown:
            kind = {OURS: "ours", FLOOR: "floor"}.get(name, "peer")
            length = width * figure / longest
            parts.append(f'<text x="{label - 8}" y="{y + 13}" text-anchor="end">{xml.escape(name)}</text>')
            parts.append(f'<rect x="{label}" y="{y + 2}" width="{length:.1f}" height="{row - 5}" class="{kind}"/>')
            parts.append(f'<text x="{label + length + 6:.1f}" y="{y + 13}">{figure:.2f} µs</text>')
            y += row
        y += gap - row
    style = ("text{font:12px sans-serif;fill:#555}.title{font-weight:bold;fill:#222}.ours{fill:#2a7f62}.peer{fill:#b9c4cc}.floor{fill:#e3d9a8}"
             "@media(prefers-color-scheme:dark){text{fill:#bbb}.title{fill:#eee}.peer{fill:#56626b}}")
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {label + width + 80} {y}" role="img" '
            f'aria-label="Processor time per answer of dotward and its peers">\n<style>{style}</style>\n' + "\n".join(parts) + "\n</svg>\n")


def write(results, text):
    with open(os.path.join(DOCS, "performance.svg"), "w") as file:
        file.write(drawing(results))
    path = os.path.join(DOCS, "performance.md")
    with open(path) as file:
        page = file.read()
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    with open(path, "w") as file:
        file.write(before + BEGIN + "\n" + text + "\n" + END + after)
