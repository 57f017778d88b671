"""Everything that can be configured, from the environment; nothing else reads it.

With nothing set, one machine runs it all: SQLite, a private Redis on a unix socket and local disk under var/.
"""

import hashlib
import os
import secrets
import tempfile
from pathlib import Path

import dj_database_url
from csp.constants import NONE, SELF

BASE_DIR = Path(__file__).resolve().parent.parent


def _flag(name: str, default: bool) -> bool:
    return os.environ.get(name, str(default)).lower() in ("1", "true", "yes", "on")


def _secret_key(var: Path) -> str:
    """DJANGO_SECRET_KEY, or one made on first start and kept beside the database."""
    if "DJANGO_SECRET_KEY" in os.environ:
        return os.environ["DJANGO_SECRET_KEY"]
    path = var / "secret-key"
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text()
    key = secrets.token_urlsafe(50)
    with open(handle, "w") as file:
        file.write(key)
    return key


VAR = Path(os.environ.get("STUDIO_VAR", BASE_DIR / "var")).resolve()  # runs, artifacts, uploads: shared by all hosts
for _name in ("", "runs", "uploads", "imports", "servers", "static"):
    (VAR / _name).mkdir(parents=True, exist_ok=True)
DATA = Path(os.environ.get("STUDIO_DATA", BASE_DIR.parent / "shared" / "data")).resolve()  # public data sets, optional
# Directories of the server below which engineers may name files in a run's form. Not all of var/: it holds the secret
# key, the database and what other projects made.
_roots = os.environ.get("STUDIO_IMPORT_ROOTS", f"{VAR / 'imports'}:{DATA}")
IMPORT_ROOTS = [Path(p).resolve() for p in _roots.split(":") if p]  # an empty one would be the working directory
IMPORT_ROOTS.append(BASE_DIR / "evaluation")  # what the studio ships

SECRET_KEY = _secret_key(VAR)
DEBUG = _flag("DEBUG", False)
ALLOWED_HOSTS = os.environ.get("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1],testserver").split(",")
CSRF_TRUSTED_ORIGINS = [o for o in os.environ.get("CSRF_TRUSTED_ORIGINS", "").split(",") if o]
HTTPS = _flag("HTTPS", False)  # set when a TLS proxy stands in front
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SESSION_COOKIE_HTTPONLY = True
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django_htmx",
    "csp",
    "axes",
    "studio",
    "studio.web",
    "studio.runs",
    "studio.serving",
    "annotation",
    "evaluation",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "studio.urls"
WSGI_APPLICATION = "studio.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "studio.web.navigation.navigation",
            ],
        },
    }
]
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"
INSTALLED_APPS.append("django.forms")  # its templates, so that ours can override single widgets

DATABASES = {
    "default": dj_database_url.config(
        env="DATABASE_URL", default=f"sqlite:///{VAR / 'studio.sqlite3'}", conn_max_age=60, conn_health_checks=True
    )
}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 30,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "studio.User"
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "projects"
LOGOUT_REDIRECT_URL = "sign-in"
AXES_FAILURE_LIMIT = 8
AXES_COOLOFF_TIME = 0.25  # hours
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_LOCKOUT_TEMPLATE = "registration/locked_out.html"
AXES_RESET_ON_SUCCESS = True
AXES_VERBOSE = False

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}

LANGUAGE_CODE = "en"
TIME_ZONE = os.environ.get("TIME_ZONE", "UTC")
USE_TZ = True
STATIC_URL = "static/"
STATIC_ROOT = VAR / "static"
WHITENOISE_USE_FINDERS = True  # no collectstatic step on one machine
DATA_UPLOAD_MAX_MEMORY_SIZE = 2_621_440
MAX_UPLOAD_BYTES = int(os.environ.get("MAX_UPLOAD_BYTES", 200_000_000))


