#!/usr/bin/env python3
"""Prints random cases with tables that keep their history, one JSON object a line: versioned.py SEED COUNT.

They look at what cases.py rarely reaches: late records around the retention, tombstones in the history, tables that are
versioned, inherit it or lose it, what is made of them, and processors that read as of a time.
"""
import json
import random
import sys

from cases import Case

RETENTIONS = [0, 20, 50, 200, 1000, 7000]


class Versioned(Case):
    def history(self):
        self.stores += 1
        self.retention = self.r.choice(RETENTIONS) if self.r.random() < 0.3 else self.retention
        return {"name": f"store-{self.stores}", "versionedMs": self.retention}

    def kept(self):
        """A store that is versioned, one that is not, one without a name, or none."""
        if self.r.random() < 0.35:
            return self.history()
        if self.r.random() < 0.1:
            return {"kind": self.r.choice(["memory", "disk"])}
        return self.store(0.3)

    def table(self, vt=None):
        vt = vt or self.r.choice(["string", "long"])
        topic = f"in{len(self.topics) + 1}"
        self.topics[topic] = vt
        self.add("table", "table", "string", vt, topic=topic, value=vt, store=self.history() if self.r.random() < 0.85 else self.store())

    def stream(self):
        vt = self.r.choice(["string", "long"])
        topic = f"in{len(self.topics) + 1}"
        self.topics[topic] = vt
        self.add("stream", "stream", "string", vt, topic=topic, value=vt)

    def rows(self):
        i, _, kt, vt = self.pick("table", kt="string")
        if self.r.random() < 0.6:
            self.add(self.r.choice(["filter", "filterNot"]), "table", kt, vt, **{"from": i}, fn=self.predicate(kt, vt), store=self.kept())
        else:
            fn, out = self.value_fn(vt)
            if fn != "orNull":
                self.add("mapValues", "table", kt, out, **{"from": i}, fn=fn, store=self.kept())

    def to_table(self):
        x = self.pick("stream", kt="string")
        if x and self.r.random() < 0.4:
            x = self.add("selectKey", "stream", "string", x[3], **{"from": x[0]}, fn=self.key_fn("string", x[3]))
        if x:
            self.add("toTable", "table", "string", x[3], **{"from": x[0]}, store=self.kept())

    def group(self):
        i, shape, kt, vt = self.pick("stream", "table", kt="string")
        g = self.add("groupBy" if shape == "table" or self.r.random() < 0.3 else "groupByKey", "", "string", vt, **{"from": i},
                     fn=self.key_fn(kt, vt))
        op, fn, out = self.r.choice([("count", None, "long"), ("reduce", "sum" if vt == "long" else "cat", vt), ("aggregate", "cat", "string")]
                                    + ([("aggregate", "dropOdd", "string")] if shape == "stream" else []))
        self.add(op, "table", "string", out, **{"from": g[0]}, fn=fn, store=self.kept())

    def join(self):
        r = self.r
        kind = r.choice(["stream-table", "stream-table", "table-table", "foreign-key"])
        a, b = self.pick("stream" if kind == "stream-table" else "table", kt="string"), self.pick("table", kt="string")
        if not a:
            return
        common = {"from": a[0], "with": b[0], "kind": kind}
        if kind == "stream-table":
            self.add("join", "stream", "string", "string", **common, type=r.choice(["inner", "left"]),
                     graceMs=r.choice([None, 0, 20, self.retention, self.retention + (r.random() < 0.1)]), name=self.label("j"))
        elif kind == "table-table":
            self.add("join", "table", "string", "string", **common, type=r.choice(["inner", "left", "outer"]), store=self.kept())
        else:
            self.add("join", "table", "string", "string", **common, type=r.choice(["inner", "left"]), fn=self.key_fn("string", a[3]), store=self.kept())

    def suppress(self):
        i, _, kt, vt = self.pick("table", kt="string")
        if self.r.random() < 0.3:
            self.add("suppress", "table", kt, vt, **{"from": i}, until="time", ms=self.r.choice([0, 50]))

    def versions(self):
        x = self.pick("stream", kt="string")
        if x:
            self.add("process", "stream", "string", "string", **{"from": x[0]}, fn="versions", store=self.history())

    def build(self):
        r = self.r
        self.retention = r.choice(RETENTIONS)
        self.table()
        for make in r.choices([self.table, self.stream], weights=[1, 3], k=r.randint(1, 2)):
            make()
        for _ in range(r.randint(1, 6)):
            r.choice([self.rows, self.rows, self.to_table, self.group, self.join, self.join, self.suppress, self.versions])()
        for n, (i, shape, kt, vt) in enumerate([x for x in self.live if x[1] in ("stream", "table")]):
            if shape == "table":
                i = self.add("toStream", "stream", kt, vt, **{"from": i})[0]
            self.steps.append({"op": "to", "from": i, "topic": f"out{n}"})
        inputs, ts, keep = [], 10_000, self.retention
        for _ in range(r.randint(15, 60)):
            ts += r.choice([0, 0, 1, keep // 10, keep // 10, keep // 3, keep])
            late = r.choice([0, 0, 0, 0, 1, keep // 10, keep // 10, keep // 3, keep - 1, keep, keep + 1, 2 * keep])
            topic = r.choice(sorted(self.topics))
            value = None if r.random() < 0.25 else (r.randint(-5, 12) if self.topics[topic] == "long" else "".join(r.choice("abcxyz") for _ in range(r.randint(0, 3))))
            inputs.append({"topic": topic, "key": None if r.random() < 0.02 else r.choice("aab"), "value": value, "ts": max(0, ts - max(0, late))})
        case = {"id": self.name, "steps": self.steps, "inputs": inputs, "startMs": 0}
        if r.random() < 0.25:
            case["config"] = {"topology.optimization": "all"}
        return case


def main():
    seed, count = int(sys.argv[1]), int(sys.argv[2])
    for i in range(count):
        print(json.dumps(Versioned(random.Random(f"{seed}/{i}"), 3, f"versioned-{seed}-{i}").build(), separators=(",", ":")))


if __name__ == "__main__":
    main()
