"""Two servers in Python that say what they understood (see echo.c): h11's reading, and the
backend behind the proxies, which takes whatever they pass on.

    python backends.py h11|plain     prints its port, serves until it is killed
"""

import asyncio
import re
import sys

KNOWN = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE"}
READ_BYTES = 65536
HEAD_BYTES_MAX = 1 << 20


async def serve_h11(reader, writer):
    import h11

    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=32768)
    try:
        while True:
            method, path, size = "", "", 0
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    if connection.they_are_waiting_for_100_continue:
                        writer.write(connection.send(h11.InformationalResponse(status_code=100, headers=[])))
                    connection.receive_data(await reader.read(READ_BYTES))
                elif isinstance(event, h11.Request):
                    method, path = event.method.decode(), event.target.decode("latin-1")
                elif isinstance(event, h11.Data):
                    size += len(event.data)
                elif isinstance(event, h11.EndOfMessage) or event is h11.PAUSED:
                    break
                else:
                    return
            echo = f"{method} {path} {size}".encode("latin-1")
            answer = h11.Response(status_code=200, headers=[(b"X-Echo", echo), (b"Content-Length", b"0")])
            writer.write(connection.send(answer) + (connection.send(h11.EndOfMessage()) or b""))
            if connection.our_state is h11.MUST_CLOSE or connection.their_state is h11.MIGHT_SWITCH_PROTOCOL:
                return
            connection.start_next_cycle()
    except h11.RemoteProtocolError as error:
        if connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            answer = h11.Response(
                status_code=error.error_status_hint,
                headers=[(b"Connection", b"close"), (b"Content-Length", b"0")],
            )
            writer.write(connection.send(answer))
    except ConnectionError:
        pass
    finally:
        writer.close()


async def read_chunked(reader):
    total = 0
    while size := int((await reader.readline()).split(b";")[0], 16):
        total += len(await reader.readexactly(size))
        await reader.readline()
    while (await reader.readline()).strip():
        pass
    return total


async def serve_plain(reader, writer):
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            method, target, _ = head.split(b" ", 2)
            length = re.search(rb"(?i)\ncontent-length:\s*(\d+)", head)
            size = 0
            if re.search(rb"(?i)\ntransfer-encoding:", head):
                size = await read_chunked(reader)
            elif length:
                size = len(await reader.readexactly(int(length[1])))
            writer.write(b"HTTP/1.1 200 OK\r\nX-Echo: %s %s %d\r\nContent-Length: 0\r\n\r\n" % (method, target, size))
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, ValueError):
        pass
    finally:
        writer.close()


async def main(kind):
    handler = {"h11": serve_h11, "plain": serve_plain}[kind]
    server = await asyncio.start_server(handler, "127.0.0.1", 0, limit=HEAD_BYTES_MAX, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
