"""Remarks keep their passage and their words, as they are stored with the return."""

from hypothesis import given
from hypothesis import strategies as st

from publisher.domain.remark import Remark, dump_return, list_passages, load_return

WORDS = st.text("ab甲乙 。\t\n", max_size=20).map(lambda text: " ".join(text.split()))
REMARKS = st.lists(st.builds(Remark, field=WORDS, quote=WORDS, text=WORDS), max_size=4)


@given(WORDS, REMARKS)
def test_what_is_stored_is_read_again(reason, remarks):
    """A reason without remarks is stored as it is, as it was before there were remarks."""
    stored = dump_return(reason, remarks)
    assert load_return(stored) == (reason, remarks)
    assert remarks or stored == reason


def test_a_post_has_a_passage_for_each_line_item_and_row():
    """A passage carries the name of its field in the form; values of a wrong shape have none."""
    data = {
        "signs": ["一", "二"],
        "figures": [{"name": "损失", "value": 12}],
        "on": True,
    }
    passages = list_passages("题", "甲\n\n 乙  丙\n", data, {"weibo": "短"})
    assert [(one.field, one.text) for one in passages] == [
        ("title", "题"),
        ("data.signs", "一"),
        ("data.signs", "二"),
        ("data.figures", "损失 12"),
        ("body", "甲"),
        ("body", "乙 丙"),
        ("text.weibo", "短"),
    ]
    assert list_passages(None, 3, [], "x") == []
