"""F97: all data of an account is stored under one id; another id needs a renaming."""

from dataclasses import replace
from datetime import timedelta

import pytest

from publisher.domain.account import Account, AccountPolicy, Mode, Platform, Presence
from publisher.domain.approval import ApprovalRules, Stage
from publisher.domain.delivery import MAINTENANCE, State
from publisher.domain.errors import RefusedError
from publisher.domain.post import OccurrenceKey, PostId, derive_marker
from publisher.domain.results import ObservedPost, Published, Receipt, Unknown
from publisher.domain.user import Grant, UserRole
from publisher.engine.decisions import named_person
from publisher.store.db.intent_journal import read_records
from publisher.store.lost_attempts import recover
from publisher.store.people.users import NewSignIn
from publisher.store.store import Store
from publisher.testing.builders import (
    TEST_RATE_LIMIT,
    TEST_TIMING,
    enqueue_posts,
    make_policy,
    make_post,
    unlimited_approver,
)
from publisher.testing.fakes import START_TIME, TEST_CAPABILITIES

LI = named_person("li")
MINUTE = timedelta(minutes=1)
IDENTITY = "1404376560"


def policy(account, identity=IDENTITY, *, forum=None, server=""):
    """Return the policy of an account id that is this identity on its platform."""
    known = Account(
        id=account,
        platform=Platform("fake"),
        identity=identity,
        secret="s",
        forum=forum,
    )
    return AccountPolicy(
        account=known,
        capabilities=TEST_CAPABILITIES,
        rate_limit=TEST_RATE_LIMIT,
        timing=TEST_TIMING,
        server=server,
    )


@pytest.fixture
async def opened(open_store):
    """Return a function that opens the database with these settings, as a start does."""

    async def opening(*policies, **options):
        store = await open_store(*policies, **options)
        await store.accounts.register()
        return store

    return opening


async def publish(store, post, outcome=None):
    """Send the due delivery with an outcome, published by default."""
    await enqueue_posts(store.posts, post)
    await store.maintenance.promote_due()
    for lease in await store.outbox.claim(10):
        request = await store.outbox.record_intent(lease)
        receipt = Receipt(
            remote_id=f"r{lease.delivery}",
            url="https://fake.example/1",
            published_at=START_TIME,
        )
        await store.outbox.record_outcome(lease, outcome or Published(receipt=receipt))
    return request


async def refusal_of(opening):
    with pytest.raises(RefusedError) as refused:
        await opening
    return refused.value.code, dict(refused.value.facts)


async def test_f97_another_id_for_the_same_account_is_refused(opened):
    """The refusal names both ids; nothing of the new one is recorded, however often it is tried."""
    await publish(await opened(policy("old")), make_post("p", ["old"], START_TIME))
    facts = {"old": "old", "new": "new", "identity": IDENTITY}
    for _ in range(2):
        assert await refusal_of(opened(policy("new"))) == ("account_renamed", facts)
    await opened(policy("old"))  # written back, all is as before


async def test_an_id_without_anything_stored_gives_way(opened):
    """A name that was changed before the first post needs no command."""
    await opened(policy("old"))
    store = await opened(policy("new"))
    await publish(store, make_post("p", ["new"], START_TIME))
    assert await refusal_of(opened(policy("old"))) == (
        "account_renamed",
        {"old": "new", "new": "old", "identity": IDENTITY},
    )


@pytest.mark.parametrize("stopped_by", ["pause", "mode"])
async def test_f97_a_pause_is_not_lost_by_another_id(opened, stopped_by):
    """An order of a person for an account counts as stored data."""
    store = await opened(policy("old"))
    if stopped_by == "pause":
        await store.actions.pause("account:old", LI, "wait")
    else:
        await store.actions.set_mode("old", Mode.OFF, LI, "wait")
    assert (await refusal_of(opened(policy("new"))))[0] == "account_renamed"


async def test_f97_ids_that_were_exchanged_are_refused(opened):
    """Two accounts that swap their ids are refused.

    Each would get the other's data. The remedy is to swap back, not to rename.
    """
    store = await opened(policy("a", "1"), policy("b", "2"))
    await publish(store, make_post("p", ["a"], START_TIME))
    store.runtime.advance_time(MINUTE)
    code, facts = await refusal_of(opened(policy("a", "2"), policy("b", "1")))
    assert (code, facts["old"], facts["new"]) == ("account_ids_exchanged", "a", "b")


