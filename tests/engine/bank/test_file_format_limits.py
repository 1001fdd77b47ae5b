"""What a hostile or huge file of a memory bank may cost."""

import json
import os
import struct
import tracemalloc

import pytest
import safetensors.torch
import torch

from ntt_plugin.engine.bank import file_format
from ntt_plugin.engine.bank.memory_bank import Fingerprint, MemoryBank
from ntt_plugin.engine.references import Provenance
from ntt_plugin.errors import BankError
from tests.bad_input.bank_mutations import join, split, with_document


@pytest.fixture
def bank():
    bank = MemoryBank(Fingerprint("facebook/dinov2-large", "0123456789abcdef", 518, 4))
    bank.add("boat", torch.ones(3, 4))
    return bank


def test_a_file_too_large_for_a_bank_is_not_read(bank, tmp_path, monkeypatch):
    bank.save(tmp_path / "bank")
    monkeypatch.setattr("ntt_plugin.engine.bank.file_format.MAX_BYTES", 100)
    with pytest.raises(BankError, match=r"bank: .*larger than 100 bytes"):
        MemoryBank.load(tmp_path / "bank")


def test_a_key_that_is_there_twice_is_refused(bank):
    header, body = split(bank.to_bytes())
    text = json.dumps(header)
    twice = text[:-1] + ', "features": ' + json.dumps(header["features"]) + "}"
    with pytest.raises(BankError, match="a key twice"):
        MemoryBank.from_bytes(join(twice.encode(), body))


def test_names_made_of_brackets_and_quotes_do_not_count_as_parts(bank, monkeypatch):
    named = MemoryBank.from_bytes(bank.to_bytes())
    for label in ("[" * 10_000, '"[{,' * 1000, '\\"[' * 1000, "\\" * 999):
        named.add(label, torch.ones(4))
    monkeypatch.setattr("ntt_plugin.engine.bank.file_format.MAX_PARTS", 200)
    assert MemoryBank.from_bytes(named.to_bytes()).classes == named.classes


def test_more_parts_than_a_bank_can_have_are_refused_and_never_written(bank, monkeypatch):
    data = bank.to_bytes()
    monkeypatch.setattr("ntt_plugin.engine.bank.file_format.MAX_PARTS", 20)
    with pytest.raises(BankError, match="more than 20 parts"):
        MemoryBank.from_bytes(data)
    with pytest.raises(BankError, match="split it"):
        bank.to_bytes()


@pytest.mark.parametrize("limit", ["MAX_BYTES", "MAX_HEADER_BYTES"])
def test_a_bank_too_large_to_be_read_again_is_not_written(bank, monkeypatch, limit):
    monkeypatch.setattr(f"ntt_plugin.engine.bank.file_format.{limit}", 1000)
    with pytest.raises(BankError, match="split it"):
        bank.to_bytes()


def test_of_a_file_that_is_no_bank_only_the_beginning_is_read(tmp_path):
    path = tmp_path / "huge.safetensors"
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 2) + b"{}")
        file.truncate(900 * 1024**2)
    tracemalloc.start()
    with pytest.raises(BankError, match=r"huge\.safetensors"):
        MemoryBank.load(path)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_a_bank_with_something_after_its_end_is_not_read_to_its_end(bank, tmp_path):
    path = tmp_path / "long.safetensors"
    bank.save(path)
    with path.open("r+b") as file:
        file.truncate(900 * 1024**2)
    tracemalloc.start()
    with pytest.raises(BankError, match="something follows"):
        MemoryBank.load(path)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_a_folder_is_no_bank(tmp_path):
    with pytest.raises(BankError, match="is a folder; give the file"):
        MemoryBank.load(tmp_path)


def test_devices_and_pipes_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(BankError, match="a pipe, a socket or a device"):
            MemoryBank.load(path)


def test_too_little_memory_is_our_error(bank, monkeypatch):
    data = bank.to_bytes()

    def exhausted(*_):
        raise MemoryError

    monkeypatch.setattr(file_format, "_tensor", exhausted)
    with pytest.raises(BankError, match="not enough memory"):
        MemoryBank.from_bytes(data)


def test_what_a_stranger_wrote_is_quoted_but_not_at_any_length(bank):
    def change(document):
        document["recipe"]["x" * 100_000] = 1

    data = with_document(bank.to_bytes(), change)
    with pytest.raises(BankError) as caught:
        MemoryBank.from_bytes(data)
    assert len(str(caught.value)) < 600


