from accounts.models import User
from ratings.models import Rating


def rating_of(user: User) -> Rating | None:
    """None before the first rated match."""
    return Rating.objects.filter(user=user).first()
