"""Downloading a model's files from a hub that speaks as Hugging Face's does, to be taken up again where it stopped.

Two requests are all that is used of the hub: the list of a commit's files, and a file, from any byte on. The hub's own
client library starts a broken file anew and, with no network, tries for 25 seconds.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote

from cogs.memory.exceptions import ModelUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import httpx2

T = TypeVar("T")

DEFAULT_ENDPOINT: Final = "https://huggingface.co"

_WANTED: Final = re.compile(
    r"(?:[0-9]+_[A-Za-z]+/)?(?:model(?:-[0-9]+-of-[0-9]+)?\.safetensors|[A-Za-z0-9][\w.-]*\.(?:json|txt|model|jinja))",
    re.ASCII,
)
"""Weights, configuration and tokenizer, of the model or of a numbered module of sentence-transformers."""

_UNWANTED: Final = re.compile(r"(?i)(?:.*/)?(?:readme|license|requirements|notice).*\.txt|.*(?:onnx|openvino).*\.json")

_CONNECT_S: Final = 5.0
_READ_S: Final = 10.0
_ATTEMPTS: Final = 5
"""Times in a row that a file may break off without a byte more."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a model; ``sha256`` is empty for small files, which the hub keeps without one."""

    path: str
    size: int
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The wanted files of one commit."""

    repo: str
    commit: str
    files: tuple[RemoteFile, ...]


class HubSession:
    """A connection to the hub. Not thread-safe.

    Args:
        endpoint: the hub's address; None for ``HF_ENDPOINT``, or Hugging Face's if that is not set.
        limit_s: seconds in which the hub must have said what files a model has.
        pause_s: seconds before a broken download goes on, doubled each time that it breaks off without progress.

    Raises:
        ModelUnavailable: the address is none.
    """

    def __init__(self, endpoint: str | None = None, *, limit_s: float = 10.0, pause_s: float = 1.0) -> None:
        import httpx2

        try:
            url = httpx2.URL((endpoint or os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT).rstrip("/"))
        except httpx2.InvalidURL:
            url = httpx2.URL("")
        if url.scheme not in ("http", "https") or not url.host:
            raise ModelUnavailable("HF_ENDPOINT must begin with http:// or https://.")
        self.endpoint = str(url.copy_with(username=None, password=None))  # the library logs addresses as they are
        self._limit_s = limit_s
        self._pause_s = pause_s
        self._host = url.host
        self._client = httpx2.Client(
            auth=httpx2.BasicAuth(url.username, url.password) if url.userinfo else None,
            headers={"Accept-Encoding": "identity", **_authorization(self.endpoint)},
            follow_redirects=True,  # files lie on other hosts; the client drops the token on the way there
            timeout=httpx2.Timeout(_READ_S, connect=_CONNECT_S),
        )

    def snapshot(self, repo: str, revision: str) -> Snapshot:
        """Ask what files a model has.

        Raises:
            ModelUnavailable: no hub in time, no such model or revision, or nothing to be used in it.
        """
        if os.environ.get("HF_HUB_OFFLINE", "").strip().lower() in ("1", "true", "yes", "on"):
            raise ModelUnavailable(f"The model {repo} is not here, and HF_HUB_OFFLINE forbids to fetch it.")
        listing = self._get_json(
            f"{self.endpoint}/api/models/{repo}/revision/{quote(revision, safe='')}?blobs=true", repo
        )
        try:
            commit = str(listing["sha"])
            files = tuple(filter(None, (_remote_file(entry) for entry in listing["siblings"])))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._unintelligible() from error
        if not re.fullmatch(r"[0-9a-f]{7,64}", commit):
            raise self._unintelligible()
        if not any(file.path.endswith(".safetensors") for file in files):
            raise ModelUnavailable(f"The model {repo} has no safetensors weights; others are not loaded.")
        return Snapshot(repo, commit, files)

    def download(self, snapshot: Snapshot, folder: Path, progress: Callable[[int, int], None]) -> None:
        """Bring the folder up to the snapshot: what is there already stays, what is half there goes on.

        Raises:
            ModelUnavailable: the hub went away, or a file is not what the list said.
            OSError: the folder cannot be written.
        """
        total = sum(file.size for file in snapshot.files)
        done = 0
        for file in sorted(snapshot.files, key=lambda file: file.size):  # what is wrong with a model shows early
            self._download_file(snapshot, file, folder, _counting_from(done, total, progress))
            done += file.size

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _download_file(
        self, snapshot: Snapshot, file: RemoteFile, folder: Path, progress: Callable[[int], None]
    ) -> None:
        target = folder / file.path
        if target.is_file():
            progress(file.size)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        incomplete = target.with_name(f"{target.name}.incomplete")
        self._complete(snapshot, file, incomplete, progress)
        if incomplete.stat().st_size != file.size or (file.sha256 and _sha256(incomplete) != file.sha256):
            incomplete.unlink()
            raise ModelUnavailable(f"{file.path} of {snapshot.repo} arrived damaged; try again, or another mirror.")
        incomplete.replace(target)

    def _complete(
        self, snapshot: Snapshot, file: RemoteFile, incomplete: Path, progress: Callable[[int], None]
    ) -> None:
        import httpx2

        url = f"{self.endpoint}/{snapshot.repo}/resolve/{snapshot.commit}/{quote(file.path)}"
        attempts = 0
        incomplete.touch()
        while (here := incomplete.stat().st_size) < file.size:
            try:
                self._append(url, snapshot.repo, file, incomplete, progress)
            except httpx2.RequestError as error:
                attempts = 0 if incomplete.stat().st_size > here else attempts + 1
                if attempts == _ATTEMPTS:
                    raise ModelUnavailable(
                        f"The download of {snapshot.repo} from {self._host} broke off; it goes on where it stopped."
                    ) from error
                time.sleep(self._pause_s * 2**attempts)
            else:
                if incomplete.stat().st_size < file.size:  # a whole answer, and too short
                    return
        progress(file.size)

    def _append(self, url: str, repo: str, file: RemoteFile, incomplete: Path, progress: Callable[[int], None]) -> None:
        """Fetch from the first missing byte to the end."""
        here = incomplete.stat().st_size
        headers = {"Range": f"bytes={here}-"} if here else {}
        with self._client.stream("GET", url, headers=headers) as response:
            self._raise_for(response, repo)
            if response.status_code != 206:  # the server does not know ranges
                here = 0
            with incomplete.open("ab" if here else "wb") as output:
                for chunk in response.iter_raw():  # as it arrives: a break loses nothing
                    here += len(chunk)
                    if here > file.size:
                        return  # and the size will tell
                    output.write(chunk)
                    progress(here)

    def _get_json(self, url: str, repo: str) -> Any:
        import httpx2

        try:
            response = _within(self._limit_s, lambda: self._client.get(url))
        except (httpx2.RequestError, TimeoutError) as error:
            raise ModelUnavailable(
                f"The model hub at {self._host} cannot be reached, so {repo} is not fetched; what is here stays in use."
            ) from error
        self._raise_for(response, repo)
        try:
            return response.json()
        except ValueError as error:
            raise self._unintelligible() from error

    def _raise_for(self, response: httpx2.Response, repo: str) -> None:
        status = response.status_code
        if status in (200, 206):
            return
        if status in (401, 403):
            raise ModelUnavailable(f"{repo} is not public on {self._host} ({status}); HF_TOKEN may open it.")
        if status == 404:
            raise ModelUnavailable(f"{self._host} has no {repo}, or not this revision or file of it (404).")
        raise ModelUnavailable(f"The model hub at {self._host} does not serve {repo} now ({status}); try again later.")

    def _unintelligible(self) -> ModelUnavailable:
        return ModelUnavailable(f"{self._host} does not answer as a model hub does; is HF_ENDPOINT right?")


def _within(seconds: float, call: Callable[[], T]) -> T:
    """Make a call in a thread of its own, and give it up after so many seconds with TimeoutError.

    A timeout of the client holds for one address; name servers, and a host of eight addresses, can take a minute.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - whatever it is, it belongs to the caller
            future.set_exception(error)

    threading.Thread(target=run, name="model-hub", daemon=True).start()
    return future.result(timeout=seconds)


def _counting_from(done: int, total: int, progress: Callable[[int, int], None]) -> Callable[[int], None]:
    return lambda count: progress(done + count, total)


def _remote_file(entry: dict[str, Any]) -> RemoteFile | None:
    """Read one entry of the list; None for a file that is not wanted, or whose name could leave the folder."""
    path = str(entry["rfilename"])
    if not _WANTED.fullmatch(path) or _UNWANTED.fullmatch(path):
        return None
    large = entry.get("lfs") or {}
    size = large.get("size", entry.get("size"))
    if not isinstance(size, int) or size < 0:
        raise ValueError(path)
    return RemoteFile(path, size, str(large.get("sha256") or ""))


def _authorization(endpoint: str) -> dict[str, str]:
    """Return the header with the operator's token; over plain HTTP it is not sent."""
    from huggingface_hub import get_token

    token = get_token() if endpoint.startswith("https://") else None
    return {"Authorization": f"Bearer {token}"} if token else {}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
