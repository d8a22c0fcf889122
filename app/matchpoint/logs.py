"""One line a record, `key=value`, for journald and whoever greps it at night."""

import json
import logging

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


def _quoted(value: object) -> str:
    """`value` bare when it is one plain word, else as a JSON string (so a line break cannot forge a line)."""
    text = str(value)
    plain = text and text.isascii() and text.isprintable() and not set(text) & {" ", '"', "=", "\\"}
    return text if plain else json.dumps(text, ensure_ascii=False)


def is_news(record: logging.LogRecord) -> bool:
    """Filter of `django.request`: a 503 that a view gave on purpose, such as /readyz, was its answer, not an error."""
    return getattr(record, "status_code", None) != 503 or record.exc_info is not None


class LineFormatter(logging.Formatter):
    """`level=INFO logger=matches message="match finished" match=k3… mode=ai`: fields come from `extra={…}`.

    There is no time in the line: journald stamps it.
    """

    def format(self, record: logging.LogRecord) -> str:
        standard = {"level": record.levelname, "logger": record.name, "message": record.getMessage()}
        # Django attaches the request object; its repr adds nothing to the message.
        hidden = _STANDARD | standard.keys() | {"request"}
        fields: dict[str, object] = {**standard}
        fields |= {key: value for key, value in vars(record).items() if key not in hidden}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return " ".join(f"{key}={_quoted(value)}" for key, value in fields.items())