async def test_an_identity_that_was_only_a_slip_is_free(opened):
    """A wrong identity corrected before any use may later belong to another account."""
    await opened(policy("a", "slip"))
    store = await opened(policy("a", "right"))
    store.runtime.advance_time(MINUTE)
    await publish(store, make_post("p", ["a"], store.runtime.now()))
    after = await opened(policy("a", "right"), policy("b", "slip"))
    assert [item.account for item in await after.queries.deliveries()] == ["a"]


async def test_the_same_identity_elsewhere_is_another_account(opened):
    """Another forum, or another server of one's own."""
    await publish(
        await opened(policy("a", forum="x")), make_post("p", ["a"], START_TIME)
    )
    after = await opened(
        policy("a", forum="x"),
        policy("b", forum="y"),
        policy("c", server="two.example"),
    )
    assert [item.account for item in await after.queries.deliveries()] == ["a"]


async def test_f97_a_process_with_older_settings_files_nothing(opened):
    """A host with settings from before the renaming files nothing.

    It was started before the renaming, or its server has lost the renaming. It must not post
    everything again.
    """
    before = await opened(policy("old"))
    await publish(before, make_post("p", ["old"], START_TIME))
    after = replace_store(await opened(policy("old")), policy("new"))
    await after.accounts.rename("old", "new", LI, "new name")
    code, facts = await refusal_of(
        enqueue_posts(before.posts, make_post("q", ["old"], START_TIME))
    )
    assert (code, facts["old"], facts["new"]) == ("account_renamed", "new", "old")
    assert [item.account for item in await after.queries.deliveries()] == ["new"]


def replace_store(store, *policies, **more):
    """Return the same database opened with other settings, without registering these."""
    known = {one.account.id: one for one in policies}
    return Store(database=store.database, policies=known, worker=store.worker, **more)


@pytest.fixture
async def renaming(opened):
    """Return a store with posts of `old`, and the store of the renaming command.

    One post is out, one is in doubt and one is to come.
    """
    store = await opened(policy("old"))
    await publish(store, make_post("out", ["old"], START_TIME))
    await publish(
        store,
        make_post("doubt", ["old"], START_TIME, is_urgent=True),
        Unknown(reason="timeout"),
    )
    await enqueue_posts(
        store.posts, make_post("later", ["old"], START_TIME + 60 * MINUTE)
    )
    await store.actions.pause("account:old", LI, "wait")
    return store, replace_store(await opened(policy("old")), policy("new"))


async def test_f97_a_renaming_takes_everything_along(renaming, opened):
    """A renaming moves posts, attempts, the pause and texts with their markers.

    An outcome in doubt is looked for by the old marker.
    """
    _before, command = renaming
    assert await command.accounts.rename("old", "new", LI, "new name") == 3
    store = await opened(policy("new"))
    deliveries = await store.queries.deliveries()
    assert {item.account for item in deliveries} == {"new"}
    assert {item.key.post: item.state for item in deliveries} == {
        "out": State.PUBLISHED,
        "doubt": State.UNKNOWN,
        "later": State.PENDING,
    }
    assert [pause.scope for pause in await store.queries.pauses()] == ["account:new"]
    store.runtime.advance_time(MINUTE)
    [pending] = await store.outbox.due_readbacks([State.UNKNOWN], 10)
    marker = derive_marker(
        OccurrenceKey(post=PostId("doubt"), occurrence="once"), "old"
    )
    assert (pending.request.account, pending.request.marker) == ("new", marker)
    assert pending.delivery.marker == marker.code
    assert (await store.posts.get_post(PostId("out"))).accounts == ("new",)
    assert await store.accounts.markers_under_former_ids({PostId("doubt")}) == {
        ("doubt", "new"): marker
    }


