"""Guards that let every creating call begin, for tests of its effects."""

from publisher.domain.post import DeliveryId, SendRequest


async def _may_send(_request: SendRequest) -> bool:
    return True


def _record_start(_delivery: DeliveryId, _fencing_token: int) -> None:
    return


UNGUARDED = {
    "may_send": _may_send,
    "record_start": _record_start,
    "is_clock_confirmed": lambda: True,
}
