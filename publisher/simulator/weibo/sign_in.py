"""Whose token it is, what it may, and how often it may (open.weibo.com wiki OAuth2, Error_code)."""

from publisher.simulator.call import Answer, Call
from publisher.simulator.world import World

from .answers import refuse
from .quotas import EVERYBODY, Quotas
from .tokens import Token, Tokens

SCHEME = "oauth2 "
UNKNOWN = 21332
NO_TOKEN = 10006
NOT_GRANTED = 10014


class SignIn:
    """Checks in the order: verb, token, grant, rate."""

    def __init__(self, world: World, tokens: Tokens, quotas: Quotas) -> None:
        self.world = world
        self._tokens = tokens
        self._quotas = quotas

    def token(self, call: Call) -> str:
        """From body, query, or the header `Authorization: OAuth2 TOKEN`: real clients use each."""
        header = call.headers.get("authorization", "")
        if header[: len(SCHEME)].lower() == SCHEME:
            return header[len(SCHEME) :].strip()
        return call.value("access_token") or ""

    def who(self, call: Call) -> str:
        if call.endpoint == "/oauth2/access_token":
            return self._tokens.code_owner(call.value("code") or "")
        if call.endpoint == "/oauth2/authorize":
            return call.form.get("other") or call.form.get("account") or ""
        return self._tokens.owner(self.token(call))

    def refusal(self, call: Call, method: str, grant: str = "", *, is_publishing: bool = False) -> Answer | None:
        """The checks that come before any parameter is read."""
        token = self.judged(call, method)
        if isinstance(token, Answer):
            return token
        self.world.account("weibo", call.account)
        if grant and not self.has(call.account, grant):
            return refuse(call, NOT_GRANTED)
        return self._quotas.refusal(call, is_publishing=is_publishing)

    def judged(self, call: Call, *methods: str) -> Answer | Token:
        """The call's token if it is good, else what is wrong with the call."""
        if call.method not in methods:
            return refuse(call, 10021)
        if not self.token(call):
            return refuse(call, NO_TOKEN)
        token = self._tokens.find(self.token(call))
        if token is None:
            return refuse(call, UNKNOWN)
        trouble = token.trouble(self.world.now())
        return token if trouble is None else refuse(call, trouble)

    def has(self, account: str, grant: str) -> bool:
        """Whether the platform granted an account a set of calls: an ordinary app has none."""
        grants = self.world.settings.weibo_grants
        return grant in grants.get(account, ()) or grant in grants.get(EVERYBODY, ())

    def rate_limit(self, call: Call) -> Answer:
        """What is left of the user's calls; asking costs none."""
        token = self.judged(call, "GET")
        return token if isinstance(token, Answer) else Answer.of(self._quotas.status(token.account))
