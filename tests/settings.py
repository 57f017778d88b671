"""The studio's settings over a var/ and a database of the test process's own."""

import atexit
import os
import shutil
import tempfile

_var = tempfile.mkdtemp(prefix="studio-test-")
atexit.register(shutil.rmtree, _var, ignore_errors=True)
os.environ["STUDIO_VAR"] = _var
os.environ.setdefault("OMP_NUM_THREADS", "1")

from studio.settings import *  # noqa: E402, F403
from studio.settings import DATABASES, VAR  # noqa: E402

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file, so that live servers and workers of a test see it too.
    DATABASES["default"]["TEST"] = {"NAME": str(VAR / "test.sqlite3")}
    DATABASES["default"]["OPTIONS"]["init_command"] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;"
AXES_ENABLED = True
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}  # a test of the real one is apart
