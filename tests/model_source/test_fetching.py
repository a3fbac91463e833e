"""Fetching models from a hub on the loopback."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from cogs.memory.exceptions import ModelNotAllowed, ModelUnavailable
from cogs.memory.hub_download import HubSession
from cogs.memory.model_names import PINNED_REVISIONS
from cogs.memory.model_source import (
    PARTIAL_FOLDER,
    REVISION_FILE,
    fetch_model,
    find_model,
)
from tests.hub_server import COMMIT, HubServer
from tests.model_source.model_files import NAME, UNWANTED, model_files, weights


def fetch(hub: HubServer, folder: Path, *, revision: str | None = None) -> Path:
    session = HubSession(hub.url, pause_s=0.001)
    try:
        return fetch_model(NAME, revision, folder, session=session)
    finally:
        session.close()


def test_a_model_is_fetched_from_the_mirror_with_progress(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = model_files(2_000_000)
    seen: list[tuple[int, int]] = []
    with HubServer(NAME, files | UNWANTED) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url + "/")
        fetched = fetch_model(NAME, None, folder, lambda done, total: seen.append((done, total)))
        assert hub.hits[0] == f"/api/models/{NAME}/revision/{PINNED_REVISIONS[NAME]}"
    assert fetched == folder / NAME
    here = {path.relative_to(fetched).as_posix(): path.read_bytes() for path in fetched.rglob("*") if path.is_file()}
    assert here.pop(REVISION_FILE).decode().split() == [COMMIT, PINNED_REVISIONS[NAME]]
    assert here == files
    total = sum(map(len, files.values()))
    assert {end for _, end in seen} == {total}
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == total
    assert len(seen) > 5
    assert find_model(NAME, folder) == fetched


def test_nothing_outside_the_models_folder_is_written(folder: Path) -> None:
    with HubServer(NAME, model_files() | UNWANTED) as hub:
        fetch(hub, folder)
    assert {path.name for path in folder.parent.iterdir()} <= {"models", "cache"}
    assert not list(folder.parent.rglob("outside.json"))


def test_a_download_that_breaks_off_goes_on_where_it_stopped(folder: Path) -> None:
    with HubServer(NAME, model_files(10_000)) as hub:
        hub.break_after = [10**6, 10**6, 10**6, 4000, 3000]  # the small files first, then the weights
        fetch(hub, folder)
        asked = [hit.rpartition(" ")[2] for hit in hub.hits if ".safetensors" in hit]
    assert asked[1:] == ["4000", "7000"]


def test_a_download_is_taken_up_again_by_the_next_process(folder: Path) -> None:
    files = model_files(10_000)
    with HubServer(NAME, files) as hub:
        hub.break_after = [10**6, 10**6, 10**6, 4000, *[0] * 5]
        with pytest.raises(ModelUnavailable, match="goes on where it stopped"):
            fetch(hub, folder)
        assert find_model(NAME, folder) is None
        hub.hits.clear()
        fetched = fetch(hub, folder)
        assert [hit.rpartition("/")[2] for hit in hub.hits[1:]] == ["model.safetensors 4000"]
    assert (fetched / "model.safetensors").read_bytes() == files["model.safetensors"]


def test_a_hub_that_knows_no_ranges_is_asked_for_the_whole_file(folder: Path) -> None:
    files = model_files(10_000)
    with HubServer(NAME, files) as hub:
        hub.knows_ranges = False
        hub.break_after = [10**6, 10**6, 10**6, 4000]
        fetched = fetch(hub, folder)
    assert (fetched / "model.safetensors").read_bytes() == files["model.safetensors"]


def test_what_a_progress_callback_raises_ends_the_download_which_may_go_on(folder: Path) -> None:
    class Stop(Exception):
        pass

    def stop(done: int, _total: int) -> None:
        if done > 1_000_000:
            raise Stop

    with HubServer(NAME, model_files(2_000_000)) as hub:
        session = HubSession(hub.url)
        with pytest.raises(Stop):
            fetch_model(NAME, None, folder, stop, session=session)
        session.close()
        fetch(hub, folder)
        assert int(hub.hits[-1].rpartition(" ")[2]) > 500_000


def test_a_file_that_is_shorter_than_announced_is_refused_and_not_kept(folder: Path) -> None:
    with HubServer(NAME, model_files()) as hub:
        hub.announced["model.safetensors"] = {"lfs": {"size": 5000, "sha256": ""}}
        with pytest.raises(ModelUnavailable, match="arrived damaged"):
            fetch(hub, folder)
        assert find_model(NAME, folder) is None
        hub.announced.clear()
        assert fetch(hub, folder) == folder / NAME


def test_a_file_of_the_right_length_and_other_content_is_refused(folder: Path) -> None:
    with HubServer(NAME, model_files()) as hub:
        hub.announced["model.safetensors"] = {"lfs": {"size": len(weights()), "sha256": "0" * 64}}
        with pytest.raises(ModelUnavailable, match=r"model\.safetensors of .* arrived damaged"):
            fetch(hub, folder)


def test_weights_that_are_truncated_on_the_hub_itself_are_refused(folder: Path) -> None:
    with (
        HubServer(NAME, {**model_files(), "model.safetensors": weights()[:700]}) as hub,
        pytest.raises(ModelUnavailable, match="truncated"),
    ):
        fetch(hub, folder)
    assert find_model(NAME, folder) is None


def test_a_model_without_safetensors_is_refused_before_anything_is_fetched(folder: Path) -> None:
    with HubServer(NAME, {"config.json": b"{}", "pytorch_model.bin": b"pickle"}) as hub:
        with pytest.raises(ModelUnavailable, match="no safetensors"):
            fetch(hub, folder)
        assert len(hub.hits) == 1


@pytest.mark.parametrize(
    ("status", "message"),
    [(404, "has no Qwen"), (401, "not public"), (403, "HF_TOKEN"), (429, "try again later"), (500, "try again later")],
)
def test_what_the_hub_refuses_is_one_clear_sentence(folder: Path, status: int, message: str) -> None:
    with HubServer(NAME, model_files()) as hub:
        hub.status = status
        with pytest.raises(ModelUnavailable, match=message):
            fetch(hub, folder)


def test_a_hub_that_is_not_there_is_one_clear_sentence_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("HF_ENDPOINT", f"http://user:s3cret@127.0.0.1:{port}")
    with pytest.raises(ModelUnavailable, match=r"hub at 127\.0\.0\.1 cannot be reached") as failure:
        fetch_model(NAME, None, folder)
    assert "s3cret" not in str(failure.value)


@pytest.mark.parametrize("endpoint", ["ftp://mirror", "mirror.example", "http://"])
def test_an_endpoint_that_is_no_address_is_named(folder: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    with pytest.raises(ModelUnavailable, match="HF_ENDPOINT must begin with"):
        fetch_model(NAME, None, folder)


def test_a_password_in_the_endpoint_reaches_the_hub_and_no_log(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with HubServer(NAME, model_files()) as hub:
        session = HubSession(hub.url.replace("http://", "http://user:s3cret@"))
        fetch_model(NAME, None, folder, session=session)
        session.close()
        assert set(hub.tokens) == {"Basic dXNlcjpzM2NyZXQ="}
    assert "s3cret" not in caplog.text


def test_a_hub_that_never_answers_is_given_up_on(folder: Path) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        session = HubSession(f"http://127.0.0.1:{deaf.getsockname()[1]}", limit_s=0.2)
        with pytest.raises(ModelUnavailable, match="cannot be reached"):
            fetch_model(NAME, None, folder, session=session)
    session.close()


def test_something_that_is_no_hub_is_named(folder: Path) -> None:
    with HubServer("other/model", model_files()) as hub:
        hub.commit = "no commit"
        session = HubSession(hub.url)
        with pytest.raises(ModelUnavailable, match="HF_ENDPOINT"):
            fetch_model("other/model", None, folder, session=session)
        session.close()


def test_offline_mode_fetches_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with HubServer(NAME, model_files()) as hub:
        with pytest.raises(ModelUnavailable, match="HF_HUB_OFFLINE"):
            fetch(hub, folder)
        assert hub.hits == []


def test_files_may_lie_on_another_host_which_gets_no_token(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_s3cret")
    with HubServer(NAME, model_files()) as storage, HubServer(NAME, model_files()) as hub:
        hub.redirect_to = storage.url
        fetch(hub, folder)
        assert len(storage.hits) == 4
        assert set(storage.tokens) == {None}
        assert set(hub.tokens) == {None}  # plain HTTP


def test_a_disk_without_room_is_noticed_before_the_download(folder: Path) -> None:
    with HubServer(NAME, model_files()) as hub:
        hub.announced["model.safetensors"] = {"lfs": {"size": 10**17, "sha256": ""}}
        with pytest.raises(ModelUnavailable, match=r"no room .* takes 100000000\.0 GB"):
            fetch(hub, folder)
        assert len(hub.hits) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_disk_that_fills_up_is_one_clear_sentence(folder: Path) -> None:
    with HubServer(NAME, model_files(10_000)) as hub:
        partial = folder / PARTIAL_FOLDER / f"{NAME.replace('/', '--')}@{COMMIT}"
        partial.mkdir(parents=True)
        (partial / "model.safetensors.incomplete").symlink_to("/dev/full")
        with pytest.raises(ModelUnavailable, match="No space left on device"):
            fetch(hub, folder)


def test_a_models_folder_that_is_a_file_is_one_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with HubServer(NAME, model_files()) as hub, pytest.raises(ModelUnavailable, match="cannot be stored"):
        fetch(hub, tmp_path / "file")


def test_two_downloads_of_one_model_do_not_mix(folder: Path) -> None:
    started, go_on = threading.Event(), threading.Event()

    def hold(_done: int, _total: int) -> None:
        started.set()
        go_on.wait(60)

    with HubServer(NAME, model_files()) as hub:
        session = HubSession(hub.url)
        first = threading.Thread(target=fetch_model, args=(NAME, None, folder, hold), kwargs={"session": session})
        first.start()
        assert started.wait(60)
        with pytest.raises(ModelUnavailable, match="being fetched already"):
            fetch(hub, folder)
        go_on.set()
        first.join(60)
        session.close()
    assert find_model(NAME, folder) == folder / NAME


def test_a_fetched_model_makes_way_for_another_revision_and_the_operators_own_does_not(folder: Path) -> None:
    with HubServer(NAME, model_files()) as hub:
        fetch(hub, folder, revision="v1")
    assert find_model(f"{NAME}@v1", folder) == folder / NAME
    assert find_model(f"{NAME}@v2", folder) is None
    with HubServer(NAME, model_files(2000), commit="f" * 40) as hub:
        fetch(hub, folder, revision="v2")
        assert find_model(f"{NAME}@v2", folder) == folder / NAME
        assert len((folder / NAME / "model.safetensors").read_bytes()) > 2000
        (folder / NAME / REVISION_FILE).unlink()
        with pytest.raises(ModelUnavailable, match="in the way"):
            fetch(hub, folder, revision="v2")
    assert find_model(NAME, folder) == folder / NAME


@pytest.mark.parametrize("name", ["http://evil/x", "../x", "/etc", "a/b/c", ""])
def test_what_is_no_model_name_is_neither_looked_for_nor_fetched(folder: Path, name: str) -> None:
    with pytest.raises(ModelNotAllowed):
        find_model(name, folder)
    with HubServer(NAME, model_files()) as hub:
        session = HubSession(hub.url)
        with pytest.raises(ModelNotAllowed):
            fetch_model(name, None, folder, session=session)
        session.close()
        assert hub.hits == []
