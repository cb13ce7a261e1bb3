"""A made-up run as its artefacts: platforms, databases, journal, orders, each consistent with the others."""

import hashlib
import json
from copy import deepcopy
from datetime import UTC, datetime
from random import Random
from typing import Any

from tests.chaos.checker.artefacts import Artefacts

BEGAN = 1_790_000_000.0
SETTLE, LEASE, GAP, FLOOR_GAP = 20.0, 2.0, 1.0, 0.3
FAR = 86_400.0
CREATING = {
    "weibo": "/2/statuses/share.json",
    "wechat": "/cgi-bin/freepublish/submit",
    "tieba": "/c/c/thread/add_pc",
}
PART = "/c/c/post/add_pc"
ACCOUNTS = {f"{platform}-{place}": platform for platform in CREATING for place in ("north", "south")}
REPORTED = ("held", "failed", "expired", "removed")
PASSING = ("held", "submitted", "retracting")
ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
GENESIS = "f" * 64
EARLIER = 9000
"""The number of a delivery that had ended before the run."""
Row = dict[str, Any]


def iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


def spelled(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Scene:
    """One run in the making. Time only moves by `wait`."""

    def __init__(self, seed: int) -> None:
        self.dice = Random(seed)  # noqa: S311 # repeatable on purpose
        self.now = BEGAN
        self.rows: dict[str, list[Row]] = {
            name: []
            for name in (
                "delivery", "attempt", "readback", "audit", "alert", "rendered_post", "schedule", "media",
                "observed_post", "database_info",
            )
        }  # fmt: skip
        self.rows["database_info"] = [
            {"key": "environment", "value": "drill"},
            {"key": "audit_genesis", "value": GENESIS},
        ]
        self.log: list[Row] = []
        self.posts: list[Row] = []
        self.journal: list[Row] = []
        self.orders: list[Row] = []
        self.duties: list[Row] = []
        self.issues: list[Row] = []
        self.outages: list[Row] = []
        self.approvals: list[Row] = []
        self.interruptions: list[Row] = []
        self.last_intent: dict[str, float] = {}
        self.schedule: dict[str, Row] = {}
        self.ahead = 0.0
        self.clocks: list[Row] = []
        self._post_by_hand("welcome", before=FAR)

    def wait(self, seconds: float | None = None) -> None:
        self.now += self.dice.uniform(0.05, 0.4) if seconds is None else seconds

    @property
    def micro(self) -> int:
        """What the hosts' clock shows."""
        return round((self.now + self.ahead) * 1_000_000)

    def set_clock(self, ahead: float) -> None:
        """Set the hosts' clock; what they write down carries it from now on."""
        if self.ahead:
            self.clocks[-1]["to"] = iso(self.now)
        if ahead:
            self.clocks.append({"from": iso(self.now), "to": iso(self.now + FAR), "ahead": ahead})
        self.ahead = ahead

    # --- the database ---

    def accept(self, text: str, deliveries: list[Row]) -> None:
        """A new version of the schedule, and what it files."""
        for row in deliveries:
            post = self.schedule.setdefault(row["post"], {"title": self._body(row)["title"], "to": []})
            post["to"] += [row["account"]] if row["account"] not in post["to"] else []
        tables = (
            f"[[post]]\nid = {json.dumps(name)}\ntitle = {json.dumps(post['title'], ensure_ascii=False)}\n"
            f"to = {json.dumps(post['to'])}\n"
            for name, post in self.schedule.items()
        )
        text = "\n".join([f"# {text}", *tables])
        sha = digest(text)
        self.rows["schedule"].append(
            {"id": len(self.rows["schedule"]) + 1, "accepted_at": self.micro, "sha256": sha, "text": text}
        )
        self.write("planner", "planner", "schedule_accepted", "schedule", {"sha256": sha})
        for delivery in deliveries:
            self._file(delivery)
        known = [(one["post"], one["occurrence"], one["account"]) for one in self.rows["delivery"]]
        self.issues.append({"sha256": sha, "duties": [list(key) for key in known]})

    def edit(self, row: Row, *, title: str | None = None, is_left_out: bool = False) -> None:
        """Staff change a post, or take an account out of it, and the new version is accepted."""
        post = self.schedule[row["post"]]
        post["title"] = title or post["title"]
        if is_left_out:  # with nobody left its table would name nobody
            post["to"] = [name for name in ACCOUNTS if name != row["account"]]
        self.accept(f"edit of {row['post']} at {self.now}", [])
        self.wait(2.0)

    def draft(self, post: str, account: str, *, due: float, **more: Any) -> Row:
        """A delivery to be filed, with its frozen words and what was asked for."""
        label, revision = more.pop("label", "once"), more.pop("revision", digest(f"revision {post}"))
        body = self._words(post, account, more.pop("parts", 0))
        fingerprint = digest(spelled(body))
        self.rows["rendered_post"].append(
            {
                "fingerprint": fingerprint,
                "revision_hash": revision,
                "account": account,
                "body": json.dumps(body, ensure_ascii=False),
            }
        )
        due = round(due, 6)
        row = {
            "post": post, "occurrence": label, "account": account, "platform": ACCOUNTS[account],
            "login": f"login/{account}", "state": "pending", "version": 1, "revision_hash": revision,
            "rendered_hash": fingerprint, "due_at": round(due * 1e6), "expires_at": round((due + FAR) * 1e6),
            "max_delay": 7_200_000_000, "next_action_at": None, "follows": None, "reason": None, "attempts": 0,
            "fencing_token": 0, "remote_id": None, "is_manually_confirmed": False, "desired": "as_planned",
            "extra_parts": len(body.get("extra_parts", ())), "parts_done": 0, **more,
        }  # fmt: skip
        duty = {
            "post": post, "occurrence": label, "account": account, "due": iso(due), "max_delay": 7200,
            "expires": iso(row["expires_at"] / 1e6), "end": "published", "text_sha256": digest(body["text"]),
            "says": [body["marker"]["code"]],
            "images": [picture["sha256"] for picture in body["images"]], "author": "zhang", "approvals": 2,
        }  # fmt: skip
        self.duties.append(duty)
        self.approvals += [{"rendition": fingerprint, "by": name, "at": iso(BEGAN - 60)} for name in ("li", "wang")]
        return row

    def duty(self, row: Row) -> Row:
        key = (row["post"], row["occurrence"], row["account"])
        return next(one for one in self.duties if (one["post"], one["occurrence"], one["account"]) == key)

    def _file(self, row: Row) -> None:
        row |= {"id": len(self.rows["delivery"]) + 1, "updated_at": self.micro}
        self.rows["delivery"].append(row)
        self.write("planner", "planner", "planned", self.subject(row), {}, after="pending")

    def file_again(self, row: Row) -> None:
        self._file(row)

    def subject(self, row: Row) -> str:
        label = "" if row["occurrence"] == "once" else f"#{row['occurrence']}"
        return f"{row['post']}{label}@{row['account']}"

    def step(self, row: Row, event: str, after: str, role: str, *, by: str = "", **changes: Any) -> None:
        """One step of a delivery, with its audit entry and the alerts that it ends and begins."""
        before = row["state"]
        row.update(changes, state=after, version=row["version"] + 1, updated_at=self.micro)
        detail = {name: row[name] for name in ("version", "fencing_token", "reason")} | {"attempt": row["attempts"]}
        self.write(role, by or role, event, self.subject(row), detail, before=before, after=after)
        if before == after:
            return
        if before in PASSING:
            self._clear(self.subject(row))
        if after in REPORTED and role != "person":
            self.alert(f"{after}.{row['reason']}", self.subject(row))
        if after == "retracting":
            self.alert("retracting", self.subject(row))

    def write(self, role: str, name: str, event: str, subject: str, detail: Row, **states: str | None) -> None:
        self.rows["audit"].append(
            {
                "id": len(self.rows["audit"]) + 1, "at": self.micro, "role": role, "name": name, "event": event,
                "subject": subject, "before": states.get("before"), "after": states.get("after"),
                "detail": json.dumps(detail, ensure_ascii=False),
            }
        )  # fmt: skip

    def alert(self, code: str, subject: str) -> None:
        alerts = self.rows["alert"]
        alerts.append({"id": len(alerts) + 1, "at": self.micro, "code": code, "subject": subject, "cleared_at": None})

    def _clear(self, subject: str) -> None:
        for alert in self.rows["alert"]:
            if alert["subject"] == subject and alert["cleared_at"] is None:
                alert["cleared_at"] = self.micro

    def order(self, kind: str, by: str = "wang", **target: str) -> None:
        """What a person did; its audit entries are written by the caller, at this very instant."""
        self.orders.append(
            {"kind": kind, "asked_at": iso(self.now - 0.1), "at": iso(self.now + 0.1), "by": by, **target}
        )

    def pause(self, scope: str, role: str = "person", by: str = "wang") -> None:
        self.write(role, by, "paused", scope, {"reason": "drill"})
        if role == "person":
            self.order("pause", scope=scope)

    def resume(self, scope: str) -> None:
        self.write("person", "wang", "resumed", scope, {})
        self.order("resume", scope=scope)

    # --- calls ---

    def claim(self, row: Row) -> None:
        self.wait()
        self.step(row, "claimed", "claimed", "sender", fencing_token=row["fencing_token"] + 1)

    def intend(self, row: Row) -> Row:
        """Announce the next call, not sooner than the login may speak; a further part has a gap of its own."""
        if row["parts_done"]:
            self.wait(FLOOR_GAP)
        else:
            self.wait(max(0.01, self.last_intent.get(row["login"], 0) + GAP + 0.01 - self.now))
            self.last_intent[row["login"]] = self.now
        self.step(row, "attempt_started", "sending", "sender", attempts=row["attempts"] + 1, reason=None)
        attempt = {
            "id": len(self.rows["attempt"]) + 1, "delivery": row["id"], "number": row["attempts"],
            "fencing_token": row["fencing_token"], "login": row["login"], "account": row["account"],
            "rendered_hash": row["rendered_hash"], "baseline_at": self.micro - 1_000_000, "intended_at": self.micro,
            "ended_at": None, "outcome": None, "detail": None, "part": row["parts_done"],
        }  # fmt: skip
        self.rows["attempt"].append(attempt)
        self.journal.append(
            {
                "delivery": row["id"], "attempt": row["attempts"], "fencing_token": row["fencing_token"],
                "rendered_hash": row["rendered_hash"], "at": iso(self.micro / 1e6), "part": row["parts_done"],
            }
        )  # fmt: skip
        return attempt

    def end(self, attempt: Row, outcome: str | None = None, **detail: Any) -> None:
        self.wait()
        attempt["ended_at"] = self.micro
        if outcome:
            attempt |= {"outcome": outcome, "detail": json.dumps(detail)}

    def call(
        self,
        row: Row,
        *,
        acts: bool = True,
        replies: bool = True,
        fault: str | None = None,
        endpoint: str = "",
        began: float | None = None,
        status: int = 200,
    ) -> Row:
        """One creating call as the platform saw it; gives the post that it made, if it made one.

        Its head may have been there long before the rest of it.
        """
        self.wait(0.02)
        endpoint = endpoint or (PART if row["parts_done"] else CREATING[row["platform"]])
        seq = self.note("recv", row, endpoint, fault=fault, began=round(began or self.now, 6))
        made = self._make(row, **self.part(row)) if acts else {}
        if made:
            self.note("act", row, endpoint, post_id=made["id"], call=seq, fault=fault)
            self.note("visible", row, None, post_id=made["id"])
        if replies:
            self.note("reply", row, endpoint, post_id=made.get("id"), call=seq, status=status)
        return made

    def by_hand(self, row: Row) -> Row:
        """A person posts a delivery's words."""
        made = self._make(row)
        self.note("act", row, None, post_id=made["id"])
        return made

    def part(self, row: Row) -> Row:
        """How the next post differs from a thread: what is live of it already goes on in a part of its own."""
        if not row["parts_done"]:
            return {}
        text = self._body(row)["extra_parts"][row["parts_done"] - 1]
        return {"text": text, "title": "", "images": [], "extra": {"thread": row["remote_id"]}}

    def note(self, kind: str, row: Row, endpoint: str | None, **more: Any) -> int:
        seq = len(self.log) + 1
        self.log.append(
            {
                "seq": seq, "t": round(self.now, 6), "kind": kind, "platform": row["platform"],
                "account": f"id-{row['account']}", "endpoint": endpoint, "post_id": None, "body_sha256": None,
                "status": None, "fault": None, **more,
            }
        )  # fmt: skip
        return seq

    def take_down(self, row: Row, post: Row, endpoint: str | None) -> None:
        post |= {"removed": True, "visible": False}
        self.note("removed", row, endpoint, post_id=post["id"])

    def look(self, row: Row, finding: str, **detail: Any) -> None:
        self.wait()
        if finding == "not_found":
            detail = {"covered_since": iso(self.now - 3600)}
        looks = self.rows["readback"]
        looks.append(
            {
                "id": len(looks) + 1, "delivery": row["id"], "attempt": row["attempts"], "at": self.micro,
                "result": finding, "detail": json.dumps(detail),
            }
        )  # fmt: skip
        self.wait(0.01)

    def _make(self, row: Row, **more: Any) -> Row:
        body = self._body(row)
        is_article = row["platform"] == "wechat"
        post = {
            "id": f"{row['platform']}-{len(self.posts) + 1}", "platform": row["platform"],
            "account": f"id-{row['account']}", "created": self.now, "removed": False, "visible": True,
            "title": "" if row["platform"] == "weibo" else body["title"],
            "text": "摘要" if is_article else body["text"],
            "html": body["text"].replace("media:", "https://mmbiz.example/") if is_article else "",
            "images": [picture["sha256"] for picture in body["images"]], "extra": {}, **more,
        }  # fmt: skip
        if row["platform"] == "tieba" and body["images"] and "text" not in more:
            post["text"] += "\n#(pic,1,2,3)"
        self.posts.append(post)
        return post

    def _body(self, row: Row) -> Row:
        body: Row = json.loads(
            next(one["body"] for one in self.rows["rendered_post"] if one["fingerprint"] == row["rendered_hash"])
        )
        return body

    def _post_by_hand(self, text: str, before: float = 0.0) -> None:
        for account, platform in ACCOUNTS.items():
            row = {"account": account, "platform": platform}
            post = {
                "id": f"{platform}-{len(self.posts) + 1}", "platform": platform, "account": f"id-{account}",
                "created": self.now - before, "text": text, "title": "", "html": "", "images": [],
                "removed": False, "visible": True, "extra": {},
            }  # fmt: skip
            self.posts.append(post)
            self.note("act", row, None, post_id=post["id"])
            sighting = {"account": account, "remote_id": post["id"], "seen_at": self.micro}
            self.rows["observed_post"].append({**sighting, "predates_monitoring": before > 0})

    def post_by_hand(self) -> None:
        """People post too, and the watch reports it."""
        self._post_by_hand("门卫值班表")
        for account in ACCOUNTS:
            self.alert("external_post", f"account:{account}/by-hand")

    def _words(self, post: str, account: str, parts: int) -> Row:
        platform, title = ACCOUNTS[account], f"警惕诈骗 {post}"
        marker = "".join(self.dice.choice(ALPHABET) for _ in range(8))
        code = f"{marker[:4]}-{marker[4:]}"
        pictures = [{"sha256": digest(f"picture {post}")}] if platform == "wechat" or self.dice.random() < 0.3 else []
        text = f"【{title}】〔{code}〕凡自称客服要求转账退款的都是诈骗。"
        if platform == "wechat":
            text = f'<section><p>通报编号 {code}</p><img src="media:{pictures[0]["sha256"]}"></section>'
        further = [f"（接上层，{n}/{parts + 1}）〔{code}〕其{n}" for n in range(2, parts + 2)]
        return {
            "account": account, "platform": platform, "marker": {"code": code}, "title": title, "text": text,
            "summary": "", "link": None, "images": pictures,
            **({"extra_parts": further} if further else {}),
        }  # fmt: skip

    # --- the end ---

    def artefacts(self) -> Artefacts:
        """Everything that the run left, a replay of it included."""
        self.wait(5.0)
        self.set_clock(0.0)
        _bind(self.rows["audit"])
        earlier = {
            "id": EARLIER,
            "post": "earlier",
            "occurrence": "once",
            "account": self.rows["delivery"][0]["account"],
            "state": "expired",
            "attempts": 1,
            "remote_id": None,
        }
        self.rows["delivery"].append({**self.rows["delivery"][0], **earlier, "rendered_hash": GENESIS})
        found = Artefacts(
            lists={
                "log": self.log, "orders": self.orders, "approvals": self.approvals,
                "timings": [{"delay": self.dice.random(), "during_fault": n % 2 == 0} for n in range(20)],
                "metrics": [{"t": self.now, "rss": 50_000 + n} for n in range(5)],
                "interruptions": self.interruptions,
                "connections": [{"host": "127.0.0.1", "port": 8710}],
                "anchors": [
                    {"chain": GENESIS, "sequence": one["id"], "hash": one["hash"]} for one in self.rows["audit"][-1:]
                ],
            },
            documents={
                "posts": self.posts, "plan": self._plan(), "settings": _settings(), "status": self._status(),
                "earlier": [earlier],
            },
            rows=self.rows,
            journal=list(enumerate(self.journal, 1)),
            leaks=[],
        )  # fmt: skip
        found.replay = deepcopy(found)
        return found

    def _plan(self) -> Row:
        return {
            "began_at": iso(BEGAN), "ended_at": iso(self.now), "duties": self.duties, "versions": self.issues,
            "outages": self.outages, "clocks": self.clocks,
        }  # fmt: skip

    def _status(self) -> list[Row]:
        return [
            {"post": one["post"], "occurrence": one["occurrence"], "account": one["account"], "state": one["state"]}
            for one in self.rows["delivery"]
            if one["id"] != EARLIER
        ]


def _settings() -> Row:
    limits = {"settle": SETTLE, "gap": GAP, "per_hour": 1000, "per_day": 10_000, "watch_every": 3600}
    return {
        "environment": "drill", "hosts": ["127.0.0.1"], "tolerance": 0.25, "rest_within": 30, "recover_within": 30,
        "retry_after": 4,
        "bounds": {"rss": 100_000},
        "platforms": {name: {**limits, "may_resend": name != "tieba"} for name in CREATING},
        "accounts": [
            {"id": name, "platform": platform, "identity": f"id-{name}", "login": f"login/{name}"}
            for name, platform in ACCOUNTS.items()
        ],
    }  # fmt: skip


def _bind(audit: list[Row]) -> None:
    """Bind the entries into the chain that docs/audit.md describes."""
    previous = GENESIS
    names = ("at", "role", "name", "event", "subject", "before", "after", "detail")
    for number, row in enumerate(audit, 1):
        text = json.dumps([number, *(row[name] for name in names), previous], separators=(",", ":"))
        row |= {"previous": previous, "hash": digest("publisher audit 1\n" + text)}
        previous = row["hash"]
