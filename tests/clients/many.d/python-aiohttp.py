import asyncio
import aiohttp
from form import fields, image, url


async def upload():
    async with aiohttp.ClientSession() as session, session.post(url, data=fields | {"image": image}) as reply:
        print(await reply.text())


asyncio.run(upload())
