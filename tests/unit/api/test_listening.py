"""Owns the proof of where a server may listen. It must not serve anything."""

import pytest

from backbone.errors import SettingsError
from backbone.http_server import bind_anywhere, bind_loopback, url_of


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.com", ""])
def test_it_listens_on_this_machine_only(host: str) -> None:
    with pytest.raises(SettingsError) as info:
        bind_loopback(host, 0)

    assert "127.0.0.1" in str(info.value)
    assert "\n" not in str(info.value)


def test_two_cannot_listen_on_one_port_and_the_second_is_told_what_to_do() -> None:
    with bind_loopback("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        assert url_of(first) == f"http://127.0.0.1:{port}"
        with pytest.raises(SettingsError, match=f"^port {port} of localhost is in use: choose another with --port$"):
            bind_loopback("localhost", port)


def test_the_address_of_a_server_on_every_interface_is_one_that_can_be_opened_here() -> None:
    with bind_anywhere("0.0.0.0", 0) as listener:
        assert url_of(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_what_is_no_address_is_refused_in_one_line() -> None:
    with pytest.raises(SettingsError, match=r"^'example\.com' is not an address to listen on"):
        bind_anywhere("example.com", 0)
