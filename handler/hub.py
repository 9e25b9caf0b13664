"""Download a bundle from the Hugging Face Hub, to serve it instead of the embedded one. It is downloaded at one commit
and verified, then the whole folder is renamed. An incomplete or changed bundle is never served.
"""

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from handler.contract import CARD_FILE, CONTRACT_FILE, MODEL_FILE, load_bundle
from handler.errors import BundleError, BundleTampered, HubMissing, HubUnauthorized, HubUnavailable
from handler.files import replace_folder, require_replaceable

if TYPE_CHECKING:
    from huggingface_hub import HfApi

BUNDLE_FILES = (MODEL_FILE, CONTRACT_FILE, CARD_FILE)

SOURCE_FILE = "source.txt"
"""File with repository and commit of a fetched bundle, for people and for the next `fetch` into the same folder."""

_TIMEOUT_S = 30.0
_SHA = re.compile("[0-9a-f]{40}")


def fetch(repo: str, revision: str, out: Path) -> Path:
    """Download a bundle, unless `out` already contains it.

    After a connection failure, the download of a file is resumed. After an interruption, only the missing files are
    downloaded. Processes that fetch into the same folder wait for each other.

    Args:
        repo: `USER/NAME` on the Hub; a private one needs `HF_TOKEN` in the environment.
        revision: a commit SHA, which pins every byte, or a tag.
        out: folder to create, or to replace after the new bundle is verified. Its parent is created.

    Returns:
        `out`, which then holds the bundle and `SOURCE_FILE`.

    Raises:
        HubUnavailable, HubUnauthorized, HubMissing: the download failed; see `handler.errors`.
        BundleTampered, ContractError: the download is not a bundle for this release, or is of another commit; `out` is
            not changed.
        FileExistsError: `out` holds other files, or belongs to another user.
    """
    # These imports take 150 ms, and only this function needs them.
    from filelock import FileLock
    from huggingface_hub import HfApi

    _require_own(out)
    require_replaceable(out, CONTRACT_FILE)
    out.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(out.with_name(f".{out.name}.lock")):
        if _holds(out, f"{repo}@{revision}"):
            return out
        with translated(repo, revision):
            commit, hashes = listing(HfApi(), repo, revision)
            if _SHA.fullmatch(revision) and commit != revision:
                raise BundleTampered(
                    f"the Hub returned commit {commit} instead of {repo}@{revision}: check HF_ENDPOINT"
                )
            source = f"{repo}@{commit}"
            if _holds(out, source):
                return out
            staging = out.with_name(f".{out.name}.{commit}")
            for name in BUNDLE_FILES:
                HfApi().hf_hub_download(repo, name, revision=commit, local_dir=staging)
        _verify(staging, source, hashes)
        shutil.rmtree(staging / ".cache", ignore_errors=True)  # metadata of the client
        (staging / SOURCE_FILE).write_text(source + "\n", encoding="utf-8")
        replace_folder(staging, out, CONTRACT_FILE)
    return out


def listing(hub: "HfApi", repo: str, revision: str) -> tuple[str, dict[str, str]]:
    """Return the commit of a revision, and the hash of each file: SHA-256 for large files, git's hash for others."""
    found = hub.model_info(repo, revision=revision, files_metadata=True, timeout=_TIMEOUT_S)
    hashes = {file.rfilename: file.lfs.sha256 if file.lfs else str(file.blob_id) for file in found.siblings or []}
    return str(found.sha), hashes


def same(data: bytes, digest: str | None) -> bool:
    """Return whether the bytes have the hash of a `listing`."""
    blob = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False)  # git uses SHA-1
    return digest in (hashlib.sha256(data).hexdigest(), blob.hexdigest())


@contextlib.contextmanager
def translated(repo: str, revision: str | None = None) -> Iterator[None]:
    """Translate exceptions of the Hub's client to this project's errors, which name the remedy."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
    from huggingface_hub.errors import HTTPError as TransportError  # type: ignore[attr-defined]  # of httpx

    place = f"{repo}@{revision}" if revision else repo
    try:
        yield
    except (BundleError, KeyboardInterrupt):
        raise
    except Exception as exc:
        if isinstance(exc, HFValidationError):
            raise HubMissing(f"{repo!r} is not the name of a repository on the Hub: give it as USER/NAME") from exc
        chain = list(_causes(exc))
        answered = next((link for link in chain if isinstance(link, HfHubHTTPError)), None)
        if answered is not None:
            raise _from_status(answered.response.status_code, place, answered) from exc
        if any(isinstance(link, OfflineModeIsEnabled) for link in chain):
            raise HubUnavailable(
                f"{place} cannot be reached because HF_HUB_OFFLINE is set: unset it, or use a bundle that is on disk"
            ) from exc
        if any(isinstance(link, (TransportError, OSError)) for link in chain):
            raise HubUnavailable(
                f"the connection to the Hub failed for {place} ({chain[-1]}): check the network and HF_ENDPOINT, then "
                "run the same command again; it continues the download"
            ) from exc
        raise


def _from_status(status: int, place: str, exc: Exception) -> BundleError:
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    if isinstance(exc, RepositoryNotFoundError) and not isinstance(exc, GatedRepoError):
        # Without access, the Hub does not say whether a private repository exists.
        return HubMissing(f"{place} is not on the Hub, or it is private: check the name, or set HF_TOKEN to read it")
    if status in (401, 403):
        return HubUnauthorized(
            f"the Hub refused {place} with status {status}: set HF_TOKEN to a token with permission "
            "(to read for fetch, to write for publish)"
        )
    if status == 404:
        return HubMissing(f"{place} lacks this revision or one of its files: check the revision, or publish again")
    if status == 429:
        return HubUnavailable(f"the Hub limits the rate of requests for {place}: wait some minutes, then try again")
    return HubUnavailable(f"the Hub answered {place} with status {status}: try again later ({exc})")


def _require_own(folder: Path) -> None:
    """Check the owner: in a shared folder such as /tmp, another user may have created a bundle."""
    if not (folder.exists() or folder.is_symlink()):
        return
    if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
        raise FileExistsError(f"{folder} is a link or belongs to another user: give a folder that belongs to you")


def _holds(folder: Path, source: str) -> bool:
    """Return whether the folder contains this bundle, undamaged."""
    try:
        recorded = (folder / SOURCE_FILE).read_text(encoding="utf-8").strip()
        return recorded == source and bool(load_bundle(folder))
    except (OSError, BundleError):
        return False


def _verify(staging: Path, source: str, hashes: dict[str, str]) -> None:
    """Compare the files with the hashes of the commit, and the weights with the contract."""
    try:
        changed = [name for name in BUNDLE_FILES if not same((staging / name).read_bytes(), hashes.get(name))]
        if changed:
            raise BundleTampered(
                f"{', '.join(changed)} of {source} differ from the published files: fetch again; if that fails too, "
                "do not serve it"
            )
        load_bundle(staging)
    except BundleError:
        # Otherwise the next attempt would use these files as complete ones.
        shutil.rmtree(staging)
        raise


def _causes(exc: BaseException) -> Iterator[BaseException]:
    """Yield the exception and its causes, outermost first."""
    link: BaseException | None = exc
    while link is not None:
        yield link
        link = link.__cause__ or link.__context__
