"""Asks many flows at once from one place: `ask_many.py TRAFFIC FLOWS` prints what traffic.py's `ask` says of each."""

import importlib.util
import json
import sys
from concurrent.futures import ThreadPoolExecutor

specification = importlib.util.spec_from_file_location("traffic", sys.argv[1])
traffic = importlib.util.module_from_spec(specification)
specification.loader.exec_module(traffic)
flows = json.loads(sys.argv[2])
with ThreadPoolExecutor(len(flows)) as pool:
    print(json.dumps(list(pool.map(traffic.ask, flows))))
