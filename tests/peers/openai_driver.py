"""Runs inside .venvs/openai: a call of the SDK per line of stdin, its result per line of stdout, both JSON.

A call is {"do": "chat.completions.create", "with": {arguments}, "client": {arguments}, "asynchronous": bool,
"leave_after": chunks}. A result is {"ok": value} or {"error": class name, "status", "code", "type", "param", "text"}.
A stream is the list of its chunks; one that is left has as many as it was left after. Of a call `with_raw_response`
the value has headers too, and how often it was tried again. Only openai and the standard library.
"""

import asyncio
import functools
import json
import sys

import openai


def plain(value):
    if isinstance(value, openai.BaseModel):
        return value.model_dump(mode="json", exclude_unset=True)
    if hasattr(value, "retries_taken"):
        return {"headers": dict(value.headers), "retries": value.retries_taken, "value": plain(value.parse())}
    return value


def run(job):
    with openai.OpenAI(**job["client"]) as client:
        answer = functools.reduce(getattr, job["do"].split("."), client)(**job["with"])
        if isinstance(answer, openai.Stream):
            with answer as stream:
                return [plain(chunk) for _, chunk in zip(range(job["leave_after"]), stream, strict=False)]
        return [plain(item) for item in answer] if job["do"].endswith(".list") else plain(answer)


async def run_asynchronously(job):
    async with openai.AsyncOpenAI(**job["client"]) as client:
        answer = await functools.reduce(getattr, job["do"].split("."), client)(**job["with"])
        if not isinstance(answer, openai.AsyncStream):
            return plain(answer)
        chunks = []
        async with answer as stream:
            async for chunk in stream:
                chunks.append(plain(chunk))
                if len(chunks) == job["leave_after"]:
                    break
        return chunks


def result(job):
    try:
        return {"ok": asyncio.run(run_asynchronously(job)) if job["asynchronous"] else run(job)}
    except openai.APIError as error:
        told = {name: getattr(error, name, None) for name in ("code", "type", "param")}
        status = getattr(error, "status_code", None)
        return {"error": type(error).__name__, "status": status, "text": str(error), **told}


for line in sys.stdin:
    print(json.dumps(result(json.loads(line))), flush=True)
