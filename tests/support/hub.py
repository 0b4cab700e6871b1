"""A hub of this machine: the answers of huggingface.co that huggingface_hub asks for, over HTTP."""

import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" + "0" * 34


class Hub:
    """Repositories by id, each its files' bytes by name. `asked` lists each GET of a file.

    `cut` gives by file the bytes after which its next answer breaks off; `gated` ids are refused.
    """

    def __init__(self, repositories, licences=()):
        self.repositories, self.licences = repositories, dict(licences)
        self.asked, self.cut, self.gated = [], {}, set()

    def info(self, repository):
        files = self.repositories[repository]
        licence = self.licences.get(repository)
        return {
            "id": repository,
            "modelId": repository,
            "sha": COMMIT,
            "cardData": {"license": licence} if licence else None,
            "siblings": [{"rfilename": n, "size": len(data)} for n, data in files.items()],
        }

    def tree(self, repository):
        return [
            {"type": "file", "path": name, "size": len(data), "oid": etag(data)}
            for name, data in self.repositories[repository].items()
        ]


def etag(data):
    return hashlib.sha1(data).hexdigest()


class Answer(BaseHTTPRequestHandler):
    """One request to the hub of the server."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        hub, path = self.server.hub, unquote(urlsplit(self.path).path).strip("/").split("/")
        if path[0] == "api":
            return self._api(hub, "/".join(path[2:4]), path[4:])
        repository, name = "/".join(path[:2]), "/".join(path[4:])
        if repository in hub.gated:
            return self._refuse(403, "GatedRepo")
        if name not in hub.repositories.get(repository, {}):
            return self._refuse(404, "EntryNotFound")
        self._file(hub, name, hub.repositories[repository][name])

    def _api(self, hub, repository, rest):
        if repository in hub.gated:
            return self._refuse(403, "GatedRepo")
        if repository not in hub.repositories:
            return self._refuse(404, "RepoNotFound")
        answer = hub.tree(repository) if rest[:1] == ["tree"] else hub.info(repository)
        self._send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _refuse(self, code, reason):
        self._send(code, b"{}", {"X-Error-Code": reason, "X-Error-Message": reason})

    def _file(self, hub, name, data):
        headers = {"ETag": f'"{etag(data)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        asked, code = self.headers.get("Range"), 200
        if self.command == "GET":
            hub.asked.append((name, asked))
        if asked:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            total = len(data)
            data = data[int(first) : int(last) + 1 if last else None]
            headers["Content-Range"] = f"bytes {first}-{int(first) + len(data) - 1}/{total}"
            code = 206
        self._send(code, data, headers, hub.cut.pop(name, None) if self.command == "GET" else None)

    def _send(self, code, data, headers, most=None):
        self.send_response(code)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data if most is None else data[:most])
        if most is not None:
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()


@contextmanager
def serving(hub):
    """Serves a hub; its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.daemon_threads, server.hub = True, hub
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
