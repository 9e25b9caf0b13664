"""Upload a bundle to the Hugging Face Hub, and download one.

python -m export publish handler/model --repo USER/NAME --private
python -m export fetch --repo USER/NAME --revision SHA --out handler/model

Publishing needs `HF_TOKEN`, or a login with `hf auth login`. `HF_ENDPOINT` selects another Hub for both commands.
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
"""The contract's results that appear in the Hub's table, with their titles there."""


def add_publish_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the `publish` command."""
    parser.add_argument("bundle", type=Path, help="bundle folder, such as handler/model")
    parser.add_argument("--repo", required=True, help="USER/NAME; created if it does not exist")
    parser.add_argument("--private", action="store_true", help="create a private repository")


def add_fetch_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the `fetch` command."""
    parser.add_argument("--repo", required=True, help="USER/NAME")
    parser.add_argument("--revision", required=True, help="commit SHA that `publish` printed, or the tag of a version")
    parser.add_argument("--out", type=Path, default=Path("handler/model"), help="bundle folder (default: %(default)s)")


def publish(bundle: Path, repo: str, private: bool = False) -> str:
    """Upload a verified bundle as one commit, and tag it with the contract's version.

    A repeated call changes nothing: files that the Hub already has are not sent. A call after an interruption between
    upload and tag adds the tag.

    Args:
        bundle: folder with the weights, the contract and the model card.
        repo: `USER/NAME`; created if it does not exist.
        private: create a private repository, and refuse a public one.

    Returns:
        The commit SHA to give to `fetch` and to `MODEL_REVISION`.

    Raises:
        BundleError: the bundle is incomplete or damaged; nothing was sent.
        PublishError: the version belongs to another bundle, or the repository is public although `private` is true.
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
            raise PublishError(f"{repo} is public: make it private in its settings first, or leave out --private")
        if contract.version in {tag.name for tag in hub.list_repo_refs(repo).tags}:
            commit, hashes = listing(hub, repo, contract.version)
            if not all(same(data, hashes.get(name)) for name, data in contents.items()):
                raise PublishError(
                    f"{repo} already has another bundle as version {contract.version}: give this bundle a new version"
                )
            return commit
        operations = [CommitOperationAdd(name, data) for name, data in contents.items()]
        commit = hub.create_commit(repo, operations, commit_message=f"Release {contract.version}").oid
        hub.create_tag(repo, tag=contract.version, revision=commit)
    return str(commit)


def card(bundle: Path, contract: Contract) -> str:
    """Return the bundle's model card with front matter, with which the Hub lists and filters models.

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
    """Return the contract's results by split, as entries of the Hub."""
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
