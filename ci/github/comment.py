"""Put a file into the comment of this action on a pull request: write one, or change the one that is there.

It needs nothing but Python. The environment says where: GITHUB_API_URL, GITHUB_REPOSITORY, PULL_REQUEST, the folder
RULES, and GITHUB_TOKEN, which goes to that address alone.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

AUTHOR = "github-actions[bot]"
"""The author of what is written with the token of a workflow. Comments of others stay as they are."""
PAGES = 30
"""Pages of a hundred comments that are looked through."""
SECONDS = 30


def main() -> None:
    """Write the comment; end with a message where that is impossible."""
    marker = f"<!-- ach plan {json.dumps(os.environ['RULES']).replace('--', '- -')} -->"
    body = f"{marker}\n{Path(sys.argv[1]).read_text('utf-8')}"
    issues = f"{os.environ['GITHUB_API_URL']}/repos/{os.environ['GITHUB_REPOSITORY']}/issues"
    comments = f"{issues}/{int(os.environ['PULL_REQUEST'])}/comments"
    try:
        ours = _ours(comments, marker)
        if ours is None:
            _asked(comments, "POST", body)
        else:
            _asked(f"{issues}/comments/{ours}", "PATCH", body)
    except HTTPError as error:
        hint = ": the job needs `permissions: { pull-requests: write }`" if error.code in {403, 404} else ""
        sys.exit(f"::error::the plan could not be a comment: HTTP {error.code}{hint}")
    except OSError as error:
        sys.exit(f"::error::the plan could not be a comment: {type(error).__name__}")


def _ours(comments: str, marker: str) -> int | None:
    """Return the number of the comment with our marker, if there is one."""
    for page in range(1, PAGES + 1):
        found = _asked(f"{comments}?per_page=100&page={page}")
        for one in found:
            if one["user"]["login"] == AUTHOR and one["body"].startswith(f"{marker}\n"):
                return int(one["id"])
        if len(found) < 100:  # noqa: PLR2004 - as many as a page has
            return None
    return None


def _asked(url: str, method: str = "GET", body: str | None = None) -> Any:  # noqa: ANN401 - JSON
    """Return what the service answers."""
    content = None if body is None else json.dumps({"body": body}).encode()
    request = Request(url, content, {"Accept": "application/vnd.github+json"}, method=method)  # noqa: S310 - GitHub's
    # Unredirected: another address that an answer names does not get it.
    request.add_unredirected_header("Authorization", f"Bearer {os.environ['GITHUB_TOKEN']}")
    with urlopen(request, timeout=SECONDS) as answer:  # noqa: S310 - the same
        return json.load(answer)


if __name__ == "__main__":
    main()
