from tests.app.driver import loaded, page


def test_the_form_says_what_would_be_fetched_and_how_large(plugin, bare, monkeypatch):
    networks = loaded(plugin, "dataset.networks")
    monkeypatch.setattr(networks, "find_cached", lambda _: None)
    monkeypatch.setattr(networks, "find_in_zoo", lambda *_: None)
    form = plugin.form(bare, "download_networks")
    assert form.warns()
    assert "facebook/sam2-hiera-large (a download, 898 MB)" in form.text()
    assert "2,116 MB" in form.said("will_do")


def test_the_form_says_that_there_is_nothing_to_fetch(plugin, bare):
    form = plugin.form(bare, "download_networks", params={"preset": "tiny"})
    assert form.said("will_do") == "Nothing to fetch: tiny can be used at once."
    assert not form.warns()


def test_nothing_is_fetched_where_all_is_here(plugin, bare):
    found = page(plugin.run(bare, "download_networks", {"preset": "tiny"}))
    assert "Nothing had to be fetched" in found["message"]
