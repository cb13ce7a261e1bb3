"""`publisher check` loads the package, and explains each mistake in an account at its line."""

from workspace import SETTINGS, publisher, write_workspace

LINE = SETTINGS[: SETTINGS.index("identity")].count("\n") + 1


async def check(folder, identity):
    """Return the exit status of `publisher check`, and what it wrote."""
    write_workspace(
        folder, "post = []\n", identity=identity, base_url="http://127.0.0.1:9"
    )
    status, output, errors = await publisher(folder, "--lang", "en", "check")
    return status, output + errors


async def test_an_identity_without_a_server_is_shown_at_its_line(tmp_path):
    """NAME@SERVER is accepted; a name alone is an error at its line, in our own words."""
    status, output = await check(tmp_path, "police@social.example")
    assert status == 0, output
    status, output = await check(tmp_path, "police")
    assert status == 1, output
    assert f"publisher.toml:{LINE}:" in output
    assert "identity must be NAME@SERVER" in output
