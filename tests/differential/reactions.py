"""What a server makes of bytes, in a form that can be compared.

    GET / 0; POST /x 5; open        two requests understood, the connection is kept
    GET / 0; refused                one, then an error answer, or the connection is cut
    waits                           nothing yet: it takes the bytes for a beginning
"""

import asyncio
import re

QUIET = 0.4
KNOWN = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE"}
TOGETHER = 128


def understood(echo):
    """Method, path and size; what differs by the echo's form alone is made equal."""
    method, _, rest = echo.partition(" ")
    path, _, size = rest.rpartition(" ")
    path = re.sub(r"^https?://[^/?]*", "", path, flags=re.IGNORECASE).partition("?")[0]
    return f"{method if method in KNOWN else 'OTHER'} {path or '/'} {size}"


async def read_answers(reader, answers):
    """Appends what comes; returns when the connection ends."""
    while True:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status = int(head.split(" ", 2)[1])
        if status < 200:
            continue
        echo = re.search(r"(?im)^x-echo: ?(.*?)\r$", head)
        answers.append(understood(echo[1]) if echo and status == 200 else "refused")
        length = re.search(r"(?im)^content-length: ?(\d+)", head)
        if re.search(r"(?im)^transfer-encoding:", head):
            while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
                await reader.readexactly(size + 2)
            await reader.readuntil(b"\r\n")
        elif length and not (echo and echo[1].startswith("HEAD")):
            await reader.readexactly(int(length[1]))


async def react(port, data, quiet=QUIET):
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    answers = []
    task = asyncio.create_task(read_answers(reader, answers))
    closed = False
    try:
        writer.write(data)
        seen = -1
        while seen != len(answers) and not task.done():
            seen = len(answers)
            await asyncio.wait([task], timeout=quiet)
        if task.done():
            closed = True
            task.exception()
    finally:
        task.cancel()
        writer.close()
    return form(answers, closed)


def form(answers, closed):
    if "refused" in answers:
        return "; ".join(answers[: answers.index("refused") + 1])
    if not answers:
        return "refused" if closed else "waits"
    return "; ".join([*answers, "closed" if closed else "open"])


async def react_all(port, inputs, quiet=QUIET):
    """{name: reaction} of all inputs, many at the same time."""
    gate = asyncio.Semaphore(TOGETHER)

    async def one(name, data):
        async with gate:
            return name, await react(port, data, quiet)

    return dict(await asyncio.gather(*(one(n, d) for n, d in inputs.items())))


WORDS = {"refused": "refuses", "waits": "waits", "open": "waits", "closed": "closes"}


def difference(ours, theirs):
    """(what Weir does, what the other does) where they first part, in a word each: accepts a
    request, refuses, waits for more, or closes the connection that the other keeps; or both
    read a request, but not the same one. None when they agree."""
    for mine, other in zip(ours.split("; "), theirs.split("; ")):
        if mine == other:
            continue
        words = WORDS.get(mine, "accepts"), WORDS.get(other, "accepts")
        if words == ("accepts", "accepts"):
            return "reads", "reads otherwise"
        if "closes" in words and "refuses" not in words:
            return ("closes", "keeps") if words[0] == "closes" else ("keeps", "closes")
        return words
    return None
