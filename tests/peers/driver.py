"""Runs inside a client's own environment, whatever its versions: a job in on stdin, results out on stdout.

The job is JSON: [["method of HfApi", {keyword arguments}], ...]. The answer is JSON: for each call
{"ok": value} or {"error": class name, "status": HTTP status or null, "text": message}. It stops at the
first error unless the call's third element is true. Only the standard library and huggingface_hub.
"""

import dataclasses
import datetime
import json
import sys

from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi

OPERATIONS = {"add": CommitOperationAdd, "copy": CommitOperationCopy, "delete": CommitOperationDelete}


def simple(value):
    """The value as JSON can hold it."""
    if isinstance(value, str) and hasattr(value, "oid"):
        return {"oid": value.oid, "url": str(value)}
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(key): simple(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) or (hasattr(value, "__dict__") and not isinstance(value, str)):
        return {key: simple(item) for key, item in vars(value).items() if not key.startswith("_")}
    if hasattr(value, "__iter__") and not isinstance(value, str):
        return [simple(item) for item in value]
    return str(value)


def prepared(arguments):
    """Keyword arguments with commit operations made of their JSON form ["add", {...}]."""
    operations = arguments.get("operations")
    if operations is not None:
        arguments = {**arguments, "operations": [OPERATIONS[kind](**fields) for kind, fields in operations]}
    return arguments


def main():
    api = HfApi()
    results = []
    for method, arguments, *rest in json.load(sys.stdin):
        try:
            results.append({"ok": simple(getattr(api, method)(**prepared(arguments)))})
        except Exception as error:  # whatever the client raises is the result
            status = getattr(getattr(error, "response", None), "status_code", None)
            results.append({"error": type(error).__name__, "status": status, "text": str(error)[:2000]})
            if not rest or not rest[0]:
                break
    print("\n" + json.dumps(results))


if __name__ == "__main__":
    main()
