"""The adapter of one Mastodon account: its calls, their order, and the proof in their responses."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from publisher.contract import AdapterContext, HttpRequest, HttpResponse
from publisher.domain.account import Account
from publisher.domain.post import RenderedImage, SendRequest
from publisher.domain.post_list import (
    ListedPost,
    MatchCriteria,
    covers_baseline,
    match_list,
)
from publisher.domain.results import (
    Blocked,
    CredentialExpired,
    Deleted,
    DeletionResult,
    HealthCheckResult,
    Healthy,
    HoldReason,
    NotSent,
    ObservedPost,
    Outcome,
    Published,
    RateLimited,
    Reach,
    ReadbackResult,
    ReadFailure,
    Receipt,
    Rejected,
    Ticket,
    Unknown,
)

from . import api
from .api import MastodonLogin, Refusal, Response, Status
from .capabilities import get_base_url

MAX_PAGES = 25
"""The most pages of a list that one read takes: a thousand posts."""
MEDIA_LIFETIME = timedelta(hours=12)
"""How long an uploaded picture is used: the server removes one that no post shows, after a day."""
PROCESSING_TIME = timedelta(seconds=20)
"""How long to wait before the server is asked again whether it has processed a picture."""
NOT_PROCESSED = "mastodon_picture_in_process"
DEFAULT_LANGUAGE = "zh"


def interpret_created(
    response: Response, login: MastodonLogin, picture_count: int
) -> Outcome:
    """Return the outcome that the response to the creating call proves.

    An undocumented response proves nothing: Unknown.
    """
    if isinstance(response, NotSent):
        return response
    body = api.decode_json(response)
    if isinstance(body, Refusal):
        return interpret_refusal(body)
    status = body if isinstance(body, Unknown) else api.decode_status(body, login)
    if isinstance(status, Unknown):
        return status
    if not status.is_public:
        return Blocked(
            code="mastodon_not_public",
            reason=status.listed.url,
            hold_reason=HoldReason.HIDDEN,
        )
    if status.picture_count < picture_count:
        return Unknown(reason="mastodon_pictures_missing")
    return Published(receipt=make_receipt(status))


def interpret_refusal(refusal: Refusal) -> Outcome:
    """Return the outcome of a call refused with a 4xx status; an unlisted status is Unknown."""
    code = f"mastodon_{refusal.status}"
    match refusal.status:
        case 401:
            return CredentialExpired(reason=code)
        case 403:
            return Blocked(code=code, reason=refusal.message)
        case 422 if refusal.message:
            return Rejected(code=code, reason=refusal.message)
        case _:
            return Unknown(reason=code)


def interpret_list(statuses: Sequence[Status], request: SendRequest) -> ReadbackResult:
    """Return what the account's list, newest first, proves about our post."""
    posts = [status.listed for status in statuses]
    criteria = MatchCriteria(
        marker=request.marker,
        baseline=request.baseline,
        owned_ids=request.owned_ids,
        text=request.text,
    )
    is_covered = covers_baseline(posts, request.baseline, is_complete=False)
    result = match_list(posts, criteria, is_covered=is_covered) or Unknown(
        reason="mastodon_list_too_short"
    )
    public_ids = {status.listed.remote_id for status in statuses if status.is_public}
    if isinstance(result, Published) and result.receipt.remote_id not in public_ids:
        return Unknown(reason="mastodon_not_public")
    return result


def is_older(one_id: str, other_id: str) -> bool:
    """True if an id is surely that of an older post: Mastodon's are numbers that grow with time."""
    return one_id.isdecimal() and other_id.isdecimal() and int(one_id) < int(other_id)


