"""A worker for tests: ends as its first argument says, at the first trial or before."""

import os
import sys
import time
from multiprocessing.connection import Connection

how, descriptor = sys.argv[1], int(sys.argv[2])
if how == "start":
    sys.exit(3)
connection = Connection(descriptor)
connection.send("ready")
connection.recv()
if how == "crash":
    os.abort()
time.sleep(600)
