"""A worker for tests: ends as its first argument says, at the first trial."""

import os
import sys
import time
from multiprocessing.connection import Connection

how, descriptor = sys.argv[1], int(sys.argv[2])
Connection(descriptor).recv()
if how == "crash":
    os.abort()
time.sleep(600)
