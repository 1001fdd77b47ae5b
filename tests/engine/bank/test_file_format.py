import copy
import json
import pickle
import struct

import numpy as np
import pytest
import safetensors.torch
import torch

from ntt_plugin.engine.bank.memory_bank import Fingerprint, MemoryBank, Refused
from ntt_plugin.engine.recipe import ADDED_LATER, Recipe
from ntt_plugin.engine.references import Provenance
from ntt_plugin.errors import BankError
from tests.bad_input.bank_mutations import KEY, join, split, with_document

ENCODER = Fingerprint("facebook/dinov2-large", "0123456789abcdef", 518, 4, 0.25)
RECIPE = Recipe.from_preset("fast", grid=5, nms_iou=0.9, segmenter="/weights/größe.pt")


@pytest.fixture(scope="module")
def bank():
    bank = MemoryBank(ENCODER, RECIPE)
    origin = Provenance("harbour", "sample", "label", (1.5, 2.0, 3.0, 4.0))
    bank.add("boat", torch.tensor([[0.1, 2, 3, 4], [5, 6, 7, 8]]), [origin, Provenance()])
    bank.add('Vögel "quoted" 鳥', torch.arange(4.0))
    bank.add_negatives("boat", torch.tensor([1.0, -1, 1, -1]))
    bank.refused.append(Refused("boat", origin, "Its mask is empty."))
    return bank


def everything(bank):
    return {
        "about": (bank.fingerprint, bank.recipe, bank.created, bank.version, bank.refused),
        "references": {
            label: [
                (entry.id, entry.provenance, entry.feature.tolist())
                for entry in bank.references(label) + bank.negative_references(label)
            ]
            for label in bank.classes
        },
    }


def test_the_field_of_a_label_comes_back(bank):
    other = MemoryBank(ENCODER, RECIPE)
    other.add("boat", torch.ones(4), Provenance("harbour", "sample", "label", field="truth"))
    (entry,) = MemoryBank.from_bytes(other.to_bytes()).references("boat")
    assert entry.provenance.field == "truth"


def test_without_fields_the_file_is_that_of_earlier_versions(bank):
    header, _ = split(bank.to_bytes())
    origins = [
        entry["provenance"]
        for label in json.loads(header["__metadata__"][KEY])["classes"]
        for entry in label["references"] + label["negatives"]
    ]
    assert all(set(origin) == {"dataset", "sample", "label", "box"} for origin in origins)


def test_a_bank_comes_back_from_its_file_as_it_was(bank, tmp_path):
    path = tmp_path / "birds.safetensors"
    bank.save(path)
    loaded = MemoryBank.load(path)
    assert everything(loaded) == everything(bank)
    assert torch.equal(loaded.prototypes(), bank.prototypes())


def test_an_empty_bank_comes_back(tmp_path):
    loaded = MemoryBank.from_bytes(MemoryBank(ENCODER).to_bytes())
    assert (loaded.classes, loaded.fingerprint) == ([], ENCODER)


def test_the_whole_recipe_comes_back_also_from_a_bank_that_was_changed(bank):
    loaded = MemoryBank.from_bytes(bank.to_bytes())
    loaded.add("boat", torch.ones(4))
    again = MemoryBank.from_bytes(loaded.to_bytes())
    assert (again.recipe, again.preset) == (RECIPE, "fast")


def test_a_loaded_bank_can_be_changed(bank):
    loaded = MemoryBank.from_bytes(bank.to_bytes())
    loaded.add("boat", torch.ones(4))
    loaded.remove_reference(loaded.references("boat")[0].id)
    assert everything(MemoryBank.from_bytes(loaded.to_bytes())) == everything(loaded)


def test_the_file_is_safetensors_with_json(bank, tmp_path):
    bank.save(tmp_path / "bank")
    with safetensors.safe_open(tmp_path / "bank", "np") as file:
        document = json.loads(file.metadata()[KEY])
        features = file.get_tensor("features")
    assert [entry["label"] for entry in document["classes"]] == bank.classes
    assert np.array_equal(features[:2], bank.features("boat").numpy())


