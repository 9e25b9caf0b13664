"""Put a bundle on the Hugging Face Hub, and get one from there.

python -m export publish handler/model --repo USER/NAME --private
python -m export fetch --repo USER/NAME --revision SHA --out handler/model

Publishing needs `HF_TOKEN`, or a login by `hf auth login`. `HF_ENDPOINT` points both commands at another Hub.
"""

import argparse
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from export.errors import PublishError
from handler.contract import CARD_FILE, Contract, load_bundle
from handler.errors import BundleMissing
from handler.hub import BUNDLE_FILES, listing, same, translated

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

CARD_METRICS = {
    "accuracy": "Accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "auc": "AUC",
    "average_precision": "Average precision",
    "log_loss": "Log loss",
    "ece": "Expected calibration error",
}
"""Which of the contract's measured results go into the Hub's table, and what they are called there."""


def add_publish_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the `publish` command."""
    parser.add_argument("bundle", type=Path, help="bundle folder, such as handler/model")
    parser.add_argument("--repo", required=True, help="USER/NAME; made if it does not exist")
    parser.add_argument("--private", action="store_true", help="only you and your organization may read it")


def add_fetch_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the `fetch` command."""
    parser.add_argument("--repo", required=True, help="USER/NAME")
    parser.add_argument("--revision", required=True, help="commit SHA as `publish` printed it, or a version's tag")
    parser.add_argument("--out", type=Path, default=Path("handler/model"), help="bundle folder (default: %(default)s)")


def publish(bundle: Path, repo: str, private: bool = False) -> str:
    """Upload a verified bundle as one commit and tag it with the contract's version.

    Doing it again changes nothing: what the Hub already has is not sent, and a run that was interrupted between upload
    and tag is completed.

    Args:
        bundle: folder with the weights, the contract and the model card.
        repo: `USER/NAME`; created if need be.
        private: create it so, and refuse one that is public.

    Returns:
        The commit SHA to give to `fetch` and to `MODEL_REVISION`.

    Raises:
        BundleError: the bundle is incomplete or damaged; nothing was sent.
        PublishError: the version is taken by another bundle, or the repository is public and `private` was asked for.
        HubUnavailable, HubUnauthorized, HubMissing: see `handler.errors`.
    """
    contract, _ = load_bundle(bundle)
    contents = {name: (bundle / name).read_bytes() for name in BUNDLE_FILES if name != CARD_FILE}
    contents[CARD_FILE] = card(bundle, contract).encode()

    from huggingface_hub import CommitOperationAdd, HfApi

    hub = HfApi()
    with translated(repo):
        hub.create_repo(repo, private=private, exist_ok=True)
        if private and not hub.model_info(repo).private:
            raise PublishError(f"{repo} is public: make it private in its settings first, or leave --private out")
        if contract.version in {tag.name for tag in hub.list_repo_refs(repo).tags}:
            commit, hashes = listing(hub, repo, contract.version)
            if not all(same(data, hashes.get(name)) for name, data in contents.items()):
                raise PublishError(
                    f"{repo} has another bundle as version {contract.version} already: give this one a new version"
                )
            return commit
        operations = [CommitOperationAdd(name, data) for name, data in contents.items()]
        commit = hub.create_commit(repo, operations, commit_message=f"Release {contract.version}").oid
        hub.create_tag(repo, tag=contract.version, revision=commit)
    return str(commit)


def card(bundle: Path, contract: Contract) -> str:
    """The bundle's model card with the front matter by which the Hub lists, filters and tabulates models.

    Raises:
        BundleMissing: there is no card beside the weights.
    """
    from huggingface_hub import ModelCardData

    try:
        text = (bundle / CARD_FILE).read_text(encoding="utf-8")
    except FileNotFoundError as exc:
        raise BundleMissing(f"{bundle} lacks {CARD_FILE}: build it again with `python -m export build`") from exc
    data = ModelCardData(
        language="en",
        license=contract.about.license,
        library_name="onnx",
        pipeline_tag="image-classification",
        tags=["chest-x-ray", "medical", "onnx", "int8", "vgg19", *(f"class:{label}" for label in contract.labels)],
        model_name=contract.name,
        eval_results=_results(contract),
    )
    return f"---\n{data.to_yaml()}\n---\n\n{text}"


def _results(contract: Contract) -> "list[EvalResult]":
    """The contract's results by split, as the Hub's entries."""
    from huggingface_hub import EvalResult

    source = contract.about.source
    return [
        EvalResult(
            task_type="image-classification",
            task_name=contract.about.title,
            dataset_type=re.sub(r"[^a-z0-9]+", "-", source.casefold()).strip("-") or "own",
            dataset_name=source,
            dataset_split=split,
            metric_type=metric,
            metric_name=title,
            metric_value=round(float(found[metric]), 4),
        )
        for split, found in contract.metrics.items()
        if isinstance(found, Mapping)
        for metric, title in CARD_METRICS.items()
        if isinstance(found.get(metric), (int, float))
    ]
