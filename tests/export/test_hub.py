"""Publishing and fetching with the real client and a local server that implements the Hub's protocol."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import HfApi, ModelCard

from export.about import about
from export.errors import PublishError
from export.hub import publish
from handler.contract import CARD_FILE, CONTRACT_FILE, MODEL_FILE, Contract, load_bundle
from handler.errors import BundleError, BundleMissing, BundleTampered, HubMissing, HubUnauthorized, HubUnavailable
from handler.hub import SOURCE_FILE, fetch, listing
from tests.hub_server import HubServer

REPO = "radiology/chest"
STORAGE = "GET /storage/"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    with HubServer() as server:
        server.serve_client(monkeypatch)
        monkeypatch.setattr("time.sleep", lambda _seconds: None)  # the client's waits between two attempts
        yield server
        assert server.errors == []


def make_bundle(folder: Path, version: str = "1.2.0", weights: bytes = b"weights" * 5000) -> Path:
    contract = Contract(
        name="vgg19-chest",
        version=version,
        sha256=hashlib.sha256(weights).hexdigest(),
        input_size=128,
        labels=("CLEAR", "Covid", "TB"),
        threshold=None,
        set_thresholds=(0.2, 0.2, 0.2),
        set_coverage=0.98,
        temperature=1.0,
        ood_threshold=9.0,
        unlike_threshold=9.0,
        orientations=("upright", "mirrored"),
        least_upright=0.1,
        most_photographed=1.0,
        about=about(("CLEAR", "Covid", "TB"), license="cc-by-4.0", source="Our ward, 2026"),
        metrics={"test": {"n": 624, "auc": 0.98123, "accuracy": 0.94}},
    )
    folder.mkdir()
    (folder / MODEL_FILE).write_bytes(weights)
    (folder / CONTRACT_FILE).write_text(contract.to_json(), encoding="utf-8")
    (folder / CARD_FILE).write_text("# VGG19 on chest X-rays\n\nNo medical device.\n", encoding="utf-8")
    return folder


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle")


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_publish_then_fetch_brings_the_same_bytes(hub: HubServer, bundle: Path, tmp_path: Path) -> None:
    commit = publish(bundle, REPO)
    out = fetch(REPO, commit, tmp_path / "fetched" / "model")
    assert load_bundle(out) == load_bundle(bundle)
    assert (out / SOURCE_FILE).read_text().strip() == f"{REPO}@{commit}"
    assert leftovers(out.parent) == ["model"]
    assert leftovers(out) == [CARD_FILE, CONTRACT_FILE, MODEL_FILE, SOURCE_FILE]
    assert hub.repositories[REPO].tags == {"1.2.0": commit}


def test_card_carries_the_measured_results(hub: HubServer, bundle: Path) -> None:
    commit = publish(bundle, REPO)
    card = ModelCard(hub.repositories[REPO].commits[commit][CARD_FILE].decode())
    results = {result.metric_type: (result.metric_value, result.dataset_split) for result in card.data.eval_results}
    assert results == {"auc": (0.9812, "test"), "accuracy": (0.94, "test")}
    assert {(result.task_name, result.dataset_name, result.dataset_type) for result in card.data.eval_results} == {
        ("CLEAR, Covid or TB from chest X-rays", "Our ward, 2026", "our-ward-2026")
    }
    assert card.data.license == "cc-by-4.0"
    assert {"class:CLEAR", "class:Covid", "class:TB"} <= set(card.data.tags)
    assert card.data.pipeline_tag == "image-classification"
    assert "No medical device." in card.text


def test_publishing_again_changes_nothing(hub: HubServer, bundle: Path) -> None:
    first = publish(bundle, REPO)
    before = len(hub.log)
    assert publish(bundle, REPO) == first
    assert not [line for line in hub.log[before:] if "commit" in line or "tag/" in line or "PUT" in line]


def test_a_run_that_broke_before_the_tag_is_completed(hub: HubServer, bundle: Path) -> None:
    hub.fault("POST .*/tag/", 503)
    with pytest.raises(HubUnavailable, match="503"):
        publish(bundle, REPO)
    commit = publish(bundle, REPO)
    assert len(hub.repositories[REPO].commits) == 2  # the empty first one and the published one
    assert hub.repositories[REPO].tags == {"1.2.0": commit}


def test_a_new_version_gets_its_own_commit_and_tag(hub: HubServer, bundle: Path, tmp_path: Path) -> None:
    first = publish(bundle, REPO)
    second = publish(make_bundle(tmp_path / "next", "1.3.0", b"other"), REPO)
    assert hub.repositories[REPO].tags == {"1.2.0": first, "1.3.0": second}
    fetched = [load_bundle(fetch(REPO, version, tmp_path / version))[0].version for version in ("1.2.0", "1.3.0")]
    assert fetched == ["1.2.0", "1.3.0"]


def test_a_taken_version_is_refused(hub: HubServer, bundle: Path, tmp_path: Path) -> None:
    publish(bundle, REPO)
    with pytest.raises(PublishError, match="give this bundle a new version"):
        publish(make_bundle(tmp_path / "other", "1.2.0", b"other"), REPO)
    assert len(hub.repositories[REPO].commits) == 2


def test_private_is_asked_for_and_insisted_on(hub: HubServer, bundle: Path) -> None:
    publish(bundle, REPO, private=True)
    assert hub.repositories[REPO].private
    hub.repositories[REPO].private = False
    with pytest.raises(PublishError, match="is public"):
        publish(bundle, REPO, private=True)


def test_a_damaged_bundle_is_not_sent(hub: HubServer, bundle: Path) -> None:
    (bundle / MODEL_FILE).write_bytes(b"changed")
    with pytest.raises(BundleTampered):
        publish(bundle, REPO)
    assert hub.log == []


def test_a_bundle_without_card_is_not_sent(hub: HubServer, bundle: Path) -> None:
    (bundle / CARD_FILE).unlink()
    with pytest.raises(BundleMissing, match="export build"):
        publish(bundle, REPO)
    assert hub.log == []


def test_publishing_needs_a_token_that_may_write(hub: HubServer, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_reader")
    with pytest.raises(HubUnauthorized, match="HF_TOKEN"):
        publish(bundle, REPO)
    assert hub.repositories == {}


@pytest.mark.parametrize(
    ("request_", "kind"),
    [("PUT /storage", "refuse"), ("PUT /storage", 500), ("POST .*/preupload", 502), ("POST .*batch", 429)],
)
def test_an_upload_survives_passing_trouble(hub: HubServer, bundle: Path, request_: str, kind: int | str) -> None:
    hub.fault(request_, kind)
    assert publish(bundle, REPO) == hub.repositories[REPO].head


@pytest.mark.parametrize(
    ("request_", "kind", "error"),
    [
        ("POST /api/repos/create", 401, HubUnauthorized),
        ("POST /api/repos/create", 429, HubUnavailable),
        ("POST /api/repos/create", "refuse", HubUnavailable),
        ("PUT /storage", 500, HubUnavailable),
        ("POST .*/commit/", 504, HubUnavailable),
        ("POST .*/commit/", "refuse", HubUnavailable),
    ],
)
def test_lasting_trouble_with_an_upload_is_explained(
    hub: HubServer, bundle: Path, request_: str, kind: int | str, error: type[BundleError]
) -> None:
    hub.fault(request_, kind, times=99)
    with pytest.raises(error):
        publish(bundle, REPO)
    assert not hub.repositories or not hub.repositories[REPO].tags


def test_a_dropped_download_goes_on_where_it_broke(
    hub: HubServer, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 500)  # it keeps whole chunks, of 10 MB
    commit = publish(bundle, REPO)
    hub.fault(STORAGE, "drop")
    out = fetch(REPO, commit, tmp_path / "model")
    assert hub.ranges == ["bytes=17500-"]
    assert load_bundle(out) == load_bundle(bundle)


def test_an_interrupted_fetch_keeps_the_finished_files(hub: HubServer, bundle: Path, tmp_path: Path) -> None:
    commit = publish(bundle, REPO)
    hub.fault(f"HEAD .*{CARD_FILE}", 503, times=99)
    with pytest.raises(HubUnavailable):
        fetch(REPO, commit, tmp_path / "model")
    assert not (tmp_path / "model").exists()
    hub.faults.clear()
    before = len(hub.log)
    fetch(REPO, commit, tmp_path / "model")
    assert not [line for line in hub.log[before:] if STORAGE in line]


def test_fetching_what_is_there_needs_no_network(hub: HubServer, bundle: Path, tmp_path: Path) -> None:
    commit = publish(bundle, REPO)
    out = fetch(REPO, commit, tmp_path / "model")
    before = len(hub.log)
    assert fetch(REPO, commit, out) == out
    assert len(hub.log) == before


@pytest.mark.usefixtures("hub")
def test_a_place_that_others_can_fill_is_not_trusted(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = publish(bundle, REPO)
    out = fetch(REPO, commit, tmp_path / "model")
    (tmp_path / "link").symlink_to(out)
    with pytest.raises(FileExistsError, match="folder that belongs to you"):
        fetch(REPO, commit, tmp_path / "link")

    monkeypatch.setattr(os, "geteuid", lambda: out.stat().st_uid + 1)
    with pytest.raises(FileExistsError, match="folder that belongs to you"):
        fetch(REPO, commit, out)


@pytest.mark.usefixtures("hub")
def test_another_commit_than_the_one_that_is_pinned_is_refused(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(bundle, REPO)
    told = listing(HfApi(), REPO, "1.2.0")
    monkeypatch.setattr("handler.hub.listing", lambda *_args: told)  # a mirror that answers with other content

    with pytest.raises(BundleTampered, match="instead of"):
        fetch(REPO, "a" * 40, tmp_path / "model")
    assert leftovers(tmp_path) == ["bundle"]


@pytest.mark.usefixtures("hub")
def test_a_damaged_copy_is_fetched_again(bundle: Path, tmp_path: Path) -> None:
    commit = publish(bundle, REPO)
    out = fetch(REPO, commit, tmp_path / "model")
    (out / MODEL_FILE).write_bytes(b"rot")
    assert load_bundle(fetch(REPO, commit, out)) == load_bundle(bundle)
    assert leftovers(tmp_path) == ["bundle", "model"]


@pytest.mark.parametrize("which", ["/storage/", f"/resolve/.*/{CONTRACT_FILE}", f"/resolve/.*/{CARD_FILE}"])
def test_tampered_files_replace_nothing(hub: HubServer, bundle: Path, tmp_path: Path, which: str) -> None:
    out = make_bundle(tmp_path / "model", "1.1.0", b"older")
    before = load_bundle(out)
    commit = publish(bundle, REPO)
    hub.fault(f"GET .*{which}", "tamper")
    with pytest.raises(BundleError):
        fetch(REPO, commit, out)
    assert load_bundle(out) == before
    assert leftovers(tmp_path) == ["bundle", "model"]
    assert load_bundle(fetch(REPO, commit, out)) == load_bundle(bundle)


@pytest.mark.parametrize(
    ("request_", "kind", "error", "remedy"),
    [
        ("HEAD", 401, HubUnauthorized, "HF_TOKEN"),
        ("HEAD", 403, HubUnauthorized, "HF_TOKEN"),
        ("HEAD", 404, HubMissing, "check the revision"),
        ("HEAD", 429, HubUnavailable, "wait"),
        ("HEAD", 500, HubUnavailable, "try again"),
        ("HEAD", "refuse", HubUnavailable, "check the network"),
        (STORAGE, 403, HubUnauthorized, "HF_TOKEN"),
        (STORAGE, 503, HubUnavailable, "try again"),
        (STORAGE, "refuse", HubUnavailable, "check the network"),
    ],
)
def test_every_failure_names_its_remedy_and_leaves_nothing(
    hub: HubServer, bundle: Path, tmp_path: Path, request_: str, kind: int | str, error: type[BundleError], remedy: str
) -> None:
    commit = publish(bundle, REPO)
    hub.fault(request_, kind, times=99)
    with pytest.raises(error, match=remedy):
        fetch(REPO, commit, tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.usefixtures("hub")
def test_missing_repository_revision_and_name(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(HubMissing, match="check the name"):
        fetch("nobody/nothing", "1.0.0", tmp_path / "model")
    publish(bundle, REPO)
    with pytest.raises(HubMissing, match="check the revision"):
        fetch(REPO, "9.9.9", tmp_path / "model")
    with pytest.raises(HubMissing, match="check the revision"):
        fetch(REPO, "f" * 40, tmp_path / "model")
    with pytest.raises(HubMissing, match="USER/NAME"):
        fetch("a/b/c", "1.2.0", tmp_path / "model")


@pytest.mark.usefixtures("hub")
def test_a_private_repository_is_hidden_from_strangers(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = publish(bundle, REPO, private=True)
    monkeypatch.setenv("HF_TOKEN", "hf_stranger")
    with pytest.raises(HubMissing, match="HF_TOKEN"):
        fetch(REPO, commit, tmp_path / "model")


@pytest.mark.usefixtures("hub")
def test_offline_mode_is_named_in_the_error(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = publish(bundle, REPO)
    monkeypatch.setattr("huggingface_hub.constants.is_offline_mode", lambda: True)
    with pytest.raises(HubUnavailable, match="HF_HUB_OFFLINE"):
        fetch(REPO, commit, tmp_path / "model")


def test_a_hub_that_is_gone_is_explained(bundle: Path, tmp_path: Path, hub: HubServer) -> None:
    commit = publish(bundle, REPO)
    huggingface_hub.close_session()
    hub.shutdown()
    hub.server_close()
    with pytest.raises(HubUnavailable, match="check the network"):
        fetch(REPO, commit, tmp_path / "model")


def test_a_contract_of_another_release_is_refused(hub: HubServer, bundle: Path, tmp_path: Path) -> None:
    contract, _ = load_bundle(bundle)
    commit = publish(bundle, REPO)
    files = hub.repositories[REPO].commits[commit]
    values = dataclasses.asdict(contract) | {"contract_version": 99}
    files[CONTRACT_FILE] = json.dumps(values).encode()
    with pytest.raises(BundleError, match="contract version 99"):
        fetch(REPO, commit, tmp_path / "model")
