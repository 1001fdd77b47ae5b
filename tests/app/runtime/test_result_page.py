from ntt_plugin.app.runtime.result_page import Outcome, output_page
from ntt_plugin.app.text import Table

TABLE = Table(["Class", "n"], [["red", 1200]])


def test_a_page_shows_the_table_also_of_a_delegated_run():
    kept = Outcome("Done.", {"Facts": 1}, table=TABLE).as_dict()
    page = output_page(kept).type.properties
    assert page["table"].view.label == TABLE.markdown()
    assert "ntt_table" not in page["facts"].view.label


def test_names_and_reasons_on_a_page_stay_as_they_are():
    outcome = Outcome("Done.", {"Classes": "__background__ (3)"}, ["a*b*.png: # lost\nat sea"])
    page = output_page(outcome.as_dict()).type.properties
    assert r"\_\_background\_\_ (3)" in page["facts"].view.label
    assert r"- a\*b\*.png: \# lost at sea" in page["problems"].view.label
