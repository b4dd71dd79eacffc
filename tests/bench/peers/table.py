"""The page with the results."""

import os
import platform
import time


def page(peers, results, repeat):
    """Formats all results as Markdown."""
    ours = results.get("wasmill", {})
    parts = [head(repeat), versions(peers, results), rates(peers, results, ours), sleepers(peers, results)]
    parts += [cancels(peers, results), kills(peers, results), missing(peers, results)]
    return "\n".join(part for part in parts if part)


def head(repeat):
    cores = os.cpu_count()
    kib = next(int(line.split()[1]) for line in open("/proc/meminfo") if line.startswith("MemTotal"))
    machine = f"{cores} cores, {kib / (1 << 20):.0f} GiB of memory, Linux {platform.release()}"
    return f"""# Beside its peers

Made by `make bench-peers` on {time.strftime("%Y-%m-%d", time.gmtime())}: {machine}.
Worker, server and client of each share the cores, and no two peers are measured at the same time.
Rates are the median of {repeat} {"round" if repeat == 1 else "rounds"}; in parentheses is the share of Wasmill's.
Tasks of Wasmill come over HTTP and each has a sandbox of its own; those of peers come from a client library, and but for Celery's they are functions in the process of the worker.
"""


def grid(title, text, heads, rows):
    """Formats a table; returns nothing without rows."""
    if not rows:
        return ""
    lines = [f"## {title}\n", *text, "" if text else None, line(heads), line(["---"] * len(heads))]
    return "\n".join(one for one in lines + [line(row) for row in rows] if one is not None) + "\n"


def line(cells):
    return "| " + " | ".join(cells) + " |"


def versions(peers, results):
    rows = [[peer.label, peer.version or "not installed", peer.durability, peer.isolation] for peer in peers]
    heads = ["", "version", "what is durable", "between tasks there is"]
    text = ["River (Go) is missing: it is published to the Go module proxy alone, which is none of the registries that peers are installed from."]
    return grid("What is compared", text, heads, rows)


def rates(peers, results, ours):
    def rate(peer, part):
        value = results[peer.name].get(part)
        if value is None:
            return "no such call" if part == "batches" and not peer.has_batches else "—"
        share = f" ({value / ours[part]:.2f})" if ours.get(part) and peer.name != "wasmill" else ""
        return f"{value:,.0f}/s{share}"

    def row(peer):
        return [peer.label, *(rate(peer, part) for part in ("singles", "batches", "drain"))]

    text = [
        "*One by one*: 64 callers (Celery: 8 threads) submit for 3 s, until the last is done.",
        "*In batches*: 10,000, of 1,000 a call (Wasmill: 10,000), until the last is done.",
        "*Drained*: 20,000 (apalis and Procrastinate: 10,000, Celery: 3,000) that were queued before the worker started.",
    ]
    heads = ["no-op tasks", "one by one", "in batches", "drained"]
    return grid("Throughput", text, heads, [row(peer) for peer in peers if "singles" in results[peer.name]])


def sleepers(peers, results):
    rows = []
    for peer in peers:
        for count in peer.sleepers:
            found = results[peer.name].get(f"sleep {count}")
            if found:
                all_done = found["done"] >= count
                overlap = "—" if found["overlap"] is None else f"{found['overlap']:,}"
                took = f"{found['seconds']:.1f} s" if all_done else f"{found['done']:,} after {found['seconds']:.0f} s"
                grown = f"{(found['pss'] - found['base_pss']) * 1024 / count:.1f} KiB"
                rows.append(
                    [peer.label, f"{count:,}", overlap, took, f"{found['rss']:,.0f} MiB", f"{found['pss']:,.0f} MiB", grown]
                )
    text = [
        "Tasks that sleep for 1 s, submitted at once to a worker that may run all of them at the same time.",
        "Celery has threads here, since as many processes take tens of GB.",
        "Memory is that of the worker and its children at its most, without that of Redis or PostgreSQL.",
    ]
    heads = ["", "tasks", "at once", "until all were done", "resident", "proportional", "of it each"]
    return grid("Asleep at once", text, heads, rows)


def cancels(peers, results):
    def stopped(peer, kind):
        found = results[peer.name].get(f"cancel {kind}")
        if found is None:
            return "—"
        seconds = found["stopped_s"]
        return "**never** (10 s)" if seconds is None else f"{seconds * 1e3:,.1f} ms"

    rows = []
    for peer in peers:
        if peer.no_cancel:
            rows.append([peer.label, "—", "—", peer.no_cancel])
        elif "cancel spin" in results[peer.name] or "cancel sleep" in results[peer.name]:
            note = peer.cancel_note or "the client hangs up, which is all that it can do"
            rows.append([peer.label, stopped(peer, "sleep"), stopped(peer, "spin"), note])
    text = ["From the call to the end of the task, the median of five; each runs when it is cancelled."]
    return grid("A running task is cancelled", text, ["", "asleep", "in an endless loop", "how"], rows)


def kills(peers, results):
    rows = []
    for peer in peers:
        found = results[peer.name].get("kill")
        if found:
            first = "never" if found["first_s"] is None else f"{found['first_s']:.2f} s"
            patience = f"not within {found['patience_s']:.0f} s"
            again = "—" if not found["cut_off"] else patience
            if found["again"] and found["again"] == found["cut_off"]:
                again = f"{found['again_s']:.1f} s"
            elif found["again"]:
                again = f"{found['again']} of them after {found['again_s']:.1f} s, the others {patience}"
            rows.append([peer.label, str(found["cut_off"]), first, again, str(found["missing"]), str(found["twice"])])
        elif peer.kill_note and "singles" in results[peer.name]:
            rows.append([peer.label, "—", "—", "—", peer.kill_note, "—"])
    text = [
        "500 tasks of 100 ms, ten at once; the worker is killed amid them, after 150, and started again at once.",
        "Settings that say when a worker is taken for dead are those that each comes with.",
    ]
    heads = ["", "cut off", "kill to the first task", "kill to the last that was cut off, begun again"]
    return grid("`kill -9` of the worker", text, heads + ["not done", "done twice"], rows)


def missing(peers, results):
    lines = [f"- {peer.label}: {error}" for peer in peers for error in results[peer.name]["errors"]]
    return "## What could not be measured\n\n" + "\n".join(lines) + "\n" if lines else ""
