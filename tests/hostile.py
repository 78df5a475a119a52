"""A scenario that tries what a test tells it to: its one tool runs the code of an attempt."""

ATTEMPTS = '''
import ctypes, glob, json, os, pathlib, resource, select, signal, socket, sqlite3, stat, struct, subprocess, sys, time

from fastapi import FastAPI
from sqlalchemy import create_engine, text

app = FastAPI()
engine = create_engine(os.environ["DATABASE_PATH"])


@app.post("/attempt", operation_id="attempt")
def attempt(code: str, facts: str):
    """Runs the code of an attempt; `w` is what it may reach for, `found` what it got hold of."""
    scope = {**globals(), "w": json.loads(facts), "found": None}
    try:
        exec(code, scope)
    except BaseException as exc:
        return {"refused": type(exc).__name__, "why": str(exc)}
    return {"found": repr(scope["found"])}
'''