def test_saving_replaces_and_leaves_nothing_else(bank, tmp_path):
    path = tmp_path / "bank"
    path.write_bytes(b"old")
    bank.save(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["bank"]
    assert MemoryBank.load(path).classes == bank.classes


def test_others_may_read_the_file_as_any_other(bank, tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    bank.save(tmp_path / "bank.safetensors")
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_saving_into_a_folder_that_is_not_there_is_refused(bank, tmp_path):
    with pytest.raises(BankError, match="Cannot write"):
        bank.save(tmp_path / "none" / "bank")


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "bad.safetensors").write_bytes(b"bad")
    with pytest.raises(BankError, match=r"bad\.safetensors: .*too short"):
        MemoryBank.load(tmp_path / "bad.safetensors")


def test_a_file_cut_short_anywhere_is_refused(bank):
    data = bank.to_bytes()
    for length in range(0, len(data), 7):
        with pytest.raises(BankError):
            MemoryBank.from_bytes(data[:length])


def test_bytes_after_the_end_are_refused(bank):
    with pytest.raises(BankError):
        MemoryBank.from_bytes(bank.to_bytes() + b"\0")


def test_noise_is_refused():
    generator = np.random.default_rng(0)
    for length in (0, 1, 8, 9, 100, 5000):
        with pytest.raises(BankError):
            MemoryBank.from_bytes(generator.bytes(length))


def test_a_pickle_is_refused_and_not_run():
    ran = []

    class Trap:
        def __reduce__(self):
            return ran.append, (1,)

    with pytest.raises(BankError):
        MemoryBank.from_bytes(pickle.dumps(Trap()))
    assert ran == []


@pytest.mark.parametrize("length", [2**63, 2**64 - 1, 200_000_000, 5000])
def test_a_header_longer_than_the_file_is_refused(length):
    with pytest.raises(BankError, match="header is longer"):
        MemoryBank.from_bytes(struct.pack("<Q", length) + b"{}" + b" " * 1000)


def test_foreign_safetensors_are_refused():
    data = safetensors.torch.save({"features": torch.ones(1, 4)}, metadata={"format": "pt"})
    with pytest.raises(BankError, match="not a memory bank's"):
        MemoryBank.from_bytes(data)


@pytest.mark.parametrize("header", [b"[]", b"1", b"{", b"\xff\xfe", b"[" * 100_000])
def test_headers_that_are_no_mapping_are_refused(header):
    with pytest.raises(BankError):
        MemoryBank.from_bytes(join(header, b""))


@pytest.mark.parametrize(
    "document",
    ["", "[]", "null", "{}", "[" * 100_000, '{"format_version": NaN}', "9" * 10_000],
)
def test_documents_of_another_form_are_refused(bank, document):
    with pytest.raises(BankError):
        MemoryBank.from_bytes(with_document(bank.to_bytes(), lambda _: document))


def set_in(document, path, value):
    *parents, last = path
    for key in parents:
        document = document[key]
    document[last] = value


FIRST = ("classes", 0)
REFERENCE = (*FIRST, "references", 0)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("format_version",), 2),
        (("format_version",), "1"),
        (("format_version",), True),
        (("version",), -1),
        (("version",), 1.5),
        (("version",), 2**31),
        (("recipe",), None),
        (("recipe",), []),
        (("recipe",), {}),
        (("recipe", "name"), ""),
        (("recipe", "name"), "lone \ud800 surrogate"),
        (("recipe", "segmenter"), ["a"]),
        (("recipe", "encoder"), None),
        (("recipe", "encoder_size"), 10**400),
        (("recipe", "precision"), "float64"),
        (("recipe", "precision"), {}),
        (("recipe", "grid"), 10**9),
        (("recipe", "grid"), 5.0),
        (("recipe", "grid"), True),
        (("recipe", "nms_iou"), "0.9"),
        (("recipe", "nms_iou"), float("nan")),
        (("recipe", "merge_exponent"), 10**400),
        (("recipe", "negative_sigma"), 0),
        (("created",), 5),
        (("fingerprint",), []),
        (("fingerprint", "name"), ""),
        (("fingerprint", "digest"), 7),
        (("fingerprint", "size"), 0),
        (("fingerprint", "size"), 1e9),
        (("fingerprint", "channels"), 5),
        (("fingerprint", "channels"), 10**30),
        (("fingerprint", "context_ratio"), -1),
        (("fingerprint", "context_ratio"), 10**400),
        (("fingerprint", "context_ratio"), float("nan")),
        (("fingerprint", "context_ratio"), float("inf")),
        (("classes",), {}),
        (("classes",), []),
        (FIRST, None),
        ((*FIRST, "label"), ""),
        ((*FIRST, "label"), 3),
        ((*FIRST, "label"), 'Vögel "quoted" 鳥'),
        ((*FIRST, "label"), "lone \ud800 surrogate"),
        ((*FIRST, "references"), []),
        ((*FIRST, "negatives"), []),
        ((*FIRST, "negatives"), None),
        (REFERENCE, "text"),
        ((*REFERENCE, "id"), None),
        ((*REFERENCE, "provenance"), None),
        ((*REFERENCE, "provenance", "sample"), 3),
        ((*REFERENCE, "provenance", "field"), 3),
        ((*REFERENCE, "provenance", "box"), [1, 2, 3]),
        ((*REFERENCE, "provenance", "box"), [1, 2, 3, "4"]),
        ((*REFERENCE, "provenance", "box"), [1, 2, 3, True]),
        (("refused",), None),
        (("refused", 0), 1),
        (("refused", 0, "reason"), None),
    ],
)
def test_a_wrong_value_in_the_document_is_refused(bank, path, value):
    with pytest.raises(BankError, match="not a sound memory bank"):
        MemoryBank.from_bytes(with_document(bank.to_bytes(), lambda d: set_in(d, path, value)))


def test_a_recipe_of_a_newer_version_is_refused_as_such(bank):
    data = with_document(bank.to_bytes(), lambda d: set_in(d, ("recipe", "temperature"), 0.1))
    with pytest.raises(BankError, match=r"'temperature'.*newer"):
        MemoryBank.from_bytes(data)


