"""The obvious alternative: one FastAPI process that calls the same engines in threads.

``python -m benchmarks.plain PORT IMAGES FILE``: as many images at once as the framework's 40
threads allow is what such a service has unless somebody thinks of it; as many as there are cores
is best. FILE is ``published`` or ``converted``: the recogniser as published, or as omma runs it.
"""

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor

import uvicorn
from fastapi import FastAPI, Request

from benchmarks.engines import Engines
from omma.settings import EngineSettings, Settings


def build(images: int, *, is_published: bool) -> FastAPI:
    """One route; ``images`` in work at once."""
    engines = Engines(Settings(), EngineSettings(threads=1, gpu="never"), is_published=is_published)
    app = FastAPI()
    places = asyncio.Semaphore(images)
    pool = ThreadPoolExecutor(images)

    @app.post("/embed")
    async def embed(request: Request) -> dict[str, object]:
        jpeg = await request.body()
        async with places:
            loop = asyncio.get_running_loop()
            embeddings = await loop.run_in_executor(pool, engines.embed, jpeg)
        return {"faces": [{"embedding": embedding.tolist()} for embedding in embeddings]}

    return app


if __name__ == "__main__":
    port, images, file = sys.argv[1:]
    app = build(int(images), is_published=file == "published")
    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="error")
