"""The table: medians, and ratios taken within a round, where the machine was the same for both."""
import statistics

OURS, ANCHOR = "countersign", "nginx"


def rows(cases, rounds):
    """`rounds[case]`: a list of {contestant: {figure: value}}, one per round. Yields one dictionary per line."""
    for case in cases:
        for figure, (label, aim) in case.figures.items():
            measured = [r for r in rounds.get(case.name, []) if all(figure in r.get(n, {}) for n in (OURS, ANCHOR))]
            if not measured:
                continue
            row = {"case": case.name, "figure": figure, "label": label, "aim": aim, "rounds": len(measured),
                   "median": {name: statistics.median(r[name][figure] for r in measured if figure in r.get(name, {}))
                              for name in (OURS, ANCHOR, *case.also) if any(figure in r.get(name, {}) for r in measured)}}
            ratios = sorted(r[OURS][figure] / r[ANCHOR][figure] for r in measured if r[ANCHOR][figure] > 0)
            if ratios:
                row["ratio"], row["ratio_range"] = statistics.median(ratios), [ratios[0], ratios[-1]]
            if "direct" in row["median"]:
                row["added"] = {n: statistics.median(r[n][figure] - r["direct"][figure] for r in measured if figure in r.get("direct", {}))
                                for n in (OURS, ANCHOR)}
            yield row


def route_growth(cases, rounds):
    """What 10,000 routes cost beside one, for each contestant."""
    figure = "cpu_us_per_request"
    one, many = rounds.get("routes-1", []), rounds.get("routes-10k", [])
    growth = {}
    for name in (OURS, ANCHOR):
        values = [b[name][figure] / a[name][figure] for a, b in zip(one, many) if name in a and name in b]
        if values:
            growth[name] = statistics.median(values)
    return growth


def table(machine, versions, rows_, growth, failures):
    lines = [f"machine: {machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, Linux {machine['kernel']}, "
             f"load {machine['load_average']:.2f}; proxy on core {machine['proxy_core']}, origin and clients on core {machine['load_core']}"]
    if machine["cores"] < 2:
        lines.append("one core only: proxy and clients get in each other's way; the figures are worth little")
    lines += [f"{name}: {text}" for name, text in versions.items()]
    lines += ["", f"{'case':<11}{'figure':<24}{'countersign':>12}{'nginx':>12}{'ratio':>8}  {'(range)':<15}{'aim':<8}other", "-" * 104]
    for row in rows_:
        ratio = f"{row['ratio']:.2f}" if "ratio" in row else "–"
        span = "({:.2f}–{:.2f})".format(*row["ratio_range"]) if "ratio_range" in row else ""
        aim = "" if row["aim"] is None else str(row["aim"])
        other = ", ".join(f"{n} {v:.4g}" for n, v in row["median"].items() if n not in (OURS, ANCHOR))
        if "added" in row:
            other += f"; added {row['added'][OURS]:.0f}, nginx {row['added'][ANCHOR]:.0f}"
        lines.append(f"{row['case']:<11}{row['label']:<24}{row['median'][OURS]:>12.4g}{row['median'][ANCHOR]:>12.4g}{ratio:>8}  {span:<15}{aim:<8}{other}")
    if growth:
        lines += ["", "10,000 routes cost, beside one: " + ", ".join(f"{name} {value:.2f} times" for name, value in growth.items())]
    lines += [f"failed: {failure}" for failure in failures]
    return "\n".join(lines)
