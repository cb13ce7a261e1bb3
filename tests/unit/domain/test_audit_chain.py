"""Every change of the audit chain is detected, and its place is named."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO, TextIOWrapper

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from publisher.domain.audit_chain import (
    EXPORT_FORMAT,
    LOSS_ACCEPTED_EVENT,
    OLDER_DATABASE_EVENT,
    RESTORED_EVENT,
    AcceptedDataLoss,
    ChainEntry,
    Checkpoint,
    ExportHeader,
    format_entry,
    format_header,
    hash_entry,
    parse_header,
)
from publisher.domain.audit_verifier import (
    MAX_LISTED_BREAKS,
    ChainDefect,
    ChainVerifier,
    verify_export,
)
from publisher.domain.delivery import EVENT_CODES

GENESIS = "00" * 32
RESTORED_AT = int(datetime(2026, 11, 25, 2, tzinfo=UTC).timestamp()) * 1_000_000


def forged(number, previous, **changes):
    """Return an entry with a correct hash."""
    named = {
        "at": 1_700_000_000_000_000 + number,
        "role": "person",
        "name": "王",
        "event": "paused",
        "subject": "all",
    }
    fields = tuple(
        {
            **named,
            "before": None,
            "after": None,
            "detail": f'{{"n": {number}}}',
            **changes,
        }.values()
    )
    return ChainEntry(
        sequence=number,
        fields=fields,
        previous=previous,
        hash=hash_entry(number, fields, previous),
    )


def chain_of(count, genesis=GENESIS):
    """Return a chain of so many entries."""
    links, previous = [], genesis
    for number in range(1, count + 1):
        links.append(forged(number, previous))
        previous = links[-1].hash
    return links


def anchor(link, chain=GENESIS):
    return Checkpoint(
        database="d",
        chain=chain,
        sequence=link.sequence,
        hash=link.hash,
        at="2026-11-25T01:00:00+00:00",
    )


def verify(links, anchors=(), **more):
    return ChainVerifier(genesis=GENESIS, checkpoints=anchors, **more).verify(links)


def found(links, anchors=()):
    """Return the findings as (damage, from, to, other)."""
    return [
        (item.defect, item.sequence, item.until, item.other)
        for item in verify(links, anchors).breaks
    ]


def renumbered(links):
    """Renumber the entries without a gap, as an attacker would."""
    return [replace(link, sequence=number) for number, link in enumerate(links, 1)]


def edited(link, **changes):
    fields = list(link.fields)
    fields[2] = changes.get("name", "李")
    return replace(link, fields=tuple(fields))


def test_an_unchanged_chain_is_valid():
    """Nothing is found in an unchanged chain, and the checkpoints are counted as agreeing."""
    links = chain_of(30)
    verification = verify(links, [anchor(links[9]), anchor(links[29])])
    assert verification.is_sound
    assert (
        verification.entry_count,
        verification.last_confirmed,
        verification.head,
    ) == (
        30,
        30,
        (30, links[29].hash),
    )
    assert verify([]).is_sound


@pytest.mark.parametrize("place", [1, 2, 15, 29, 30])
def test_an_edit_is_named(place):
    """A changed field is detected at its entry and nowhere else."""
    links = chain_of(30)
    links[place - 1] = edited(links[place - 1])
    assert found(links) == [(ChainDefect.ALTERED, place, place, None)]


@pytest.mark.parametrize("place", [1, 15, 29])
def test_an_edit_with_a_recomputed_hash_is_named(place):
    """The entry after it contains the former hash."""
    links = chain_of(30)
    links[place - 1] = forged(place, links[place - 1].previous, name="李")
    assert found(links) == [(ChainDefect.ALTERED, place, place, None)]


def test_edits_side_by_side_are_one_run_and_others_their_own():
    """A run is named by its first and last entry, and the entries between runs are not blamed."""
    links = chain_of(30)
    for number in (10, 11, 13):
        links[number - 1] = edited(links[number - 1])
    assert found(links) == [
        (ChainDefect.ALTERED, 10, 11, None),
        (ChainDefect.ALTERED, 13, 13, None),
    ]


@pytest.mark.parametrize(("first", "last"), [(1, 1), (1, 4), (7, 7), (7, 12), (29, 29)])
def test_a_deletion_is_named(first, last):
    """Entries with missing numbers are named; closed up, all that follow are out of their place."""
    links = chain_of(30)
    left = links[: first - 1] + links[last:]
    assert found(left) == [(ChainDefect.LOST, first, last, None)]
    assert found(renumbered(left)) == [(ChainDefect.ALTERED, first, len(left), None)]


@pytest.mark.parametrize(("one", "other"), [(1, 2), (7, 8), (29, 30), (7, 20), (1, 30)])
@pytest.mark.parametrize("whole", [True, False], ids=["rows", "fields"])
def test_a_swap_is_named(one, other, whole):
    """Both places are named, of whole rows and of their contents alone."""
    links = chain_of(30)
    a, b = links[one - 1], links[other - 1]
    if whole:
        links[one - 1], links[other - 1] = (
            replace(b, sequence=one),
            replace(a, sequence=other),
        )
    else:
        links[one - 1], links[other - 1] = (
            replace(a, fields=b.fields),
            replace(b, fields=a.fields),
        )
    breaks = verify(links).breaks
    assert {item.defect for item in breaks} == {ChainDefect.ALTERED}
    places = {number for item in breaks for number in (item.sequence, item.until)}
    assert places == {one, other}


@pytest.mark.parametrize("place", [1, 7, 30])
@pytest.mark.parametrize("fields", [("x",) * 8, None], ids=["foreign", "copied"])
def test_an_insertion_is_named(place, fields):
    """The first place out of order is named, and the true entries before it are not blamed."""
    links = chain_of(30)
    copied = links[place - 1]
    external_post = replace(copied, fields=fields or copied.fields, hash="11" * 32)
    assert found(
        renumbered([*links[: place - 1], external_post, *links[place - 1 :]])
    ) == [(ChainDefect.ALTERED, place, 31, None)]


def test_an_insertion_with_a_hash_of_its_own_is_named():
    """A forged entry that is chained to the one before it puts all after it out of order."""
    links = chain_of(30)
    external_post = forged(7, links[5].hash, name="李")
    assert found(renumbered([*links[:6], external_post, *links[6:]])) == [
        (ChainDefect.ALTERED, 8, 31, None)
    ]


def test_a_forged_line_between_true_entries_blames_no_other():
    """In an export, where numbers may repeat, the true entries around it count as they stand."""
    links = chain_of(30)
    line = replace(links[6], fields=("x",) * 8)
    verification = verify([*links[:6], line, *links[6:]], [anchor(links[29])])
    assert [item.sequence for item in verification.breaks] == [7]
    assert verification.last_confirmed == 30


def test_an_entry_moved_to_the_end_is_named():
    """It is missed at its place and does not pass at the other."""
    links = chain_of(30)
    moved = replace(links[6], sequence=999)
    assert found([*links[:6], *links[7:], moved]) == [
        (ChainDefect.LOST, 7, 7, None),
        (ChainDefect.ALTERED, 31, 31, None),
    ]


def test_a_cut_end_is_detected_by_a_checkpoint():
    """Without a checkpoint the rest is consistent; a checkpoint proves that there was more."""
    links = chain_of(30)
    assert found(links[:20]) == []
    assert found(links[:20], [anchor(links[9]), anchor(links[27])]) == [
        (ChainDefect.LOST, 21, 28, None)
    ]
    assert found([], [anchor(links[27])]) == [(ChainDefect.LOST, 1, 28, None)]


def test_a_recomputed_chain_is_detected_by_checkpoints():
    """The change is between the last checkpoint that agrees and the first that does not."""
    links = chain_of(30)
    anchors = [anchor(links[number - 1]) for number in (5, 10, 20, 30)]
    again, previous = links[:12], links[11].hash
    for number in range(13, 31):
        again.append(forged(number, previous, name="李"))
        previous = again[-1].hash
    assert found(again) == []
    assert found(again, anchors) == [(ChainDefect.LOST, 11, 20, 10)]


def test_a_chain_with_another_start_is_detected_by_a_checkpoint():
    """A database that was replaced as a whole contradicts the checkpoint."""
    links = chain_of(30)
    assert found(links, [anchor(chain_of(5, "11" * 32)[4], "11" * 32)]) == [
        (ChainDefect.LOST, 1, 5, None)
    ]


def test_no_step_of_a_delivery_is_called_like_the_restore_of_a_database():
    """A delivery's return into the schedule is not logged as the restore of a database.

    It excuses no checkpoint and ends no approval.
    """
    assert not {RESTORED_EVENT, OLDER_DATABASE_EVENT, LOSS_ACCEPTED_EVENT} & set(
        EVENT_CODES.values()
    )


def restored(links, lost):
    """Add the entry of a restore in place of a database with the lost entries."""
    number, cut = (
        len(links) + 1,
        [{"sequence": link.sequence, "hash": link.hash} for link in lost],
    )
    changes = {
        "at": RESTORED_AT,
        "event": RESTORED_EVENT,
        "subject": "database",
        "detail": json.dumps({"cut": cut}),
    }
    return forged(number, links[-1].hash, **changes)


def accepted(links, losses, signature="ours"):
    acceptance = AcceptedDataLoss(
        name="陈", reason="演练", losses=losses, signature=signature
    )
    detail = json.dumps(acceptance.detail)
    return forged(
        len(links) + 1,
        links[-1].hash,
        event=LOSS_ACCEPTED_EVENT,
        subject="audit",
        name="陈",
        detail=detail,
    )


def is_ours(_text, signature):
    return signature == "ours"


def test_a_recorded_restore_is_a_loss_until_it_is_accepted():
    """A recorded restore is a loss until it is accepted, with and without checkpoints.

    The first and the last lost entry are named. A foreign signature accepts nothing.
    """
    links = chain_of(30)
    anchors = [anchor(links[number - 1]) for number in (10, 20, 30)]
    again = [*links[:12], restored(links[:12], links[29:])]
    for known in (anchors, []):
        assert found(again, known) == [(ChainDefect.LOST, 13, 30, None)]
    [lost] = verify(again, anchors).breaks
    assert (lost.loss.sequence, lost.loss.until, lost.facts["since"]) == (
        13,
        30,
        links[11].facts["at"],
    )
    for signature, breaks in (("ours", 0), ("another", 1), ("", 1)):
        ended = [*again, accepted(again, [lost.loss], signature)]
        verification = verify(ended, anchors, is_own_signature=is_ours)
        assert (len(verification.breaks), len(verification.accepted_losses)) == (
            breaks,
            1 - breaks,
        )
        assert not verify(ended, anchors).is_sound


@pytest.mark.parametrize(
    "detail",
    ["[" * 100_000, '{"cut": [{"sequence": Infinity, "hash": "x"}]}', "{", "{}"],
)
def test_an_entry_of_a_restore_that_cannot_be_read_ends_nothing(detail):
    """An unreadable entry of a restore ends no verification of the audit.

    An attacker with write access to the database can write any detail.
    """
    links = chain_of(3)
    links.append(forged(4, links[-1].hash, event=RESTORED_EVENT, detail=detail))
    assert found(links) == []
    assert parse_header("[" * 100_000) is None


def test_an_acceptance_covers_what_was_known_then_and_nothing_later():
    """An accepted silent cut stays accepted as the chain grows.

    A checkpoint written later is another loss.
    """
    links = chain_of(30)
    anchors = [anchor(links[number - 1]) for number in (10, 20, 30)]
    [lost] = verify(links[:12], anchors).breaks
    assert (lost.defect, lost.loss.sequence, lost.loss.until) == (
        ChainDefect.LOST,
        13,
        30,
    )
    again = [*links[:12], accepted(links[:12], [lost.loss])]
    for number in range(14, 41):
        again.append(forged(number, again[-1].hash, name="李"))
        assert verify(again, anchors, is_own_signature=is_ours).is_sound
    later = replace(anchor(links[24]), at="2026-11-26T01:00:00+00:00")
    [lost] = verify(again, [*anchors, later], is_own_signature=is_ours).breaks
    assert (lost.defect, lost.until) == (ChainDefect.LOST, 25)


def test_a_changed_start_is_named():
    """The first entry is chained to the start that is stored beside the audit log."""
    assert found(chain_of(5, "11" * 32)) == [(ChainDefect.ALTERED, 1, 1, None)]
    assert not ChainVerifier(genesis=None).verify(chain_of(5)).is_sound


def test_much_damage_is_counted_and_not_listed():
    """Memory and text stay bounded when nearly everything was changed."""
    links = chain_of(10 * MAX_LISTED_BREAKS)
    links[::2] = map(edited, links[::2])
    verification = verify(links)
    assert len(verification.breaks) == MAX_LISTED_BREAKS
    assert verification.unlisted_breaks == 4 * MAX_LISTED_BREAKS


VALUES = st.one_of(
    st.none(), st.integers(0, 2**62), st.text(max_size=6), st.binary(max_size=4)
)


@settings(
    deadline=None
)  # one example hashes the chain many times, and a busy machine takes longer
@given(st.integers(0, 11), st.integers(0, 7), VALUES)
def test_any_changed_field_is_found(place, column, value):
    """Any value in any field, of any type, is detected."""
    links = chain_of(12)
    fields = list(links[place].fields)
    if fields[column] == value and type(fields[column]) is type(value):
        return
    fields[column] = value
    links[place] = replace(links[place], fields=tuple(fields))
    assert found(links) == [(ChainDefect.ALTERED, place + 1, place + 1, None)]


def excerpt(links):
    title = ExportHeader(
        format=EXPORT_FORMAT,
        database="库",
        chain=GENESIS,
        first=1,
        last=len(links),
        previous=GENESIS,
    )
    return "".join(
        line + "\n" for line in [format_header(title), *map(format_entry, links)]
    ).encode()


def is_sound(data):
    verification = verify_export(
        TextIOWrapper(BytesIO(data), "utf-8", "surrogateescape", newline="\n")
    )
    return verification is not None and verification.is_sound


EXPORTED = excerpt(chain_of(6))
NAME = (
    len(b'{"format":"publisher audit 1","database":"'),
    len(b'{"format":"publisher audit 1","database":"') + 3,
)


@given(st.integers(0, 8 * len(EXPORTED) - 1))
def test_any_changed_bit_of_an_export_is_found(bit):
    """Any changed bit of an export is detected, except in the database's name.

    The name is for people.
    """
    data = bytearray(EXPORTED)
    data[bit // 8] ^= 1 << bit % 8
    assert NAME[0] <= bit // 8 < NAME[1] or not is_sound(bytes(data))


def test_an_unchanged_export_is_valid():
    """A written export is read back unchanged."""
    assert is_sound(EXPORTED)
    assert not is_sound(EXPORTED.rsplit(b"\n", 2)[0] + b"\n")