def test_a_path_that_no_system_takes_is_our_error(bank):
    for attempt in (bank.save, MemoryBank.load):
        with pytest.raises(BankError):
            attempt("a\0b")


@pytest.mark.parametrize("change", [+1, -1])
def test_a_file_that_changes_while_it_is_read_gives_no_more_than_it_had(
    tmp_path, monkeypatch, change
):
    bank = MemoryBank(Fingerprint("facebook/dinov2-large", "0123456789abcdef", 518, 4))
    bank.add("boat", torch.rand(100_000, 4))
    path = tmp_path / "bank"
    bank.save(path)
    size, counts_of = path.stat().st_size, file_format.counts_of

    def meanwhile(document):
        os.truncate(path, size + change * 1_000_000)
        return counts_of(document)

    monkeypatch.setattr(file_format, "counts_of", meanwhile)
    if change > 0:
        assert torch.equal(MemoryBank.load(path).features("boat"), bank.features("boat"))
    else:
        with pytest.raises(BankError, match="became shorter while it was read"):
            MemoryBank.load(path)


def test_the_file_is_what_safetensors_writes(bank):
    bank.add_negatives("boat", torch.rand(2, 4))
    bank.add('ca"r\\\n\x01\u20ac\x7f', torch.rand(2, 4))
    header, _ = split(bank.to_bytes())
    tensors = {
        "features": torch.cat([bank.features(label) for label in bank.classes]),
        "negatives": torch.cat([bank.negatives(label) for label in bank.classes]),
    }
    text = header["__metadata__"]["ntt_memory_bank"]
    written = safetensors.torch.save(tensors, metadata={"ntt_memory_bank": text})
    assert bank.to_bytes() == written


def test_negatives_may_come_before_the_references(bank):
    bank.add_negatives("boat", torch.rand(2, 4))
    header, body = split(bank.to_bytes())
    header["features"]["data_offsets"], header["negatives"]["data_offsets"] = [32, 80], [0, 32]
    for pad in range(4):
        text = json.dumps(header).encode()
        data = join(text + b" " * (pad - len(text) % 4), body[48:] + body[:48])
        for given in (data, bytearray(data)):
            read = MemoryBank.from_bytes(given)
            assert torch.equal(read.features("boat"), bank.features("boat"))
            assert torch.equal(read.negatives("boat"), bank.negatives("boat"))


@pytest.mark.parametrize(
    "offsets", [[0, 44], [4, 52], [0, 48.0], [False, 48], [48, 0], [-4, 44], [0], [], 7]
)
def test_features_that_are_not_where_they_must_be_are_refused(bank, offsets):
    header, body = split(bank.to_bytes())
    header["features"]["data_offsets"] = offsets
    with pytest.raises(BankError, match="sound"):
        MemoryBank.from_bytes(join(header, body))


def test_a_large_bank_is_written_in_small_pieces():
    bank = MemoryBank(Fingerprint("facebook/dinov2-large", "0123456789abcdef", 518, 1024))
    for label in ("boat", "car"):
        bank.add(label, torch.rand(3000, 1024))
    size, pieces = bank.to_pieces()
    lengths = [len(piece) for piece in pieces]
    assert sum(lengths) == size == len(bank.to_bytes())
    assert max(lengths) <= 4 * 1024**2


def long_texts():
    def label(document, text):
        document["classes"][0]["label"] = text

    def sample(document, text):
        document["classes"][0]["references"][0]["provenance"]["sample"] = text

    def encoder(document, text):
        document["recipe"]["encoder"] = text

    def created(document, text):
        document["created"] = text

    return [label, sample, encoder, created]


@pytest.mark.parametrize("place", long_texts())
def test_a_text_longer_than_any_name_is_refused(bank, place):
    data = bank.to_bytes()
    MemoryBank.from_bytes(with_document(data, lambda document: place(document, "x" * 100_000)))
    with pytest.raises(BankError, match=r"100,001 characters|more than 100,000") as caught:
        MemoryBank.from_bytes(with_document(data, lambda document: place(document, "x" * 100_001)))
    assert len(str(caught.value)) < 500


def test_a_bank_takes_no_text_that_its_file_could_not_hold(bank):
    with pytest.raises(BankError, match=r"100,001 characters.*shorten"):
        bank.add("x" * 100_001, torch.ones(4))
    bank.add("boat", torch.ones(4), Provenance(sample="x" * 100_001))
    with pytest.raises(BankError, match=r"100,001 characters.*shorten"):
        bank.to_bytes()