async def test_f97_a_published_post_stays_known_after_a_renaming(renaming, opened):
    """A post listed with the marker of the former id is ours, and is confirmed by that marker."""
    _before, command = renaming
    await command.accounts.rename("old", "new", LI, "new name")
    store = await opened(policy("new"))
    [out] = await store.queries.deliveries(post=PostId("out"))
    await store.monitoring.claim_due_accounts(1)
    shown = ObservedPost(
        remote_id=out.receipt.remote_id,
        url="",
        published_at=START_TIME,
        text=f"警惕诈骗〔{out.marker}〕",
    )
    await store.monitoring.compare_list("new", [shown])
    assert (await store.queries.deliveries(post=PostId("out")))[
        0
    ].verified_at == store.runtime.now()


async def test_a_history_goes_on_under_the_new_id(renaming, opened):
    """The audit keeps the old names; the histories of a delivery and of the account find them."""
    _before, command = renaming
    await command.accounts.rename("old", "new", LI, "new name")
    store = await opened(policy("new"))
    [out] = await store.queries.deliveries(post=PostId("out"))
    history = await store.queries.delivery_history(out)
    assert next(line.event for line in history.audit_lines) == "planned"
    events = [line.event for line in await store.queries.audit_history("account:new")]
    assert events == ["paused", "account_renamed"]


async def test_f97_a_line_of_the_journal_finds_the_renamed_account(renaming, opened):
    """A database that has lost an attempt gets it back from a line that still has the former id."""
    before, command = renaming
    [record] = [
        one for one in read_records(before.database.journal.path) if one.post == "doubt"
    ]
    await command.accounts.rename("old", "new", LI, "new name")
    store = await opened(policy("new"))
    lost = replace(
        record,
        post="later",
        at=(START_TIME + MINUTE).isoformat(),
        rendered_hash="lost",
        attempt=1,
    )
    await store.database.write(
        lambda transaction: recover(store, transaction, [lost], MAINTENANCE)
    )
    [later] = await store.queries.deliveries(post=PostId("later"))
    assert (later.account, later.state) == ("new", State.UNKNOWN)


async def test_open_alerts_are_about_the_new_id(opened):
    """An open alert gets the new id as its subject.

    An alert ends with its cause, and is cleared by its subject.
    """
    store = await opened(policy("old"))
    await publish(store, make_post("p", ["old"], START_TIME))
    await store.actions.pause_account(
        policy("old").account, MAINTENANCE, "secret_missing"
    )
    command = replace_store(await opened(policy("old")), policy("new"))
    await command.accounts.rename("old", "new", LI, "new name")
    store = await opened(policy("new"))
    [alert] = await store.queries.alerts()
    assert (alert.subject, alert.facts["account"]) == ("account:new", "new")
    await store.actions.resume("account:new", LI)
    assert await store.queries.alerts() == []


async def test_roles_on_an_account_follow_its_id(renaming):
    """The people responsible for an account remain so after its renaming."""
    _before, command = renaming
    link = await command.users.add("admin", [Grant(role=UserRole.ADMIN)], LI)
    await command.users.activate(link, NewSignIn(password_hash="none"), named_person)
    await command.users.add(
        "zhao", [Grant(role=UserRole.OPERATOR, targets=frozenset({"old", "north"}))], LI
    )
    await command.accounts.rename("old", "new", LI, "new name")
    assert (await command.users.get("zhao")).grants[0].targets == {"new", "north"}


async def test_what_is_not_sent_yet_needs_its_approvals_again(opened):
    """The target account of a text is part of its approval."""
    rules = ApprovalRules(default=(Stage(name="review"),))
    store = replace_store(
        await opened(policy("old")), policy("old"), approval_rules=rules
    )
    await enqueue_posts(
        store.posts, make_post("later", ["old"], START_TIME + 60 * MINUTE)
    )
    wang = unlimited_approver("wang")
    [task] = await store.approvals.tasks(PostId("later"))
    await store.approvals.approve(
        PostId("later"), task.status.fingerprint, wang, named_person("wang")
    )
    assert (await store.approvals.tasks(PostId("later")))[0].status.is_approved
    command = replace_store(store, policy("new"), approval_rules=rules)
    await command.accounts.rename("old", "new", LI, "new name")
    [again] = await command.approvals.tasks(PostId("later"))
    assert not again.status.is_approved
    await command.approvals.approve(
        PostId("later"), again.status.fingerprint, wang, named_person("wang")
    )