def make_receipt(status: Status) -> Receipt:
    post = status.listed
    return Receipt(remote_id=post.remote_id, url=post.url, published_at=post.created_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class MastodonAdapter:
    account: Account
    context: AdapterContext

    async def publish(self, request: SendRequest) -> Outcome:
        login = self._get_login()
        if not login.token:
            return CredentialExpired(reason="mastodon_no_token")
        blocked = await self._verify_owner(login)
        if blocked is not None:
            return blocked
        media_ids = await self._upload_pictures(login, request)
        if not isinstance(media_ids, list):
            return media_ids
        language = self.account.options.get("language", DEFAULT_LANGUAGE)
        response = await self.context.http.create(
            api.encode_status(login, request, media_ids, language), request
        )
        return api.decode_limit(response, self.context.now()) or interpret_created(
            response, login, len(media_ids)
        )

    async def find_post(self, request: SendRequest) -> ReadbackResult:
        """Read the account's list back to before the baseline, and look for our post in it."""
        baseline = request.baseline
        read = await self._read_list(
            lambda post: baseline.includes(post.remote_id, post.created_at)
        )
        return (
            read if isinstance(read, ReadFailure) else interpret_list(read[0], request)
        )

    async def check_ticket(self, ticket: Ticket) -> ReadbackResult:
        """Read one post by its id: published, or gone."""
        return await self._read_status(ticket.payload)

    async def retract(self, receipt: Receipt) -> DeletionResult:
        """Delete a post; a read decides whether it is gone.

        A 404 does not: snac 2.75 answers every deletion with it, and the post stays. An id that a
        person entered may be wrong, so its absence proves nothing.
        """
        login = self._get_login()
        answer = await self._fetch(api.encode_delete(login, receipt.remote_id))
        deletion = (
            answer if isinstance(answer, ReadFailure) else api.decode_json(answer)
        )
        if isinstance(deletion, RateLimited):
            return deletion
        shown = await self._read_status(receipt.remote_id)
        if isinstance(shown, Deleted):
            is_proof = (
                not isinstance(deletion, Refusal) or not receipt.is_manually_confirmed
            )
            return shown if is_proof else Unknown(reason="mastodon_404")
        if isinstance(shown, ReadFailure):
            return shown
        if isinstance(deletion, Refusal) and deletion.status != 401:
            return Rejected(
                code="mastodon_cannot_delete",
                reason=deletion.message or f"HTTP {deletion.status}",
            )
        return Unknown(reason="mastodon_still_shown")

    async def check_health(self) -> HealthCheckResult:
        login = self._get_login()
        if not login.token:
            return CredentialExpired(reason="mastodon_no_token")
        answer = await self._fetch(api.encode_account(login))
        account = (
            answer
            if isinstance(answer, RateLimited)
            else api.decode_account(answer, login)
        )
        if isinstance(account, str):
            return Healthy()
        return _interpret_account_failure(account)

    async def read_metrics(
        self, receipts: Sequence[Receipt]
    ) -> Mapping[str, Reach] | ReadFailure:
        """Read each post by itself: the call for many is missing before Mastodon 4.3.

        Posts that are gone are left out.
        """
        login, metrics = self._get_login(), dict[str, Reach]()
        for receipt in receipts:
            answer = await self._fetch(api.encode_read(login, receipt.remote_id))
            body = (
                answer if isinstance(answer, ReadFailure) else api.decode_json(answer)
            )
            if isinstance(body, Refusal) and body.status == 404:
                continue
            status = to_status(body, login)
            if isinstance(status, ReadFailure):
                return status
            metrics[receipt.remote_id] = Reach(
                reposts=status.reblogs,
                comments=status.replies,
                likes=status.favourites,
                url=status.listed.url,
            )
        return metrics

    async def list_recent(self) -> Sequence[ObservedPost] | ReadFailure:
        read = await self._read_list(lambda _post: True)
        if isinstance(read, ReadFailure):
            return read
        public = [status.listed for status in read[0] if status.is_public]
        return [
            ObservedPost(
                remote_id=post.remote_id,
                url=post.url,
                published_at=post.created_at,
                text=post.text,
            )
            for post in sorted(public, key=lambda post: post.created_at, reverse=True)
        ]

    async def _verify_owner(self, login: MastodonLogin) -> Outcome | None:
        """Return why nothing may be posted with this token; None where it is our account's."""
        answer = await self._fetch(api.encode_account(login))
        if isinstance(answer, RateLimited):
            return answer
        account = api.decode_account(answer, login)
        if isinstance(account, str):
            return None
        failure = _interpret_account_failure(account)
        return (
            NotSent(reason=failure.reason) if isinstance(failure, Unknown) else failure
        )

    async def _upload_pictures(
        self, login: MastodonLogin, request: SendRequest
    ) -> list[str] | Outcome:
        """Return the ids of the post's pictures, or why it cannot be posted yet."""
        media_ids: list[str] = []
        for picture, data in zip(request.rendered.images, request.images, strict=True):
            # a post uses its pictures up:
            # for an attempt that a person orders they are uploaded again
            key = f"media:{request.delivery}:{request.resend_after_attempt}:{picture.sha256}"
            media_id = await self._upload_picture(login, key, picture, data)
            if not isinstance(media_id, str):
                return media_id
            media_ids.append(media_id)
        return media_ids

    async def _upload_picture(
        self, login: MastodonLogin, key: str, picture: RenderedImage, data: bytes
    ) -> str | Outcome:
        """Return the id of a picture that the server has processed.

        It is uploaded once, and noted under `key`.
        """
        now = self.context.now()
        noted = json.loads(await self.context.state.get(key) or "{}")
        if noted and now - datetime.fromisoformat(noted["at"]) < MEDIA_LIFETIME:
            if noted["is_processed"]:
                return str(noted["id"])
            call = api.encode_picture_state(login, noted["id"])
        else:
            noted, call = (
                {"at": now.isoformat()},
                api.encode_picture(login, picture, data),
            )
        media = api.decode_media(await self._fetch(call))
        if isinstance(media, RateLimited):
            return media
        if isinstance(media, Refusal | Unknown):
            refused = interpret_refusal(media) if isinstance(media, Refusal) else media
            return (
                NotSent(reason=refused.reason)
                if isinstance(refused, Unknown)
                else refused
            )
        await self.context.failpoint("media.after_upload")
        noted |= {"id": media.id or noted["id"], "is_processed": media.is_processed}
        await self.context.state.set(key, json.dumps(noted))
        return (
            noted["id"]
            if media.is_processed
            else NotSent(reason=NOT_PROCESSED, until=now + PROCESSING_TIME)
        )

    async def _read_status(self, status_id: str) -> Published | Deleted | ReadFailure:
        """Read one post.

        It is gone where its id is refused and the account's list can be read and lacks it.
        """
        login = self._get_login()
        answer = await self._fetch(api.encode_read(login, status_id))
        body = answer if isinstance(answer, ReadFailure) else api.decode_json(answer)
        if isinstance(body, Refusal) and body.status == 404:
            read = await self._read_list(
                lambda post: is_older(post.remote_id, status_id)
            )
            if isinstance(read, ReadFailure):
                return read
            statuses, is_far_enough = read
            is_listed = any(status.listed.remote_id == status_id for status in statuses)
            return (
                Deleted()
                if is_far_enough and not is_listed
                else Unknown(reason="mastodon_404")
            )
        status = to_status(body, login)
        if isinstance(status, ReadFailure):
            return status
        if status.listed.remote_id != status_id:
            return Unknown(reason="mastodon_other_status")
        return (
            Published(receipt=make_receipt(status))
            if status.is_public
            else Unknown(reason="mastodon_not_public")
        )

    async def _read_list(
        self, is_far_enough: Callable[[ListedPost], bool]
    ) -> tuple[Sequence[Status], bool] | ReadFailure:
        """Read the list, newest first, until the last post is far enough back.

        Return the posts read, and True if they reach so far or are all. A page without a new post
        is the end. snac does not page: it repeats the whole list, at most 256 posts.
        """
        login = self._get_login()
        answer = await self._fetch(api.encode_account(login))
        account = (
            answer
            if isinstance(answer, ReadFailure)
            else api.decode_account(answer, login)
        )
        if not isinstance(account, str):
            return api.to_failure(account)
        statuses: list[Status] = []
        known: set[str] = set()
        for _ in range(MAX_PAGES):
            before = statuses[-1].listed.remote_id if statuses else None
            answer = await self._fetch(api.encode_list(login, account, before))
            page = (
                answer
                if isinstance(answer, ReadFailure)
                else api.decode_list(answer, login)
            )
            if isinstance(page, Refusal | ReadFailure):
                return api.to_failure(page)
            new = [status for status in page if status.listed.remote_id not in known]
            statuses += new
            known |= {status.listed.remote_id for status in new}
            if not new or is_far_enough(new[-1].listed):
                return statuses, True
        return statuses, False

    async def _fetch(self, request: HttpRequest) -> HttpResponse | ReadFailure:
        """Make a call that creates no post. Without a token none is made."""
        if not self._get_login().token:
            return Unknown(reason="mastodon_no_token")
        response = await self.context.http.fetch(request)
        limit = api.decode_limit(response, self.context.now())
        return limit or (
            Unknown(reason=response.reason)
            if isinstance(response, NotSent)
            else response
        )

    def _get_login(self) -> MastodonLogin:
        """Return the login; its token is empty where the secret has none."""
        token = self.context.secret().get("access_token", "")
        return MastodonLogin(
            base_url=get_base_url(self.account),
            identity=self.account.identity,
            token=token,
        )


def to_status(body: object, login: MastodonLogin) -> Status | ReadFailure:
    """Return the status of a read of one post, or why there is none."""
    return (
        api.to_failure(body)
        if isinstance(body, Refusal | ReadFailure)
        else api.decode_status(body, login)
    )


def _interpret_account_failure(
    account: Refusal | ReadFailure,
) -> Blocked | CredentialExpired | ReadFailure:
    """Return the meaning of a failed read of the own account.

    snac refuses an invalid token with 422, Mastodon with 401.
    """
    if isinstance(account, Refusal):
        if account.status in {401, 422}:
            return CredentialExpired(reason="mastodon_401")
        if account.status == 403:
            return Blocked(
                code="mastodon_403",
                reason=account.message,
            )
        return api.to_failure(account)
    if isinstance(account, Unknown) and account.reason == "mastodon_wrong_account":
        return Blocked(
            code="mastodon_wrong_account",
            reason="",
            hold_reason=HoldReason.WRONG_SECRET,
        )
    return account
