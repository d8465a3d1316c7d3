"""Notes, kept in PostgreSQL, for whoever has the key.

It knows no secrets server: its database user and its key stand in two files, which are read when
they are needed. So a rotation needs neither a restart nor a line of code.
"""

import hmac
import json
import os
from pathlib import Path
from typing import Annotated

import psycopg
import uvicorn
from fastapi import Depends, FastAPI, Header, HTTPException
from pydantic import BaseModel, Field

SECRETS = Path(os.environ["CREDENTIALS_DIRECTORY"])

app = FastAPI(title="Notes")


def secret(name: str) -> dict:
    """What the file says now. It is whole, whenever it is read."""
    return json.loads((SECRETS / f"{name}.json").read_text())


def caller(x_api_key: Annotated[str, Header()]) -> None:
    """Lets those in who have a key: the one of now, or the one before while it is still known."""
    keys = [key.encode() for key in secret("api")["keys"]]
    if not any([hmac.compare_digest(x_api_key.encode(), key) for key in keys]):
        raise HTTPException(401, "that is not the key")


async def database():
    """A connection by the database user of now; where and how stands in PGHOST and its like."""
    async with await psycopg.AsyncConnection.connect(**secret("database")) as connection:
        yield connection


Database = Annotated[psycopg.AsyncConnection, Depends(database)]


class Note(BaseModel):
    text: str = Field(min_length=1, max_length=1000)


@app.get("/health")
async def health(connection: Database) -> dict[str, str]:
    """Which database user is in use: a name, and no secret."""
    cursor = await connection.execute("SELECT current_user::text")
    (user,) = await cursor.fetchone()
    return {"database_user": user}


@app.get("/notes", dependencies=[Depends(caller)])
async def notes(connection: Database) -> list[str]:
    """The latest notes, the newest first."""
    cursor = await connection.execute("SELECT text FROM notes ORDER BY id DESC LIMIT 100")
    return [text for (text,) in await cursor.fetchall()]


@app.post("/notes", status_code=201, dependencies=[Depends(caller)])
async def add(note: Note, connection: Database) -> None:
    """Keeps a note."""
    await connection.execute("INSERT INTO notes (text) VALUES (%s)", (note.text,))


if __name__ == "__main__":
    print("Sourcing secrets from", SECRETS, flush=True)
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]))