@pytest.mark.parametrize("field", ["grid", "name", "nms_iou"])
def test_what_a_recipe_lacks_is_not_filled_in(bank, field):
    with pytest.raises(BankError, match=f"lacks the fields .*'{field}'"):
        MemoryBank.from_bytes(
            with_document(bank.to_bytes(), lambda d: d["recipe"].pop(field) and None)
        )


def test_a_file_from_before_a_field_of_the_recipe_existed_is_read(bank):
    def as_it_was(document):
        for field in ADDED_LATER:
            del document["recipe"][field]

    recipe = MemoryBank.from_bytes(with_document(bank.to_bytes(), as_it_was)).recipe
    assert (recipe.rescoring, recipe.duplicate_iou, recipe.tile) == ("decay", None, None)
    assert recipe == bank.recipe


def test_a_document_unchanged_is_read(bank):
    assert everything(MemoryBank.from_bytes(with_document(bank.to_bytes(), lambda _: None)))


@pytest.mark.parametrize("where", ["references", "negatives"])
def test_an_id_that_is_there_twice_is_refused(bank, where):
    def duplicate(document):
        first = document["classes"][0]
        first[where][-1]["id"] = first["references"][0]["id"]

    with pytest.raises(BankError, match="there twice"):
        MemoryBank.from_bytes(with_document(bank.to_bytes(), duplicate))


def test_more_references_than_features_are_refused(bank):
    def lengthen(document):
        entry = copy.deepcopy(document["classes"][0]["references"][0])
        entry["id"] = "another"
        document["classes"][1]["references"].append(entry)

    with pytest.raises(BankError, match="`features` has 3 rows, and 4 are listed"):
        MemoryBank.from_bytes(with_document(bank.to_bytes(), lengthen))


@pytest.mark.parametrize(
    "tensors",
    [
        {"features": torch.ones(3, 5), "negatives": torch.ones(1, 4)},
        {"features": torch.ones(3, 4), "negatives": torch.ones(1, 5)},
        {"features": torch.ones(2, 4), "negatives": torch.ones(1, 4)},
        {"features": torch.ones(4, 4), "negatives": torch.ones(1, 4)},
        {"features": torch.ones(12), "negatives": torch.ones(1, 4)},
        {"features": torch.ones(3, 4)},
        {"features": torch.ones(3, 4), "negatives": torch.ones(1, 4), "more": torch.ones(1)},
        {"features": torch.ones(3, 4).double(), "negatives": torch.ones(1, 4)},
        {"features": torch.ones(3, 4).half(), "negatives": torch.ones(1, 4)},
        {"features": torch.ones(3, 4) * 1.1e9, "negatives": torch.ones(1, 4)},
        {"features": torch.ones(3, 4) * float("nan"), "negatives": torch.ones(1, 4)},
        {"features": torch.ones(3, 4), "negatives": torch.ones(1, 4) * float("inf")},
    ],
)
def test_tensors_of_another_form_are_refused(bank, tensors):
    metadata = split(bank.to_bytes())[0]["__metadata__"]
    with pytest.raises(BankError, match="not a sound memory bank"):
        MemoryBank.from_bytes(safetensors.torch.save(tensors, metadata=metadata))


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 48]},
        {"dtype": "F32", "shape": [-3, 4], "data_offsets": [0, 48]},
        {"dtype": "F32", "shape": [3, 4], "data_offsets": [0, 2**62]},
        {"dtype": "F32", "shape": [3, 4], "data_offsets": [16, 64]},
        {"dtype": "F32", "shape": "3x4", "data_offsets": [0, 48]},
        {"dtype": "F32", "shape": [3, 4]},
        {"dtype": "F32"},
        {"dtype": "F32", "shape": ["3", 4], "data_offsets": [0, 48]},
        {"dtype": "F32", "shape": [[3], 4], "data_offsets": [0, 48]},
        "features",
    ],
)
def test_a_header_that_lies_about_a_tensor_is_refused(bank, entry):
    header, body = split(bank.to_bytes())
    header["features"] = entry
    with pytest.raises(BankError):
        MemoryBank.from_bytes(join(header, body))


@pytest.mark.parametrize(
    ("label", "provenance"),
    [
        ("lone \ud800 surrogate", Provenance()),
        ("a", Provenance(sample="\udfff")),
        ("a", Provenance(sample=object())),
        ("a", Provenance(box=(0, 0, float("nan"), 1))),
    ],
)
def test_what_could_not_be_read_again_is_refused_on_saving(label, provenance):
    bank = MemoryBank(ENCODER)
    bank.add(label, torch.ones(4), provenance)
    with pytest.raises(BankError, match="cannot be written"):
        bank.to_bytes()


def test_boxes_of_numpy_numbers_can_be_saved():
    bank = MemoryBank(ENCODER)
    bank.add("a", torch.ones(4), Provenance(box=tuple(np.arange(4, dtype=np.float32))))
    (loaded,) = MemoryBank.from_bytes(bank.to_bytes()).references("a")
    assert loaded.provenance.box == (0, 1, 2, 3)
