"""Fetch a model from a hub and upload an export to one, each in a process of its own with the network open."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studio.tasks.exporting import children
from studio.tasks.failures import TaskError

TOKEN = "HF_TOKEN"
LOCAL = ["export.json"]  # it names folders of this machine; what others need of it stands in the card
WANTED = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "LICENSE*", "NOTICE*"]


def check_token(hub_id: str | None) -> None:
    """Raise TaskError when an upload is wanted and no token is there: said before hours of work, not after."""
    if hub_id is not None and not os.environ.get(TOKEN):
        raise TaskError(
            "hub",
            f"The export shall be uploaded to {hub_id}, but {TOKEN} is not set in the environment.",
            f"Set {TOKEN} to a token that may write there and start Studio again, or empty destination.hub_id.",
        )


def fetch(model: str, hub: str, revision: str | None, folder: Path) -> Path:
    """The folder of a model from a hub, from the cache if it is there. Raises TaskError."""
    request = {"do": "fetch", "model": model, "hub": hub, "revision": revision}
    return Path(_call(request, folder)["folder"])


def push(place: Path, hub_id: str, private: bool, folder: Path) -> str:
    """Upload a folder to a repository, which is made if it is not there, and return its address. Raises TaskError."""
    return str(_call({"do": "push", "folder": str(place), "hub_id": hub_id, "private": private}, folder)["address"])


def _call(request: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=folder, prefix=".hub-") as scratch:
        return children.call_part("studio.tasks.exporting.hub", request, Path(scratch), online=True)


def run(request: Mapping[str, Any]) -> dict[str, Any]:
    """The other side, in its own process."""
    return _push(request) if request["do"] == "push" else _fetch(request)


def _fetch(request: Mapping[str, Any]) -> dict[str, Any]:
    if request["hub"] == "modelscope":
        from modelscope import snapshot_download  # pyright: ignore[reportMissingImports]

        return {"folder": snapshot_download(request["model"], revision=request["revision"])}
    from huggingface_hub import snapshot_download

    return {"folder": snapshot_download(request["model"], revision=request["revision"], allow_patterns=WANTED)}


def _push(request: Mapping[str, Any]) -> dict[str, Any]:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi(token=os.environ[TOKEN])
    try:
        repository = api.create_repo(request["hub_id"], private=request["private"], exist_ok=True)
        api.upload_folder(
            repo_id=repository.repo_id,
            folder_path=request["folder"],
            ignore_patterns=LOCAL,
            commit_message="Upload an export",
        )
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        why = {401: f"{TOKEN} is not accepted", 403: f"{TOKEN} may not write there"}.get(status, str(error)[:300])
        raise TaskError(
            "hub",
            f"The upload to {request['hub_id']} failed: {why}.",
            "The export itself is whole and lies in its folder. Correct the token or destination.hub_id and upload it "
            f"from there: hf upload {request['hub_id']} {request['folder']}",
        ) from error
    except OSError as error:
        raise TaskError(
            "hub",
            f"The upload to {request['hub_id']} failed: {' '.join(str(error).split())[:200]}",
            "The export itself is whole and lies in its folder. Check the network and upload it from there.",
        ) from error
    return {"address": repository.repo_id}


if __name__ == "__main__":
    sys.exit(children.main(run))
