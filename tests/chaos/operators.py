"""Actions of people during a campaign: withdraw, retract, pause, edit, and resume accounts."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from tests.chaos.approvers import UNAPPROVABLE, record_save
from tests.chaos.people import APPROVERS, OPERATOR, REWRITER
from tests.chaos.store_reader import (
    BEGUN,
    FINISHED,
    HELD_EDITED,
    IN_DOUBT,
    IN_HAND,
    LIVE,
    ON_THE_WAY,
    OPEN_OUTCOME,
    PAUSED,
    UNTRIED,
)
from tests.chaos.workspace import EPOCH, HOTLINES, WrittenPost

if TYPE_CHECKING:
    from tests.chaos.campaign import Campaign

PAUSE_SECONDS, SAVE_SECONDS = 2.5, 1.0
HANDS = 4
"""People that clear up at once."""
MOST_RETRACTED, MOST_RULED = 3, 12


@dataclass(slots=True)
class People:
    """The people that act on a campaign's databases, and their next plans."""

    campaign: "Campaign"
    dice: Random
    waiting: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    edited: set[str] = field(default_factory=set)
    touched: set[str] = field(default_factory=set)

    def plan(self) -> None:
        """Plan the actions of this wave. An action that is not possible yet is tried again."""
        errands = (
            (*ERRANDS, UNAPPROVE, UNAPPROVE, REWRITE)
            if self.campaign.options.approvals
            else ERRANDS
        )
        self.waiting = [*self.waiting, *self.dice.sample(errands, len(errands))][
            : len(errands)
        ]

    def act(self) -> None:
        """Do the first thing that can be done now."""
        for errand in list(self.waiting):
            if ERRAND[errand](self):
                self.waiting.remove(errand)
                self.done.append(errand)
                return

    def act_while_asleep(self, what: str) -> None:
        """Act on the daemon's deliveries while the daemon sleeps."""
        publisher = self.campaign.publisher
        rows = sorted(
            set(publisher.store.rows(IN_HAND.format(worker=publisher.worker)))
        )
        held = [
            row
            for row in rows
            if row[0] not in self.touched | self.campaign.untouchable
        ]
        match what:
            case "pause_all":
                publisher.pause("all")
            case "retract_sending":
                self._retract(
                    [
                        (post, account)
                        for post, account, state in held
                        if state == "sending"
                    ]
                )
            case "retract_claimed":
                self._retract(
                    [
                        (post, account)
                        for post, account, state in held
                        if state == "claimed"
                    ]
                )

    def clear_up(self) -> None:
        """Resume scopes that a platform's answer has paused, as an operator does after a check."""
        scopes = [scope for (scope,) in self.campaign.publisher.store.rows(PAUSED)]
        with ThreadPoolExecutor(HANDS) as pool:
            list(pool.map(self.campaign.publisher.resume, scopes))

    def _pause(self) -> bool:
        scope = self.dice.choice(["all", "platform:weibo", "platform:wechat"])
        self.campaign.publisher.pause(scope)
        time.sleep(PAUSE_SECONDS)  # daemons live on in the pause
        self.campaign.publisher.resume(scope)
        return True

    def _begun(self) -> WrittenPost | None:
        """Find an untouched post with some copies tried and others not."""
        rows = self.campaign.publisher.store.rows(BEGUN)
        found = sorted(
            {post for (post,) in rows} - self.touched - self.campaign.untouchable
        )
        if not found:
            return None
        on_the_way = {
            post for (post,) in self.campaign.publisher.store.rows(ON_THE_WAY)
        }
        chosen = self.dice.choice(
            [post for post in found if post in on_the_way] or found
        )
        self.touched.add(chosen)
        return next(
            entry for entry in self.campaign.workspace.entries if entry.id == chosen
        )

    def _retract_begun(self) -> bool:
        if entry := self._begun():
            self._want(entry, "retracted|cancelled|expired")
            self.campaign.publisher.retract(entry.id)
        return entry is not None

    def _withdraw_begun(self) -> bool:
        if entry := self._begun():
            self._want(entry, "published|cancelled|expired")
            self.campaign.publisher.withdraw(entry.id)
        return entry is not None

    def _edit_begun(self) -> bool:
        if entry := self._begun():
            entry.edits += 1
            self.edited.add(entry.id)
            self.campaign.workspace.repeating_edits += 1
            self.hand_out()
        return entry is not None

    def _in_doubt(self) -> tuple[WrittenPost, str] | None:
        """Find an untouched post, and an account with its outcome in doubt."""
        rows = sorted(set(self.campaign.publisher.store.rows(OPEN_OUTCOME)))
        found = [
            row
            for row in rows
            if row[0] not in self.touched | self.campaign.untouchable
        ]
        if not found:
            return None
        post, account = self.dice.choice(found)
        self.touched.add(post)
        return next(
            entry for entry in self.campaign.workspace.entries if entry.id == post
        ), account

    def _edit_in_doubt(self) -> bool:
        """Another title, while the outcome of a call with the old one is open."""
        if found := self._in_doubt():
            found[0].edits += 1
            self.edited.add(found[0].id)
            self.hand_out()
        return found is not None

    def _leave_out_in_doubt(self) -> bool:
        """Take the account out of the post, unless it is its only one.

        A live post stays, and nothing else goes out.
        """
        if (found := self._in_doubt()) and len(found[0].accounts) > 1:
            entry, account = found
            entry.accounts = tuple(name for name in entry.accounts if name != account)
            entry.left_out = (*entry.left_out, account)
            self.campaign.wanted[entry.id, account] = "published|cancelled|expired"
            self.hand_out()
        return found is not None

    def _strike_in_doubt(self) -> bool:
        """The post is taken out of the schedule."""
        if found := self._in_doubt():
            self._want(found[0], "published|cancelled|expired")
            self.campaign.workspace.struck.add(found[0].id)
            self.hand_out()
        return found is not None

    def _rule_edited(self) -> bool:
        """Let the old words go where an edit has stopped them, as a person may decide."""
        rows = sorted(set(self.campaign.publisher.store.rows(HELD_EDITED)))
        for post, account in rows[:MOST_RULED]:
            self.campaign.publisher.rule(post, account, "resend")
        return bool(rows)

    def _retract_in_doubt(self) -> bool:
        rows = sorted(set(self.campaign.publisher.store.rows(IN_DOUBT)))
        return self._retract(
            [
                row
                for row in rows
                if row[0] not in self.touched | self.campaign.untouchable
            ]
        )

    def _retract(self, found: Sequence[tuple[str, str]]) -> bool:
        """Order some of these retracted, each on its account."""
        for post, account in self.dice.sample(found, min(MOST_RETRACTED, len(found))):
            self.touched.add(post)
            self.campaign.wanted[post, account] = "retracted|cancelled|expired"
            self.campaign.publisher.retract(post, account)
        return bool(found)

    def _rewrite(self) -> bool:
        """Let one person write a waiting post's words, and another change them.

        The first may not approve.
        """
        campaign = self.campaign
        waiting = (
            {post for (post,) in campaign.publisher.store.rows(UNTRIED)}
            - self.touched
            - campaign.untouchable
        )
        entries = [
            entry
            for entry in campaign.workspace.written
            if entry.id in waiting and not entry.may_expire
        ]
        if not entries:
            return False
        entry = max(entries, key=lambda one: one.due or EPOCH)
        self.touched.add(entry.id)
        self.edited.add(entry.id)
        for by in (REWRITER, OPERATOR):
            entry.edits += 1
            campaign.workspace.save_for(partial(self._record, entry.id, by))
            # the daemon that lives reads the file between two saves, if it can
            time.sleep(SAVE_SECONDS)
        campaign.approvers.rewritten.add(entry.id)
        return True

    def _record(self, post: str, by: str, text: str) -> None:
        asyncio.run(record_save(self.campaign.publisher, post, by, text))

    def _unapprove(self) -> bool:
        """End the approvals of posts on their way or soon to be. The approvers give them again."""
        rows = self.campaign.publisher.store.rows(UNAPPROVABLE)
        found = sorted(
            {post for (post,) in rows} - self.touched - self.campaign.untouchable
        )
        return bool(found) and self.campaign.publisher.unapprove(
            self.dice.choice(found), by=APPROVERS[0]
        )

    def _change_hotline(self) -> bool:
        self.campaign.workspace.hotline = HOTLINES[1]
        self.campaign.workspace.write_settings()
        return True

    def _by_hand(self) -> bool:
        """Somebody posts on the accounts themselves, while our own calls there are in doubt."""
        accounts = self.campaign.workspace.accounts
        for _post, name in sorted(set(self.campaign.publisher.store.rows(IN_DOUBT))):
            self.campaign.platforms.post_by_hand(
                accounts[name], "本周值班安排已更新，请关注。"
            )
        return True

    def hand_out(self) -> None:
        """Write the schedule without posts that have gone out everywhere."""
        self.note_finished()
        self.campaign.workspace.write()

    def note_finished(self) -> None:
        """Note the posts that have gone out everywhere."""
        finished = {post for (post,) in self.campaign.publisher.store.rows(FINISHED)}
        self.campaign.workspace.finished = finished - self.touched

    def live(self) -> list[tuple[str, str]]:
        """Give the deliveries that are live and nobody has laid hands on."""
        rows = sorted(set(self.campaign.publisher.store.rows(LIVE)))
        return [
            (post, name)
            for post, name in rows
            if post not in self.touched | self.campaign.untouchable
        ]

    def _want(self, entry: WrittenPost, state: str) -> None:
        self.campaign.wanted.update(
            {(entry.id, account): state for account in entry.accounts}
        )


UNAPPROVE, REWRITE = "unapprove", "rewrite"
"""Actions of people only where posts need approvals."""
ERRAND: dict[str, Callable[[People], bool]] = {
    "pause": People._pause,
    "retract_begun": People._retract_begun,
    "withdraw_begun": People._withdraw_begun,
    "edit_begun": People._edit_begun,
    "edit_in_doubt": People._edit_in_doubt,
    "leave_out_in_doubt": People._leave_out_in_doubt,
    "strike_in_doubt": People._strike_in_doubt,
    "rule_edited": People._rule_edited,
    "retract_in_doubt": People._retract_in_doubt,
    UNAPPROVE: People._unapprove,
    REWRITE: People._rewrite,
    "change_hotline": People._change_hotline,
    "by_hand": People._by_hand,
}
ERRANDS = (*(name for name in ERRAND if name not in {UNAPPROVE, REWRITE}), "pause")
"""The actions that people plan in a wave."""
