"""Runs one peer, scim2-tester, scim-sanity or scim2-cli, against a SCIM service, and prints what it
reports as a JSON list of {check, outcome, detail}. An outcome of "ok" needs no attention.

SCIM_URL and SCIM_TOKEN name the service; SSL_CERT_FILE has its authority."""

import json
import os
import random
import socket
import sys

URL, TOKEN = os.environ["SCIM_URL"], os.environ["SCIM_TOKEN"]
CORE = "urn:ietf:params:scim:schemas:core:2.0:"

# Names under localhost are loopback (RFC 6761 section 6.3), but not every system resolver knows it.
_resolve = socket.getaddrinfo


def _loopback(host, *args, **kwargs):
    name = host.decode() if isinstance(host, bytes) else host
    return _resolve("127.0.0.1" if name and name.endswith(".localhost") else host, *args, **kwargs)


socket.getaddrinfo = _loopback


def tester():
    from httpx2 import Client
    from scim2_client.engines.httpx2 import SyncSCIMClient
    from scim2_tester import Status, check_server

    random.seed(1)
    client = SyncSCIMClient(Client(base_url=URL, headers={"Authorization": "Bearer " + TOKEN}))
    for r in check_server(client):
        ok = r.status in (Status.SUCCESS, Status.COMPLIANT)
        yield {
            "check": " ".join(filter(None, [r.resource_type, r.title])),
            "outcome": "ok" if ok else r.status.name.lower(),
            "detail": str(r.reason or ""),
        }


def sanity():
    from scim_sanity.probe.runner import run_probe_api

    report = run_probe_api(URL, token=TOKEN, ca_bundle=os.environ["SSL_CERT_FILE"], timeout=120)
    for r in report["results"]:
        yield {
            "check": r["phase"] + ": " + r["name"],
            "outcome": "ok" if r["status"] == "pass" else r["status"],
            "detail": r.get("message") or "",
        }


def cli():
    """What a person does with the commands. `scim2 test` is left out: it runs scim2-tester."""
    from click.testing import CliRunner
    from scim2_cli import cli as scim2

    def run(check, *args, stdin="", gone=False):
        result = CliRunner().invoke(scim2, args, input=stdin, env={
            "SCIM_CLI_URL": URL, "SCIM_CLI_HEADERS": "Authorization: Bearer " + TOKEN,
        })
        try:
            answer = json.loads(result.output or "{}")
        except ValueError:
            answer = {}
        failed = result.exit_code != 0 or any(u.endswith(":Error") for u in answer.get("schemas", []))
        report.append({
            "check": check,
            "outcome": "ok" if failed == gone else "error",
            "detail": answer.get("detail") or result.output,
        })
        return answer

    report = []
    user = run("create user", "create", stdin=json.dumps({
        "schemas": [CORE + "User"], "userName": "cli@people.example",
        "externalId": "cli",
        "emails": [{"value": "cli@people.example", "type": "work", "primary": True}],
    })).get("id", "")
    run("query user by id", "query", "user", user)
    run("query user by filter", "query", "user", "--filter", 'userName EQ "CLI@people.example"')
    run("query user, one attribute", "query", "user", user, "--attribute", "userName")
    run("query users, a page", "query", "user", "--start-index", "1", "--count", "1")
    run("modify user", "modify", "user", user, "replace", "displayName", "Cli", "add", "name.givenName", "C",
        "replace", 'emails[type eq "work"].value', "c@people.example", "remove", "externalId")
    run("replace user", "replace", "user", stdin=json.dumps({
        "schemas": [CORE + "User"], "id": user, "userName": "cli2@people.example", "active": True,
        "displayName": "Cli 2",
    }))
    group = run("create group", "create", stdin=json.dumps({
        "schemas": [CORE + "Group"], "displayName": "cli", "members": [{"value": user}],
    })).get("id", "")
    run("modify group, remove member", "modify", "group", group, "remove", f'members[value eq "{user}"]')
    run("modify group, add member", "modify", "group", group, "add", "members", json.dumps([{"value": user}]))
    run("query group", "query", "group", group, "--excluded-attribute", "members")
    run("query all", "query")
    run("search user", "search", "user", "--count", "1")
    run("search all", "search", "--count", "1")
    run("bulk", "bulk", stdin=json.dumps({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],
        "Operations": [{"method": "DELETE", "path": "/Groups/" + group}],
    }))
    run("query me", "query", "--me")
    run("delete group", "delete", "group", group)
    run("deactivate user", "modify", "user", user, "replace", "active", "false")
    run("delete user", "delete", "user", user)
    run("query deleted user", "query", "user", user, gone=True)
    return report


PEERS = {"scim2-tester": tester, "scim-sanity": sanity, "scim2-cli": cli}

if __name__ == "__main__":
    reports = list(PEERS[sys.argv[1]]())
    json.dump(reports, sys.stdout)