def _private_redis_socket() -> str:
    """Under var/, or for a path longer than a socket's name may be (108 bytes) under the temporary directory."""
    path = str(VAR / "redis.sock")
    if len(path.encode()) < 100:
        return path
    return f"{tempfile.gettempdir()}/studio-{os.getuid()}-{hashlib.sha256(path.encode()).hexdigest()[:12]}.sock"


PRIVATE_REDIS = "REDIS_URL" not in os.environ
REDIS_SOCKET = _private_redis_socket()
REDIS_URL = os.environ.get("REDIS_URL", f"unix://{REDIS_SOCKET}")
CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}}
API_REQUESTS_A_MINUTE = int(os.environ.get("STUDIO_API_REQUESTS_A_MINUTE", 3000))  # of one person
CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://")
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# A run may take weeks; what a worker held when it died is re-sent from the database, not by Redis.
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 90 * 24 * 3600}
CELERY_TASK_DEFAULT_QUEUE = "cpu"
CELERY_IMPORTS = ["annotation.imports.tasks", "annotation.label_studio.tasks", "annotation.ordering_tasks"]
CELERY_BEAT_SCHEDULE_FILENAME = str(VAR / "celerybeat-schedule")
CELERY_BEAT_SCHEDULE = {
    "recover-runs": {"task": "studio.runs.tasks.recover_runs", "schedule": 5.0, "options": {"expires": 5}},
    "recover-imports": {
        "task": "annotation.imports.tasks.recover_imports",
        "schedule": 15.0,
        "options": {"expires": 15},
    },
    "pull-label-studio": {
        "task": "annotation.label_studio.tasks.pull_all",
        "schedule": 300.0,
        "options": {"expires": 300},
    },
}

# Runs
RECIPES = [
    "training.recipes.corpus",
    "training.recipes.tokenizer",
    "training.recipes.pretrain",
    "training.recipes.import_model",
    "training.recipes.sft",
    "training.recipes.reward_model",
    "training.recipes.score",
    "training.recipes.ppo",
    "training.recipes.sample",
    "training.recipes.train_scorer",
    "evaluation.recipes.evaluate",
    "evaluation.recipes.bias",
    "evaluation.recipes.toxicity",
]
RUN_HEARTBEAT_SECONDS = 2.0
RUN_HEARTBEAT_TIMEOUT_SECONDS = float(os.environ.get("RUN_HEARTBEAT_TIMEOUT_SECONDS", 15))
RUN_GRACE_SECONDS = float(os.environ.get("RUN_GRACE_SECONDS", 60))  # from SIGTERM to SIGKILL
RUN_MAX_ATTEMPTS = 5  # starts of one run without a new checkpoint before it counts as failed
DEVICE_NAME = os.environ.get("STUDIO_DEVICE", os.uname().nodename)  # one lease, one trainer or server, per GPU host

# Interactive servers
MAX_SERVERS = int(os.environ.get("STUDIO_MAX_SERVERS", 1))
SERVER_IDLE_SECONDS = int(os.environ.get("STUDIO_SERVER_IDLE_SECONDS", 600))
SERVER_HOST = os.environ.get("STUDIO_SERVER_HOST", "127.0.0.1")  # this GPU host's address, as the web servers reach it
SERVER_CPU_KV_CACHE_GIB = int(os.environ.get("STUDIO_SERVER_CPU_KV_CACHE_GIB", 1))
MAX_CHAT_STREAMS = int(os.environ.get("STUDIO_MAX_CHAT_STREAMS", 8))  # each holds one of the web servers' threads
SERVER_COMMAND = os.environ.get("STUDIO_SERVER_COMMAND", "").split()  # instead of vLLM's own API server module

# Label Studio: the server that queues may be sent to, and the access token of an account that sees all its projects
LABEL_STUDIO_URL = os.environ.get("LABEL_STUDIO_URL", "")
LABEL_STUDIO_API_KEY = os.environ.get("LABEL_STUDIO_API_KEY", "")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["console"], "level": "INFO"},
    "loggers": {"axes": {"level": "WARNING"}, "httpx": {"level": "WARNING"}},
}
