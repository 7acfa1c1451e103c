"""Owns the proof of what the lab's site answers. It opens no connection."""

import pytest

from lab.pages import Pages


def test_only_tokens_that_a_login_gave_out_are_taken() -> None:
    pages = Pages()
    assert pages.answer("/_site/orders/t1").status == 401
    assert b'"token": "t1"' in pages.answer("/_site/login").body
    assert [pages.answer(f"/_site/orders/{token}").status for token in ("t1", "t2", "x", "t0")] == [200, 401, 401, 401]


def test_a_flaky_page_answers_the_last_of_each_few() -> None:
    pages = Pages()
    assert [pages.answer("/_site/flaky/503/3").status for _ in range(6)] == [503, 503, 200, 503, 503, 200]


def test_redirects_come_to_an_end() -> None:
    pages = Pages()
    page, hops = pages.answer("/_site/redirect/302/3"), 0
    while page.status == 302:
        page, hops = pages.answer(page.headers[0].removeprefix("Location: ")), hops + 1
    assert (page.status, hops) == (200, 3)


@pytest.mark.parametrize("url", ["/_site/", "/_site/status/x", "/_site/packed/lzma", "/_site/flaky/5"])
def test_what_the_site_does_not_have_is_not_found(url: str) -> None:
    assert Pages().answer(url).status == 404
