"""The cache of production: Django's Redis backend on Valkey, which may vanish at any instant."""

import functools
import logging
from collections.abc import Callable
from typing import Any

from django.core.cache.backends.redis import RedisCache, RedisCacheClient
from django.utils.functional import cached_property
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

_clients: dict[str, RedisCacheClient] = {}


def _or(fallback: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Answer with `fallback(*args)` when Valkey does not answer, or refuses: full memory, a disk that fails."""

    def decorate(operation: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(operation)
        def wrapped(self: "TolerantRedisCache", *args: Any, **kwargs: Any) -> Any:
            try:
                return operation(self, *args, **kwargs)
            except RedisError as error:
                logger.warning("cache unavailable", extra={"operation": operation.__name__, "error": error})
                return fallback(*args, **kwargs)

        return wrapped

    return decorate


class TolerantRedisCache(RedisCache):
    """Without Valkey every read is a miss and every write is lost: sessions come from the database, rate limits open.

    A session that is deleted in such a moment stays in Valkey until it expires there, if Valkey comes back with it.
    The consoles ask the database for it (ops/access.py).
    """

    _servers: list[str]
    _options: dict[str, Any]

    @cached_property
    def _cache(self) -> RedisCacheClient:
        """One pool of connections for the whole process.

        Under ASGI every request gets a cache object of its own. With a pool each, every request would connect anew, and
        leave its connection open until the garbage collector comes by.
        """
        key = repr((self._servers, self._options))
        return _clients.setdefault(key, RedisCacheClient(self._servers, **self._options))

    get = _or(lambda key, default=None, version=None: default)(RedisCache.get)
    get_many = _or(lambda keys, version=None: {})(RedisCache.get_many)
    has_key = _or(lambda key, version=None: False)(RedisCache.has_key)
    add = _or(lambda key, value, timeout=None, version=None: True)(RedisCache.add)
    set = _or(lambda key, value, timeout=None, version=None: None)(RedisCache.set)
    set_many = _or(lambda data, timeout=None, version=None: list(data))(RedisCache.set_many)
    touch = _or(lambda key, timeout=None, version=None: False)(RedisCache.touch)
    delete = _or(lambda key, version=None: False)(RedisCache.delete)
    delete_many = _or(lambda keys, version=None: None)(RedisCache.delete_many)
    incr = _or(lambda key, delta=1, version=None: delta)(RedisCache.incr)