@pytest.mark.parametrize(
    ("policies", "running", "code"),
    [
        ([policy("old"), policy("new", "2")], False, "rename_still_in_settings"),
        ([policy("new", "2")], False, "rename_other_account"),
        ([policy("new", forum="y")], False, "rename_other_account"),
        ([policy("new")], True, "rename_while_running"),
    ],
    ids=["old in the settings", "another identity", "another place", "a daemon runs"],
)
async def test_a_renaming_that_is_none_is_refused(opened, policies, running, code):
    """Nothing changes then."""
    store = await opened(policy("old"))
    await publish(store, make_post("p", ["old"], START_TIME))
    if running:
        await store.actions.register_worker()
    command = replace_store(store, *policies)
    assert (await refusal_of(command.accounts.rename("old", "new", LI, "new name")))[
        0
    ] == code
    assert [item.account for item in await store.queries.deliveries()] == ["old"]


async def test_posts_of_two_ids_are_never_mixed(opened):
    """An id with posts of its own cannot take over the posts of another id."""
    store = await opened(policy("old"))
    await publish(store, make_post("p", ["old"], START_TIME))
    await publish(await opened(policy("new", "2")), make_post("q", ["new"], START_TIME))
    command = replace_store(store, policy("new"))
    assert (await refusal_of(command.accounts.rename("old", "new", LI, "x")))[
        0
    ] == "rename_has_posts"


async def test_a_former_id_may_be_taken_back_but_not_given_away(renaming, opened):
    """Back again by the same command; for another account the history would be ambiguous."""
    _before, command = renaming
    await command.accounts.rename("old", "new", LI, "new name")
    assert (await refusal_of(opened(policy("new"), policy("old", "2"))))[
        0
    ] == "account_id_used"
    back = replace_store(command, policy("old"))
    await back.accounts.rename("new", "old", LI, "as before")
    store = await opened(policy("old"))
    assert {item.account for item in await store.queries.deliveries()} == {"old"}


async def test_f97_a_reported_spelling_allows_the_renaming(opened):
    """A changed id and spelling may be renamed if the platform reports one identity.

    Id and spelling were changed together.
    """
    store = await opened(policy("old", "tb.1.abc"))
    await publish(store, make_post("p", ["old"], START_TIME))
    renamed = policy("new", "平安发布")
    store = await opened(renamed)
    other = await store.login_health.record_verified(renamed.account, "f", "tb.1.abc")
    assert other == "old"
    await store.accounts.rename("old", "new", LI, "new name")
    assert [item.account for item in await store.queries.deliveries()] == ["new"]
    assert (
        await store.login_health.record_verified(renamed.account, "f", "tb.1.abc")
        is None
    )


@pytest.mark.parametrize(
    ("forum", "server", "text"),
    [
        (None, "", "1404376560"),
        ("x", "", "1404376560 / x"),
        (None, "two.example", "1404376560 (two.example)"),
        ("x", "two.example", "1404376560 / x (two.example)"),
    ],
)
def test_f96_an_account_is_shown_with_all_that_decides_where_its_posts_appear(
    forum, server, text
):
    """F96: the full identity text is stored with each attempt.

    This also holds once the settings of a policy are replaced.
    """
    elsewhere = policy("a", forum="z", server="three.example")
    known = policy("a", forum=forum)
    assert replace(elsewhere, account=known.account, server=server).identity == text


def test_a_presence_is_compared_by_its_characters():
    """A name typed with other code points, or with a blank, is the same one."""
    composed, decomposed = (
        Presence(platform="p", server="", forum="", identity=text)
        for text in ("é", " e\u0301")
    )
    assert composed == decomposed


async def test_registering_again_writes_nothing(opened):
    """Registering again writes nothing, so no command waits for it.

    Each command registers its accounts.
    """
    store, writes = await opened(policy("a"), make_policy("b")), []

    async def note_write(*arguments):
        writes.append(arguments)

    object.__setattr__(store.database, "write", note_write)
    await store.accounts.register()
    assert writes == []
