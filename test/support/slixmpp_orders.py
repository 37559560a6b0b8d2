# A client of slixmpp that is told what to do on standard input, a line for each order, and ends with its input.

import asyncio
import sys


def obey_orders(client, host, port, obey):
    """Connects, and calls `obey` with each line, until there are no more. Does not return before."""

    async def read():
        loop = asyncio.get_event_loop()
        while True:
            line = await loop.run_in_executor(None, sys.stdin.readline)
            if line == "":
                loop.stop()
                return
            obey(line)

    client.connect(address=(host, int(port)))
    asyncio.ensure_future(read())
    asyncio.get_event_loop().run_forever()
