from django.contrib.auth.hashers import Argon2PasswordHasher


class Argon2Hasher(Argon2PasswordHasher):
    """Argon2id with OWASP's parameters: 19 MiB and two passes, about 30 ms.

    Django's default takes 100 MiB a login, which a small host cannot give to several logins at once.
    """

    time_cost = 2
    memory_cost = 19 * 1024
    parallelism = 1
